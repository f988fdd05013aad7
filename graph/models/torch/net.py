"""The vocabulary of the builders: layers by their names in a state dict. Values are NHWC, float32."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ... import ops
from ...builder import Tensor, get_default_graph
from ...ir import Literal
from ...ops import composed
from .arrays import FLOAT32, Arrays

__all__ = ["ACTIVATIONS", "IMAGENET", "Net"]

_OPTIONS = "For example: ki.load(path, architecture='vit heads=4'), or --architecture 'vit heads=4'."
Pads = tuple[int, int, int, int]
#: ImageNet's mean and deviation of pixels from 0 to 1.
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "none": lambda x: x,
    "relu": ops.relu,
    "relu6": ops.relu6,
    "sigmoid": ops.sigmoid,
    "tanh": ops.tanh,
    "gelu": composed.gelu,
    "silu": composed.silu,
    "hardsigmoid": composed.hard_sigmoid,
    "hardswish": composed.hard_swish,
}


class Net:
    """A network being built. ``eps``: of its batch norms, ``layer_eps``: of its layer norms."""

    def __init__(self, arrays: Arrays, eps: float = 1e-5, layer_eps: float = 1e-6) -> None:
        self.arrays, self.eps, self.layer_eps = arrays, eps, layer_eps
        #: What the user says: the network's name, and values by name that no array tells.
        self.says, self.options = "", dict[str, str]()
        #: Whether convolutions pad as TensorFlow's SAME does, where no padding is given.
        self.same = False
        #: Heads of attention, if the user says how many.
        self.heads: int | None = None
        #: What the builder knows of images: size, resize, mean, std, interpolation.
        self.images: dict[str, Any] = {}
        self._shared: dict[tuple[Any, ...], Tensor] = {}

    def __contains__(self, name: str) -> bool:
        return name in self.arrays

    def input(self, first: str, size: int | None = None) -> Tensor:
        """The image; ``first`` is the weight of the convolution that takes it, (filters, channels, height, width)."""
        shape = (None, size, size, self.arrays.shape(first, 4)[1])
        attrs = {"dtype": FLOAT32, "shape": shape}
        return get_default_graph().create_op("Placeholder", (), attrs, "input").outputs[0]

    def constant(self, name: str, literal: Literal) -> Tensor:
        attrs = {"dtype": literal.dtype, "value": literal}
        return get_default_graph().create_op("Const", (), attrs, name).outputs[0]

    def option(self, name: str, what: str) -> list[int] | None:
        """Whole numbers that the user gives for ``name``, taken from ``options``; None if none are given."""
        text = self.options.pop(name, None)
        if text is None:
            return None
        parts = text.split(",")
        if not all(p.isascii() and p.isdecimal() and len(p) < 6 and int(p) for p in parts):
            raise self.arrays.error(f"architecture {name}=", text[:60], f"{what}, whole numbers from 1", _OPTIONS)
        return [int(p) for p in parts]

    def shared(self, key: tuple[Any, ...], make: Callable[[], np.ndarray[Any, Any]]) -> Tensor:
        """A constant that several blocks take, made once."""
        if key not in self._shared:
            self._shared[key] = ops.constant(make())
        return self._shared[key]

    def vector(self, name: str, size: int) -> Tensor:
        return self.constant(name, self.arrays.literal(name, (size,)))

    @staticmethod
    def channels(x: Tensor) -> int:
        found = (x.shape or (None,))[-1]
        assert found is not None  # every layer here gives a known number
        return int(found)

    # --- windows ------------------------------------------------------------------------------------------------------

    def conv(
        self,
        x: Tensor,
        name: str,
        stride: int = 1,
        pad: int | tuple[int, int] | None = None,
        *,
        grouped: bool = False,
        bias: bool = True,
    ) -> Tensor:
        """Convolution ``name``. pad: half of the window where it is None.

        grouped: it may take the channels in groups, as many as its weights say; else they have to take all. bias: it has to
        have one; otherwise it may.
        """
        weight = f"{name}.weight"
        filters, taken, height, width = self.arrays.shape(weight, 4)
        cin = self.channels(x)
        if cin % taken or (cin != taken and (not grouped or filters % (cin // taken))):
            raise self.arrays.error(f"array '{weight[:100]}'", f"{taken} channels", f"{cin}, as many as it gets")
        up, left = ((height - 1) // 2, (width - 1) // 2) if pad is None else (pad, pad) if isinstance(pad, int) else pad
        attrs: dict[str, Any] = {"strides": (1, stride, stride, 1), "data_format": "NHWC"}
        attrs |= {"padding": "SAME"} if self.same and pad is None else _padding((up, up, left, left))
        shape = (filters, taken, height, width)
        if taken == 1 and cin == filters and cin > 1:
            kernel = self.constant(weight, self.arrays.literal(weight, shape, (2, 3, 0, 1)))
            type = "DepthwiseConv2dNative"
        else:
            kernel = self.constant(weight, self.arrays.literal(weight, shape, (2, 3, 1, 0)))
            type = "Conv2D"
        y = x.graph.create_op(type, [x, kernel], attrs, name).outputs[0]
        if bias or f"{name}.bias" in self.arrays:
            y = ops.bias_add(y, self.vector(f"{name}.bias", filters))
        return y

    def norm(self, x: Tensor, name: str) -> Tensor:
        """Batch norm with the statistics of training."""
        names = [f"{name}.{n}" for n in ("weight", "bias", "running_mean", "running_var")]
        inputs = [x, *(self.vector(n, self.channels(x)) for n in names)]
        attrs = {"epsilon": self.eps, "is_training": False, "data_format": "NHWC"}
        return x.graph.create_op("FusedBatchNormV3", inputs, attrs, name).outputs[0]

    def conv_norm(
        self,
        x: Tensor,
        conv: str,
        norm: str,
        act: str = "relu",
        stride: int = 1,
        pad: Any = None,
        *,
        grouped: bool = False,
    ) -> Tensor:
        return ACTIVATIONS[act](self.norm(self.conv(x, conv, stride, pad, grouped=grouped, bias=False), norm))

    def max_pool(self, x: Tensor, window: int = 3, stride: int = 2, pad: int = 0, *, ceil: bool = False) -> Tensor:
        """ceil: a last window may begin before the end; one more line of padding gives the same, whatever the size."""
        if ceil and window - stride not in (0, 1):
            raise ValueError("ceil is right for windows that overlap by one line or none")
        return self._pool("MaxPool", x, window, stride, (pad, pad + ceil, pad, pad + ceil), {})

    def avg_pool(self, x: Tensor, window: int, stride: int, pad: int = 0, *, counted: bool = True) -> Tensor:
        """counted: padding counts as zeros, PyTorch's default."""
        attrs = {"count_include_pad": True} if counted and pad else {}
        return self._pool("AvgPool", x, window, stride, (pad,) * 4, attrs)

    @staticmethod
    def _pool(type: str, x: Tensor, window: int, stride: int, pads: Pads, more: dict[str, Any]) -> Tensor:
        attrs = {"ksize": (1, window, window, 1), "strides": (1, stride, stride, 1), "data_format": "NHWC"}
        return x.graph.create_op(type, [x], {**attrs, **_padding(pads), **more}).outputs[0]

    @staticmethod
    def mean(x: Tensor, *, keep: bool = False) -> Tensor:
        """The mean over height and width."""
        return ops.reduce_mean(x, [1, 2], keepdims=keep)

    def adaptive_mean(self, x: Tensor, height: int, width: int) -> Tensor:
        """AdaptiveAvgPool2d of any image: a matrix of averages for each axis, made of the size that the image has."""
        c = self.channels(x)
        sizes = ops.shape(x)
        rows = ops.reshape(x, ops.stack([sizes[0], sizes[1], sizes[2] * c]))
        y = ops.matmul(_averages(height, sizes[1]), rows)
        y = ops.reshape(y, ops.stack([sizes[0] * height, sizes[2], np.int32(c)]))
        y = ops.matmul(_averages(width, sizes[2]), y)
        return ops.reshape(y, [-1, height, width, c])

    # --- dense layers ---------------------------------------------------------------------------------------------------

    def linear(self, x: Tensor, name: str, image: tuple[int, int] | None = None, *, bias: bool = True) -> Tensor:
        """Linear layer over the last axis. image: height and width of what was flattened as channels, height, width.

        The weights may be those of a 1x1 convolution.
        """
        weight = f"{name}.weight"
        shape = self.arrays.shape(weight)
        if len(shape) not in (2, 4) or any(n != 1 for n in shape[2:]):
            raise self.arrays.error(f"array '{weight[:100]}'", f"shape {shape}", "a linear layer: outputs, inputs")
        cin, cout = self.channels(x), shape[0]
        whole = (cout, cin, *shape[2:])
        if image is None:
            literal = self.arrays.literal(weight, whole, (1, 0), (cout, cin))
        else:
            size = (cout, cin // (image[0] * image[1]), *image)
            literal = self.arrays.literal(weight, whole, (2, 3, 1, 0), size, (cin, cout))
        kernel = self.constant(weight, literal)
        dims = x.shape or ()
        y = ops.matmul(x if len(dims) == 2 else ops.reshape(x, [-1, cin]), kernel)
        if bias:
            y = ops.bias_add(y, self.vector(f"{name}.bias", cout))
        return y if len(dims) == 2 else ops.reshape(y, ops.concat([ops.shape(x)[:-1], [cout]], 0))

    def parameter(self, name: str, shape: Sequence[int], after: tuple[int, ...] = ()) -> Tensor:
        return self.constant(name, self.arrays.literal(name, tuple(shape), after=after))

    def layer_norm(self, x: Tensor, name: str) -> Tensor:
        """Over the last axis."""
        centred = ops.subtract(x, ops.reduce_mean(x, [-1], keepdims=True))
        variance = ops.reduce_mean(ops.square(centred), [-1], keepdims=True)
        y = ops.multiply(centred, ops.rsqrt(ops.add(variance, self.layer_eps)))
        size = self.channels(x)
        return ops.add(ops.multiply(y, self.vector(f"{name}.weight", size)), self.vector(f"{name}.bias", size))

    def squeeze(self, x: Tensor, reduce: str, expand: str, act: str = "relu", gate: str = "sigmoid") -> Tensor:
        """Squeeze and excitation: x times what two 1x1 convolutions make of its mean."""
        y = ACTIVATIONS[act](self.conv(self.mean(x, keep=True), reduce))
        return ops.multiply(x, ACTIVATIONS[gate](self.conv(y, expand)))


def _padding(pads: Pads) -> dict[str, Any]:
    if not any(pads):
        return {"padding": "VALID"}
    return {"padding": "EXPLICIT", "explicit_paddings": (0, 0, *pads, 0, 0)}


def _averages(target: int, size: Tensor) -> Tensor:
    """(target, size): row i averages elements i * size // target up to ceil((i + 1) * size / target)."""
    rows = np.arange(target, dtype=np.int32)[:, None]
    at = ops.expand_dims(ops.range(0, size), 0)
    first = ops.floordiv(ops.multiply(ops.constant(rows), size), target)
    last = ops.floordiv(ops.add(ops.multiply(ops.constant(rows + 1), size), target - 1), target)
    inside = ops.logical_and(ops.greater_equal(at, first), ops.less(at, last))
    return ops.divide(ops.cast(inside, FLOAT32), ops.cast(ops.subtract(last, first), FLOAT32))
