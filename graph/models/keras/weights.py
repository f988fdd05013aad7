"""Which array of a file is which variable of a layer: Keras' own rule for the form of the file.

HDF5 of Keras 2 (and what Keras 3 writes as .h5) lists the layers of the outermost model and the arrays of each, trained ones
first; they belong together by their order. The names of the arrays must not contradict it. Keras 3 (.keras, .weights.h5)
has a path for every layer, made of classes and numbers.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from ....kernels.tensor import DType, is_float
from ...errors import LoadError
from ...formats.limits import load_error
from ...ir import Literal
from ...loaders.weights import TensorInfo, WeightsFile
from .config import Layer
from .variables import STATES, variables_of

__all__ = ["Weights", "find_weights"]

_MISMATCH = "The file's architecture and its weights do not belong together; save the whole model anew."
_SHOWN = 5
#: Names that versions of Keras have for the same variable.
_ALIASES = {
    "kernel": ("depthwise_kernel", "embeddings"),
    "depthwise_kernel": ("kernel",),
    "scale": ("gamma",),
    "moving_variance": ("variance",),
    "moving_mean": ("mean",),
}
_NUMBERED = re.compile(r"_\d+$")
Variable = tuple[Layer, str]


class Weights:
    """The arrays by layer and variable."""

    def __init__(self, file: WeightsFile) -> None:
        self.file = file
        self.names: dict[Variable, str] = {}
        self.used: set[str] = set()

    def error(self, place: object, found: str, expected: str) -> LoadError:
        return load_error(self.file.file, str(place), found, expected, _MISMATCH)

    def put(self, layer: Layer, variable: str, name: str) -> None:
        self.names[layer, variable] = name
        self.used.add(name)

    def info(self, layer: Layer, variable: str) -> TensorInfo:
        """The array of a variable. LoadError if the file has none."""
        name = self.names.get((layer, variable))
        if name is None:
            raise self.error(layer, f"no array '{variable}'", "one")
        return self.file.tensors[name]

    def literal(self, layer: Layer, variable: str, dtype: DType) -> Literal:
        """The array of a variable as a literal that is read when it is used."""
        info = self.info(layer, variable)
        if not (is_float(info.dtype) or info.dtype.kind in "iub"):
            raise self.error(layer, f"'{variable}' of type {info.stored}", "numbers")
        if info.dtype == dtype:
            return Literal.lazy(dtype, info.shape, info.load, info.key)
        return Literal.lazy(dtype, info.shape, lambda: info.load().astype(dtype), ("as", dtype.name, info.key))

    def check_all_used(self) -> None:
        """LoadError for arrays that belong to no variable."""
        left = [n for n in self.file.tensors if n not in self.used]
        if left:
            names = ", ".join(f"'{n[:100]}' {self.file.tensors[n].shape}" for n in left[:_SHOWN])
            more = f" and {len(left) - _SHOWN} more" if len(left) > _SHOWN else ""
            raise self.error("the arrays", f"{names}{more}", "those of the layers in the config")


def find_weights(file: WeightsFile, model: Layer) -> Weights:
    """Finds the array of every variable. LoadError for what is missing, left over or contradicts the names."""
    weights = Weights(file)
    if file.metadata.get("form") == "keras-3":
        _by_path(weights, model, file)
    else:
        _by_order(weights, model, file)
    weights.check_all_used()
    return weights


# --- Keras 3: paths -----------------------------------------------------------------------------------------------------------


def _snake(name: str) -> str:
    """The class's name as Keras' saving_lib spells it."""
    name = re.sub(r"\W+", "", name.rpartition(">")[2])
    name = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub("([a-z])([A-Z])", r"\1_\2", name).lower()


def _by_path(weights: Weights, model: Layer, file: WeightsFile) -> None:
    old = any(n.startswith("_layer_checkpoint_dependencies/") for n in file.tensors)
    seen: set[Layer] = set()
    arrays: dict[str, list[str]] = {}
    for name in file.tensors:
        arrays.setdefault(name.rpartition("/")[0], []).append(name)

    def place(path: str) -> str:
        if old and f"{path}/vars" not in arrays:
            path = path.replace("layers", "_layer_checkpoint_dependencies")
        return f"{path}/vars".lstrip("/")

    waiting: list[tuple[Layer, str]] = [(model, "")]
    while waiting:
        layer, path = waiting.pop()
        if layer in seen:
            continue
        seen.add(layer)
        declared = variables_of(layer.kind, layer.config)
        ordered = [n for n, trained in declared if trained] + [n for n, trained in declared if not trained]
        found = arrays.get(place(path), [])
        by_number = {n.rpartition("/")[2]: n for n in found}
        if layer.kind == "SpectralNormalization" and len(found) > len(ordered):
            ordered = ["kernel of the layer inside", *ordered]  # Keras 3 keeps it twice
        for i, variable in enumerate(ordered):
            if str(i) not in by_number:
                where = f"{layer}, group '{place(path)}'"
                raise weights.error(where, f"{len(found)} arrays", f"{len(ordered)}: {', '.join(ordered)}")
            weights.put(layer, variable, by_number[str(i)])
        for attribute in ("seed_generator", "generator"):
            weights.used.update(arrays.get(place(f"{path}/{attribute}"), []))
        for kid, inner in reversed(list(_kids(layer, path))):
            head, _, attribute = inner.rpartition("/")
            private = f"{head}/_{attribute}"  # as Keras 2 and the first versions of Keras 3 have it
            waiting.append((kid, private if place(inner) not in arrays and place(private) in arrays else inner))


def _kids(layer: Layer, path: str) -> Iterator[tuple[Layer, str]]:
    counts: dict[str, int] = {}
    for attribute, kids in layer.kids.items():
        if attribute != "layers":
            yield kids[0], f"{path}/{attribute}".lstrip("/")
            continue
        for kid in kids:
            if kid.operation or (layer.is_sequential and kid.kind == "InputLayer"):
                continue
            name = _snake(kid.kind)
            count = counts[name] = counts.get(name, -1) + 1
            yield kid, f"{path}/layers/{name}{f'_{count}' if count else ''}".lstrip("/")


# --- Keras 2: order -----------------------------------------------------------------------------------------------------------


def _by_order(weights: Weights, model: Layer, file: WeightsFile) -> None:
    groups: Mapping[str, tuple[str, ...]] = file.metadata.get("layers", {})
    keras3 = str(file.metadata.get("keras_version", "2")).startswith("3")
    stored: dict[str, list[str]] = {}
    for group, names in groups.items():
        weights.used.update(n for n in names if _leaf(n) in STATES)
        rest = [n for n in names if _leaf(n) not in STATES]
        if rest:
            stored[group] = rest
    expected = {kid.name: (kid, _ordered(kid, keras3)) for kid in model.layers}
    expected = {name: pair for name, pair in expected.items() if pair[1]}
    if set(stored) != set(expected) and len(stored) != len(expected):
        _name_difference(weights, set(stored), {n: kid for n, (kid, _) in expected.items()})
    same = set(stored) == set(expected)
    for (name, (kid, variables)), group in zip(expected.items(), stored, strict=True):
        _assign(weights, kid, variables, stored[name if same else group])


def _name_difference(weights: Weights, stored: set[str], expected: Mapping[str, Layer]) -> None:
    missing = [kid for name, kid in expected.items() if name not in stored]
    if missing:
        raise weights.error(missing[0], "no arrays of that layer in the file", "its weights")
    more = ", ".join(repr(n[:80]) for n in sorted(stored - set(expected))[:_SHOWN])
    raise weights.error("the arrays", f"those of {more}", "those of the layers in the config")


def _leaf(name: str) -> str:
    return name.rpartition("/")[2].partition(":")[0]


def _assign(weights: Weights, kid: Layer, variables: list[Variable], names: list[str]) -> None:
    if len(names) != len(variables):
        wanted = ", ".join(f"{'/'.join(layer.path)}/{v}" for layer, v in variables[:_SHOWN])
        raise weights.error(kid, f"{len(names)} arrays", f"{len(variables)} ({wanted} ...)")
    known, layers = {v for _, v in variables}, {layer.name for layer, _ in variables}
    for (layer, variable), name in zip(variables, names, strict=True):
        leaf, above = _leaf(name), name.split("/")[-2:-1]
        leaf = leaf if leaf in known else _NUMBERED.sub("", leaf)
        other = leaf != variable and leaf in known and leaf not in _ALIASES.get(variable, ())
        if other or (above and above[0] in layers and above[0] != layer.name):
            _assign_by_name(weights, kid, variables, names)
            return
    for (layer, variable), name in zip(variables, names, strict=True):
        weights.put(layer, variable, name)


def _assign_by_name(weights: Weights, kid: Layer, variables: list[Variable], names: list[str]) -> None:
    """Where the order contradicts the names (a layer frozen after the file's order was made), the names must say all."""
    left = list(names)
    for layer, variable in variables:
        found = [n for n in left if _leaf(n) == variable]
        for depth in range(1, len(layer.path) + 1):
            if len(found) > 1:
                tail = list(layer.path[-depth:])
                found = [n for n in found if n.split("/")[-1 - depth : -1] == tail]
        if len(found) != 1:
            shown = ", ".join(n[:80] for n in (found or names)[:3])
            raise weights.error(layer, f"the arrays {shown}", f"one '{variable}'")
        weights.put(layer, variable, found[0])
        left.remove(found[0])


def _ordered(layer: Layer, keras3: bool) -> list[Variable]:
    """The variables of a layer as Keras lists them: trained ones first."""
    if keras3:
        every = _all_weights(layer, {})
        if not layer.trainable:
            return [v for v, _ in every]
        return [v for v, trained in every if trained] + [v for v, trained in every if not trained]
    trained, other = _keras2(layer, {})
    return trained + other


def _own(layer: Layer) -> tuple[list[Variable], list[Variable]]:
    declared = variables_of(layer.kind, layer.config)
    return [(layer, n) for n, trained in declared if trained], [(layer, n) for n, trained in declared if not trained]


def _inner(layer: Layer) -> list[Layer]:
    return list(dict.fromkeys(kid for kids in layer.kids.values() for kid in kids if not kid.operation))


_Weights = list[tuple[Variable, bool]]
_Two = tuple[list[Variable], list[Variable]]


def _all_weights(layer: Layer, known: dict[Layer, _Weights]) -> _Weights:
    """All variables in order, and whether each is trained. ``known``: those of layers that are shared."""
    if layer not in known:
        trained, other = _own(layer)
        found = [(v, layer.trainable) for v in trained] + [(v, False) for v in other]
        for kid in _inner(layer):
            found += _all_weights(kid, known)
        known[layer] = list(dict.fromkeys(found))
    return known[layer]


def _keras2(layer: Layer, known: dict[Layer, _Two]) -> _Two:
    """(trained, others) as base_layer and Model of Keras 2 gather them. ``known``: those of layers that are shared."""
    if layer not in known:
        known[layer] = _gathered(layer, [_keras2(kid, known) for kid in _inner(layer)])
    return known[layer]


def _gathered(layer: Layer, kids: list[_Two]) -> _Two:
    trained, other = _own(layer)
    kids_trained = [v for kid in kids for v in kid[0]]
    kids_other = [v for kid in kids for v in kid[1]]
    if layer.trainable:
        return _unique(trained + kids_trained), _unique(other + kids_other)
    if layer.is_model:
        return [], _unique(kids_trained + kids_other)
    return [], _unique(trained + other + [v for kid in kids for v in (*kid[0], *kid[1])])


def _unique(variables: list[Variable]) -> list[Variable]:
    return list(dict.fromkeys(variables))
