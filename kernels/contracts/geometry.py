"""The positions of the windows of a convolution or a pool over an image."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf

from ..records import dataclass
from ..tensor import TensorType
from .conv2d import Conv2DParams, explicit_padding
from .matmul import Activation
from .pool2d import Pool2DParams

__all__ = ["ACTIVATION_LIMITS", "WindowGeometry"]

#: The fused activations as limits of a clamp; NaN passes.
ACTIVATION_LIMITS: dict[Activation, tuple[float, float]] = {
    "none": (-inf, inf),
    "relu": (0.0, inf),
    "relu6": (0.0, 6.0),
}


@dataclass(frozen=True, slots=True)
class WindowGeometry:
    """Windows over NHWC images. Pairs are (height, width): sizes of x and y, the window, its steps, the padding before x
    (top, left) and after it (bottom, right)."""

    images: int
    channels: int
    size: tuple[int, int]
    out: tuple[int, int]
    window: tuple[int, int]
    strides: tuple[int, int]
    dilations: tuple[int, int]
    before: tuple[int, int]
    after: tuple[int, int]

    @classmethod
    def between(
        cls, x: Sequence[int], y: Sequence[int], window: Sequence[int], params: Conv2DParams | Pool2DParams
    ) -> WindowGeometry:
        """From the shapes of x and y (NHWC) and the window's height and width."""
        size, pair = (x[1], x[2]), (window[0], window[1])
        dilations = params.dilations if isinstance(params, Conv2DParams) else (1, 1)
        top, bottom, left, right = explicit_padding(params.padding, size, pair, params.strides, dilations)
        return cls(
            x[0], x[3], size, (y[1], y[2]), pair, params.strides, dilations, before=(top, left), after=(bottom, right)
        )

    @classmethod
    def of(
        cls, inputs: Sequence[TensorType], outputs: Sequence[TensorType], params: Conv2DParams | Pool2DParams
    ) -> WindowGeometry:
        """Of a query's types: a convolution's window is that of its filter."""
        window = params.window if isinstance(params, Pool2DParams) else inputs[1].dims
        return cls.between(inputs[0].dims, outputs[0].dims, window, params)

    @property
    def padded(self) -> bool:
        """Whether windows reach beyond x."""
        return any((*self.before, *self.after))
