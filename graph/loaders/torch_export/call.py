"""One call of an ATen op as its converter sees it.

A converter takes a Call and returns the outputs (a tensor, or several)::

    def _relu(c: Call) -> Tensor:
        return ops.relu(c.tensor("self"))

    CONVERTERS = {"relu": _relu}          # of every overload: aten.relu.default, aten.relu_.default
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from ... import ops
from ...builder import Tensor
from ...errors import LoadError, UnsupportedOpError
from ...formats.limits import Budget

__all__ = ["Call", "Converter", "Size"]

#: A size: known, or computed in the graph (int64, shape ()).
Size: TypeAlias = "int | Tensor"
Converter: TypeAlias = "Callable[[Call], Any]"


class Call:
    """``target``: 'conv2d'; ``overload``: 'default'. Arguments by the names of ATen's schema; those left out have its defaults."""

    def __init__(
        self, target: str, overload: str, name: str, arguments: Mapping[str, Any], outputs: int, budget: Budget
    ) -> None:
        self.target, self.overload, self.name, self.outputs = target, overload, name, outputs
        self._arguments, self._budget = arguments, budget

    def unsupported(self, what: str) -> UnsupportedOpError:
        return UnsupportedOpError(
            f"aten.{self.target} '{self.name}': {what} is not supported; feed a tensor downstream of it"
        )

    def wrong(self, what: str) -> LoadError:
        return LoadError(f"aten.{self.target} '{self.name}': {what}")

    def makes(self, elements: int) -> None:
        """Counts a float32 constant that the converter makes; LoadError if the budget has no room for it."""
        self._budget.bytes(4 * elements, f"aten.{self.target} '{self.name}'")

    def has(self, name: str) -> bool:
        return self._arguments.get(name) is not None

    def tensor(self, name: str) -> Tensor:
        found = self._arguments.get(name)
        if isinstance(found, Tensor):
            return found
        if isinstance(found, bool | int | float):
            return ops.constant(np.asarray(found, np.float32 if isinstance(found, float) else None))
        raise self.wrong(f"argument {name}: found {type(found).__name__}, expected a tensor")

    def like(self, name: str, x: Tensor) -> Tensor:
        """A tensor or number as a tensor that goes with ``x``: a number takes its type, and integers meet floats as PyTorch says."""
        found = self._arguments.get(name)
        if isinstance(found, bool | int | float):
            if isinstance(found, float) and x.dtype.kind != "f":
                raise self.unsupported("a number with a fraction beside whole numbers")
            return ops.constant(np.asarray(found, x.dtype))
        other = self.tensor(name)
        return ops.cast(other, x.dtype) if other.dtype != x.dtype and other.shape == () else other

    def tensors(self, name: str) -> list[Tensor]:
        found = self._arguments.get(name)
        if not isinstance(found, list | tuple) or not all(isinstance(t, Tensor) for t in found):
            raise self.wrong(f"argument {name}: expected tensors")
        return list(found)

    def integer(self, name: str, default: int | None = None) -> int:
        found = self._arguments.get(name, default)
        if type(found) is not int:
            raise self.wrong(f"argument {name}: found {type(found).__name__}, expected a known whole number")
        return found

    def number(self, name: str, default: float | None = None) -> float:
        found = self._arguments.get(name, default)
        if type(found) not in (int, float, bool):
            raise self.wrong(f"argument {name}: found {type(found).__name__}, expected a number")
        return float(found)

    def flag(self, name: str, default: bool = False) -> bool:
        found = self._arguments.get(name, default)
        if found is None:
            return default
        if type(found) not in (bool, int):
            raise self.wrong(f"argument {name}: found {type(found).__name__}, expected a bool")
        return bool(found)

    def text(self, name: str, default: str) -> str:
        found = self._arguments.get(name, default)
        if not isinstance(found, str):
            raise self.wrong(f"argument {name}: found {type(found).__name__}, expected a text")
        return found

    def raw(self, name: str, default: Any = None) -> Any:
        return self._arguments.get(name, default)

    def integers(self, name: str, default: Sequence[int] | None = None) -> tuple[int, ...]:
        found = self._arguments.get(name)
        if found is None and default is not None:
            return tuple(default)
        if type(found) is int:
            return (found,)
        if not isinstance(found, list | tuple) or not all(type(v) is int for v in found):
            raise self.wrong(f"argument {name}: expected known whole numbers")
        return tuple(found)

    def pair(self, name: str, default: int) -> tuple[int, int]:
        """Height and width; one number stands for both, none for the default."""
        found = self.integers(name, (default,)) or (default,)
        if len(found) > 2:
            raise self.wrong(f"argument {name}: {len(found)} numbers, expected 2")
        return (found[0], found[-1])

    def sizes(self, name: str) -> list[Size]:
        """Sizes that may be computed."""
        found = self._arguments.get(name)
        if not isinstance(found, list | tuple) or not all(type(v) is int or isinstance(v, Tensor) for v in found):
            raise self.wrong(f"argument {name}: expected sizes")
        return list(found)

    def axis(self, name: str, x: Tensor, default: int | None = None, more: int = 0) -> int:
        """An axis of ``x`` (or of a tensor with ``more`` axes), from 0."""
        rank = self.rank(x) + more
        found = self.integer(name, default)
        if not -rank <= found < max(rank, 1):
            raise self.wrong(f"argument {name}: axis {found} of {rank}")
        return found % rank if rank else 0

    def axes(self, name: str, x: Tensor) -> tuple[int, ...]:
        """Axes of ``x`` from 0; all of them where none is given."""
        rank = self.rank(x)
        found = self.integers(name, ()) or tuple(range(rank))
        if any(not -rank <= a < rank for a in found):
            raise self.wrong(f"argument {name}: axes {found} of {rank}")
        return tuple(a % rank for a in found)

    def rank(self, x: Tensor) -> int:
        if x.shape is None:
            raise self.unsupported("a tensor of unknown rank")
        return len(x.shape)

    def dims(self, x: Tensor) -> tuple[int | None, ...]:
        if x.shape is None:
            raise self.unsupported("a tensor of unknown rank")
        return x.shape
