"""Interfaces of other programs over kigraph's graph. v1: the names of TensorFlow 1, which tf1 implements."""

from __future__ import annotations

__all__: list[str] = []
