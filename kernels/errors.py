"""Exceptions of the kernel layer. Every message says what, where, found, expected, remedy."""

from __future__ import annotations

__all__ = [
    "BackendError",
    "DTypeError",
    "DeviceError",
    "ImageError",
    "KernelError",
    "KigraphError",
    "OutOfMemoryError",
    "SettingsError",
    "ShapeError",
]


class KigraphError(Exception):
    """Base class of every exception that kigraph raises on purpose."""


class KernelError(KigraphError):
    """A kernel was called with arrays that it does not accept, or no kernel exists for a query."""


class ShapeError(KernelError, ValueError):
    """Shapes do not fit an op's contract."""


class DTypeError(KernelError, TypeError):
    """Element types do not fit an op's contract."""


class ImageError(KernelError, ValueError):
    """An encoded image is damaged, truncated, too large or of a kind that is not read."""


class BackendError(KigraphError, RuntimeError):
    """A backend is unknown or cannot be used here; the message has the reason and the remedy."""


class DeviceError(KigraphError, RuntimeError):
    """A device failed while it ran kernels or copied; the message says whether it can still be used.

    deferred: the device is asynchronous, and the error may be that of an earlier kernel.
    """

    def __init__(self, message: str, *, deferred: bool = False) -> None:
        super().__init__(message)
        self.deferred = deferred


class OutOfMemoryError(KigraphError, MemoryError):
    """A device has less free memory than is needed, even after idle memory was released."""


class SettingsError(KigraphError, ValueError):
    """An environment variable or an argument that stands for one has an invalid value."""
