"""The arguments of a function that a model calls on tensors."""

from __future__ import annotations

from typing import Any

import numpy as np

from ... import ops
from ...builder import Tensor
from ...formats.limits import brief
from .building import Building

__all__ = ["Arguments", "operand", "real", "whole", "wholes"]


#: Arguments that say nothing of the result.
_IDLE = ("name", "dtype", "training")


class Arguments:
    """The arguments after the first one: ``names`` in the order of the call."""

    def __init__(self, b: Building, names: tuple[str, ...]) -> None:
        self.b = b
        config = {k: v for k, v in b.config.items() if k not in (*_IDLE, "trainable", "function")}
        self.values: dict[str, Any] = dict(config)
        if len(b.args) > len(names):
            raise b.error(f"{len(b.args) + 1} arguments", f"at most {len(names) + 1}")
        self.values |= dict(zip(names, b.args, strict=False))
        self.values |= {k: v for k, v in b.kwargs.items() if k not in _IDLE}

    def take(self, *names: str, default: Any = None) -> Any:
        """The argument of one of these names."""
        found = [self.values.pop(n) for n in names if n in self.values]
        return next((v for v in found if v is not None), default)

    def end(self) -> None:
        """Refuses what nothing took, unless it is the default of nothing."""
        left = {k: v for k, v in self.values.items() if v not in (None, False)} if self.values else {}
        if left:
            raise self.b.error(f"the arguments {brief(left)}", "those that are translated")


def operand(b: Building, value: Any, beside: Any = None) -> Tensor:
    """A tensor, or a constant in the type of the tensor next to it."""
    if isinstance(value, Tensor):
        return value
    try:
        array = np.asarray(value)
    except (TypeError, ValueError):
        array = np.array(None)
    if array.dtype.kind not in "biuf":
        raise b.error(f"the operand {brief(value)}", "a tensor or numbers")
    dtype = beside.dtype if isinstance(beside, Tensor) else np.dtype(np.float32)
    if array.dtype.kind == "f" and dtype.kind in "iu":
        dtype = np.dtype(np.float32)
    with np.errstate(over="ignore"):  # beyond float32 it is infinite, as in Keras
        return ops.constant(array.astype(dtype))


def real(b: Building, value: Any) -> float:
    """A finite number."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not np.isfinite(value):
        raise b.error(f"the argument {brief(value)}", "a number")
    return float(value)


def whole(b: Building, value: Any) -> int:
    """A whole number."""
    if type(value) is not int:
        raise b.error(f"the argument {brief(value)}", "a whole number")
    return value


def wholes(b: Building, value: Any, count: int | None = None) -> list[int]:
    """A list of whole numbers."""
    found = [value] if type(value) is int else list(value) if isinstance(value, (list, tuple)) else None
    if found is None or any(type(v) is not int for v in found) or count not in (None, len(found)):
        raise b.error(f"the argument {brief(value)}", "whole numbers" if count is None else f"{count} whole numbers")
    return found
