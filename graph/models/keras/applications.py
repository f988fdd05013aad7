"""Layers that networks of keras.applications define for themselves: ConvNeXt, Inception-ResNet v2."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ... import ops
from ...builder import Tensor
from ...formats.limits import brief
from .building import Building
from .merge import tensors

__all__ = ["APPLICATIONS"]

#: What every layer's config may have. HDF5 leaves the package out, so another class of the name is known by its config.
_EVERY = {"name", "trainable", "dtype", "batch_input_shape"}


def _only(b: Building, *keys: str) -> None:
    other = sorted(set(b.config) - _EVERY - set(keys))
    if other:
        raise b.error(f"a config with {brief(other)}", f"that of keras.applications: {', '.join(keys)}")


def _layer_scale(b: Building, x: Tensor) -> Tensor:
    """x times one number per channel."""
    _only(b, "init_values", "projection_dim")
    return ops.multiply(x, b.weight("gamma", b.whole("projection_dim")))


def _scaled_sum(b: Building, x: Any) -> Tensor:
    """The first input, and the second one times a number."""
    _only(b, "scale")
    found = tensors(b, x, 2)
    if len(found) != 2:
        raise b.error(f"{len(found)} inputs", "two")
    return ops.add(found[0], ops.multiply(found[1], b.number("scale")))


def _stochastic_depth(b: Building, x: Tensor) -> Tensor:
    """Leaves out items while training only."""
    _only(b, "drop_path_rate")
    return x


APPLICATIONS: dict[str, Callable[[Building, Any], Any]] = {
    "LayerScale": _layer_scale,
    "CustomScaleLayer": _scaled_sum,
    "StochasticDepth": _stochastic_depth,
}
