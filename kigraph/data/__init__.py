"""Data files of kigraph: class names and node numbers (imagenet.json). Read by vision.labels."""

from __future__ import annotations

__all__: list[str] = []
