"""Whether a model that was converted for one item computes the same for each of several: no operator may mix or pick items.

A tensor that depends on the inputs has items along axis 0. Every operator is looked at: the axes that it works along, and
the sizes that it states. What is not known to keep items apart makes the model one for exactly one item.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import prod

from .build import Build, Use

__all__ = ["takes_any_batch"]

Rule = Callable[["_Operator"], bool]

_SAME = """
    RELU RELU6 RELU_N1_TO_1 RELU_0_TO_1 TANH LOGISTIC ELU PRELU LEAKY_RELU HARD_SWISH GELU DEQUANTIZE QUANTIZE FAKE_QUANT ABS
    NEG SIGN SQUARE SQRT RSQRT EXP LOG SIN COS FLOOR CEIL ROUND LOGICAL_NOT ZEROS_LIKE MAXIMUM MINIMUM POW FLOOR_DIV FLOOR_MOD
    ATAN2 SQUARED_DIFFERENCE EQUAL NOT_EQUAL LESS LESS_EQUAL GREATER GREATER_EQUAL LOGICAL_AND LOGICAL_OR BITWISE_XOR
    RIGHT_SHIFT ADD SUB MUL DIV CAST SELECT_V2 COMPLEX_ABS REAL IMAG
"""
_IMAGES = """
    CONV_2D DEPTHWISE_CONV_2D CONV_3D AVERAGE_POOL_2D MAX_POOL_2D L2_POOL_2D RESIZE_BILINEAR RESIZE_NEAREST_NEIGHBOR
    SPACE_TO_DEPTH DEPTH_TO_SPACE SPACE_TO_BATCH_ND BATCH_TO_SPACE_ND
"""
_LAST_AXIS = "SOFTMAX LOG_SOFTMAX L2_NORMALIZATION LOCAL_RESPONSE_NORMALIZATION TOPK_V2"
_REDUCTIONS = "MEAN SUM REDUCE_PROD REDUCE_MAX REDUCE_MIN REDUCE_ANY REDUCE_ALL ARG_MAX ARG_MIN REVERSE_V2 CUMSUM"


def takes_any_batch(build: Build) -> bool:
    """For a subgraph whose inputs all have one item."""
    items = set(build.model.inputs)
    for operator in build.model.operators:
        if items.isdisjoint(operator.inputs):
            continue
        rule = None if operator.custom else _RULES.get(operator.name)
        if rule is None or not rule(_Operator(build, Use(build, operator), items)):
            return False
        items.update(operator.outputs)
    return all(i in items and build.tensor(i).shape[:1] == (1,) for i in build.model.outputs)


class _Operator:
    def __init__(self, build: Build, use: Use, items: set[int]) -> None:
        self.build, self.use, self.items = build, use, items

    def has_items(self, i: int) -> bool:
        return self.use.has(i) and self.use.index(i) in self.items

    def only(self, *wanted: int) -> bool:
        """Whether these inputs have items, and no others."""
        return all(self.has_items(i) == (i in wanted) for i in range(self.use.count))

    @property
    def shape(self) -> tuple[int, ...]:
        return self.use.given(0).shape

    @property
    def rank(self) -> int:
        return len(self.shape)

    def numbers(self, i: int) -> list[int] | None:
        """The integers of a constant input."""
        found = self.use.constant(i) if self.use.has(i) else None
        return None if found is None or found.count > 64 else [int(v) for v in found.stored().reshape(-1)]

    def apart(self, axes: list[int] | None, rank: int) -> bool:
        """Whether these axes are known, and axis 0 is none of them."""
        return bool(axes) and all(-rank <= a < rank and a % rank for a in axes or ())


def _same(o: _Operator) -> bool:
    """Element by element: what has items has all axes of the result; a row for each item must be an item itself."""
    rank = len(o.use.out().shape)
    shapes = [(o.has_items(i), o.use.given(i).shape) for i in range(o.use.count) if o.use.has(i)]
    return all(len(s) == rank if items else len(s) < rank or s[:1] == (1,) for items, s in shapes)


def _matmul(o: _Operator) -> bool:
    return o.only(0) and not o.use.option(0, "bool", False) if len(o.use.out().shape) < 3 else _same(o)


def _dense(o: _Operator) -> bool:
    return o.only(0) and o.use.out().shape[:1] == (1,)


def _reshape(o: _Operator) -> bool:
    """Sizes (1, ...) become (-1, ...) for a result of known size (arrays.py)."""
    wanted = o.numbers(1) if o.use.has(1) else list(o.use.option_ints(0))
    result = o.use.out().shape
    if wanted is None or not o.only(0) or o.shape[:1] != (1,) or result[:1] != (1,) or len(wanted) != len(result):
        return False
    fits = all(w in (-1, r) for w, r in zip(wanted, result, strict=True)) and 0 not in result
    return fits and prod(o.shape) == prod(result)


def _strided_slice(o: _Operator) -> bool:
    begin, end, ellipsis, new, shrink = (o.use.option(i) for i in range(5))
    strides = o.numbers(3)
    return o.only(0) and bool(begin & end & ~shrink & 1) and not ellipsis and not new and (strides or [0])[0] == 1


def _slice(o: _Operator) -> bool:
    begin, size = o.numbers(1), o.numbers(2)
    return o.only(0) and bool(begin and size) and (begin or [1])[0] == 0 and (size or [1])[0] == -1


def _pad(o: _Operator) -> bool:
    pads = o.numbers(1)
    return o.only(0) and pads is not None and pads[:2] == [0, 0]


def _every(o: _Operator) -> bool:
    return o.only(*range(o.use.count))


def _gather(o: _Operator) -> bool:
    """Of items along another axis; or items are the indices, into the rows of a table."""
    axis = o.use.option(0)
    if o.use.option(1):
        return False
    return o.apart([axis], o.rank) if o.only(0) else o.only(1) and axis == 0 and len(o.use.given(1).shape) > 1


_RULES: Mapping[str, Rule] = {
    **dict.fromkeys(_SAME.split(), _same),
    **dict.fromkeys(_IMAGES.split(), lambda o: o.only(0)),
    **dict.fromkeys(_LAST_AXIS.split(), lambda o: o.only(0) and o.rank > 1),
    **dict.fromkeys(_REDUCTIONS.split(), lambda o: o.only(0) and o.apart(o.numbers(1), o.rank)),
    "BATCH_MATMUL": _matmul,
    "FULLY_CONNECTED": _dense,
    "RESHAPE": _reshape,
    "SQUEEZE": lambda o: o.apart(list(o.use.option_ints(0)), o.rank),
    "EXPAND_DIMS": lambda o: o.only(0) and o.apart(o.numbers(1), o.rank + 1),
    "TRANSPOSE": lambda o: o.only(0) and (o.numbers(1) or [1])[0] == 0,
    **dict.fromkeys(("PAD", "PADV2", "MIRROR_PAD"), _pad),
    "SLICE": _slice,
    "STRIDED_SLICE": _strided_slice,
    "CONCATENATION": lambda o: _every(o) and o.apart([o.use.option(0)], o.rank),
    "PACK": lambda o: _every(o) and o.apart([o.use.option(1)], o.rank + 1),
    "UNPACK": lambda o: o.apart([o.use.option(1)], o.rank),
    "SPLIT": lambda o: o.only(1) and o.apart(o.numbers(0), len(o.use.given(1).shape)),
    "SPLIT_V": lambda o: o.only(0) and o.apart(o.numbers(2), o.rank),
    "ADD_N": _every,
    "GATHER": _gather,
    "ONE_HOT": lambda o: o.only(0) and o.apart([o.use.option(0)], o.rank + 1),
    "TILE": lambda o: o.only(0) and (o.numbers(1) or [0])[0] == 1,
}
