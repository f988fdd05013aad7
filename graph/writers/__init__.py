"""Graphs to files of other programs: graphdef.py (TensorFlow), onnx.py with onnx_ops.py, one function per op."""

from __future__ import annotations

__all__: list[str] = []
