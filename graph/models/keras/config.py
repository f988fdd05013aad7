"""A Keras config, read as plain data into layers that know their calls.

Nothing is imported, looked up or called: a class is only a name, and what builds the network has a list of the names that it
knows (table.py). Keras 2 and Keras 3 write the calls of layers differently; both are read.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ...errors import LoadError
from ...formats.limits import brief, load_error
from .variables import kids_of

__all__ = ["MODELS", "Call", "Layer", "Ref", "policy_of", "read_config"]

#: Layers of one file, nested ones included; the largest of keras.applications has 1,044.
_MAX_LAYERS = 20_000
_MAX_DEPTH = 16
_MAX_NESTING = 40
_MAX_TEXT = 32 << 20
MODELS = ("Functional", "Sequential", "Model")
#: Packages whose classes have the meaning that their names have here.
_PACKAGES = ("keras", "tf_keras", "tensorflow.keras", "tensorflow.python.keras", "keras_api", "builtins")
_SUBCLASS = (
    "Export it in Keras: model.export('folder') writes a SavedModel, model.export('m.onnx', format='onnx') ONNX."
)


@dataclass(frozen=True, slots=True)
class Ref:
    """An output of a call of a layer: [name, call, output]."""

    name: str
    call: int
    index: int


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a layer: its arguments, in which a Ref stands for a tensor. ``refs``: all of them."""

    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    refs: tuple[Ref, ...]


@dataclass(eq=False, slots=True)
class Layer:
    """One layer. ``kind``: its class; ``path``: the names of the models that it is in, and its own.

    ``calls``: how the model that it belongs to calls it. ``kids``: layers inside, by the attribute that Keras keeps them in;
    those of a model are under 'layers'. ``operation``: a function, which has no weights, not a layer.
    """

    kind: str
    name: str
    config: Mapping[str, Any]
    path: tuple[str, ...]
    operation: bool = False
    trainable: bool = True
    built: Any = None
    calls: list[Call] = field(default_factory=list)
    kids: dict[str, list[Layer]] = field(default_factory=dict)

    @property
    def layers(self) -> list[Layer]:
        return self.kids.get("layers", [])

    @property
    def is_model(self) -> bool:
        return self.kind in MODELS

    @property
    def is_sequential(self) -> bool:
        return self.kind == "Sequential" and "input_layers" not in self.config

    def __str__(self) -> str:
        what = "model" if self.is_model else "layer"
        return f"{what} '{('/'.join(self.path) or self.name)[:200]}' ({self.kind[:80]})"


def read_config(text: str, file: str) -> Layer:
    """The model that a config describes. Raises LoadError for what is damaged, or no Sequential or functional model."""
    if len(text) > _MAX_TEXT:
        raise load_error(file, "the config", f"{len(text):,} characters", f"at most {_MAX_TEXT:,}")
    try:
        spec = json.loads(text)
    except (ValueError, RecursionError) as e:
        raise load_error(file, "the config", str(e)[:100], "JSON") from None
    reader = _Reader(file)
    model = reader.layer(spec, (), outermost=True)
    if not model.is_model:
        raise reader.error(
            "the config", f"a model of the class {model.kind[:80]!r}", "a Sequential or functional model", _SUBCLASS
        )
    return model


def policy_of(config: Mapping[str, Any]) -> str:
    """The name of the dtype policy of a layer."""
    dtype = config.get("dtype")
    if isinstance(dtype, dict):
        inner = dtype.get("config")
        dtype = inner.get("name") if isinstance(inner, dict) else None
        return dtype if isinstance(dtype, str) else "unknown"
    return "float32" if dtype is None else dtype if isinstance(dtype, str) else "unknown"


class _Reader:
    def __init__(self, file: str) -> None:
        self.file = file
        self.count = 0
        self.shared: dict[tuple[int, str], Layer] = {}

    def error(self, place: str, found: str, expected: str, remedy: str = "") -> LoadError:
        return load_error(self.file, place, found, expected, remedy)

    def mapping(self, value: Any, place: str) -> Mapping[str, Any]:
        if not isinstance(value, dict):
            raise self.error(place, brief(value), "a JSON object")
        return value

    def listed(self, value: Any, place: str) -> list[Any]:
        if not isinstance(value, list):
            raise self.error(place, brief(value), "a JSON list")
        return value

    def text(self, value: Any, place: str) -> str:
        if not isinstance(value, str) or not value:
            raise self.error(place, brief(value), "a name")
        return value

    # --- layers -------------------------------------------------------------------------------------------------------

    def layer(self, value: Any, path: tuple[str, ...], attribute: str = "", outermost: bool = False) -> Layer:
        """A layer with all that is inside of it. ``attribute``: what to call it if it has no name of its own."""
        spec = self.mapping(value, "a layer")
        if len(path) > _MAX_DEPTH:
            raise self.error("the config", f"more than {_MAX_DEPTH} layers inside each other", "a network")
        self.count += 1
        if self.count > _MAX_LAYERS:
            raise self.error("the config", f"more than {_MAX_LAYERS:,} layers", "a network")
        kind, operation = self._kind(spec)
        config = spec.get("config")
        if isinstance(config, list) and kind == "Sequential":  # Keras before 2.2.3: the layers alone
            config = {"layers": config}
        if not isinstance(config, dict):
            raise self.error(f"a layer ({kind[:80]})", f"config {brief(config)}", "a JSON object")
        known = spec.get("shared_object_id")
        key = (known, kind) if type(known) is int and kind != "InputLayer" else None
        if key is not None and key in self.shared and not spec.get("inbound_nodes"):
            return self.shared[key]
        name = self.text(spec.get("name", config.get("name")) or attribute or kind.lower(), "a layer's name")
        here = () if outermost else (*path, name)
        made = Layer(kind, name, config, here, operation, config.get("trainable", True) is not False)
        made.built = self._built(spec, config)
        if key is not None:
            self.shared[key] = made
        if made.is_model:
            self._model(made, config)
        else:
            for attr, inner in kids_of(kind, config):
                made.kids[attr] = [self.layer(inner, here, attr)]
        return made

    def _built(self, spec: Mapping[str, Any], config: Mapping[str, Any]) -> Any:
        built = spec.get("build_config")
        found = built.get("input_shape") if isinstance(built, dict) else None
        return found if found is not None else config.get("build_input_shape")

    def _kind(self, spec: Mapping[str, Any]) -> tuple[str, bool]:
        """The class, with its package where that is not Keras, so that it is taken for no class of Keras; whether a function."""
        name = self.text(spec.get("class_name"), "class_name")
        module, registered = spec.get("module"), spec.get("registered_name")
        ops = isinstance(module, str) and module.startswith("keras.src.ops")
        if isinstance(registered, str) and registered not in ("", name):
            return registered, False
        if isinstance(module, str) and module and not any(module == p or module.startswith(f"{p}.") for p in _PACKAGES):
            return f"{module}.{name}", False
        return name, ops or name in ("TFOpLambda", "SlicingOpLambda", "TensorFlowOpLayer")

    def _model(self, model: Layer, config: Mapping[str, Any]) -> None:
        place = f"model '{'/'.join(model.path) or model.name[:80]}'"
        if "layers" not in config:
            raise self.error(place, "no 'layers'", "a Sequential or functional model", _SUBCLASS)
        layers: list[Layer] = []
        names: set[str] = set()
        specs = self.listed(config["layers"], f"'layers' of {place}")
        for i, item in enumerate(specs):
            made = self.layer(item, model.path, f"layer_{i}")
            if made.name in names:
                raise self.error(place, f"the layer {made.name[:80]!r} twice", "unique names")
            names.add(made.name)
            layers.append(made)
        model.kids["layers"] = layers
        if model.is_sequential:
            return
        for made, spec in zip(layers, specs, strict=True):
            nodes = self.listed(spec.get("inbound_nodes", []), f"'inbound_nodes' of {made}")
            if nodes and isinstance(nodes[0], str):  # Keras 2, one call of one input: [name, call, output, arguments]
                nodes = [nodes]
            made.calls = [] if made.kind == "InputLayer" else [_Calls(self, names, str(made)).call(n) for n in nodes]


class _Calls:
    """Reads the calls of one layer. ``names``: the layers of the model."""

    def __init__(self, reader: _Reader, names: set[str], place: str) -> None:
        self.reader, self.names, self.place = reader, names, place
        self.refs: list[Ref] = []

    def call(self, node: Any) -> Call:
        self.refs = []
        if isinstance(node, dict) and "args" in node:
            args = tuple(self.value(a) for a in self.reader.listed(node["args"], self.place))
            kwargs = {k: self.value(v) for k, v in self.reader.mapping(node.get("kwargs", {}), self.place).items()}
        else:
            found: dict[str, Any] = {}
            first = self._keras2(node, found, 0)
            args = (first[0] if isinstance(first, list) and len(first) == 1 else first,)
            kwargs = {k: self._argument(v, 0) for k, v in found.items()}
        return Call(args, kwargs, tuple(self.refs))

    def ref(self, name: Any, call: Any, index: Any) -> Ref:
        good = isinstance(name, str) and type(call) is int and type(index) is int and call >= 0 and index >= 0
        if not good or name not in self.names:
            raise self.reader.error(self.place, f"the connection {brief([name, call, index])}", "a layer of the model")
        self.refs.append(Ref(name, call, index))
        return self.refs[-1]

    def _deep(self, depth: int) -> None:
        if depth > _MAX_NESTING:
            raise self.reader.error(self.place, f"arguments nested more than {_MAX_NESTING} deep", "a call")

    # --- Keras 2 --------------------------------------------------------------------------------------------------------

    def _keras2(self, node: Any, found: dict[str, Any], depth: int) -> Any:
        """The inputs of a call; ``found`` gets its other arguments, which Keras repeats with every input."""
        self._deep(depth)
        if isinstance(node, dict):
            return {k: self._keras2(v, found, depth + 1) for k, v in node.items()}
        entry = self.reader.listed(node, self.place)
        if len(entry) in (3, 4) and isinstance(entry[0], str):
            if len(entry) == 4:
                found.update(self.reader.mapping(entry[3], self.place))
            if entry[0] == "_CONSTANT_VALUE":
                return entry[2]
            return self.ref(*entry[:3])
        return [self._keras2(e, found, depth + 1) for e in entry]

    def _argument(self, value: Any, depth: int) -> Any:
        """An argument of Keras 2: [name, call, output] is a tensor if there is such a layer."""
        self._deep(depth)
        if isinstance(value, list):
            if len(value) == 3 and value[0] in self.names if value and isinstance(value[0], str) else False:
                return self.ref(*value)
            return [self._argument(v, depth + 1) for v in value]
        if isinstance(value, dict):
            return {k: self._argument(v, depth + 1) for k, v in value.items()}
        return value

    # --- Keras 3 --------------------------------------------------------------------------------------------------------

    def value(self, value: Any, depth: int = 0) -> Any:
        """An argument of Keras 3: tensors, tuples, slices and arrays are objects with a class name."""
        self._deep(depth)
        if isinstance(value, list):
            return [self.value(v, depth + 1) for v in value]
        if not isinstance(value, dict):
            return value
        kind, config = value.get("class_name"), value.get("config")
        inner = config if isinstance(config, dict) else {}
        if kind == "__keras_tensor__":
            history = inner.get("keras_history")
            if not isinstance(history, list) or len(history) != 3:
                raise self.reader.error(self.place, f"the connection {brief(history)}", "[name, call, output]")
            return self.ref(*history)
        if kind == "__tuple__":
            return tuple(self.value(v, depth + 1) for v in self.reader.listed(value.get("items"), self.place))
        if kind == "__slice__":
            return slice(*(self.value(inner.get(k), depth + 1) for k in ("start", "stop", "step")))
        if kind == "__ellipsis__":
            return Ellipsis
        if kind in ("__numpy__", "__tensor__"):
            return array_of(self.reader, inner, self.place)
        if isinstance(kind, str):
            raise self.reader.error(
                self.place, f"an argument of the class {kind[:80]!r}", "tensors, numbers and lists", _SUBCLASS
            )
        return {k: self.value(v, depth + 1) for k, v in value.items()}


def array_of(reader: _Reader, inner: Mapping[str, Any], place: str) -> np.ndarray[Any, Any]:
    """The array that Keras 3 writes as nested lists."""
    dtype = inner.get("dtype", "float32")
    try:
        made = np.array(inner.get("value"), np.dtype(dtype if isinstance(dtype, str) else "float32"))
    except (TypeError, ValueError, OverflowError, RecursionError):
        made = np.array(None)
    if made.dtype.kind not in "biuf":
        raise reader.error(place, f"an array {brief(inner)}", "numbers")
    return made
