"""Weights for the built-in Inception v3: from files with torchvision's, Keras' or kigraph's names, or from a seed.

Everything stays a lazy Literal: a kernel is read, transposed and turned into float32 when a plan packs it.
timm's Inception v3 has torchvision's names. What else is in a file, and which head it means: files.py.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ....kernels.tensor import is_float
from ...errors import LoadError
from ...ir import Literal
from ...loaders.weights import TensorInfo, WeightsFile
from .layers import CONVS, FEATURES, Sized

__all__ = [
    "KNOWN_NAMES",
    "SAVE_WHOLE",
    "TORCHVISION_FIRST",
    "ConvWeights",
    "InceptionWeights",
    "canonical_convs",
    "find_naming",
    "keras_convs",
    "left_over",
    "literal",
    "naming_of",
    "seeded_weights",
    "torchvision_convs",
]

FLOAT32 = np.dtype(np.float32)
#: Ends the name of the first array in torchvision's files, whatever module it was inside.
TORCHVISION_FIRST = "Conv2d_1a_3x3.conv.weight"
#: The way out where weights alone do not say their network.
SAVE_WHOLE = "weights alone do not say how they are connected; save the whole model: model.save('model.h5')"
#: Names that a message lists.
_SHOWN = 5
Array = np.ndarray[Any, Any]


@dataclass(frozen=True, slots=True)
class ConvWeights:
    """kernel: height x width x inputs x filters; the others: one number per filter. ``gamma`` None means ones."""

    kernel: Literal
    beta: Literal
    mean: Literal
    variance: Literal
    gamma: Literal | None = None


@dataclass(frozen=True, slots=True)
class InceptionWeights:
    """``convs`` by path; the classifier's ``kernel`` (2048 x classes) and ``bias``."""

    convs: Mapping[str, ConvWeights]
    kernel: Literal
    bias: Literal

    @property
    def classes(self) -> int:
        return self.kernel.shape[1]


#: Whose names are known, each with the name of the first array.
KNOWN_NAMES = "torchvision or timm (Conv2d_1a_3x3.conv.weight), Keras (conv2d_1/kernel:0) or kigraph (conv/kernel)"


def naming_of(file: WeightsFile) -> str | None:
    """Whose names the file has: 'torchvision', 'keras' or 'kigraph'; None if they are not those of Inception v3."""
    if any(name.endswith(TORCHVISION_FIRST) for name in file.tensors):
        return "torchvision"
    if "conv/kernel" in file.tensors:
        return "kigraph"
    return "keras" if any(_KERAS.fullmatch(name) for name in file.tensors) else None


def find_naming(file: WeightsFile) -> str:
    """Whose names the file has; LoadError if they are not those of Inception v3."""
    found = naming_of(file)
    if found is None:
        raise LoadError(
            f"{file.file}: the arrays {', '.join(list(file.tensors)[:4])}, ... are not those of a known Inception v3; expected the "
            f"names of {KNOWN_NAMES}. Weights alone do not say their network: export another one as a frozen TensorFlow graph (.pb)"
        )
    return found


def literal(
    file: WeightsFile,
    name: str,
    shape: tuple[int | None, ...],
    turned: tuple[int, ...] = (),
) -> Literal:
    """The array ``name`` of the given shape (None: any size), as float32, with its axes permuted to ``turned``."""
    info: TensorInfo = file[name]
    if len(info.shape) != len(shape) or any(w is not None and w != d for d, w in zip(info.shape, shape, strict=True)):
        wanted = ", ".join("any" if d is None else str(d) for d in shape)
        raise LoadError(f"{file.file}: array '{name}' has shape {info.shape}; Inception v3 has ({wanted}) there")
    if not is_float(info.dtype):
        raise LoadError(f"{file.file}: array '{name}' has element type {info.stored}; expected floating point")
    axes = turned or tuple(range(len(shape)))

    def load() -> Array:
        return np.ascontiguousarray(info.load().transpose(axes), FLOAT32)

    return Literal.lazy(FLOAT32, tuple(info.shape[a] for a in axes), load, (info.key, axes, "float32"))


def left_over(file: WeightsFile, used: Collection[str]) -> str:
    """The arrays of a file that belong to nothing that is built, in words; '' if there are none."""
    names = [name for name in file.tensors if name not in used]
    if not names:
        return ""
    shown = ", ".join(f"'{n[:100]}' {file.tensors[n].shape}" for n in names[:_SHOWN])
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"{len(names)} that no layer of the network takes: {shown}{more}"


def torchvision_convs(file: WeightsFile) -> tuple[dict[str, ConvWeights], set[str]]:
    """The convolutions, and the names of their arrays."""
    convs: dict[str, ConvWeights] = {}
    used: set[str] = set()
    for sized in CONVS:
        name = sized.conv.torchvision
        height, width, inputs, filters = sized.shape
        bn = (filters,)
        convs[sized.conv.path] = ConvWeights(
            literal(file, f"{name}.conv.weight", (filters, inputs, height, width), turned=(2, 3, 1, 0)),
            literal(file, f"{name}.bn.bias", bn),
            literal(file, f"{name}.bn.running_mean", bn),
            literal(file, f"{name}.bn.running_var", bn),
            literal(file, f"{name}.bn.weight", bn),
        )
        used |= {f"{name}.conv.weight"}
        used |= {f"{name}.bn.{v}" for v in ("bias", "running_mean", "running_var", "weight", "num_batches_tracked")}
    return convs, used


def canonical_convs(file: WeightsFile) -> tuple[dict[str, ConvWeights], set[str]]:
    """As torchvision_convs, for kigraph's own names."""
    convs: dict[str, ConvWeights] = {}
    used: set[str] = set()
    for sized in CONVS:
        path, bn = sized.conv.path, (sized.shape[3],)
        gamma = f"{path}/gamma"
        convs[path] = ConvWeights(
            literal(file, f"{path}/kernel", sized.shape),
            literal(file, f"{path}/beta", bn),
            literal(file, f"{path}/mean", bn),
            literal(file, f"{path}/variance", bn),
            literal(file, gamma, bn) if gamma in file.tensors else None,
        )
        used |= {f"{path}/{v}" for v in ("kernel", "beta", "mean", "variance", "gamma")}
    return convs, used


# --- Keras: layers have automatic names; the number gives the order of creation, which is the table's order ------------

_KERAS = re.compile(r"(?:.*/)?(conv2d|batch_normalization)(?:_(\d+))?/(\w+?)(?::0)?")


def keras_convs(file: WeightsFile) -> tuple[dict[str, ConvWeights], set[str]]:
    """As torchvision_convs. The numbers need not begin at 1: a program that made other layers before has 'conv2d_95' first."""
    layers: dict[str, dict[int, dict[str, str]]] = {"conv2d": {}, "batch_normalization": {}}
    used: set[str] = set()
    for name in file.tensors:
        match = _KERAS.fullmatch(name)
        if match is not None:
            kept = layers[match[1]].setdefault(int(match[2] or 0), {}).setdefault(match[3], name)
            if kept != name:
                raise LoadError(f"{file.file}: '{kept}' and '{name}' have the same layer and variable; {SAVE_WHOLE}")
            used.add(name)
    convs_found = [layers["conv2d"][n] for n in sorted(layers["conv2d"])]
    norms_found = [layers["batch_normalization"][n] for n in sorted(layers["batch_normalization"])]
    if len(convs_found) != len(CONVS) or len(norms_found) != len(CONVS):
        raise LoadError(
            f"{file.file}: {len(convs_found)} convolutions and {len(norms_found)} batch normalisations; Keras' Inception v3 "
            f"has {len(CONVS)} of each; {SAVE_WHOLE}"
        )
    convs = {
        sized.conv.path: _keras_conv(file, sized, conv, norm)
        for sized, conv, norm in zip(CONVS, convs_found, norms_found, strict=True)
    }
    return convs, used


def _keras_conv(file: WeightsFile, sized: Sized, conv: dict[str, str], norm: dict[str, str]) -> ConvWeights:
    bn = (sized.shape[3],)
    missing = {"kernel"} - conv.keys() or {"beta", "moving_mean", "moving_variance"} - norm.keys()
    if missing:
        near = next(iter([*conv.values(), *norm.values()]))
        raise LoadError(f"{file.file}: the layer of '{near}' has no {', '.join(sorted(missing))}")
    if "bias" in conv:
        raise LoadError(f"{file.file}: '{conv['bias']}' exists; the convolutions of Inception v3 have no bias")
    other = {*(conv.keys() - {"kernel"}), *(norm.keys() - {"beta", "moving_mean", "moving_variance", "gamma"})}
    if other:
        near = next(v for k, v in [*conv.items(), *norm.items()] if k in other)
        raise LoadError(f"{file.file}: '{near}' exists; no layer of Inception v3 has such an array; {SAVE_WHOLE}")
    return ConvWeights(
        literal(file, conv["kernel"], sized.shape),
        literal(file, norm["beta"], bn),
        literal(file, norm["moving_mean"], bn),
        literal(file, norm["moving_variance"], bn),
        literal(file, norm["gamma"], bn) if "gamma" in norm else None,
    )


# --- from a seed ------------------------------------------------------------------------------------------------------------


def _seeded(key: tuple[int, ...], shape: tuple[int, ...], make: Callable[[np.random.Generator], Array]) -> Literal:
    """Each array has its own random stream, so that it can be made alone and again."""

    def load() -> Array:
        return np.asarray(make(np.random.Generator(np.random.PCG64(key))), FLOAT32)

    return Literal.lazy(FLOAT32, shape, load, ("seeded", *key, shape))


def seeded_weights(seed: int = 0, classes: int = 1000) -> InceptionWeights:
    """Untrained weights: kernels scaled after He (arXiv 1502.01852), so that activations keep their size through all layers."""
    convs: dict[str, ConvWeights] = {}
    for i, sized in enumerate(CONVS):
        height, width, inputs, filters = sized.shape
        scale = np.float32((2.0 / (height * width * inputs)) ** 0.5)
        shape, bn = sized.shape, (filters,)

        def kernel(g: np.random.Generator, shape: Any = shape, scale: Any = scale) -> Array:
            return np.asarray(g.standard_normal(shape, FLOAT32) * scale)

        def small(g: np.random.Generator, bn: Any = bn) -> Array:
            return np.asarray(g.uniform(-0.1, 0.1, bn))

        def near_one(g: np.random.Generator, bn: Any = bn) -> Array:
            return np.asarray(g.uniform(0.9, 1.1, bn))

        convs[sized.conv.path] = ConvWeights(
            _seeded((seed, i, 0), shape, kernel),
            _seeded((seed, i, 1), bn, small),
            _seeded((seed, i, 2), bn, small),
            _seeded((seed, i, 3), bn, near_one),
            _seeded((seed, i, 4), bn, near_one),
        )
    top = (FEATURES, classes)
    return InceptionWeights(
        convs,
        _seeded((seed, 94, 0), top, lambda g: g.standard_normal(top, FLOAT32) * np.float32(FEATURES**-0.5)),
        _seeded((seed, 94, 1), (classes,), lambda g: g.uniform(-0.1, 0.1, classes)),
    )
