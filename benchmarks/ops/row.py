"""What is measured: one op at one size, as a row of ../numpy_rows.py and what the other libraries need to know of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ..numpy_rows import Row

__all__ = ["OpRow"]

Build = Callable[..., Any]


@dataclass(frozen=True, slots=True)
class OpRow:
    """row: inputs and how the op is built; its plain NumPy program, or None where nobody writes one.

    kind: name of the op; size: in words. constants: inputs that are part of the graph, by number. networks: who has it.
    nchw: how the op is built on an NCHW input, for libraries whose layout that is; None where the layout is that of the row.
    torch: makes a call without arguments of the inputs; None where PyTorch has no such op.
    """

    row: Row
    kind: str
    size: str
    constants: frozenset[int] = frozenset()
    networks: tuple[str, ...] = ()
    nchw: Build | None = None
    torch: Callable[..., Callable[[], Any]] | None = None

    @property
    def name(self) -> str:
        return f"{self.kind} {self.size}".strip()
