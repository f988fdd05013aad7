"""What a tensor is to Python: it has no value yet, and its operators add operations to a graph."""

from __future__ import annotations

from typing import Any, Self

__all__ = ["Symbolic"]


class Symbolic:
    """Base of Tensor. Operators call the op function of that name; what needs a value at once is a TypeError."""

    __slots__ = ()
    __array_ufunc__ = None  # numpy_array + tensor asks the tensor

    def _apply(self, function: str, *arguments: Any) -> Self:
        """What that op function makes of the arguments, in the graph of this tensor."""
        raise NotImplementedError

    def __array__(self, *args: Any, **kwargs: Any) -> Any:
        raise TypeError(f"{self!r} is not an array: its value exists only while a session runs; ki.stack joins tensors")

    def __iter__(self) -> Any:
        raise TypeError(f"{self!r} cannot be iterated: its values exist only while a session runs")

    def __len__(self) -> int:
        raise TypeError(f"{self!r} has no len(): use .shape, or ki.shape() for run time")

    def __bool__(self) -> bool:
        raise TypeError(f"{self!r} has no truth value: its value exists only while a session runs")

    def __add__(self, other: Any) -> Self:
        return self._apply("add", self, other)

    def __radd__(self, other: Any) -> Self:
        return self._apply("add", other, self)

    def __sub__(self, other: Any) -> Self:
        return self._apply("subtract", self, other)

    def __rsub__(self, other: Any) -> Self:
        return self._apply("subtract", other, self)

    def __mul__(self, other: Any) -> Self:
        return self._apply("multiply", self, other)

    def __rmul__(self, other: Any) -> Self:
        return self._apply("multiply", other, self)

    def __truediv__(self, other: Any) -> Self:
        return self._apply("divide", self, other)

    def __rtruediv__(self, other: Any) -> Self:
        return self._apply("divide", other, self)

    def __floordiv__(self, other: Any) -> Self:
        return self._apply("floordiv", self, other)

    def __rfloordiv__(self, other: Any) -> Self:
        return self._apply("floordiv", other, self)

    def __mod__(self, other: Any) -> Self:
        return self._apply("floormod", self, other)

    def __rmod__(self, other: Any) -> Self:
        return self._apply("floormod", other, self)

    def __pow__(self, other: Any) -> Self:
        return self._apply("pow", self, other)

    def __rpow__(self, other: Any) -> Self:
        return self._apply("pow", other, self)

    def __matmul__(self, other: Any) -> Self:
        return self._apply("matmul_operator", self, other)

    def __rmatmul__(self, other: Any) -> Self:
        return self._apply("matmul_operator", other, self)

    def __lt__(self, other: Any) -> Self:
        return self._apply("less", self, other)

    def __le__(self, other: Any) -> Self:
        return self._apply("less_equal", self, other)

    def __gt__(self, other: Any) -> Self:
        return self._apply("greater", self, other)

    def __ge__(self, other: Any) -> Self:
        return self._apply("greater_equal", self, other)

    def __and__(self, other: Any) -> Self:
        return self._apply("logical_and", self, other)

    def __or__(self, other: Any) -> Self:
        return self._apply("logical_or", self, other)

    __rand__ = __and__
    __ror__ = __or__

    def __invert__(self) -> Self:
        return self._apply("logical_not", self)

    def __neg__(self) -> Self:
        return self._apply("negative", self)

    def __abs__(self) -> Self:
        return self._apply("abs", self)

    def __getitem__(self, key: Any) -> Self:
        return self._apply("getitem", self, key)
