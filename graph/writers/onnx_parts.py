"""Ops that ONNX lacks, written as several that it has. The parts are kigraph's own ops, so they keep to the layout rules."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...kernels.tensor import DType
from ..builder import Operation, Tensor
from ..errors import GraphError
from ..ir import Literal
from .onnx_writer import Writer

__all__ = ["Parts", "Size"]

#: A size that is known, or a scalar int64 that the graph computes.
Size = int | Tensor


class Parts:
    """Writes the parts of one op. ``p("Mul", x, 2)``: the tensor of a new op, with numbers of the type of its first tensor."""

    def __init__(self, writer: Writer, op: Operation) -> None:
        self.writer, self.op = writer, op

    def many(self, kind: str, *inputs: Any, **attrs: Any) -> tuple[Tensor, ...]:
        """All outputs of a new op."""
        dtype = next((t.dtype for t in inputs if isinstance(t, Tensor)), np.dtype(np.float32))
        given = [
            t if isinstance(t, Tensor) else self.constant(t, None if hasattr(t, "dtype") else dtype) for t in inputs
        ]
        return self.writer.make(kind, given, attrs, f"{self.op.name}/{kind}")

    def __call__(self, kind: str, *inputs: Any, **attrs: Any) -> Tensor:
        return self.many(kind, *inputs, **attrs)[0]

    def constant(self, value: Any, dtype: Any = None) -> Tensor:
        array = np.asarray(value, dtype)
        return self.writer.make(
            "Const", [], {"value": Literal.of(array), "dtype": array.dtype}, f"{self.op.name}/const"
        )[0]

    def cast(self, x: Tensor, dtype: DType | Any) -> Tensor:
        dtype = np.dtype(dtype)
        return x if x.dtype == dtype else self("Cast", x, DstT=dtype)

    def ints(self, *values: int) -> np.ndarray[Any, Any]:
        """An int64 vector."""
        return np.array(values, np.int64)

    def done(self, *results: Tensor) -> None:
        """What the outputs of the op are."""
        for made, output in zip(results, self.op.outputs, strict=False):
            self.writer.same(made, output)

    # --- sizes --------------------------------------------------------------------------------------------------------

    def sizes(self, x: Tensor) -> list[Size]:
        """The sizes of the axes, computed where they are not known."""
        if x.shape is None:
            raise self.wrong(f"input '{x.name}' has no known rank")
        if None not in x.shape:
            return list(x.type.dims)
        shape = self("Shape", x, out_type=np.dtype(np.int64))
        return [self("GatherV2", shape, np.array(i), np.array(0)) if d is None else d for i, d in enumerate(x.shape)]

    def times(self, a: Size, b: int) -> Size:
        return a * b if isinstance(a, int) else a if b == 1 else self("Mul", a, b)

    def over(self, a: Size, b: int) -> Size:
        return a // b if isinstance(a, int) else a if b == 1 else self("FloorDiv", a, b)

    def less(self, a: Size, b: int) -> Size:
        return a - b if isinstance(a, int) else a if b == 0 else self("Sub", a, b)

    def shape(self, sizes: Sequence[Size]) -> Tensor:
        """A shape of known and computed sizes."""
        if all(isinstance(d, int) for d in sizes):
            return self.constant(sizes, np.int64)
        return self(
            "Pack", *(d if isinstance(d, Tensor) else np.array(d, np.int64) for d in sizes), axis=0, N=len(sizes)
        )

    def reshape(self, x: Tensor, sizes: Sequence[Size]) -> Tensor:
        unknown = [i for i, d in enumerate(sizes) if not isinstance(d, int)]
        if len(unknown) == 1 and 0 not in sizes:  # what remains
            return self("Reshape", x, np.array([-1 if i in unknown else d for i, d in enumerate(sizes)], np.int64))
        return self("Reshape", x, self.shape(sizes))

    def transpose(self, x: Tensor, perm: Sequence[int]) -> Tensor:
        return x if list(perm) == list(range(len(perm))) else self("Transpose", x, np.array(perm, np.int32))

    def wrong(self, why: str) -> GraphError:
        return GraphError(f"ONNX: {self.op.type} '{self.op.name}' cannot be written: {why}")
