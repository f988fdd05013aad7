"""Operation and Tensor: what the user holds of a graph under construction."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ..kernels.tensor import DType, Shape, TensorType
from .ir import Port

if TYPE_CHECKING:
    from .builder import Graph

__all__ = ["Operation", "Tensor"]


class Operation:
    """One operation of a Graph. Made by op functions and by ``Graph.create_op``; never changed."""

    __slots__ = ("__weakref__", "attrs", "control_inputs", "graph", "inputs", "name", "outputs", "type")

    def __init__(
        self,
        graph: Graph,
        name: str,
        type: str,
        inputs: tuple[Tensor, ...],
        attrs: Mapping[str, Any],
        control_inputs: tuple[Operation, ...],
        types: tuple[TensorType, ...],
    ) -> None:
        self.graph, self.name, self.type, self.inputs = graph, name, type, inputs
        self.attrs, self.control_inputs = attrs, control_inputs
        self.outputs = tuple(Tensor(self, i, t) for i, t in enumerate(types))

    def __repr__(self) -> str:
        return f"<Operation '{self.name}' {self.type}>"


class Tensor:
    """One output of an operation. ``dtype`` is a NumPy dtype; ``shape`` may have unknown sizes (None).

    Arithmetic operators add operations to the tensor's graph. ``==`` compares identity, as in TensorFlow 1;
    use ``ki.equal`` for elements.
    """

    __slots__ = ("__weakref__", "index", "op", "type")
    __array_ufunc__ = None  # numpy_array + tensor asks the tensor

    def __init__(self, op: Operation, index: int, type: TensorType) -> None:
        self.op, self.index, self.type = op, index, type

    @property
    def graph(self) -> Graph:
        return self.op.graph

    @property
    def name(self) -> str:
        """'operation:index'."""
        return f"{self.op.name}:{self.index}"

    @property
    def port(self) -> Port:
        return Port(self.op.name, self.index)

    @property
    def dtype(self) -> DType:
        return self.type.dtype

    @property
    def shape(self) -> Shape:
        return self.type.shape

    def get_shape(self) -> Shape:
        """TensorFlow 1's spelling of ``shape``."""
        return self.type.shape

    def consumers(self) -> list[Operation]:
        """The operations that read this tensor."""
        return [op for op in self.graph.operations if any(t is self for t in op.inputs)]

    def __repr__(self) -> str:
        return f"<Tensor '{self.name}' {self.type}>"

    def __array__(self, *args: Any, **kwargs: Any) -> Any:
        raise TypeError(f"{self!r} is not an array: its value exists only while a session runs; ki.stack joins tensors")

    def __iter__(self) -> Any:
        raise TypeError(f"{self!r} cannot be iterated: its values exist only while a session runs")

    def __len__(self) -> int:
        raise TypeError(f"{self!r} has no len(): use .shape, or ki.shape() for run time")

    def __bool__(self) -> bool:
        raise TypeError(f"{self!r} has no truth value: its value exists only while a session runs")

    def _binary(self, function: str, other: Any, reverse: bool = False) -> Tensor:
        import kigraph.graph.ops as ops  # builds on this module, so it is imported late

        with self.graph.as_default():
            result: Tensor = getattr(ops, function)(other, self) if reverse else getattr(ops, function)(self, other)
            return result

    def _unary(self, function: str) -> Tensor:
        import kigraph.graph.ops as ops

        with self.graph.as_default():
            result: Tensor = getattr(ops, function)(self)
            return result

    def __add__(self, other: Any) -> Tensor:
        return self._binary("add", other)

    def __radd__(self, other: Any) -> Tensor:
        return self._binary("add", other, True)

    def __sub__(self, other: Any) -> Tensor:
        return self._binary("subtract", other)

    def __rsub__(self, other: Any) -> Tensor:
        return self._binary("subtract", other, True)

    def __mul__(self, other: Any) -> Tensor:
        return self._binary("multiply", other)

    def __rmul__(self, other: Any) -> Tensor:
        return self._binary("multiply", other, True)

    def __truediv__(self, other: Any) -> Tensor:
        return self._binary("divide", other)

    def __rtruediv__(self, other: Any) -> Tensor:
        return self._binary("divide", other, True)

    def __floordiv__(self, other: Any) -> Tensor:
        return self._binary("floordiv", other)

    def __rfloordiv__(self, other: Any) -> Tensor:
        return self._binary("floordiv", other, True)

    def __mod__(self, other: Any) -> Tensor:
        return self._binary("floormod", other)

    def __rmod__(self, other: Any) -> Tensor:
        return self._binary("floormod", other, True)

    def __pow__(self, other: Any) -> Tensor:
        return self._binary("pow", other)

    def __rpow__(self, other: Any) -> Tensor:
        return self._binary("pow", other, True)

    def __matmul__(self, other: Any) -> Tensor:
        return self._binary("matmul", other)

    def __rmatmul__(self, other: Any) -> Tensor:
        return self._binary("matmul", other, True)

    def __lt__(self, other: Any) -> Tensor:
        return self._binary("less", other)

    def __le__(self, other: Any) -> Tensor:
        return self._binary("less_equal", other)

    def __gt__(self, other: Any) -> Tensor:
        return self._binary("greater", other)

    def __ge__(self, other: Any) -> Tensor:
        return self._binary("greater_equal", other)

    def __and__(self, other: Any) -> Tensor:
        return self._binary("logical_and", other)

    def __or__(self, other: Any) -> Tensor:
        return self._binary("logical_or", other)

    __rand__ = __and__
    __ror__ = __or__

    def __invert__(self) -> Tensor:
        return self._unary("logical_not")

    def __neg__(self) -> Tensor:
        return self._unary("negative")

    def __abs__(self) -> Tensor:
        return self._unary("abs")

    def __getitem__(self, key: Any) -> Tensor:
        from kigraph.graph.ops.array import getitem

        with self.graph.as_default():
            return getitem(self, key)
