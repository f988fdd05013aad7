"""Keras' ``model_config``: the JSON of a whole model, read as plain data into layers that know their inputs.

Models inside models are opened, so that one chain of layers from the input to the output remains. Nothing is
imported, looked up or called: a class is only a name, and the code that builds a network from it has a list of the
names that it knows. Keras 2 and Keras 3 write the connections differently; both are read.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..errors import LoadError
from ..formats.limits import brief, load_error

__all__ = ["Layer", "Network", "Operand", "read_config"]

#: Layers of one file, nested ones included; the largest of keras.applications has 1,044.
_MAX_LAYERS = 20_000
_MAX_DEPTH = 16
_MAX_TEXT = 16 << 20
_MODELS = ("Functional", "Sequential", "Model")
#: Packages whose classes have the meaning that their names have here.
_PACKAGES = ("keras", "tf_keras", "tensorflow.keras", "tensorflow.python.keras", "builtins")


@dataclass(frozen=True, slots=True, eq=False)
class Layer:
    """One layer where it is called. ``kind``: its class; ``owner``: the layer of the outermost model that it belongs to.

    ``operands``: what the call gets, in order: layers, and constants where an operation has them. ``arguments``: its
    other constant arguments, without ``mask`` and ``training`` (``training``: True where Keras 2 would train at inference).
    """

    kind: str
    name: str
    config: Mapping[str, Any]
    operands: tuple[Operand, ...]
    owner: str
    path: tuple[str, ...]
    arguments: Mapping[str, Any] = field(default_factory=dict)
    training: bool = False

    @property
    def inputs(self) -> tuple[Layer, ...]:
        return tuple(o for o in self.operands if isinstance(o, Layer))

    def __str__(self) -> str:
        return f"layer '{'/'.join(self.path)[:200]}' ({self.kind[:80]})"


Operand = Layer | int | float


@dataclass(frozen=True, slots=True, eq=False)
class Network:
    """A model of one input and one output. ``count``: its layers; ``sizes``: (height, width) that inner models state."""

    name: str
    input: Layer
    output: Layer
    count: int
    shape: tuple[int | None, ...] | None
    sizes: tuple[tuple[int, int], ...]


def read_config(text: str, file: str) -> Network:
    """The network that a ``model_config`` describes. Raises LoadError for what is damaged, or no such network."""
    if len(text) > _MAX_TEXT:
        raise load_error(file, "model_config", f"{len(text):,} characters", f"at most {_MAX_TEXT:,}")
    try:
        spec = json.loads(text)
    except (ValueError, RecursionError) as e:
        raise load_error(file, "model_config", str(e)[:100], "JSON") from None
    reader = _Reader(file)
    spec = reader.mapping(spec, "model_config")
    kind = reader.kind(spec)
    if kind not in _MODELS:
        raise reader.error(
            "model_config", f"a model of the class {kind[:80]!r}", "a Sequential or functional model", _SUBCLASS
        )
    output = reader.model(spec, (), None, (), False)
    if len(reader.inputs) != 1:
        raise reader.error("model_config", f"{len(reader.inputs)} inputs", "one image input", _FREEZE)
    (start,) = reader.inputs
    shape = reader.shape or reader.shape_of(start.config)
    return Network(str(_config(spec).get("name", "")), start, output, reader.count, shape, tuple(reader.sizes))


_FREEZE = "Another network: freeze it in TensorFlow (README, 'Keras models') and load the .pb."
_SUBCLASS = "Freeze it in TensorFlow (README, 'Keras models') and load the .pb."


def _config(spec: Mapping[str, Any]) -> Mapping[str, Any]:
    config = spec.get("config")
    return config if isinstance(config, dict) else {}


class _Reader:
    """``inputs``: the InputLayers that nothing feeds, in the order in which they are found."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.count = 0
        self.inputs: list[Layer] = []
        self.shape: tuple[int | None, ...] | None = None
        self.sizes: list[tuple[int, int]] = []

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

    def kind(self, spec: Mapping[str, Any]) -> str:
        """The class's name; with its package where that is not Keras, so that it is taken for no class of Keras."""
        name = self.text(spec.get("class_name"), "class_name")
        module, registered = spec.get("module"), spec.get("registered_name")
        if isinstance(registered, str) and registered not in ("", name):
            return registered
        if isinstance(module, str) and module and not any(module == p or module.startswith(f"{p}.") for p in _PACKAGES):
            return f"{module}.{name}"
        return name

    # --- models -------------------------------------------------------------------------------------------------------

    def model(
        self,
        spec: Mapping[str, Any],
        given: tuple[Operand, ...],
        owner: str | None,
        path: tuple[str, ...],
        training: bool,
    ) -> Layer:
        """The layer whose output is that of the model called with ``given``; without it, the model's own inputs stay."""
        if len(path) > _MAX_DEPTH:
            raise self.error("model_config", "more than 16 models inside each other", "a network")
        config = spec.get("config")
        sequential = self.kind(spec) == "Sequential" or isinstance(config, list)
        if isinstance(config, list):  # Keras before 2.2.3: the layers alone
            config = {"layers": config}
        config = self.mapping(config, "the config of a model")
        if sequential and "input_layers" not in config:
            return self._sequential(config, given, owner, path, training)
        return self._functional(config, given, owner, path, training)

    def _sequential(
        self,
        config: Mapping[str, Any],
        given: tuple[Operand, ...],
        owner: str | None,
        path: tuple[str, ...],
        training: bool,
    ) -> Layer:
        if len(given) > 1:
            raise self.error(f"model '{'/'.join(path)}'", f"{len(given)} inputs", "one")
        outermost = owner is None and not given
        here: tuple[Operand, ...] = given
        for i, item in enumerate(self.listed(config.get("layers"), "'layers' of a Sequential model")):
            spec = self.mapping(item, "a layer")
            inner = _config(spec)
            name = self.text(inner.get("name", spec.get("name", f"layer {i}")), "a layer's name")
            kind = self.kind(spec)
            if kind == "InputLayer":
                if not here:
                    here = (self._input(inner, name, owner or name, (*path, name)),)
                elif i == 0:
                    self._inner_size(inner)
                    continue
                else:
                    raise self.error(f"layer '{name[:80]}'", "an InputLayer after others", "layers")
            elif not here and kind not in _MODELS:
                here = (self._input(inner, f"{name}_input", owner or name, (*path, f"{name}_input")),)
            if kind != "InputLayer":
                here = (self._called(spec, kind, here, {}, training, owner or name, (*path, name)),)
        if outermost and self.shape is None and "build_input_shape" in config:
            self.shape = self.shape_of({"batch_input_shape": config["build_input_shape"]})
        if not here or not isinstance(here[0], Layer):
            raise self.error("a Sequential model", "no layers", "layers")
        return here[0]

    def _functional(
        self,
        config: Mapping[str, Any],
        given: tuple[Operand, ...],
        owner: str | None,
        path: tuple[str, ...],
        training: bool,
    ) -> Layer:
        place = f"model '{'/'.join(path) or str(config.get('name', ''))[:80]}'"
        specs: dict[str, Mapping[str, Any]] = {}
        for item in self.listed(config.get("layers"), f"'layers' of {place}"):
            spec = self.mapping(item, "a layer")
            name = self.text(spec.get("name", _config(spec).get("name")), "a layer's name")
            if name in specs:
                raise self.error(place, f"the layer {name[:80]!r} twice", "unique names")
            specs[name] = spec
        starts = self._ends(config.get("input_layers"), f"'input_layers' of {place}")
        ends = self._ends(config.get("output_layers"), f"'output_layers' of {place}")
        if len(ends) != 1:
            raise self.error(place, f"{len(ends)} outputs", "one output", _FREEZE)
        if given and len(given) != len(starts):
            raise self.error(place, f"a call with {len(given)} inputs", f"{len(starts)}")
        done: dict[str, Layer] = {}
        for name, operand in zip(starts, given, strict=False):
            if not isinstance(operand, Layer):
                raise self.error(place, "a call with a constant", "a call with a layer's output")
            self._inner_size(_config(specs.get(name, {})))
            done[name] = operand
        self._resolve(ends[0], specs, done, owner, path, training, place)
        return done[ends[0]]

    def _resolve(
        self, end: str, specs: Mapping[str, Mapping[str, Any]], done: dict[str, Layer],
        owner: str | None, path: tuple[str, ...], training: bool, place: str,
    ) -> None:  # fmt: skip
        """Makes ``done[end]`` and what it needs, without recursion from layer to layer."""
        waiting: list[str] = [end]
        open_: set[str] = set()
        calls: dict[str, tuple[list[Any], dict[str, Any], bool]] = {}
        while waiting:
            name = waiting[-1]
            if name in done:
                waiting.pop()
                continue
            spec = specs.get(name)
            if spec is None:
                raise self.error(place, f"a connection to {name[:80]!r}, which is no layer of it", "its layers")
            kind, config = self.kind(spec), _config(spec)
            if name not in calls:
                calls[name] = self._call(spec, name, kind)
                open_.add(name)
            operands, arguments, trains = calls[name]
            missing = [o.name for o in operands if isinstance(o, _Reference) and o.name not in done]
            if missing:
                if any(m in open_ for m in missing):
                    raise self.error(f"layer '{name[:80]}'", "a cycle", "layers without cycles")
                waiting += missing
                continue
            whole = (*path, name)
            if kind == "InputLayer":
                done[name] = self._input(config, name, owner or name, whole)
            else:
                ready = tuple(done[o.name] if isinstance(o, _Reference) else o for o in operands)
                done[name] = self._called(spec, kind, ready, arguments, training or trains, owner or name, whole)
            open_.discard(name)
            waiting.pop()

    # --- layers and calls -----------------------------------------------------------------------------------------------

    def _input(self, config: Mapping[str, Any], name: str, owner: str, path: tuple[str, ...]) -> Layer:
        self._count()
        self.inputs.append(Layer("InputLayer", name, config, (), owner, path))
        return self.inputs[-1]

    def _called(
        self, spec: Mapping[str, Any], kind: str, operands: tuple[Operand, ...], arguments: Mapping[str, Any],
        training: bool, owner: str, path: tuple[str, ...],
    ) -> Layer:  # fmt: skip
        self._count()
        config = spec.get("config")
        nested = isinstance(config, list) or (isinstance(config, dict) and "layers" in config)
        if kind in _MODELS and nested:
            return self.model(spec, operands, owner, path, training)
        if not operands:
            raise self.error(f"layer '{'/'.join(path)[:200]}'", "no input", "a layer's output")
        return Layer(kind, path[-1], _config(spec), operands, owner, path, dict(arguments), training)

    def _count(self) -> None:
        self.count += 1
        if self.count > _MAX_LAYERS:
            raise self.error("model_config", f"more than {_MAX_LAYERS:,} layers", "a network")

    def _call(self, spec: Mapping[str, Any], name: str, kind: str) -> tuple[list[Any], dict[str, Any], bool]:
        """(operands, other constant arguments, whether Keras 2 was called with training=True)."""
        place = f"layer '{name[:80]}' ({kind[:80]})"
        nodes = self.listed(spec.get("inbound_nodes", []), f"'inbound_nodes' of {place}")
        if nodes and isinstance(nodes[0], str):
            nodes = [nodes]
        if kind == "InputLayer":
            return [], {}, False
        if len(nodes) != 1:
            raise self.error(place, f"a layer that is used {len(nodes)} times", "layers that are used once", _FREEZE)
        (node,) = nodes
        operands: list[Any] = []
        keywords: dict[str, Any] = {}
        trains = False
        if isinstance(node, dict):  # Keras 3: what predict says of training counts, whatever the call said
            self._collect(node.get("args", []), operands, place)
            keywords = dict(self.mapping(node.get("kwargs", {}), place))
        else:
            entries = self.listed(node, place)
            for entry in [entries] if entries and isinstance(entries[0], str) else entries:
                parts = self.listed(entry, place)
                if len(parts) not in (3, 4) or not isinstance(parts[0], str) or parts[2] != 0:
                    raise self.error(place, f"the connection {brief(entry)}", "[name, node, 0, arguments]")
                operands.append(_Reference(parts[0]))
                if len(parts) == 4:
                    keywords |= self.mapping(parts[3], place)
            trains = keywords.get("training") not in (None, False, 0)
        arguments = {k: v for k, v in keywords.items() if v is not None and k not in ("training", "mask")}
        return operands, arguments, trains

    def _collect(self, value: Any, operands: list[Any], place: str) -> None:
        """Tensors and numbers of a Keras 3 call, in order, out of lists at most two deep (Concatenate takes a list)."""
        for item in self.listed(value, place):
            for part in item if isinstance(item, list) else [item]:
                if isinstance(part, dict) and part.get("class_name") == "__keras_tensor__":
                    history = _config(part).get("keras_history")
                    if not isinstance(history, list) or len(history) != 3 or history[2] != 0:
                        raise self.error(place, f"the connection {brief(history)}", "[name, node, 0]")
                    operands.append(_Reference(self.text(history[0], place)))
                elif isinstance(part, (int, float)) and not isinstance(part, bool):
                    operands.append(part)
                elif part is not None:
                    raise self.error(place, f"the argument {brief(part)}", "layers' outputs and numbers", _FREEZE)

    def _ends(self, value: Any, place: str) -> list[str]:
        """Names of [[name, node, 0], ...]; Keras 3 writes [name, node, 0] for a single one."""
        items = self.listed(value, place)
        if items and isinstance(items[0], str):
            items = [items]
        names: list[str] = []
        for item in items:
            if not isinstance(item, list) or len(item) != 3 or item[2] != 0:
                raise self.error(place, brief(item), "[name, node, 0]")
            names.append(self.text(item[0], place))
        return names

    # --- shapes -----------------------------------------------------------------------------------------------------------

    def shape_of(self, config: Mapping[str, Any]) -> tuple[int | None, ...] | None:
        """The shape with the batch that an InputLayer or a first layer states."""
        shape = config.get("batch_shape", config.get("batch_input_shape"))
        if shape is None:
            return None
        if isinstance(shape, dict):  # a tuple that Keras marked as one
            shape = shape.get("items")
        if not isinstance(shape, list) or not all(d is None or (type(d) is int and 0 < d < 1 << 31) for d in shape):
            raise self.error("the input's shape", brief(shape), "sizes, or null where any size fits")
        return tuple(shape)

    def _inner_size(self, config: Mapping[str, Any]) -> None:
        shape = self.shape_of(config)
        if shape is not None and len(shape) == 4 and shape[1] is not None and shape[2] is not None:
            self.sizes.append((shape[1], shape[2]))


@dataclass(frozen=True, slots=True)
class _Reference:
    name: str
