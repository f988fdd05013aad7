"""What a session may trade for speed, fixed when it is made.

Precedence: argument > ``with using_numerics(...)`` > environment > default.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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

    precision: how float32 is multiplied in convolutions and matrix products: 'fp32', or 'tf32' or 'bf16' on tensor cores.
    """

    winograd: bool = True
    precision: str = "fp32"


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
    exact: bool = False,
) -> Numerics:
    """Applies the precedence. ``offered``: the precisions of the session's first backend, ``backend``.

    exact: the graph counts on exact sums of small integers in float32, so that it has no Winograd unless it is asked for.

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
        # The former name, which concerns one backend only.
        old = settings.CUPY_PRECISION.get()
        precision = old if old in offered else "fp32"
    if _known(precision, source) not in offered:
        raise SettingsError(
            f"precision {precision!r} (from {source}): the backend {backend} multiplies float32 in {', '.join(offered)} only; "
            f"remedy: one of these, or a backend that has it (see README, 'Settings')"
        )
    return Numerics(_switch(winograd), precision)


def _switch(winograd: bool) -> bool:
    if not isinstance(winograd, bool | np.bool_):
        raise SettingsError(f"winograd must be True or False, got {winograd!r}")
    return bool(winograd)


def _known(precision: str, source: str) -> str:
    if precision not in settings.PRECISIONS:
        known = ", ".join(settings.PRECISIONS)
        raise SettingsError(f"unknown precision {precision!r} (from {source}); known: {known}")
    return precision
