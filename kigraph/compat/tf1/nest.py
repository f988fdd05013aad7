"""Tensors in nested lists, tuples, named tuples and dicts (in the order of their keys)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

__all__ = ["leaves_of", "like"]


def leaves_of(value: Any) -> list[Any]:
    """What is no list, tuple or dict, in order."""
    if isinstance(value, dict):
        return [leaf for key in sorted(value) for leaf in leaves_of(value[key])]
    return [leaf for item in value for leaf in leaves_of(item)] if isinstance(value, (list, tuple)) else [value]


def like(structure: Any, leaves: Sequence[Any]) -> Any:
    """The leaves in the nesting of a structure."""
    return _filled(structure, iter(leaves))


def _filled(structure: Any, leaves: Iterator[Any]) -> Any:
    if isinstance(structure, dict):
        return {key: _filled(structure[key], leaves) for key in sorted(structure)}
    if isinstance(structure, tuple) and hasattr(structure, "_fields"):
        return type(structure)(*(_filled(item, leaves) for item in structure))
    if isinstance(structure, (list, tuple)):
        return type(structure)(_filled(item, leaves) for item in structure)
    return next(leaves)
