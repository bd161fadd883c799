"""The toy model: a Stable Diffusion small enough to ship, and the command that trains it.

It draws 64x64 pictures of the toy world (`tedbench.datasets.toy`) and stands in diffusers' own layout, so that every
method which edits with Stable Diffusion edits with it too. `python -m tedbench_methods.toy --out FOLDER` makes it anew.
"""

from __future__ import annotations

from pathlib import Path

NAME = "toy"
"""What `--model` calls it."""
FOLDER = Path(__file__).parents[1] / "weights" / "toy"
"""The trained model, as diffusers saves one."""
