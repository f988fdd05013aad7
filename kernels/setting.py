"""One environment variable, and how its text is read."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from .errors import SettingsError
from .records import dataclass

__all__ = ["Setting", "at_least", "filled", "one_of", "switch"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Setting(Generic[T]):
    """One environment variable. ``parse`` raises ValueError with what was expected."""

    name: str
    default: T
    parse: Callable[[str], T]
    help: str
    allowed: Sequence[str] = ()

    def get(self) -> T:
        """The value from the environment, else the default; SettingsError if it is invalid."""
        text = os.environ.get(self.name, "").strip()
        if not text:
            return self.default
        try:
            return self.parse(text)
        except ValueError as error:
            valid = f" Valid: {', '.join(self.allowed)}." if self.allowed else ""
            raise SettingsError(f"{self.name}={text!r} is not valid: {error}.{valid} ({self.help})") from None


def filled(text: str) -> str:
    """A text that is not empty."""
    if not text.strip():
        raise ValueError("expected a text that is not empty")
    return text


def one_of(*values: str) -> Callable[[str], str]:
    """One of some words."""

    def parse(text: str) -> str:
        if text not in values:
            raise ValueError(f"expected one of {', '.join(values)}")
        return text

    return parse


def switch(text: str) -> bool:
    """0 or 1."""
    if text not in ("0", "1"):
        raise ValueError("expected 0 or 1")
    return text == "1"


def at_least(low: int, high: int) -> Callable[[str], int]:
    """A whole number from ``low`` to ``high``."""

    def parse(text: str) -> int:
        if not (text.isascii() and text.isdecimal() and len(text) < 10 and low <= int(text) <= high):
            raise ValueError(f"expected a whole number from {low} to {high}")
        return int(text)

    return parse
