"""Layers between DequantizeLinear and QuantizeLinear as quantised layers: what ONNX Runtime does when it loads such a file.

A node whose inputs come from DequantizeLinear nodes and whose result only a QuantizeLinear reads, perhaps through Relu or Clip,
becomes the one quantised node (QLinearConv ...) that gives the integers. An activation becomes a bound of them. Whatever has another
reader, is an output of the model, or has a scale or zero point that is no constant, stays as it is. What the file's biases say
must be a step of the product; others are not taken.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...formats.onnx import Attribute, NodeProto
from ...formats.protobuf.wire import Span
from .order import names_read

__all__ = ["Bounds", "Constant", "fused"]

Value = np.ndarray[Any, Any]
#: The value of a name, None if it is no constant or a large one; and whether it is a constant.
Constant = Callable[[str], Value | None]
Bounds = tuple[int, int]
#: Inputs, type, attributes and domain of a quantised node.
_Made = tuple[list[str], str, list[Attribute], str]

_CONTRIB = "com.microsoft"
_INT = 2
#: Ops that move or pick elements of their first input.
_MOVES = frozenset(
    [
        "MaxPool",
        "Reshape",
        "Transpose",
        "Flatten",
        "Squeeze",
        "Unsqueeze",
        "Identity",
        "DepthToSpace",
        "SpaceToDepth",
        "Gather",
        "Slice",
        "Expand",
        "Tile",
    ]
)
#: Ops with a quantised op of ONNX Runtime, and how many inputs they have.
_OPERANDS = {"Add": 2, "Mul": 2, "AveragePool": 1, "GlobalAveragePool": 1}
#: Relative difference up to which a bias's scale counts as the product of the scales of input and weights.
_NEAR = 1e-3


@dataclass(frozen=True, slots=True)
class _Params:
    """Names of a scale and a zero point ('': 0), and their values."""

    scale: str
    zero: str
    scales: Value
    zeros: Value

    @property
    def single(self) -> bool:
        return self.scales.size == self.zeros.size == 1

    def like(self, other: _Params) -> bool:
        """Whether integers of both mean the same."""
        same = np.array_equal(self.scales, other.scales) and np.array_equal(self.zeros, other.zeros)
        return same and self.zeros.dtype == other.zeros.dtype


def _axis_of_results(node: NodeProto) -> int | None:
    """The axis of the weights of Conv, MatMul or Gemm along which results lie; None for a Gemm that does more."""
    numbers = {a.name: (a.i if a.type == _INT else a.f) for a in node.attribute}
    if node.op_type != "Gemm":
        return 0 if node.op_type == "Conv" else 1
    if numbers.get("transA") or any(numbers.get(k, 1) != 1 for k in ("alpha", "beta")):
        return None
    return 0 if numbers.get("transB") else 1


def _is_valid(scales: Value, zeros: Value) -> bool:
    """Positive scales, and zero points that are integers."""
    if scales.dtype != np.float32 or scales.ndim > 1 or zeros.ndim > 1 or zeros.dtype.kind not in "iu":
        return False
    return bool((np.isfinite(scales) & (scales > 0)).all())


@dataclass(frozen=True, slots=True)
class _Real:
    """What a DequantizeLinear gives: the integers' name and their parameters."""

    q: str
    params: _Params


def fused(
    nodes: Sequence[NodeProto], outputs: Sequence[str], constant: Constant, text: Callable[[Span], bytes]
) -> tuple[Sequence[NodeProto], Mapping[str, Bounds]]:
    """The nodes, in order, with quantised ones in place of those that are fused; bounds of results, by name. text: bytes of the file."""
    if not any(node.op_type == "QuantizeLinear" for node in nodes):
        return nodes, {}
    return _Fusion(nodes, outputs, constant, text).run()


class _Fusion:
    def __init__(
        self, nodes: Sequence[NodeProto], outputs: Sequence[str], constant: Constant, text: Callable[[Span], bytes]
    ) -> None:
        self.nodes, self.kept, self.constant, self.text = nodes, frozenset(outputs), constant, text
        self.maker = {name: node for node in nodes for name in node.output if name}
        self.readers: Counter[str] = Counter(name for node in nodes for name in names_read(node))
        self.bounds: dict[str, Bounds] = {}

    def run(self) -> tuple[Sequence[NodeProto], Mapping[str, Bounds]]:
        gone: set[int] = set()
        made: dict[int, NodeProto] = {}
        for node in self.nodes:
            if node.op_type == "QuantizeLinear" and id(node) not in gone:
                self._fuse(node, made, gone)
        left = [made.get(id(node), node) for node in self.nodes if id(node) not in gone]
        read = self.kept.union(*(names_read(node) for node in left))
        # A DequantizeLinear that served fused nodes only.
        return [n for n in left if n.op_type != "DequantizeLinear" or not read.isdisjoint(n.output)], self.bounds

    def _fuse(self, last: NodeProto, made: dict[int, NodeProto], gone: set[int]) -> None:
        result = self._params(last, None)
        if result is None or not result.single or not last.output or not last.output[0]:
            return
        chain, bounds = self._chain(last, result)
        if chain is None:
            return
        found = self._quantised(chain[-1], result)
        if found is None:
            return
        inputs, type, attributes, domain = found
        if bounds is not None and (type in _MOVES or type == "Pad"):
            return  # these ops have no bounds
        made[id(last)] = NodeProto(inputs, last.output[:1], last.name, type, attributes, domain, "")
        gone.update(id(node) for node in chain if node.op_type != "DequantizeLinear")
        if bounds is not None:
            self.bounds[last.output[0]] = bounds

    def _chain(self, last: NodeProto, result: _Params) -> tuple[list[NodeProto] | None, Bounds | None]:
        """The nodes before a QuantizeLinear that only it reads: activations, then what they are applied to; and the bounds."""
        chain: list[NodeProto] = []
        info = np.iinfo(result.zeros.dtype)
        low, high = int(info.min), int(info.max)
        name = last.input[0]
        while True:
            node = self.maker.get(name)
            if node is None or node.domain not in ("", "ai.onnx"):
                return None, None
            if node.op_type == "DequantizeLinear":  # stays for its other readers
                chain.append(node)
                break
            if self.readers[name] != 1 or name in self.kept:
                return None, None
            if len([o for o in node.output if o]) != 1:
                return None, None
            chain.append(node)
            if node.op_type not in ("Relu", "Clip"):
                break
            ends = self._ends(node)
            if ends is None or not node.input:
                return None, None
            zero, scale = int(result.zeros.item()), result.scales.item()
            steps = [float(np.clip(np.rint(np.float32(e) / np.float32(scale)), -1024, 1024)) for e in ends]
            low, high = max(low, int(steps[0]) + zero), min(high, int(steps[1]) + zero)
            name = node.input[0]
        if low > high:
            return None, None
        return chain, None if (low, high) == (info.min, info.max) else (low, high)

    def _ends(self, node: NodeProto) -> tuple[float, float] | None:
        """The bounds of Relu or Clip; None if they are computed."""
        if node.op_type == "Relu":
            return 0.0, np.inf
        ends = [-np.inf, np.inf]
        for a in node.attribute:
            if a.name not in ("min", "max"):
                return None
            ends[a.name == "max"] = a.f
        for i, name in enumerate(node.input[1:3]):
            if name:
                value = self.constant(name)
                if value is None or value.size != 1:
                    return None
                ends[i] = float(value.reshape(-1)[0])
        return None if np.isnan(ends).any() else (ends[0], ends[1])

    # --- parameters ------------------------------------------------------------------------------------------------------

    def _params(self, node: NodeProto, axis: int | None) -> _Params | None:
        """Of QuantizeLinear or DequantizeLinear; ``axis``: the only one along which scales may be."""
        if len(node.input) < 2 or node.domain not in ("", "ai.onnx", _CONTRIB):
            return None
        numbers = {a.name: a.i for a in node.attribute if a.type == _INT}
        if numbers.get("block_size") or numbers.get("output_dtype") or numbers.get("precision", 1) != 1:
            return None
        zero = node.input[2] if len(node.input) > 2 else ""
        scales, zeros = self.constant(node.input[1]), self.constant(zero) if zero else np.zeros(1, np.uint8)
        if scales is None or zeros is None or not _is_valid(scales, zeros):
            return None
        if node.op_type == "QuantizeLinear" and (not zero or zeros.dtype.itemsize != 1):
            return None
        if scales.size > 1 and numbers.get("axis", 1) != axis:
            return None
        return _Params(node.input[1], zero, scales.reshape(-1), zeros.reshape(-1))

    def _real(self, name: str, axis: int | None = None) -> _Real | None:
        """The integers behind a real value; ``axis``: the one along which weights may have several scales."""
        node = self.maker.get(name)
        if node is None or node.op_type != "DequantizeLinear":
            return None
        params = self._params(node, axis)
        if params is None or (axis is None and not (params.single and params.zero)):
            return None
        return _Real(node.input[0], params)

    # --- ops -------------------------------------------------------------------------------------------------------------

    def _quantised(self, node: NodeProto, result: _Params) -> _Made | None:
        """The quantised node; None if there is none."""
        type, attributes, ends = node.op_type, list(node.attribute), [result.scale, result.zero]
        if type in ("Conv", "MatMul", "Gemm"):
            return self._product(node, ends)
        if type == "Pad" and len(node.input) > 1:
            return self._padded(node, result)
        if type in _MOVES:
            given = self._real(node.input[0]) if node.input else None
            if given is None or not given.params.like(result):
                return None
            return [given.q, *node.input[1:]], type, attributes, node.domain
        if type == "DequantizeLinear":  # from one grid to another, perhaps with an activation
            reals, attributes = [self._real(node.output[0])], []
        else:
            reals = [self._real(name) for name in node.input]
        known = [r for r in reals if r is not None]
        if not known or len(known) != len(reals):
            return None
        parts = [name for r in known for name in (r.q, r.params.scale, r.params.zero)]
        if _OPERANDS.get(type) == len(known):
            return [*parts, *ends], f"QLinear{type}", attributes, _CONTRIB
        if type in ("Concat", "DequantizeLinear"):
            return [*ends, *parts], "QLinearConcat", attributes, _CONTRIB
        return None

    def _padded(self, node: NodeProto, result: _Params) -> _Made | None:
        """With the zero point where the file pads with 0; modes that repeat elements only move them."""
        given = self._real(node.input[0])
        modes = [self.text(a.s) for a in node.attribute if a.name == "mode" and a.s is not None]
        if given is None or not given.params.like(result) or any(a.name != "mode" for a in node.attribute):
            return None
        inputs = [given.q, *node.input[1:]]
        if modes in ([], [b"constant"]):
            value = self.constant(node.input[2]) if len(node.input) > 2 and node.input[2] else np.zeros(1)
            if value is None or value.any():
                return None
            inputs = [given.q, node.input[1], result.zero, *node.input[3:]]
        return inputs, "Pad", list(node.attribute), node.domain

    def _product(self, node: NodeProto, ends: list[str]) -> _Made | None:
        axis = _axis_of_results(node)
        if axis is None or len(node.input) < 2:
            return None
        x, w = self._real(node.input[0]), self._real(node.input[1], axis)
        if x is None or w is None or not w.params.zero:
            return None
        parts = [name for r in (x, w) for name in (r.q, r.params.scale, r.params.zero)]
        given = node.input[2] if len(node.input) > 2 else ""
        bias = self._bias(given, x.params, w.params) if given else ""
        if bias is None:
            return None
        if node.op_type == "MatMul":
            return [*parts, *ends], "QLinearMatMul", [], ""
        if node.op_type == "Gemm":
            kept = [a for a in node.attribute if a.name in ("transA", "transB")]
            return [*parts, bias, *ends], "QGemm", kept, _CONTRIB
        return [*parts, *ends, *([bias] if bias else [])], "QLinearConv", list(node.attribute), ""

    def _bias(self, name: str, x: _Params, w: _Params) -> str | None:
        """The integers of a bias that counts steps of the product."""
        found = self._real(name, 0)
        if found is None or found.params.zeros.any():
            return None
        if found.params.zero and found.params.zeros.dtype != np.int32:
            return None
        steps, wanted = found.params.scales, x.scales * w.scales
        if steps.size != wanted.size and 1 not in (steps.size, wanted.size):
            return None
        return found.q if np.allclose(steps, wanted, rtol=_NEAR, atol=0) else None
