"""TEdBench: a benchmark suite for text-based editing of real images."""

__version__ = "0.1.0"
