"""Shapes as TensorFlow 1 has them: TensorShape, whose entries are Dimension."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

__all__ = ["Dimension", "TensorShape", "sizes_of"]


class Dimension:
    """The size of an axis, which may be unknown: ``value`` is an int or None. Arithmetic with an unknown size is unknown."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value: int | None = value.value if isinstance(value, Dimension) else None if value is None else int(value)
        if self.value is not None and self.value < 0:
            raise ValueError(f"Dimension {self.value} must be >= 0")

    def __repr__(self) -> str:
        return f"Dimension({self.value})"

    def __str__(self) -> str:
        return "?" if self.value is None else str(self.value)

    def __int__(self) -> Any:
        return self.value

    def __index__(self) -> int:
        if self.value is None:
            raise TypeError("this size is not known while the graph is built; tf.shape gives it in a run")
        return self.value

    def __hash__(self) -> int:
        return hash(self.value)

    def __eq__(self, other: object) -> Any:
        value = _value(other)
        return None if self.value is None or value is None else self.value == value

    def __ne__(self, other: object) -> Any:
        equal = self.__eq__(other)
        return None if equal is None else not equal

    def __lt__(self, other: Any) -> Any:
        return self._compare(other, lambda a, b: a < b)

    def __le__(self, other: Any) -> Any:
        return self._compare(other, lambda a, b: a <= b)

    def __gt__(self, other: Any) -> Any:
        return self._compare(other, lambda a, b: a > b)

    def __ge__(self, other: Any) -> Any:
        return self._compare(other, lambda a, b: a >= b)

    def _compare(self, other: Any, function: Any) -> Any:
        value = _value(other)
        return None if self.value is None or value is None else function(self.value, value)

    def _with(self, other: Any, function: Any) -> Dimension:
        value = _value(other)
        return Dimension(None if self.value is None or value is None else function(self.value, value))

    def __add__(self, other: Any) -> Dimension:
        return self._with(other, lambda a, b: a + b)

    def __radd__(self, other: Any) -> Dimension:
        return self._with(other, lambda a, b: b + a)

    def __sub__(self, other: Any) -> Dimension:
        return self._with(other, lambda a, b: a - b)

    def __rsub__(self, other: Any) -> Dimension:
        return self._with(other, lambda a, b: b - a)

    def __mul__(self, other: Any) -> Dimension:
        return self._with(other, lambda a, b: a * b)

    __rmul__ = __mul__

    def __floordiv__(self, other: Any) -> Dimension:
        return self._with(other, lambda a, b: a // b)

    __div__ = __floordiv__

    def __rfloordiv__(self, other: Any) -> Dimension:
        return self._with(other, lambda a, b: b // a)

    def __mod__(self, other: Any) -> Dimension:
        return self._with(other, lambda a, b: a % b)

    def is_compatible_with(self, other: Any) -> bool:
        value = _value(other)
        return self.value is None or value is None or self.value == value

    def merge_with(self, other: Any) -> Dimension:
        """What both say; ValueError if they contradict."""
        value = _value(other)
        if not self.is_compatible_with(other):
            raise ValueError(f"Dimensions {self} and {value} are not compatible")
        return Dimension(value if self.value is None else self.value)


def _value(other: Any) -> int | None:
    return Dimension(other).value


class TensorShape:
    """A shape that may be unknown (``dims`` is None) or have unknown sizes. Made of None, a list, or a size."""

    __slots__ = ("_dims",)

    def __init__(self, dims: Any) -> None:
        sizes = sizes_of(dims)
        self._dims: tuple[Dimension, ...] | None = None if sizes is None else tuple(map(Dimension, sizes))

    @property
    def dims(self) -> list[Dimension] | None:
        return None if self._dims is None else list(self._dims)

    @property
    def ndims(self) -> int | None:
        return None if self._dims is None else len(self._dims)

    rank = ndims

    def as_list(self) -> list[int | None]:
        """The sizes as a list, None for those that are not known; ValueError if the rank is not known."""
        return [d.value for d in self._known()]

    def _known(self) -> tuple[Dimension, ...]:
        if self._dims is None:
            raise ValueError("as_list() is not defined on an unknown TensorShape; tf.shape gives the sizes in a run")
        return self._dims

    def num_elements(self) -> int | None:
        return math.prod(int(d) for d in self._known()) if self.is_fully_defined() else None

    def is_fully_defined(self) -> bool:
        return self._dims is not None and all(d.value is not None for d in self._dims)

    def assert_is_fully_defined(self) -> None:
        """ValueError if a size is not known."""
        if not self.is_fully_defined():
            raise ValueError(f"Shape {self} is not fully defined")

    def is_compatible_with(self, other: Any) -> bool:
        other = TensorShape(other)
        if self._dims is None or other._dims is None:
            return True
        pairs = zip(self._dims, other._dims, strict=False)
        return len(self._dims) == len(other._dims) and all(a.is_compatible_with(b) for a, b in pairs)

    def assert_is_compatible_with(self, other: Any) -> None:
        """ValueError if the shapes contradict."""
        if not self.is_compatible_with(other):
            raise ValueError(f"Shapes {self} and {TensorShape(other)} are incompatible")

    def assert_has_rank(self, rank: int) -> None:
        """ValueError if the rank is known and another."""
        if self.ndims not in (None, rank):
            raise ValueError(f"Shape {self} must have rank {rank}")

    def merge_with(self, other: Any) -> TensorShape:
        """What both say; ValueError if they contradict."""
        other = TensorShape(other)
        self.assert_is_compatible_with(other)
        if self._dims is None or other._dims is None:
            return other if self._dims is None else self
        return TensorShape([a.merge_with(b) for a, b in zip(self._dims, other._dims, strict=True)])

    def with_rank(self, rank: int) -> TensorShape:
        """The shape, with the rank that it must have; ValueError for another."""
        self.assert_has_rank(rank)
        return TensorShape([None] * rank) if self._dims is None else self

    def concatenate(self, other: Any) -> TensorShape:
        """The axes of both, one after the other."""
        other = TensorShape(other)
        known = self._dims is not None and other._dims is not None
        return TensorShape([*self._known(), *other._known()] if known else None)

    def __getitem__(self, key: Any) -> Any:
        """A Dimension, or a TensorShape for a slice."""
        if self._dims is None:
            return TensorShape(None) if isinstance(key, slice) else Dimension(None)
        return TensorShape(self._dims[key]) if isinstance(key, slice) else self._dims[key]

    def __iter__(self) -> Iterator[Dimension]:
        if self._dims is None:
            raise ValueError("Cannot iterate over a shape with unknown rank")
        return iter(self._dims)

    def __len__(self) -> int:
        if self._dims is None:
            raise ValueError("Cannot take the length of a shape with unknown rank")
        return len(self._dims)

    def __bool__(self) -> bool:
        return self._dims is not None

    def __eq__(self, other: object) -> bool:
        try:
            return sizes_of(self) == sizes_of(other)
        except (TypeError, ValueError):
            return False

    def __hash__(self) -> int:
        return hash(sizes_of(self))

    def __repr__(self) -> str:
        if self._dims is None:
            return "TensorShape(None)"
        return f"TensorShape([{', '.join(repr(d) for d in self._dims)}])"

    def __str__(self) -> str:
        if self._dims is None:
            return "<unknown>"
        return f"({self._dims[0]},)" if len(self._dims) == 1 else f"({', '.join(map(str, self._dims))})"


def sizes_of(shape: Any) -> tuple[int | None, ...] | None:
    """The sizes of a TensorShape, a list or a size as kigraph's graph has them. -1 in a list means not known."""
    if shape is None:
        return None
    if isinstance(shape, TensorShape):
        return None if shape._dims is None else tuple([d.value for d in shape._dims])
    items = shape if hasattr(shape, "__iter__") else [shape]
    sizes = [d.value if isinstance(d, Dimension) else None if d is None else int(d) for d in items]
    return tuple(None if d == -1 else d for d in sizes)
