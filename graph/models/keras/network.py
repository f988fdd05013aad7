"""A model of layers to a graph: the calls of the config are made in their order, one after the other."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from ....kernels.errors import KigraphError
from ... import ops
from ...builder import Graph, Tensor
from ...errors import LoadError
from ...formats.limits import brief, load_error
from ...hints import similar
from ...loaders.weights import WeightsFile
from ...signatures import SERVING_DEFAULT, Signature
from .building import EXPORT, FLOATS, MOST_NODES, Building, Shared
from .config import Call, Layer, Ref, policy_of, read_config
from .facts import facts_of
from .table import LAYERS, TRAINS, apply, is_operation
from .weights import find_weights

__all__ = ["build_keras"]

#: Calls of layers of one file: models in models that are called many times multiply. About 4 s.
_MAX_CALLS = 10_000
#: Policies of quantised layers: int8_from_float32, gptq/4/128_from_float32.
_QUANTISED = ("int8", "int4", "float8", "gptq", "awq")
_BAD = re.compile(r"[^A-Za-z0-9_.\\-]")
_INPUTS = {
    "float32": "float32", "float16": "float32", "bfloat16": "float32", "float64": "float64", "uint8": "uint8",
    "int8": "int8", "int16": "int16", "int32": "int32", "int64": "int64", "uint16": "uint16", "uint32": "uint32", "bool": "bool",
}  # fmt: skip


def build_keras(file: WeightsFile) -> Graph:
    """The graph of the model that ``file.metadata['model_config']`` describes, with the file's arrays as its weights.

    Inputs and outputs are as the model has them; ``aliases`` are the names of its layers. Raises LoadError for what is
    damaged, does not fit, or is no layer of the table.
    """
    model = read_config(file.metadata["model_config"], file.file)
    network = _Network(file, model)
    try:
        with network.graph.as_default():
            return network.run()
    except LoadError:
        raise
    except KigraphError as e:
        raise load_error(file.file, f"model '{model.name[:80]}'", str(e), "layers that fit each other") from None


class _Network:
    def __init__(self, file: WeightsFile, model: Layer) -> None:
        self.file, self.model = file, model
        self.graph = Graph()
        self._check_classes()
        version = str(file.metadata.get("keras_version", "2"))
        self.shared = Shared(file.file, self.graph, find_weights(file, model), version, self.call)
        self.count = 0
        self.inputs: dict[str, Tensor] = {}

    def error(self, place: object, found: str, expected: str, remedy: str = "") -> LoadError:
        return load_error(self.file.file, str(place), found, expected, remedy or f"{EXPORT}.")

    def _check_classes(self) -> None:
        """Refuses classes that are not in the table, and quantised weights, before anything is said of their arrays."""
        keras3 = str(self.file.metadata.get("keras_version", "2")).startswith("3")
        waiting, seen = [self.model], set[Layer]()
        while waiting:
            model = waiting.pop()
            for layer in model.layers:
                more = len(layer.calls[0].args) - 1 if layer.calls else 0
                if layer.is_model and layer not in seen:
                    seen.add(layer)
                    waiting.append(layer)
                known = layer.is_model or layer.kind == "InputLayer" or layer.kind in LAYERS
                if not known and not is_operation(layer, keras3, more):
                    raise self._unknown(layer)
                policy = policy_of(layer.config)
                if policy.startswith(_QUANTISED):
                    raise self.error(
                        layer, f"weights quantised by the dtype policy {policy[:80]!r}", f"{', '.join(FLOATS)}"
                    )

    def run(self) -> Graph:
        outputs = self._outputs(self.call_model(self.model, None))
        if not outputs:
            raise self.error(self.model, "no outputs", "at least one tensor")
        inputs = {name: t.name for name, t in self.inputs.items()}
        for i, (name, tensor) in enumerate(outputs.items()):
            self.alias(name, tensor)
            self.alias(f"output_{i}", tensor)
        signature = Signature(inputs, {name: t.name for name, t in outputs.items()})
        self.graph.signatures[SERVING_DEFAULT] = signature
        metadata = self.graph.metadata
        metadata.update(family="keras-model", file_family=self.file.family, model=self.model.name)
        half = sorted(p for p in self.shared.policies if "16" in p)
        if half:
            metadata["precision"] = f"dtype policy {', '.join(half)}; computed in float32"
        metadata.update(facts_of(self.model, self.graph, list(self.inputs.values()), list(outputs.values())))
        return self.graph

    def alias(self, name: str, tensor: Tensor) -> None:
        self.graph.aliases.setdefault(name, tensor.name)

    def _outputs(self, found: Any) -> dict[str, Tensor]:
        """The outputs by Keras' names: those of the layers that they come from, or the keys of a dict."""
        outputs: dict[str, Tensor] = {}
        if isinstance(found, dict):
            pairs = list(found.items())
        else:
            values = list(found) if isinstance(found, (list, tuple)) else [found]
            names = self._output_names()
            pairs = [(names[i] if i < len(names) else f"output_{i}", v) for i, v in enumerate(values)]
        for name, value in pairs:
            if not isinstance(value, Tensor):
                raise self.error(self.model, f"an output {brief(value)}", "a tensor")
            unique, n = name, 0
            while unique in outputs:
                n += 1
                unique = f"{name}_{n}"
            outputs[unique] = value
        return outputs

    def _output_names(self) -> list[str]:
        if self.model.is_sequential:
            return [self.model.layers[-1].name] if self.model.layers else []
        return [ref.name for ref in _flat(_ends(self, self.model, "output_layers"))]

    # --- models -------------------------------------------------------------------------------------------------------

    def call_model(self, model: Layer, given: Any) -> Any:
        """What a model gives; ``given`` None: it is the outermost one, whose inputs are placeholders."""
        if not model.layers:
            raise self.error(model, "no layers", "layers")
        return self._sequential(model, given) if model.is_sequential else self._functional(model, given)

    def _sequential(self, model: Layer, given: Any) -> Any:
        x = given[0] if isinstance(given, (list, tuple)) and len(given) == 1 else given
        for i, layer in enumerate(model.layers):
            if layer.kind == "InputLayer":
                if i:
                    raise self.error(layer, "an InputLayer after others", "layers")
                if x is None:
                    x = self._input(layer, layer.name, _shape_of(layer.config))
                continue
            if x is None:
                shape, name = self._first_shape(model, layer)
                x = self._input(layer, name, shape)
            x = self.call(layer, (x,), {})
        return x

    def _first_shape(self, model: Layer, layer: Layer) -> tuple[Any, str]:
        """The shape of the input of a Sequential model without an InputLayer, and Keras' name of that input."""
        name = f"{layer.name}_input"
        here, shape = layer, _shape_of(layer.config) or _listed(model.built) or _listed(layer.built)
        while shape is None and here.is_model and here.layers:
            here = here.layers[0]
            shape = _shape_of(here.config) or _listed(here.built)
        if shape is None:
            raise self.error(
                model, "no shape of its input", "an InputLayer, or batch_input_shape in its first layer",
                "Call the model's build(input_shape) in Keras and save it again.",
            )  # fmt: skip
        return shape, name

    def _functional(self, model: Layer, given: Any) -> Any:
        values: dict[tuple[str, int], Any] = {}
        layers = {layer.name: layer for layer in model.layers}
        starts = _ends(self, model, "input_layers")
        if given is not None:
            self._feed(model, starts, given, values)
        else:
            for ref in _flat(starts):
                layer = layers[ref.name]
                values[ref.name, 0] = self._input(layer, layer.name, _shape_of(layer.config))
        ends = _ends(self, model, "output_layers")
        for ref in _flat(ends):
            self._resolve(layers, ref, values)
        return _mapped(ends, lambda ref: self._value(layers, ref, values))

    def _feed(self, model: Layer, starts: Any, given: Any, values: dict[tuple[str, int], Any]) -> None:
        if isinstance(given, dict):
            names = list(starts) if isinstance(starts, dict) else [ref.name for ref in _flat(starts)]
            if set(names) != set(given):
                raise self.error(model, f"a call with {brief(sorted(given))}", brief(sorted(names)))
            tensors = [given[n] for n in names]
        else:
            tensors = list(given) if isinstance(given, (list, tuple)) else [given]
        refs = _flat(starts)
        if len(refs) != len(tensors):
            raise self.error(model, f"a call with {len(tensors)} inputs", f"{len(refs)}")
        for ref, tensor in zip(refs, tensors, strict=True):
            values[ref.name, 0] = tensor

    def _node(self, layers: Mapping[str, Layer], ref: Ref) -> int:
        """Which call of a layer a reference means: models count the one that made them as call 0."""
        layer = layers[ref.name]
        if layer.kind == "InputLayer":
            return 0
        number = ref.call
        if layer.is_model and len(layer.calls) == 1:
            number = min(number, 0) if number in (0, 1) else number
        elif layer.is_model and (not layer.is_sequential or layer.layers[0].kind == "InputLayer"):
            calls = [r.call for other in layers.values() for c in other.calls for r in c.refs if r.name == ref.name]
            number -= 0 if layer.is_sequential and 0 in calls else 1
        if not 0 <= number < len(layer.calls):
            raise self.error(layer, f"a connection to its call {ref.call}", f"one of {len(layer.calls)} calls")
        return number

    def _resolve(self, layers: Mapping[str, Layer], end: Ref, values: dict[tuple[str, int], Any]) -> None:
        """Makes what a reference needs, without recursion from layer to layer."""
        waiting = [(end.name, self._node(layers, end))]
        opened: set[tuple[str, int]] = set()
        while waiting:
            key = waiting[-1]
            if key in values:
                waiting.pop()
                continue
            layer = layers[key[0]]
            if layer.kind == "InputLayer":
                raise self.error(layer, "an input that the model does not list", "one of its 'input_layers'")
            call = layer.calls[key[1]]
            needed = [(r.name, self._node(layers, r)) for r in call.refs]
            missing = [k for k in needed if k not in values]
            if missing:
                if key in opened:
                    raise self.error(layer, "a cycle", "layers without cycles")
                opened.add(key)
                waiting += missing
                continue
            values[key] = self._make(layers, layer, call, values)
            waiting.pop()

    def _make(self, layers: Mapping[str, Layer], layer: Layer, call: Call, values: dict[tuple[str, int], Any]) -> Any:
        def real(value: Any) -> Any:
            return _mapped(value, lambda ref: self._value(layers, ref, values))

        return self.call(layer, tuple(real(a) for a in call.args), {k: real(v) for k, v in call.kwargs.items()})

    def _value(self, layers: Mapping[str, Layer], ref: Ref, values: dict[tuple[str, int], Any]) -> Any:
        found = values[ref.name, self._node(layers, ref)]
        if isinstance(found, dict):
            found = list(found.values())
        several = list(found) if isinstance(found, (list, tuple)) else [found]
        if ref.index >= len(several):
            raise self.error(layers[ref.name], f"output {ref.index}", f"one of {len(several)} outputs")
        return several[ref.index]

    # --- layers -------------------------------------------------------------------------------------------------------

    def _input(self, layer: Layer, name: str, shape: Any) -> Tensor:
        policy = policy_of(layer.config) if layer.kind == "InputLayer" else "float32"
        if layer.kind == "Embedding":
            policy = "int32"
        policy = policy.removeprefix("mixed_")
        if policy not in _INPUTS or layer.config.get("sparse") or layer.config.get("ragged"):
            raise self.error(layer, f"an input of type {policy[:40]!r}", f"a dense one of {', '.join(_INPUTS)}")
        if not isinstance(shape, (list, tuple)) or not all(
            d is None or (type(d) is int and 0 <= d < 1 << 31) for d in shape
        ):
            raise self.error(layer, f"the shape {brief(shape)}", "sizes, or null where any size fits")
        made = ops.placeholder(np.dtype(_INPUTS[policy]), list(shape), name=_legal(name))
        self.inputs[name] = made
        self.alias(name, made)
        return made

    def call(self, layer: Layer, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        self.count += 1
        if self.count > _MAX_CALLS:
            raise self.error(layer, f"more than {_MAX_CALLS:,} calls of layers", "a network")
        if len(self.graph) > MOST_NODES:
            raise self.error(layer, f"more than {MOST_NODES:,} operations", "a network")
        if layer.is_model:
            if len(args) != 1 or any(v is not None for k, v in kwargs.items() if k not in ("training", "mask")):
                raise self.error(layer, f"{len(args)} arguments and {brief(kwargs)}", "its inputs")
            found = self.call_model(layer, args[0])
        else:
            found = self._layer(layer, args, kwargs)
        if isinstance(found, Tensor):
            self.alias("/".join(layer.path), found)
            self.alias(layer.name, found)
        return found

    def _layer(self, layer: Layer, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if not is_operation(layer, self.shared.keras3, len(args) - 1) and layer.kind not in LAYERS:
            raise self._unknown(layer)
        if not args:
            args = tuple(kwargs.pop(k) for k in ("inputs", "x", "x1") if k in kwargs)[:1]
        if not args:
            raise self.error(layer, "a call without an input", "a layer's output")
        if kwargs.get("training") not in (None, False, 0) and not self.shared.keras3 and layer.kind in TRAINS:
            found = "a call with training=True, so that it is active at inference, too"
            raise self.error(layer, found, "a call for inference")
        with self.graph.name_scope(_legal(layer.name)):
            try:
                return apply(Building(self.shared, layer, args[1:], kwargs), args[0])
            except LoadError:
                raise
            except (
                KigraphError,
                ArithmeticError,
                AttributeError,
                LookupError,
                TypeError,
                ValueError,
                RecursionError,
            ) as e:
                raise self.error(layer, str(e)[:500], "a config and inputs that fit") from None

    def _unknown(self, layer: Layer) -> LoadError:
        if layer.kind == "Lambda":
            named = brief(layer.config.get("function"))[:120]
            remedy = f"Code from a file is never run. {EXPORT}."
            return self.error(layer, f"a Lambda, Python code that it would run: {named}", "layers without code", remedy)
        near = similar(layer.kind, LAYERS)
        known = f"one of Keras' {len(LAYERS)} that are translated{near and f' ({near})'}"
        return self.error(layer, f"a layer of the class {layer.kind[:80]!r}", known)


def _legal(name: str) -> str:
    """A name that the builder takes, of a layer's name."""
    found = _BAD.sub("_", name)[:200]
    return found if re.match(r"[A-Za-z0-9.]", found) else f"layer{found}"


def _shape_of(config: Mapping[str, Any]) -> Any:
    shape = config.get("batch_shape", config.get("batch_input_shape"))
    return _listed(shape)


def _listed(shape: Any) -> Any:
    if isinstance(shape, dict):  # a tuple that Keras marked as one
        shape = shape.get("items")
    return shape if isinstance(shape, list) and not any(isinstance(d, (list, dict)) for d in shape) else None


def _ends(network: _Network, model: Layer, key: str) -> Any:
    """'input_layers' or 'output_layers': [name, call, output] of each, in lists or in a dict."""
    names = {layer.name for layer in model.layers}

    def read(value: Any, depth: int) -> Any:
        if isinstance(value, dict) and value and depth < 8:
            return {k: read(v, depth + 1) for k, v in value.items()}
        if not isinstance(value, list) or depth >= 8 or not value:
            raise network.error(model, f"{key} {brief(value)}", "[name, call, output]")
        if isinstance(value[0], str):
            good = len(value) == 3 and value[0] in names and all(type(v) is int and v >= 0 for v in value[1:])
            if not good:
                raise network.error(model, f"{key} {brief(value)}", "[name, call, output] of a layer")
            return Ref(*value)
        return [read(v, depth + 1) for v in value]

    found = read(model.config.get(key), 0)
    return found[0] if isinstance(found, list) and len(found) == 1 else found


def _flat(value: Any) -> list[Ref]:
    if isinstance(value, Ref):
        return [value]
    values = value.values() if isinstance(value, dict) else value
    return [ref for v in values for ref in _flat(v)]


def _mapped(value: Any, function: Any) -> Any:
    if isinstance(value, Ref):
        return function(value)
    if isinstance(value, dict):
        return {k: _mapped(v, function) for k, v in value.items()}
    if isinstance(value, list):
        return [_mapped(v, function) for v in value]
    if isinstance(value, tuple):
        return tuple(_mapped(v, function) for v in value)
    return value
