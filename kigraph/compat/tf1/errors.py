"""TensorFlow's exceptions, as far as a run of kigraph's graph can end in one. All are KigraphError, too."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ...errors import (
    FeedError,
    FetchError,
    KigraphError,
    MissingNameError,
    OutOfMemoryError,
    UnsupportedOpError,
)

__all__ = [
    "AbortedError",
    "AlreadyExistsError",
    "CancelledError",
    "DataLossError",
    "DeadlineExceededError",
    "FailedPreconditionError",
    "InternalError",
    "InvalidArgumentError",
    "NotFoundError",
    "OpError",
    "OutOfRangeError",
    "PermissionDeniedError",
    "ResourceExhaustedError",
    "UnimplementedError",
    "translated",
]


class OpError(KigraphError):
    """Base class. ``message``: the text; ``op`` and ``node_def``: what failed, if it is known; ``error_code``: a number."""

    error_code = 2

    def __init__(self, node_def: Any = None, op: Any = None, message: str | None = None) -> None:
        if message is None and isinstance(node_def, str):  # OpError("text"), as kigraph's own exceptions are made
            node_def, message = None, node_def
        super().__init__(message or "")
        self.node_def, self.op, self.message = node_def, op, message or ""


class CancelledError(OpError):
    """A run was cancelled."""

    error_code = 1


class InvalidArgumentError(OpError):
    """Values, shapes or feeds do not fit what is run."""

    error_code = 3


class DeadlineExceededError(OpError):
    """A time limit has passed."""

    error_code = 4


class NotFoundError(OpError):
    """A file, or a tensor in a file, is not there."""

    error_code = 5


class AlreadyExistsError(OpError):
    """What is to be made is there already."""

    error_code = 6


class PermissionDeniedError(OpError):
    """A file may not be read or written."""

    error_code = 7


class ResourceExhaustedError(OpError):
    """No memory is left."""

    error_code = 8


class FailedPreconditionError(OpError):
    """A variable has no value yet."""

    error_code = 9


class AbortedError(OpError):
    """A run was ended from outside."""

    error_code = 10


class OutOfRangeError(OpError):
    """There is nothing more to read."""

    error_code = 11


class UnimplementedError(OpError):
    """The graph needs an op that kigraph does not run."""

    error_code = 12


class InternalError(OpError):
    """What should not happen."""

    error_code = 13


class DataLossError(OpError):
    """A file is damaged."""

    error_code = 15


@contextmanager
def translated() -> Iterator[None]:
    """What a run raises as the exception that TensorFlow has for it, with kigraph's text and cause."""
    try:
        yield
    except (OpError, FeedError, MissingNameError):
        raise
    except UnsupportedOpError as error:
        raise UnimplementedError(None, None, str(error)) from error
    except OutOfMemoryError as error:
        raise ResourceExhaustedError(None, None, str(error)) from error
    except FetchError as error:
        text = str(error)
        if text.startswith("placeholder '"):
            name = text.split("'")[1]
            text = f"You must feed a value for placeholder tensor '{name}': {text}"
        raise InvalidArgumentError(None, None, text) from error
    except KigraphError as error:
        raise InvalidArgumentError(None, None, str(error)) from error
