"""Graphs to files of other programs: graphdef.py (TensorFlow); onnx.py with onnx_ops.py, one function per op, which write into
onnx_writer.py."""

from __future__ import annotations

__all__: list[str] = []
