"""Building: one call of a layer while the graph is made. The functions of the other modules get it first."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import isfinite, prod
from typing import Any, Final

import numpy as np

from ....kernels.tensor import DType
from ... import ops
from ...builder import Graph, Tensor
from ...errors import LoadError
from ...formats.limits import brief, load_error
from ...ir import Literal
from .config import Layer, policy_of
from .weights import Weights

__all__ = ["EXPORT", "FLOATS", "MOST_NODES", "Building", "Shared", "Sizes", "constant_of"]

#: The way out for what is not translated.
EXPORT: Final = (
    "Export it in Keras: model.export('folder') writes a SavedModel, model.export('m.onnx', format='onnx') ONNX; both hold "
    "the operations themselves"
)
#: A policy computes in half precision; here it is float32, which is closer to the exact result.
FLOATS = {
    "float32": "float32", "float16": "float32", "bfloat16": "float32", "mixed_float16": "float32",
    "mixed_bfloat16": "float32", "float64": "float64",
}  # fmt: skip
#: Sizes of a tensor: numbers where they are known, else scalar tensors.
Sizes = list[Any]
_LARGEST = 1 << 31
#: Operations of one model, those of unrolled sequences included.
MOST_NODES: Final = 100_000


@dataclass(eq=False, slots=True)
class Shared:
    """What the calls of one model share. ``masks``: which steps count, by the tensor that they belong to."""

    file: str
    graph: Graph
    weights: Weights
    version: str
    run: Callable[[Layer, tuple[Any, ...], dict[str, Any]], Any]
    constants: dict[Any, Tensor] = field(default_factory=dict)
    masks: dict[Tensor, Tensor] = field(default_factory=dict)
    policies: set[str] = field(default_factory=set)

    @property
    def keras3(self) -> bool:
        return self.version.startswith("3")


class Building:
    """A layer in one of its calls. ``args``: what it is called with after the first argument; ``kwargs`` by name."""

    def __init__(
        self, shared: Shared, layer: Layer, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> None:
        self.shared, self.layer, self.args, self.kwargs = shared, layer, args, kwargs or {}
        self.config = layer.config
        self.graph = shared.graph

    def of(self, layer: Layer) -> Building:
        """The same for a layer inside of this one."""
        return Building(self.shared, layer)

    def call(self, layer: Layer, x: Any, **kwargs: Any) -> Any:
        """What a layer inside of this one gives."""
        return self.shared.run(layer, (x,), kwargs)

    def mask(self, x: Any) -> Tensor | None:
        """Which steps of a tensor count, (batch, steps); None: all."""
        return self.shared.masks.get(x) if isinstance(x, Tensor) else None

    def set_mask(self, x: Tensor, mask: Tensor) -> None:
        self.shared.masks[x] = mask

    def error(self, found: str, expected: str, remedy: str = "") -> LoadError:
        return load_error(self.shared.file, str(self.layer), found, expected, remedy or f"{EXPORT}.")

    # --- the config -----------------------------------------------------------------------------------------------------

    def get(self, key: str, default: Any = None) -> Any:
        value = self.config.get(key)
        return default if value is None else value

    def refuse(self, **wanted: Any) -> None:
        """Refuses the layer if its config says anything else than these values; what it does not say is the default."""
        for key, value in wanted.items():
            found = self.config.get(key, value)
            if found != value:
                raise self.error(f"{key} {brief(found)}", f"{value}")

    def number(self, key: str, default: float | None = None) -> float:
        value = self.get(key, default)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not isfinite(value):
            raise self.error(f"{key} {brief(value)}", "a number")
        return float(value)

    def flag(self, key: str, default: bool = False) -> bool:
        value = self.get(key, default)
        if not isinstance(value, (bool, int)):
            raise self.error(f"{key} {brief(value)}", "true or false")
        return bool(value)

    def whole(self, key: str, default: int | None = None, least: int = 1) -> int:
        value = self.get(key, default)
        if type(value) is not int or not least <= value < _LARGEST:
            raise self.error(f"{key} {brief(value)}", f"a whole number from {least}")
        return value

    def choice(self, key: str, default: str, *known: str) -> str:
        value = self.get(key, default)
        value = value.lower() if isinstance(value, str) else value
        if value not in known:
            raise self.error(f"{key} {brief(value)}", ", ".join(known))
        return str(value)

    def wholes(self, key: str, count: int, default: Any = None, least: int = 1) -> tuple[int, ...]:
        """``count`` whole numbers; a single one is repeated."""
        value = self.get(key, default)
        values = [value] * count if type(value) is int else value
        good = isinstance(values, list) and len(values) == count
        if not good or any(type(v) is not int or not least <= v < _LARGEST for v in values):
            raise self.error(f"{key} {brief(value)}", f"{count} whole numbers from {least}")
        return tuple(values)

    def pairs(self, key: str, count: int, default: Any = 0) -> list[tuple[int, int]]:
        """(before, after) for each of ``count`` axes, as padding and cropping layers have them."""
        value = self.get(key, default)
        if type(value) is int:
            value = [value] * count
        if count == 1 and isinstance(value, list) and all(type(v) is int for v in value):
            value = [value]
        if not isinstance(value, list) or len(value) != count:
            raise self.error(f"{key} {brief(value)}", f"{count} pairs")
        pairs = [[v, v] if type(v) is int else v for v in value]
        if any(
            not isinstance(p, list) or len(p) > 2 or any(type(v) is not int or not 0 <= v < _LARGEST for v in p)
            for p in pairs
        ):
            raise self.error(f"{key} {brief(value)}", f"{count} pairs of sizes from 0")
        return [(p[0], p[-1]) for p in pairs]

    @property
    def channels_first(self) -> bool:
        return self.choice("data_format", "channels_last", "channels_last", "channels_first") == "channels_first"

    @property
    def dtype(self) -> DType:
        """What the layer computes in."""
        policy = policy_of(self.config)
        if policy not in FLOATS:
            raise self.error(f"dtype {policy[:80]!r}", f"one of {', '.join(FLOATS)}")
        self.shared.policies.add(policy)
        return np.dtype(FLOATS[policy])

    # --- tensors --------------------------------------------------------------------------------------------------------

    def raw(self, type: str, *inputs: Tensor, outputs: int = 1, **attrs: Any) -> Tensor:
        """The first output of an op by TensorFlow's type."""
        made = self.graph.create_op(type, inputs, attrs, num_outputs=outputs)
        return made.outputs[0]

    def literal(self, variable: str, *shape: int | None) -> Literal:
        """A weight, whose shape must be this one; None: any size. In the type that the layer computes in."""
        found = self.shared.weights.literal(self.layer, variable, self.dtype)
        if len(found.shape) != len(shape) or any(
            w is not None and w != d for d, w in zip(found.shape, shape, strict=True)
        ):
            wanted = ", ".join("any" if d is None else str(d) for d in shape)
            raise self.error(f"'{variable}' of shape {found.shape}", f"({wanted}), as the config and the input say")
        return found

    def weight(self, variable: str, *shape: int | None, to: Sequence[int] | None = None) -> Tensor:
        """The same as a tensor, reshaped ``to`` another shape."""
        return self.constant(self.literal(variable, *shape), variable, to)

    def constant(self, literal: Literal, name: str, to: Sequence[int] | None = None) -> Tensor:
        """A literal as a tensor; the same one where a layer is called again."""
        if to is not None and tuple(to) != literal.shape:
            shape, inner = tuple(to), literal
            literal = Literal.lazy(
                inner.dtype, shape, lambda: inner.array().reshape(shape), ("reshaped", shape, inner.key)
            )
        key = (self.layer, name, literal.shape)
        found = self.shared.constants.get(key)
        if found is None:
            attrs = {"dtype": literal.dtype, "value": literal}
            found = self.shared.constants[key] = self.graph.create_op("Const", (), attrs, name).outputs[0]
        return found

    def shape(self, x: Tensor, rank: int | None = None) -> tuple[int | None, ...]:
        """The sizes of a tensor as far as they are known; its rank must be."""
        if x.shape is None or (rank is not None and len(x.shape) != rank):
            wanted = "a known number of axes" if rank is None else f"{rank} axes"
            raise self.error(f"an input of shape {x.shape}", wanted)
        return x.shape

    def sizes(self, x: Tensor) -> Sizes:
        """All sizes: numbers where they are known, else tensors."""
        known = self.shape(x)
        if None not in known[1:]:
            return [None if d is None else d for d in known] if known and known[0] is None else list(known)
        whole = ops.shape(x)
        return [whole[i] if d is None else d for i, d in enumerate(known)]

    def reshape(self, x: Tensor, sizes: Sizes) -> Tensor:
        """Reshapes to sizes of which one may be None, and others tensors."""
        if sum(s is None for s in sizes) > 1:
            raise self.error(f"sizes {brief(sizes)}", "at most one that is not known")
        if x.shape is not None and list(x.shape) == sizes:
            return x
        return ops.reshape(x, [-1 if s is None else s for s in sizes])

    def rows(self, x: Tensor, *tail: int) -> Tensor:
        """(all axes but the last ``len(tail)`` ones as one, *tail)."""
        return self.reshape(x, [None, *tail])

    def fixed(self, x: Tensor, *axes: int) -> tuple[int, ...]:
        """Sizes that must be known."""
        known = self.shape(x)
        found = [known[a] for a in axes]
        if any(d is None for d in found):
            raise self.error(
                f"an input of shape {known}", "known sizes there", f"Fix the input's shape in Keras. {EXPORT}."
            )
        return tuple(d for d in found if d is not None)

    def float(self, x: Tensor) -> Tensor:
        """The tensor in the type that the layer computes in."""
        return x if x.dtype == self.dtype else ops.cast(x, self.dtype)

    def first_last(self, x: Tensor) -> Tensor:
        """Channels to the end, for layers with data_format channels_first."""
        rank = len(self.shape(x))
        return ops.transpose(x, [0, *range(2, rank), 1])

    def last_first(self, x: Tensor) -> Tensor:
        rank = len(self.shape(x))
        return ops.transpose(x, [0, rank - 1, *range(1, rank - 1)])

    def axes(self, value: Any, rank: int) -> tuple[int, ...]:
        """Axes as the config has them, from 0."""
        values = value if isinstance(value, (list, tuple)) else [value]
        if not values or any(type(v) is not int or not -rank <= v < rank for v in values):
            raise self.error(f"axis {brief(value)}", f"axes of an input of rank {rank}")
        found = tuple(sorted(v % rank for v in values))
        if len(set(found)) != len(found):
            raise self.error(f"axis {brief(value)}", "different axes")
        return found


def constant_of(b: Building, value: Any, what: str) -> np.ndarray[Any, Any]:
    """A number or nested lists of numbers of a config, as an array in the type that the layer computes in."""
    if isinstance(value, dict) and value.get("class_name") in ("__numpy__", "__array__", "__tensor__"):
        inner = value.get("config")
        value = inner.get("value") if isinstance(inner, dict) else None
    try:
        made = np.array(value)
        good = made.dtype.kind in "iuf" and prod(made.shape) <= 1 << 24
        good = good and bool((np.abs(made) <= np.finfo(b.dtype).max).all())
    except (TypeError, ValueError, OverflowError, RecursionError):
        good = False
    if not good:
        raise b.error(f"{what} {brief(value)}", "finite numbers")
    return made.astype(b.dtype)
