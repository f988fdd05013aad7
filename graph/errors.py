"""Exceptions of the graph layer. Every message says what, where, found, expected, remedy."""

from __future__ import annotations

from ..kernels.errors import KigraphError

__all__ = [
    "FeedError",
    "FetchError",
    "GraphError",
    "LoadError",
    "MissingNameError",
    "RunError",
    "UnsupportedOpError",
    "located",
]


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
    """A graph needs an op that kigraph does not run; the message names op, node and alternatives."""


class RunError(KigraphError, RuntimeError):
    """A kernel failed while a plan ran; the message names the node."""


def located(error: KigraphError, op: str, node: str) -> KigraphError:
    """The error with "op 'node': " in front of its message, unless the message names the node already."""
    if f"'{node}'" not in str(error):
        error.args = (f"{op} '{node}': {error}", *error.args[1:])
    return error


class LoadError(KigraphError, ValueError):
    """A file is damaged, hostile, or not of a supported family; the message has file, place, found, expected."""
