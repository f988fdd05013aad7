"""Which converter serves which operator of TensorFlow Lite."""

from __future__ import annotations

from collections.abc import Mapping

from . import activations, arrays, control, elementwise, windows
from .build import Converter
from .detection import CUSTOM

__all__ = ["CONVERTERS", "CUSTOM"]

CONVERTERS: Mapping[str, Converter] = {
    **windows.CONVERTERS,
    **activations.CONVERTERS,
    **elementwise.CONVERTERS,
    **arrays.CONVERTERS,
    **control.CONVERTERS,
}
