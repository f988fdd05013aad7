"""kigraph.quantizing: a float model becomes one of 8-bit integers, by photographs alone, without training.

Map of the folder::

    running.py    quantize(): the steps in their order, the files, what is reported
    photographs.py  which photographs measure the ranges, and which are kept to compare the answers
    folded.py     the network with everything folded into its convolutions and products, as it is written
    net.py        an ONNX graph to edit: nodes, constants, who reads what
    places.py     which nodes work with integers, which values get a scale, and which of them share one
    observing.py  runs of the float network: histograms and means of the values
    ranges.py     least and greatest value that the integers of a tensor stand for: candidates and their errors
    weights.py    integers of the weights, and the bias that makes up for their rounding
    writing.py    the network with its QuantizeLinear and DequantizeLinear nodes
    losses.py     what each range and each layer costs, measured at the scores
    result.py     what a run gives; page.py: its report
"""

from __future__ import annotations

from .result import Quantized
from .running import quantize

__all__ = ["Quantized", "quantize"]
