"""Graphs to files of other programs.

Map of the folder::

    graphdef.py       TensorFlow's frozen GraphDef
    safetensors.py    weights alone
    onnx.py           a graph as an ONNX file
    onnx_prepare.py   before: branches that constants decide, fused ops, dropout
    onnx_writer.py    what the rules write into: nodes, constants, values in either layout
    onnx_parts.py     an op that ONNX lacks, as several of kigraph's own
    onnx_ops.py       the table of rules; its families: onnx_math.py, onnx_numbers.py, onnx_shapes.py, onnx_indexing.py,
                      onnx_blocks.py, onnx_windows.py, onnx_resample.py, onnx_quantize.py, onnx_quantized.py
"""

from __future__ import annotations

__all__: list[str] = []
