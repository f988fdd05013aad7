"""Keras layers before and after Inception v3, as steps. A layer that cannot be expressed exactly is refused."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from math import isfinite
from typing import Any

import numpy as np

from ..errors import LoadError
from ..formats.limits import brief, load_error
from ..ir import Literal
from ..loaders.keras_config import Layer
from .inception_v3.keras_base import ANOTHER_NETWORK
from .nodes import FLOAT32
from .steps import ACTIVATIONS, Activation, ConvStep, Dense, Flatten, GlobalPool, Resize, Scale, Step, Window

__all__ = ["Weights", "steps_of"]

#: (layer, variable, shape with None for any size, whether it must be there) -> the array as float32.
Weights = Callable[[Layer, str, tuple[int | None, ...], bool], Literal | None]

#: What does nothing at inference.
_INACTIVE = frozenset(
    ("Dropout", "SpatialDropout2D", "SpatialDropout1D", "GaussianDropout", "AlphaDropout", "GaussianNoise", "ActivityRegularization",
     "RandomFlip", "RandomRotation", "RandomZoom", "RandomTranslation", "RandomContrast", "RandomBrightness", "RandomHeight",
     "RandomWidth", "RandomSaturation", "RandomHue", "RandomShear", "RandomSharpness", "RandomGrayscale", "RandomColorJitter",
     "RandomPosterization", "RandomColorDegeneration", "RandomErasing", "RandomGaussianBlur", "RandomInvert", "RandomPerspective",
     "RandomElasticTransform", "Identity")
)  # fmt: skip
_FLOATS = ("float32", "float16", "bfloat16", "float64", "mixed_float16", "mixed_bfloat16")
_NAMES = {"silu": "swish", "softmax_v2": "softmax", "relu_v2": "relu", "exp": "exponential"}
#: A number of float32.
_LARGEST = 3.4e38
_BAD = re.compile(r"[^A-Za-z0-9_.-]")


class _Translator:
    """One layer with the weights of its file."""

    def __init__(self, layer: Layer, weights: Weights, file: str, prefix: str) -> None:
        self.layer, self.weights, self.file = layer, weights, file
        self.name = f"{prefix}/{_BAD.sub('_', '/'.join(layer.path)).lstrip('_') or 'layer'}"

    def error(self, found: str, expected: str, remedy: str = ANOTHER_NETWORK) -> LoadError:
        return load_error(self.file, str(self.layer), found, expected, remedy)

    def is_(self, **wanted: Any) -> None:
        """Refuses the layer if its config says anything else than these values; what it does not say is the default."""
        for key, value in wanted.items():
            found = self.layer.config.get(key, value)
            if found != value:
                raise self.error(f"{key} {brief(found)}", f"{value}")

    def number(self, key: str, default: float | None = None) -> float:
        value = self.layer.config.get(key, default)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not isfinite(value):
            raise self.error(f"{key} {brief(value)}", "a number")
        return float(value)

    def pair(self, key: str, default: Any = None) -> tuple[int, int]:
        value = self.layer.config.get(key, default)
        if value is None:
            value = default
        if type(value) is int:
            value = [value, value]
        if (
            not isinstance(value, list)
            or len(value) != 2
            or any(type(v) is not int or not 0 < v < 1 << 20 for v in value)
        ):
            raise self.error(f"{key} {brief(value)}", "two sizes from 1")
        return (value[0], value[1])

    def padding(self) -> str:
        padding = self.layer.config.get("padding", "valid")
        if padding not in ("valid", "same"):
            raise self.error(f"padding {brief(padding)}", "valid or same")
        return str(padding).upper()

    def axis(self, rank: tuple[int, ...]) -> None:
        axis = self.layer.config.get("axis", -1)
        if isinstance(axis, list) and len(axis) == 1:
            (axis,) = axis
        if type(axis) is not int or axis not in (-1, *rank):
            raise self.error(f"axis {brief(axis)}", "the last axis")

    def weight(self, variable: str, *shape: int | None) -> Literal:
        literal = self.weights(self.layer, variable, shape, True)
        assert literal is not None
        return literal

    # --- values in the config -------------------------------------------------------------------------------------------

    def constants(self, value: Any, what: str) -> np.ndarray[Any, Any]:
        """A number, or one per channel, however deep in lists; Keras 3 wraps arrays."""
        if isinstance(value, dict) and value.get("class_name") in ("__numpy__", "__array__"):
            inner = value.get("config")
            value = inner.get("value") if isinstance(inner, dict) else None
        for _ in range(8):
            if isinstance(value, list) and len(value) == 1:
                (value,) = value
        numbers = value if isinstance(value, list) else [value]
        good = all(isinstance(v, (int, float)) and not isinstance(v, bool) and abs(v) < _LARGEST for v in numbers)
        if not good or len(numbers) not in (1, 3):
            raise self.error(f"{what} {brief(value)}", "a number, or one per colour")
        return np.array(numbers if isinstance(value, list) else numbers[0], np.float32)

    def scale(self, op: str, value: np.ndarray[Any, Any] | Literal, tail: str = "") -> Scale:
        return Scale(f"{self.name}{tail}", op, value if isinstance(value, Literal) else Literal.of(value))

    # --- activations ----------------------------------------------------------------------------------------------------

    def activation(self, value: Any, tail: str = "") -> list[Step]:
        """Steps of an ``activation`` argument: a name, or a layer object."""
        name = f"{self.name}{tail}"
        if isinstance(value, dict):
            config = value.get("config")
            kind = str(value.get("class_name"))
            if isinstance(config, dict) and kind in _ACTIVATION_LAYERS and not value.get("registered_name"):
                inner = Layer(kind, self.layer.name, config, self.layer.operands, self.layer.owner, self.layer.path)
                return _Translator(inner, self.weights, self.file, name).steps_named(name)
            raise self.error(f"activation {brief(value)}", f"one of {', '.join(_known())}")
        if value is None or value == "linear":
            return []
        kind = _NAMES.get(value, value) if isinstance(value, str) else value
        if kind == "leaky_relu":
            return [Activation(name, "bent_relu", (np.inf, 0.2))]
        if kind not in _known():
            raise self.error(f"activation {brief(value)}", f"one of {', '.join(_known())}")
        return [Activation(name, str(kind))]

    def steps_named(self, name: str) -> list[Step]:
        self.name = name
        return _LAYERS[self.layer.kind](self)


def _known() -> tuple[str, ...]:
    return tuple(k for k in ACTIVATIONS if k != "bent_relu")


def steps_of(layer: Layer, weights: Weights, file: str, prefix: str) -> list[Step]:
    """The steps of one layer of one input; none if it does nothing at inference."""
    made = _Translator(layer, weights, file, prefix)
    if layer.kind not in _LAYERS and layer.kind not in _INACTIVE:
        known = ", ".join(
            k for k in (*_LAYERS, "Dropout", "RandomFlip, ...") if k not in ("TFOpLambda", "TrueDivide", "Divide")
        )
        remedy = ANOTHER_NETWORK
        if layer.kind in ("Lambda", "TFOpLambda"):
            remedy = f"A Lambda is code, which is never run from a file. {remedy}"
        raise made.error(f"a layer of the class {layer.kind[:80]!r}", f"one of {known}", remedy)
    if layer.kind not in _OPERATIONS and (len(layer.operands) != 1 or layer.arguments):
        extra = f" and the arguments {brief(dict(layer.arguments))}" if layer.arguments else ""
        raise made.error(f"{len(layer.operands)} inputs{extra}", "one input")
    dtype = layer.config.get("dtype")
    name = (
        dtype.get("config", {}).get("name")
        if isinstance(dtype, Mapping) and isinstance(dtype.get("config"), Mapping)
        else dtype
    )
    if name is not None and name not in _FLOATS and layer.kind not in _INACTIVE:
        raise made.error(f"element type {brief(name)}", ", ".join(_FLOATS))
    if layer.training and layer.kind in (*_INACTIVE, "BatchNormalization") and layer.kind != "ActivityRegularization":
        raise made.error("a call with training=True, so that it is active at inference, too", "a call for inference")
    return [] if layer.kind in _INACTIVE else _LAYERS[layer.kind](made)


# --- one function per class ---------------------------------------------------------------------------------------------------


def _dense(t: _Translator) -> list[Step]:
    t.is_(lora_rank=None, quantization_config=None)
    units = t.layer.config.get("units")
    if type(units) is not int or units < 1:
        raise t.error(f"units {brief(units)}", "a number from 1")
    bias = t.weight("bias", units) if t.layer.config.get("use_bias", True) else None
    dense = Dense(t.name, t.weight("kernel", None, units), bias)
    return [dense, *t.activation(t.layer.config.get("activation"), "/activation")]


def _conv(t: _Translator) -> list[Step]:
    t.is_(data_format="channels_last", groups=1, lora_rank=None)
    if t.pair("dilation_rate", 1) != (1, 1):
        raise t.error(f"dilation_rate {t.pair('dilation_rate', 1)}", "1")
    filters = t.layer.config.get("filters")
    if type(filters) is not int or filters < 1:
        raise t.error(f"filters {brief(filters)}", "a number from 1")
    bias = t.weight("bias", filters) if t.layer.config.get("use_bias", True) else None
    kernel = t.weight("kernel", *t.pair("kernel_size"), None, filters)
    made = ConvStep(t.name, kernel, bias, t.pair("strides", 1), t.padding())
    return [made, *t.activation(t.layer.config.get("activation"), "/activation")]


def _batch_norm(t: _Translator) -> list[Step]:
    """As a multiplication and an addition; both constants are computed in float64 and rounded once."""
    t.is_(renorm=False, virtual_batch_size=None, adjustment=None)
    t.axis((1, 3))
    mean, variance = t.weight("moving_mean", None), t.weight("moving_variance", None)
    size = mean.shape[0]
    gamma = t.weight("gamma", size) if t.layer.config.get("scale", True) else None
    beta = t.weight("beta", size) if t.layer.config.get("center", True) else None
    epsilon = t.number("epsilon", 1e-3)
    if variance.shape != (size,) or epsilon < 0:
        raise t.error(f"variances {variance.shape}, epsilon {epsilon:g}", f"({size},), and 0 or more")

    def factor() -> np.ndarray[Any, Any]:
        by: np.ndarray[Any, Any] = 1 / np.sqrt(variance.wide() + epsilon)
        return by if gamma is None else by * gamma.wide()

    def offset() -> np.ndarray[Any, Any]:
        by: np.ndarray[Any, Any] = -mean.wide() * factor()
        return by if beta is None else by + beta.wide()

    def rounded(op: str, make: Callable[[], np.ndarray[Any, Any]]) -> Literal:
        keys = tuple(None if v is None else v.key for v in (gamma, beta, mean, variance))
        key = ("batch_norm", op, epsilon, keys)
        return Literal.lazy(FLOAT32, (size,), lambda: make().astype(np.float32), key, wide=make)

    return [t.scale("Mul", rounded("Mul", factor), "/scaled"), t.scale("AddV2", rounded("AddV2", offset))]


def _global_pool(kind: str) -> Callable[[_Translator], list[Step]]:
    def make(t: _Translator) -> list[Step]:
        t.is_(data_format="channels_last")
        return [GlobalPool(t.name, kind, bool(t.layer.config.get("keepdims", False)))]

    return make


def _window(kind: str) -> Callable[[_Translator], list[Step]]:
    def make(t: _Translator) -> list[Step]:
        t.is_(data_format="channels_last")
        size = t.pair("pool_size", 2)
        return [Window(t.name, kind, size, t.pair("strides", list(size)), t.padding())]

    return make


def _flatten(t: _Translator) -> list[Step]:
    t.is_(data_format="channels_last")
    return [Flatten(t.name)]


def _reshape(t: _Translator) -> list[Step]:
    shape = t.layer.config.get("target_shape")
    if (
        not isinstance(shape, list)
        or not shape
        or any(type(d) is not int or not -1 <= d < 1 << 31 or d == 0 for d in shape)
    ):
        raise t.error(f"target_shape {brief(shape)}", "sizes from 1")
    if shape == [-1]:
        return [Flatten(t.name)]
    if -1 in shape:
        raise t.error(f"target_shape {brief(shape)}", "sizes from 1")
    return [Flatten(t.name, tuple(shape))]


def _relu(t: _Translator) -> list[Step]:
    most = t.layer.config.get("max_value")
    values = (
        np.inf if most is None else t.number("max_value"),
        t.number("negative_slope", 0.0),
        t.number("threshold", 0.0),
    )
    if values[0] <= 0 or values[2] < 0:
        raise t.error(f"max_value {most}, threshold {values[2]:g}", "a positive one, and 0 or more")
    return [Activation(t.name, "relu") if values == (np.inf, 0.0, 0.0) else Activation(t.name, "bent_relu", values)]


def _leaky(t: _Translator) -> list[Step]:
    slope = t.number("alpha", 0.3) if "alpha" in t.layer.config else t.number("negative_slope", 0.3)
    return [Activation(t.name, "bent_relu", (np.inf, slope))]


def _softmax(t: _Translator) -> list[Step]:
    t.axis(())
    return [Activation(t.name, "softmax")]


def _rescaling(t: _Translator) -> list[Step]:
    scale, offset = (
        t.constants(t.layer.config.get("scale"), "scale"),
        t.constants(t.layer.config.get("offset", 0.0), "offset"),
    )
    return [t.scale("Mul", scale, "/scaled"), t.scale("AddV2", offset)]


def _normalization(t: _Translator) -> list[Step]:
    """(x - mean) / max(sqrt(variance), 1e-7); the statistics are in the config, or were learned by ``adapt``."""
    config = t.layer.config
    axis = config.get("axis", -1)
    if (list(axis) if isinstance(axis, list) else [axis]) not in ([-1], [3], [], [None]):
        raise t.error(f"axis {brief(axis)}", "-1, the colours, or None")
    t.is_(invert=False)
    if config.get("mean") is not None:
        mean = Literal.of(t.constants(config["mean"], "mean"))
        variance = Literal.of(t.constants(config.get("variance"), "variance"))
        if variance.array().min() < 0:
            raise t.error(f"variance {brief(config['variance'])}", "0 or more")
    else:
        mean, variance = (t.weight(v) if axis is None else t.weight(v, 3) for v in ("mean", "variance"))
        t.weights(t.layer, "count", (), False)

    def deviation() -> np.ndarray[Any, Any]:
        root: np.ndarray[Any, Any] = np.maximum(np.sqrt(variance.array()), np.float32(1e-7))
        return root

    divisor = Literal.lazy(FLOAT32, variance.shape, deviation, ("deviation", variance.key))
    return [t.scale("Sub", mean, "/centred"), t.scale("RealDiv", divisor)]


def _resizing(t: _Translator) -> list[Step]:
    t.is_(interpolation="bilinear", crop_to_aspect_ratio=False, pad_to_aspect_ratio=False, antialias=False)
    t.is_(data_format="channels_last")
    size = (t.layer.config.get("height"), t.layer.config.get("width"))
    if any(type(n) is not int or not 0 < n < 1 << 20 for n in size):
        raise t.error(f"size {brief(size)}", "sizes from 1")
    return [Resize(t.name, size)]  # type: ignore[arg-type]


_ARITHMETIC = {
    "Add": "AddV2", "Subtract": "Sub", "Multiply": "Mul", "Divide": "RealDiv", "TrueDivide": "RealDiv", "math.add": "AddV2",
    "__operators__.add": "AddV2", "math.subtract": "Sub", "math.multiply": "Mul", "math.truediv": "RealDiv",
    "math.divide": "RealDiv",
}  # fmt: skip


def _arithmetic(t: _Translator) -> list[Step]:
    """x op constant, as ``preprocess_input`` inside of a model leaves it."""
    layer = t.layer
    function = layer.config.get("function") if layer.kind == "TFOpLambda" else layer.kind
    op = _ARITHMETIC.get(function) if isinstance(function, str) else None
    extra = {k: v for k, v in layer.arguments.items() if k != "name"}
    operands = [*layer.operands, *extra.values()]
    if op is None or not set(extra) <= {"y", "x2"} or len(operands) != 2 or not isinstance(operands[0], Layer):
        raise t.error(f"the operation {brief(function)} of {len(operands)} operands", "layer +, -, * or / constant")
    if isinstance(operands[1], Layer):
        raise t.error(f"the operation {brief(function)} of two layers", "layer +, -, * or / constant")
    return [t.scale(op, t.constants(operands[1], "the constant"))]


_OPERATIONS = ("Add", "Subtract", "Multiply", "Divide", "TrueDivide", "TFOpLambda")
_ACTIVATION_LAYERS = ("ReLU", "LeakyReLU", "ELU", "Softmax")
_LAYERS: dict[str, Callable[[_Translator], list[Step]]] = {
    "GlobalAveragePooling2D": _global_pool("avg"),
    "GlobalMaxPooling2D": _global_pool("max"),
    "AveragePooling2D": _window("avg"),
    "MaxPooling2D": _window("max"),
    "Flatten": _flatten,
    "Reshape": _reshape,
    "Dense": _dense,
    "Conv2D": _conv,
    "BatchNormalization": _batch_norm,
    "Activation": lambda t: t.activation(t.layer.config.get("activation")),
    "ReLU": _relu,
    "LeakyReLU": _leaky,
    "ELU": lambda t: [Activation(t.name, "elu", (t.number("alpha", 1.0),))],
    "Softmax": _softmax,
    "Rescaling": _rescaling,
    "Normalization": _normalization,
    "Resizing": _resizing,
    **dict.fromkeys(_OPERATIONS, _arithmetic),
}
