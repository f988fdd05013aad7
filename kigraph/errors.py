"""Every exception that kigraph raises on purpose, from all layers, in one place.

``except ki.KigraphError`` catches them all. The layers below define their own; the edge adds three.
"""

from __future__ import annotations

from .graph.errors import FeedError, FetchError, GraphError, LoadError, MissingNameError, RunError, UnsupportedOpError
from .kernels.errors import (
    BackendError,
    DeviceError,
    DTypeError,
    ImageError,
    KernelError,
    KigraphError,
    OutOfMemoryError,
    SettingsError,
    ShapeError,
)

__all__ = [
    "BackendError",
    "CardError",
    "DTypeError",
    "DeviceError",
    "FeedError",
    "FetchError",
    "GraphError",
    "ImageError",
    "KernelError",
    "KigraphError",
    "LabelError",
    "LoadError",
    "MissingNameError",
    "OutOfMemoryError",
    "RunError",
    "SettingsError",
    "ShapeError",
    "UnsupportedOpError",
    "WeightsError",
]


class LabelError(KigraphError, ValueError):
    """A label set is unknown, a label file is damaged, or the number of labels does not fit the model."""


class CardError(KigraphError, ValueError):
    """No weights card fits a model, or a card names tensors that the model does not have."""


class WeightsError(KigraphError, RuntimeError):
    """A weight file cannot be found, downloaded, verified or unpacked; the message has the remedy."""
