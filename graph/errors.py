"""Exceptions of the graph layer. Every message says what, where, found, expected, remedy."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

from ..kernels.errors import KigraphError, OutOfMemoryError

__all__ = [
    "FeedError",
    "FetchError",
    "GraphError",
    "LoadError",
    "MissingNameError",
    "RunError",
    "UnsupportedOpError",
    "located",
    "unexpected",
    "within_memory",
]

P = ParamSpec("P")
T = TypeVar("T")


class GraphError(KigraphError):
    """A graph is built or edited in a way that can never work."""


class MissingNameError(GraphError, KeyError):
    """A name that no operation or tensor of a graph has. A KeyError, too, as programs for TensorFlow 1 expect."""

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else ""  # KeyError would show the repr


class FeedError(KigraphError, ValueError):
    """A feed_dict names an unknown tensor, or a value does not fit its tensor."""


class FetchError(KigraphError, ValueError):
    """A fetch names an unknown tensor or operation, or needs a placeholder that was not fed."""


class UnsupportedOpError(KigraphError, NotImplementedError):
    """A graph needs an op that kigraph does not run; the message names op, node and alternatives.

    Worded in opdefs/table.py (unknown ops), opdefs/attributes.py (attributes) and by the definitions (Site.unsupported).
    """


class RunError(KigraphError, RuntimeError):
    """A kernel failed while a plan ran; the message names the node."""


def located(error: KigraphError, op: str, node: str) -> KigraphError:
    """The error with the prefix "op 'node': ", unless its message names the node already."""
    if f"'{node}'" not in str(error):
        error.args = (f"{op} '{node}': {error}", *error.args[1:])
    return error


def unexpected(error: Exception, op: str, node: str, what: str) -> KigraphError:
    """An error of a library below as an error of kigraph that names the node; ``what`` happened to it."""
    if isinstance(error, MemoryError):
        return OutOfMemoryError(
            f"{op} '{node}' {what}: {error or 'no memory'}. Remedy: run a smaller batch, or close other sessions"
        )
    return RunError(f"{op} '{node}' {what}: {error if str(error) else type(error).__name__}")


def within_memory(function: Callable[P, T]) -> Callable[P, T]:
    """The function, with a MemoryError of NumPy or Python as an OutOfMemoryError."""

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return function(*args, **kwargs)
        except KigraphError:
            raise
        except MemoryError as error:
            raise OutOfMemoryError(
                f"{function.__name__.lstrip('_')} needs more main memory than can be had: {error or 'an allocation failed'}. "
                "Remedy: run a smaller batch, or close other sessions"
            ) from error

    return call


class LoadError(KigraphError, ValueError):
    """A file is damaged, hostile, or not of a supported family; the message has file, place, found, expected."""
