"""What a contract is, and the shape rules that several contracts share.

All rules work on partly known shapes: None stands for an unknown size or an unknown rank, and a rule
gives the most that can be known. They raise ShapeError or DTypeError for what can never fit.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Sequence
from dataclasses import field
from typing import Any, Generic, TypeVar

import numpy as np

from ..errors import DTypeError, ShapeError
from ..records import dataclass
from ..tensor import BFLOAT16, STRING, Dim, DType, Params, Shape, TensorType, dtype_name

__all__ = [
    "FLOATS",
    "INTEGERS",
    "MOST_AXES",
    "MOST_BYTES",
    "NUMBERS",
    "Contract",
    "Tolerance",
    "aligned_items",
    "broadcast_dim",
    "broadcast_shapes",
    "items_of_first",
    "merge_shapes",
    "normalize_axis",
    "require_dtype",
    "require_rank",
    "require_same_dtype",
    "require_size",
    "shape_text",
    "stored_dtype",
]

P = TypeVar("P", bound=Params)

FLOATS = frozenset(map(np.dtype, ("float16", "float32", "float64")))
INTEGERS = frozenset(map(np.dtype, ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")))
NUMBERS = FLOATS | INTEGERS | frozenset(map(np.dtype, ("complex64", "complex128")))

#: Bytes and axes of the largest array: offsets are signed integers of 64 bits, and NumPy has no more axes.
MOST_BYTES, MOST_AXES = (1 << 63) - 1, 64
#: Uses whose types a contract remembers.
_MOST_KNOWN = 1024


@dataclass(frozen=True, slots=True)
class Tolerance:
    """How far a float32 kernel may be from the float64 truth: |got - want| <= atol + rtol * |want|.

    ``scale_by_reduction``: atol grows with the square root of the number of summed terms.
    """

    rtol: float = 1e-6
    atol: float = 1e-6
    scale_by_reduction: bool = False


def _no_flops(inputs: Sequence[TensorType], outputs: Sequence[TensorType], params: Any) -> int:
    return 0


def items_of_first(inputs: Sequence[TensorType], params: Any, items: Collection[int]) -> bool:
    """Contract.by_item of ops on NHWC images or rows whose other inputs are weights."""
    return set(items) == {0}


def aligned_items(inputs: Sequence[TensorType], params: Any, items: Collection[int]) -> bool:
    """Contract.by_item of elementwise ops: what has items has all axes, what has none is broadcast along the first."""
    rank = max(len(t.dims) for t in inputs)
    return rank > 0 and all(
        len(t.dims) == rank if i in items else len(t.dims) < rank or t.dims[0] == 1 for i, t in enumerate(inputs)
    )


@dataclass(frozen=True, eq=False, slots=True)
class Contract(Generic[P]):
    """What one op computes, independent of who computes it. Kernels are registered against this object.

    ``doc`` has the formula, the layouts and the edge cases. ``infer(inputs, params)`` is the shape and dtype rule.
    ``arity``: least and most number of inputs (None: no limit).
    ``hot``: every backend brings its own kernels and strict backend choice applies; other contracts are served by the
    shared CPU family (kernels/host) when the chosen backend has no kernel for them.
    ``dynamic``: output shapes depend on values. ``inplace``: the output may overwrite an input of the same type.
    ``view``: the output is the input's memory under another shape; no kernel runs.
    ``by_item(inputs, params, items)``: whether item n along axis 0 of every output comes from item n of the inputs whose
    numbers are ``items``, and else only from the other inputs as a whole (all shapes known). None: not known of any.
    """

    name: str
    doc: str
    infer: Callable[[Sequence[TensorType], P], tuple[TensorType, ...]]
    params: type[P] = Params  # type: ignore[assignment]
    arity: tuple[int, int | None] = (1, 1)
    flops: Callable[[Sequence[TensorType], Sequence[TensorType], P], int] = _no_flops
    tolerance: Tolerance = Tolerance()
    hot: bool = True
    dynamic: bool = False
    inplace: bool = False
    view: bool = False
    by_item: Callable[[Sequence[TensorType], P, Collection[int]], bool] | None = None
    #: What the rule gave for inputs and parameters: a network has few different ones, and asks for each several times.
    _known: dict[Hashable, tuple[TensorType, ...]] = field(default_factory=dict, init=False, repr=False)

    def check(self, inputs: Sequence[TensorType], params: Any) -> tuple[TensorType, ...]:
        """Checks arity and parameter class, then applies the shape and dtype rule.

        Also a ShapeError: an output that no array can be (``require_size``). A DTypeError: elements that are records, which
        only what hands its input on takes.
        """
        key = (tuple(inputs), type(params), params)
        try:
            found = self._known.get(key)
        except TypeError:  # parameters with an array, or of another class
            return self._check(inputs, params)
        if found is None:
            found = self._check(inputs, params)
            if len(self._known) < _MOST_KNOWN:
                self._known[key] = found
        return found

    def _check(self, inputs: Sequence[TensorType], params: Any) -> tuple[TensorType, ...]:
        low, high = self.arity
        if len(inputs) < low or (high is not None and len(inputs) > high):
            wanted = f"{low}" if low == high else f"{low} or more" if high is None else f"{low} to {high}"
            raise ShapeError(f"{self.name} takes {wanted} inputs, got {len(inputs)}")
        if type(params) is not self.params:
            raise TypeError(
                f"{self.name} takes parameters of class {self.params.__name__}, got {type(params).__name__}"
            )
        outputs = self.infer(inputs, params)
        if not self.view and any(t.dtype.names for t in (*inputs, *outputs)):
            # Kernels work on uninitialised memory, in which references to objects would be followed.
            raise DTypeError(
                f"{self.name} takes tensors of numbers or strings, got a list of tensors; stack or read it first"
            )
        require_size(self.name, outputs)
        return outputs

    def bytes_moved(self, inputs: Sequence[TensorType], outputs: Sequence[TensorType]) -> int:
        """Least memory traffic: each input read once, each output written once."""
        return sum(t.nbytes for t in (*inputs, *outputs) if t.dtype != STRING)

    def __repr__(self) -> str:
        return f"Contract({self.name})"


def require_size(op: str, types: Sequence[TensorType]) -> None:
    """Raises ShapeError for a tensor that no array can hold: no size is negative, all multiply to at most MOST_BYTES.

    As in NumPy, a size of 0 beside them does not help; unknown sizes count as 1.
    """
    for t in types:
        if t.shape is not None and len(t.shape) > MOST_AXES:
            raise ShapeError(f"{op}: a tensor of {len(t.shape)} axes, at most {MOST_AXES} can be had")
        size = t.dtype.itemsize
        for d in t.shape or ():
            if d is not None and d < 0:
                raise ShapeError(f"{op}: the output would have shape {shape_text(t.shape)}; no size can be negative")
            size *= d or 1
        if size > MOST_BYTES:
            raise ShapeError(
                f"{op}: {t} is too large for an array: {size:,} bytes (sizes of 0 left out), at most {MOST_BYTES:,} can be addressed"
            )


def shape_text(shape: Shape) -> str:
    """A shape as the user reads it: (1, ?, 3)."""
    if shape is None:
        return "(unknown rank)"
    return "(" + ", ".join("?" if d is None else str(d) for d in shape) + ("," if len(shape) == 1 else "") + ")"


def require_dtype(op: str, what: str, dtype: DType, allowed: frozenset[DType]) -> None:
    """Raises DTypeError unless ``dtype`` is allowed; ``what`` names the tensor."""
    if dtype not in allowed:
        names = ", ".join(sorted(dtype_name(d) for d in allowed))
        raise DTypeError(f"{op}: {what} has dtype {dtype_name(dtype)}; it takes {names}")


def require_same_dtype(op: str, inputs: Sequence[TensorType]) -> DType:
    """The element type that all inputs have; DTypeError if they differ."""
    first = inputs[0].dtype
    for i, t in enumerate(inputs):
        if t.dtype != first:
            raise DTypeError(
                f"{op}: input 0 is {dtype_name(first)} but input {i} is {dtype_name(t.dtype)}; "
                "all must have one dtype (use cast)"
            )
    return first


def stored_dtype(op: str, inputs: Sequence[TensorType], narrow: bool = False) -> DType:
    """Element type of the result where x, the first input, may be bfloat16 in memory.

    Weights are float32 then, and so is the result, but for ``narrow``: bfloat16, of a float32 x, too. Else all inputs and the
    result have one floating-point type. DTypeError for anything else.
    """
    x = inputs[0].dtype
    if x == BFLOAT16:
        for i, t in enumerate(inputs[1:], 1):
            if t.dtype != np.float32:
                raise DTypeError(
                    f"{op}: input 0 is bfloat16, so input {i} must be float32, got {dtype_name(t.dtype)}; use cast"
                )
        return BFLOAT16 if narrow else np.dtype(np.float32)
    dtype = require_same_dtype(op, inputs)
    require_dtype(op, "the input", dtype, FLOATS)
    if not narrow:
        return dtype
    if dtype != np.float32:
        raise DTypeError(f"{op}: a bfloat16 result is made of float32 or bfloat16, got {dtype_name(dtype)}")
    return BFLOAT16


def require_rank(op: str, what: str, shape: Shape, rank: int) -> tuple[Dim, ...]:
    """The shape with exactly ``rank`` axes; an unknown rank becomes unknown sizes."""
    if shape is None:
        return (None,) * rank
    if len(shape) != rank:
        raise ShapeError(f"{op}: {what} must have {rank} axes, got shape {shape_text(shape)}")
    return shape


def normalize_axis(op: str, axis: int, rank: int) -> int:
    """The axis counted from the front; ShapeError if it is out of range."""
    if not -rank <= axis < rank:
        raise ShapeError(f"{op}: axis {axis} is out of range for {rank} axes; expected {-rank} to {rank - 1}")
    return axis + rank if axis < 0 else axis


def broadcast_dim(op: str, a: Dim, b: Dim, text: Callable[[], str]) -> Dim:
    """What one axis of two broadcast shapes becomes; ``text()`` names the shapes in the ShapeError."""
    if a == b:
        return a
    if a == 1:
        return b
    if b == 1:
        return a
    if a is None:
        return b
    if b is None:
        return a
    raise ShapeError(f"{op}: shapes {text()} do not broadcast: {a} against {b}")


def broadcast_shapes(op: str, shapes: Sequence[Shape]) -> Shape:
    """NumPy's broadcasting rule on partly known shapes."""
    result: Shape = ()

    def text() -> str:
        return " and ".join(map(shape_text, shapes))

    for shape in shapes:
        if shape is None or result is None:
            result = None
            continue
        rank = max(len(shape), len(result))
        a = (1,) * (rank - len(result)) + result
        b = (1,) * (rank - len(shape)) + shape
        result = tuple(broadcast_dim(op, x, y, text) for x, y in zip(a, b, strict=True))
    return result


def merge_shapes(op: str, a: Shape, b: Shape) -> Shape:
    """What is known of a tensor for which both ``a`` and ``b`` hold."""
    if a is None or b is None:
        return b if a is None else a
    if len(a) != len(b) or any(x is not None and y is not None and x != y for x, y in zip(a, b, strict=False)):
        raise ShapeError(f"{op}: shapes {shape_text(a)} and {shape_text(b)} contradict each other")
    return tuple(y if x is None else x for x, y in zip(a, b, strict=True))
