"""What a session may trade for speed, fixed when it is made.

Precedence: argument > ``with using_numerics(...)`` > environment > default.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar

import numpy as np

from . import settings
from .errors import SettingsError
from .records import dataclass

__all__ = ["Numerics", "resolve_numerics", "using_numerics"]


@dataclass(frozen=True, slots=True)
class Numerics:
    """winograd: whether convolutions may use algorithms that multiply less and round more (Winograd, Cook-Toom).

    precision: how convolutions and matrix products multiply float32: 'fp32'; 'tf32' or 'bf16', whose operands are rounded
    (contracts/precisions.py); 'int8': the graph is quantised, and what is float32 in it is multiplied as in fp32.
    """

    winograd: bool = True
    precision: str = "fp32"

    @property
    def multiplies(self) -> str:
        """The precision of float32 products, which kernels state: that of the session, or fp32 beside the integers of int8."""
        return "fp32" if self.precision == "int8" else self.precision


_CONTEXT: ContextVar[tuple[bool | None, str | None]] = ContextVar("kigraph_numerics", default=(None, None))


@contextmanager
def using_numerics(*, winograd: bool | None = None, precision: str | None = None) -> Iterator[None]:
    """``with using_numerics(precision="bf16"):`` sessions made inside use it (per thread and per async task)."""
    outer = _CONTEXT.get()
    token = _CONTEXT.set(
        (
            outer[0] if winograd is None else _switch(winograd),
            outer[1] if precision is None else _known(precision, "using_numerics()"),
        )
    )
    try:
        yield
    finally:
        _CONTEXT.reset(token)


def resolve_numerics(
    winograd: bool | None = None,
    precision: str | None = None,
    *,
    backend: str,
    offered: Sequence[str],
    lacks: Callable[[str], str] = lambda precision: "",
    exact: bool = False,
) -> Numerics:
    """Applies the precedence. ``offered``: the precisions of the session's first backend, ``backend``.

    lacks: what this machine lacks for a precision that is not offered, in words; '' where there is nothing to say.
    exact: the graph counts on exact sums of small integers in float32 (it is quantised), so that it has no Winograd unless it
    is asked for, and its operands are not rounded in any precision: its numerics have int8.

    Raises SettingsError for a precision that the backend does not have.
    """
    inside = _CONTEXT.get()
    if winograd is None:
        winograd = (settings.WINOGRAD.get() and not exact) if inside[0] is None else inside[0]
    source = "the argument"
    if precision is None and inside[1] is not None:
        precision, source = inside[1], "using_numerics()"
    elif precision is None:
        precision, source = settings.PRECISION.get(), settings.PRECISION.name
    if precision is None:
        # The former name concerns one backend only.
        precision, source = "fp32", "the default"
        if backend == "cupy":
            precision, source = settings.CUPY_PRECISION.get(), settings.CUPY_PRECISION.name
    if _known(precision, source) not in offered:
        why = lacks(precision) or _NOWHERE.get(precision, "")
        raise SettingsError(
            f"precision {precision!r} (from {source}): the backend {backend} offers {', '.join(offered)} only"
            f"{f' ({why})' if why else ''}; remedy: one of these, or a backend that has it (see docs/precision.md)"
        )
    return Numerics(_switch(winograd), "int8" if exact else precision)


#: Why no backend of the machine may have it.
_NOWHERE = {
    "fp16": "no backend has kernels that multiply in fp16: its largest number is 65,504, so bf16, with the range of fp32, is "
    "the fast precision",
    "tf32": "a format of NVIDIA's tensor cores, on cupy only",
    "int8": "its integers are computed on the CPU",
}


def _switch(winograd: bool) -> bool:
    if not isinstance(winograd, bool | np.bool_):
        raise SettingsError(f"winograd must be True or False, got {winograd!r}")
    return bool(winograd)


def _known(precision: str, source: str) -> str:
    if precision not in settings.PRECISIONS:
        known = ", ".join(settings.PRECISIONS)
        raise SettingsError(f"unknown precision {precision!r} (from {source}); known: {known}")
    return precision
