"""Text-to-image models behind one small interface, so that a method is written once. README.md says how more join."""

from tedbench_methods.backbones.base import Backbone, Lesson, denoising_loss
from tedbench_methods.backbones.loading import load, loaded
from tedbench_methods.backbones.schedule import Schedule
from tedbench_methods.backbones.text import Text, interpolate

__all__ = ["Backbone", "Lesson", "Schedule", "Text", "denoising_loss", "interpolate", "load", "loaded"]
