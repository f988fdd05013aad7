"""TensorFlow 1's names over kigraph's graph: ``import kigraph.compat.v1 as tf``.

Programs for TensorFlow 1 run after that one change, as far as docs/compat-v1.md lists what they use. What it does not have
is an AttributeError that names the alternative; where something would differ from TensorFlow, it is refused by name.

This module only finds names; the folder tf1 has what they are.
"""

from __future__ import annotations

from typing import Any

from .tf1.missing import refuse

__all__: list[str] = []

__version__ = "1.15.0"
VERSION = __version__


def __getattr__(name: str) -> Any:
    if name.startswith("__"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from .tf1.names import NAMES

    if name not in NAMES:
        refuse(name, tuple(NAMES))
    return NAMES[name]


def __dir__() -> list[str]:
    from .tf1.names import NAMES

    return sorted([*globals(), *NAMES])
