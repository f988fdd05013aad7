"""Whether the layers of a Keras model are those of Inception v3, layer by layer, from the head back to the image.

The table of layers.py is followed backwards through the connections that the file states: classes, sizes,
strides, padding, activation, what is concatenated and in which order. So a network is built as Inception v3 only if it
is one; whole blocks may be missing at the end.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ...errors import LoadError
from ...formats.limits import brief, load_error
from ...loaders.keras_config import Layer, Network
from .layers import NETWORK, Block, Conv, Pool, Step, sized_convs

__all__ = ["ANOTHER_NETWORK", "Base", "find_base"]

ANOTHER_NETWORK = (
    "Of Keras models, only Inception v3 is built; freeze another network in TensorFlow (README, 'Keras models') "
    "and load the .pb."
)

#: What early versions of Keras do not write, as everything else is then.
_YOUNGER = frozenset(
    ("data_format", "groups", "dilation_rate", "renorm", "virtual_batch_size", "adjustment", "lora_rank", "max_value",
     "negative_slope", "threshold")
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Base:
    """``convs``: the convolution and the batch normalisation of each path. ``input``: what feeds the first convolution."""

    input: Layer
    output: Layer
    network: tuple[Step, ...]
    convs: Mapping[str, tuple[Layer, Layer]]
    epsilon: float
    last_pool: str


def find_base(network: Network, end: Layer, file: str) -> Base:
    """Inception v3 (or its first blocks) up to the concatenation ``end``. LoadError says where it differs first."""
    return _Match(network, file).run(end)


def _upstream(end: Layer) -> int:
    """How many convolutions ``end`` depends on."""
    seen: set[Layer] = set()
    waiting = [end]
    while waiting:
        layer = waiting.pop()
        if layer not in seen:
            seen.add(layer)
            waiting += layer.inputs
    return sum(layer.kind == "Conv2D" for layer in seen)


class _Match:
    def __init__(self, network: Network, file: str) -> None:
        self.network, self.file = network, file
        self.convs: dict[str, tuple[Layer, Layer]] = {}
        self.epsilons: dict[float, Layer] = {}
        self.last_pool = "avg"

    def error(self, place: object, found: str, expected: str) -> LoadError:
        return load_error(
            self.file,
            f"model '{self.network.name[:80]}' of {self.network.count} layers, {place}",
            found,
            expected,
            ANOTHER_NETWORK,
        )

    def run(self, end: Layer) -> Base:
        count = _upstream(end)
        table = next(
            (NETWORK[:k] for k in range(len(NETWORK), 0, -1) if isinstance(NETWORK[k - 1], Block)
             and len(sized_convs(NETWORK[:k])) == count),
            None,
        )  # fmt: skip
        if table is None:
            raise self.error(
                end, f"{count} convolutions before it", "94, as Inception v3 has (fewer if whole blocks are cut off)"
            )
        start = self.back(table, end)
        if len(self.epsilons) > 1:
            first, other, *_ = self.epsilons
            raise self.error(self.epsilons[other], f"epsilon {other:g}", f"{first:g}, as in the other layers")
        return Base(start, end, table, self.convs, next(iter(self.epsilons)), self.last_pool)

    def back(self, steps: Sequence[Step], layer: Layer) -> Layer:
        """The layer that feeds the first of ``steps``, whose last gives the output of ``layer``."""
        for step in reversed(steps):
            if isinstance(step, Conv):
                layer = self._conv(step, layer)
            elif isinstance(step, Pool):
                layer = self._pool(step, layer)
            else:
                parts = self._parts(layer, step)
                layer = self._block(step, parts)
                if parts:
                    raise self.error(layer, f"{len(parts)} more parts in '{step.path}'", "no more")
        return layer

    def _block(self, block: Block, parts: list[Layer]) -> Layer:
        """Takes the block's outputs off the end of ``parts``; the one layer that feeds all its branches."""
        starts: list[Layer] = []
        for branch in reversed(block.branches):
            last = branch[-1]
            if isinstance(last, Block):
                starts.append(self.back(branch[:-1], self._block(last, parts)))
            elif parts:
                starts.append(self.back(branch, parts.pop()))
            else:
                raise self.error(
                    "a Concatenate", "fewer inputs", f"the {len(block.branches)} branches of '{block.path}'"
                )
        if any(s is not starts[0] for s in starts):
            names = ", ".join(sorted({s.name[:80] for s in starts}))
            raise self.error(f"block '{block.path}'", f"branches from {names}", "branches from one layer")
        return starts[0]

    def _parts(self, layer: Layer, block: Block) -> list[Layer]:
        """Inputs of nested concatenations along the channels, in order."""
        parts: list[Layer] = []
        waiting = [layer]
        while waiting:
            here = waiting.pop()
            if here.kind == "Concatenate":
                axis = here.config.get("axis", -1)
                if axis not in (3, -1) or isinstance(axis, bool):
                    raise self.error(here, f"axis {brief(axis)}", "axis 3, the channels")
                if len(here.inputs) != len(here.operands):
                    raise self.error(here, "a constant among its inputs", "layers' outputs")
                waiting += reversed(here.inputs)
            else:
                parts.append(here)
        if layer.kind != "Concatenate":
            raise self.error(layer, layer.kind[:80], f"Concatenate (block '{block.path}' of Inception v3)")
        return parts

    def _one(self, layer: Layer, kind: str, what: str) -> Layer:
        """The only input of ``layer``, which must be of the class ``kind``."""
        if layer.kind != kind:
            raise self.error(layer, layer.kind[:80], f"{kind} ({what} of Inception v3)")
        if len(layer.operands) != 1 or len(layer.inputs) != 1 or layer.arguments:
            raise self.error(layer, f"{len(layer.operands)} inputs and {brief(dict(layer.arguments))}", "one input")
        if layer.training:
            raise self.error(layer, "a call with training=True", "a call for inference")
        (given,) = layer.inputs
        return given

    def _is(self, layer: Layer, wanted: Mapping[str, Any]) -> None:
        for key, value in wanted.items():
            found = layer.config.get(key, value if key in _YOUNGER else None)
            if key == "axis" and isinstance(found, list) and len(found) == 1:
                (found,) = found
            if key == "axis" and found == -1:
                found = 3
            if isinstance(value, tuple):
                value = list(value)
                found = [found] * len(value) if isinstance(found, int) else found
            if found != value:
                raise self.error(layer, f"{key} {brief(found)}", f"{value}, as in Inception v3")

    def _conv(self, step: Conv, layer: Layer) -> Layer:
        what = f"'{step.path}'"
        if layer.kind == "ReLU":
            self._is(layer, {"max_value": None, "negative_slope": 0.0, "threshold": 0.0})
            norm = self._one(layer, "ReLU", what)
        else:
            norm = self._one(layer, "Activation", what)
            if layer.config.get("activation") != "relu":
                raise self.error(layer, f"activation {brief(layer.config.get('activation'))}", "relu")
        conv = self._one(norm, "BatchNormalization", what)
        given = self._one(conv, "Conv2D", what)
        self._is(norm, {"axis": 3, "center": True, "renorm": False, "virtual_batch_size": None, "adjustment": None})
        self._is(
            conv,
            {
                "filters": step.filters,
                "kernel_size": step.kernel,
                "strides": (step.stride, step.stride),
                "padding": step.padding.lower(),
                "data_format": "channels_last",
                "dilation_rate": (1, 1),
                "groups": 1,
                "activation": "linear",
                "use_bias": False,
                "lora_rank": None,
            },
        )
        epsilon = norm.config.get("epsilon", 1e-3)
        if not isinstance(epsilon, (int, float)) or not 0 < epsilon < 1:
            raise self.error(norm, f"epsilon {brief(epsilon)}", "a number between 0 and 1")
        self.epsilons.setdefault(float(epsilon), norm)
        self.convs[step.path] = (conv, norm)
        return given

    def _pool(self, step: Pool, layer: Layer) -> Layer:
        kind = step.kind
        if kind == "last":
            kind = self.last_pool = "max" if layer.kind == "MaxPooling2D" else "avg"
        name = "AveragePooling2D" if kind == "avg" else "MaxPooling2D"
        given = self._one(layer, name, f"'{step.path}'")
        strides = layer.config.get("strides") or layer.config.get("pool_size")
        wanted = {"pool_size": (3, 3), "padding": step.padding.lower(), "data_format": "channels_last"}
        self._is(layer, wanted)
        if strides not in ([step.stride, step.stride], step.stride):
            raise self.error(layer, f"strides {brief(strides)}", f"{step.stride}")
        return given
