"""A whole Keras model with Inception v3 in it: its ``model_config`` describes the layers around it, its arrays are the weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, cast

from ...errors import LoadError
from ...formats.limits import load_error
from ...ir import Literal as Constant
from ...loaders.keras_config import Layer, Network, read_config
from ...loaders.weights import WeightsFile
from ..keras_layers import steps_of
from ..steps import Scale, Step
from .keras_base import ANOTHER_NETWORK, Base, find_base
from .layers import sized_convs
from .network import InceptionNetwork, Options, named, scale_of_pixels
from .weights import ConvWeights, left_over, literal

__all__ = ["network_of_config"]


def network_of_config(file: WeightsFile, text: str) -> InceptionNetwork:
    """The network that a file's ``model_config`` describes. LoadError for any other than Inception v3 with a head."""
    network = read_config(text, file.file)
    head, end = _chain(network, network.output, file.file)
    base = find_base(network, end, file.file)
    front, _ = _chain(network, base.input, file.file, to_input=True)
    batch, size = _sizes(network, file.file)
    weights = _Arrays(file)
    convs = _convs(base, weights)
    before = _steps(front, weights, file.file, "front")
    after = named(_steps(head, weights, file.file, "head"))
    unused = left_over(file, weights.used)
    if unused:
        raise load_error(
            file.file, "the arrays", unused, "those of the layers between input and output", ANOTHER_NETWORK
        )
    return InceptionNetwork(
        convs,
        after,
        Options(base.epsilon, cast("Literal['avg', 'max']", base.last_pool)),
        before,
        base.network,
        size,
        batch,
        _metadata(network, before, size),
    )


def _metadata(network: Network, front: tuple[Step, ...], size: tuple[int | None, int | None]) -> dict[str, Any]:
    found: dict[str, Any] = {"model": network.name}
    if any(isinstance(s, Scale) for s in front):
        found["pixels_divided_by"] = scale_of_pixels(front)
    if None in size and network.sizes:
        found["size"] = network.sizes[0]
    return found


def _chain(network: Network, end: Layer, file: str, to_input: bool = False) -> tuple[list[Layer], Layer]:
    """The layers from a concatenation (or the input) to ``end`` in order, and where they begin."""
    found: list[Layer] = []
    here = end
    while here.kind != ("InputLayer" if to_input else "Concatenate"):
        if len(here.inputs) != 1:
            what = f"model '{network.name[:80]}' of {network.count} layers, {here}"
            if here.kind == "InputLayer":
                raise load_error(
                    file, what, "the input, and no Concatenate after it", "the blocks of Inception v3", ANOTHER_NETWORK
                )
            raise load_error(
                file, what, f"{here.kind[:80]} of {len(here.inputs)} layers",
                "layers of one input between the image and Inception v3" if to_input
                else "layers of one input after Inception v3", ANOTHER_NETWORK,
            )  # fmt: skip
        found.append(here)
        (here,) = here.inputs
    return found[::-1], here


def _steps(layers: list[Layer], weights: _Arrays, file: str, prefix: str) -> tuple[Step, ...]:
    found: list[Step] = []
    for layer in layers:
        made = steps_of(layer, weights.literal, file, prefix)
        if not made:
            weights.all_of(layer)
        found += made
    return tuple(found)


def _sizes(network: Network, file: str) -> tuple[int | None, tuple[int | None, int | None]]:
    """(images at once, (height, width)), None where any fits."""
    shape = network.shape
    if shape is None:
        return None, (network.sizes[0] if network.sizes else (None, None))
    if len(shape) != 4 or shape[3] != 3:
        raise load_error(file, str(network.input), f"input {shape}", "(images, height, width, 3)", ANOTHER_NETWORK)
    return shape[0], (shape[1], shape[2])


def _convs(base: Base, weights: _Arrays) -> dict[str, ConvWeights]:
    convs: dict[str, ConvWeights] = {}
    for sized in sized_convs(base.network):
        conv, norm = base.convs[sized.conv.path]
        filters = sized.shape[3]
        scale = bool(norm.config.get("scale", True))
        convs[sized.conv.path] = ConvWeights(
            weights.needed(conv, "kernel", sized.shape),
            weights.needed(norm, "beta", (filters,)),
            weights.needed(norm, "moving_mean", (filters,)),
            weights.needed(norm, "moving_variance", (filters,)),
            weights.needed(norm, "gamma", (filters,)) if scale else None,
        )
    return convs


class _Arrays:
    """The arrays of a file by layer and variable. ``used``: names that were requested."""

    def __init__(self, file: WeightsFile) -> None:
        self.file, self.used = file, set[str]()
        self.layers: Mapping[str, tuple[str, ...]] = file.metadata.get("layers", {})

    def error(self, layer: Layer, found: str, expected: str) -> LoadError:
        remedy = "The file's architecture and its weights do not belong together; save the whole model anew."
        return load_error(self.file.file, str(layer), found, expected, remedy)

    def literal(self, layer: Layer, variable: str, shape: tuple[int | None, ...], needed: bool) -> Constant | None:
        name = self._name(layer, variable)
        if name is None:
            if needed:
                raise self.error(layer, f"no array '{variable}'", "one")
            return None
        self.used.add(name)
        if not needed:
            return None
        found = self.file.tensors[name].shape
        if len(found) != len(shape) or any(w is not None and w != d for d, w in zip(found, shape, strict=True)):
            wanted = ", ".join("any" if d is None else str(d) for d in shape)
            raise self.error(layer, f"'{name[:100]}' of shape {found}", f"({wanted}), as its config says")
        return literal(self.file, name, shape)

    def needed(self, layer: Layer, variable: str, shape: tuple[int | None, ...]) -> Constant:
        made = self.literal(layer, variable, shape, True)
        assert made is not None
        return made

    def all_of(self, layer: Layer) -> None:
        """Marks what an inactive layer keeps: states of random generators."""
        for name in self.layers.get(layer.owner, ()):
            if layer.owner == layer.path[0] == layer.name or layer.name in name.split("/")[:-1]:
                self.used.add(name)

    def _name(self, layer: Layer, variable: str) -> str | None:
        """'.../layer/variable:0' among the arrays of the layer's group; the group alone where it is the layer's own."""
        names = [n for n in self.layers.get(layer.owner, ()) if n.split("/")[-1].partition(":")[0] == variable]
        if len(layer.path) > 1:
            names = [n for n in names if n.split("/")[-2:-1] == [layer.name]]
        if len(names) > 1:
            whole = [n for n in names if tuple(n.split("/")[-1 - len(layer.path) : -1]) == layer.path]
            names = whole or [n for n in names if n.split("/")[-3:-1] == list(layer.path[-2:])]
        if len(names) > 1:
            raise self.error(layer, f"the arrays {', '.join(n[:80] for n in names[:3])}", f"one '{variable}'")
        return names[0] if names else None
