"""Hints in error messages: names that look like the one that was not found."""

from __future__ import annotations

from collections.abc import Collection

__all__ = ["similar"]

#: difflib takes about 0.1 ms per name of 100 letters, and grows with the square of the length.
_MAX_COMPARED, _MAX_COMPARED_LENGTH = 5000, 150


def similar(name: str, names: Collection[str]) -> str:
    """Up to three of ``names`` that look like ``name``, joined; '' where comparing would take long."""
    import difflib

    if len(names) > _MAX_COMPARED or len(name) > _MAX_COMPARED_LENGTH:
        return ""
    short = [n for n in names if len(n) <= _MAX_COMPARED_LENGTH]
    return ", ".join(difflib.get_close_matches(name, short, n=3))
