"""The small networks that judge the toy world: two CLIPs, the oracle that reads pictures, and how they were trained.

    python -m tedbench_metrics.toy clip-a --out FOLDER

trains one anew. What ships lies in `weights/`; nothing here is needed to score with it but `reader`.
"""

from __future__ import annotations

from pathlib import Path

__all__ = ["CLIP_A", "CLIP_B", "ORACLE", "WEIGHTS"]

WEIGHTS = Path(__file__).resolve().parent.parent / "weights"
"""Folder of the weights that come with the package."""
CLIP_A = WEIGHTS / "toy-clip-a"
"""An EdgeNeXt; methods may be trained against it, or judged by it, never both."""
CLIP_B = WEIGHTS / "toy-clip-b"
"""A modified ResNet that learnt from other pictures and other wordings."""
ORACLE = WEIGHTS / "oracle"
"""Reads the attributes of a picture; see `reader.Reader`."""
