"""Models of several inputs, shared layers, models in models and functions on tensors, in the JSON of Keras 2 and Keras 3."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from kigraph.graph.builder import Graph
from kigraph.graph.errors import LoadError
from kigraph.graph.loaders.weights import TensorInfo, WeightsFile
from kigraph.graph.models import graph_of_weights
from kigraph.graph.session import Session

Array = np.ndarray[Any, Any]
RNG = np.random.default_rng(10)


def random(*shape: int) -> Array:
    return RNG.standard_normal(shape).astype(np.float32)


def tensor(name: str, call: int = 0, index: int = 0) -> dict[str, Any]:
    return {
        "class_name": "__keras_tensor__",
        "config": {"shape": [None], "dtype": "float32", "keras_history": [name, call, index]},
    }


def start(name: str, *shape: int | None) -> dict[str, Any]:
    return {
        "class_name": "InputLayer",
        "name": name,
        "config": {"name": name, "batch_shape": [None, *shape]},
        "inbound_nodes": [],
    }


def layer(kind: str, name: str, *calls: Any, module: str | None = "keras.layers", **config: Any) -> dict[str, Any]:
    """``calls``: the arguments of Keras 3 in a list each, or nodes of Keras 2, tuples."""
    nodes = [list(c) if isinstance(c, tuple) else {"args": c, "kwargs": {}} for c in calls]
    spec = {"class_name": kind, "name": name, "config": {"name": name, **config}, "inbound_nodes": nodes}
    return spec | ({"module": module, "registered_name": None} if module else {})


def functional(layers: Sequence[Any], inputs: Any, outputs: Any, name: str = "m", **more: Any) -> dict[str, Any]:
    config = {"name": name, "layers": list(layers), "input_layers": inputs, "output_layers": outputs, "trainable": True}
    return {"class_name": "Functional", "name": name, "config": config, **more}


def build(
    config: Any, arrays: Mapping[str, Array], keras: int = 3, groups: Mapping[str, Sequence[str]] | None = None
) -> Graph:
    tensors = {n: TensorInfo(a.dtype, a.shape, a.dtype.name, lambda a=a: a, n) for n, a in arrays.items()}
    metadata: dict[str, Any] = {"model_config": json.dumps(config), "keras_version": f"{keras}.15.0"}
    metadata |= {"form": "keras-3"} if groups is None else {"layers": {k: tuple(v) for k, v in groups.items()}}
    return graph_of_weights(WeightsFile("m.keras", "keras", tensors, metadata))


def run(graph: Graph, **feeds: Array) -> list[Array]:
    outputs = graph.signatures["serving_default"].outputs
    return [np.asarray(v) for v in Session(graph, backend="numpy").run(list(outputs), feeds)]


def _tail(i: int) -> str:
    return f"_{i}" if i else ""


W = {f"layers/dense{_tail(i)}/vars/{v}": random(*s) for i in range(2) for v, s in enumerate([(4, 4), (4,)])}


def dense(x: Array, i: int = 0, arrays: Mapping[str, Array] = W) -> Array:
    prefix = f"layers/dense{_tail(i)}/vars"
    return np.asarray(x @ arrays[f"{prefix}/0"] + arrays[f"{prefix}/1"])


def test_inputs_outputs_and_shared_layers() -> None:
    layers = [
        start("a", 4), start("b", 4), layer("Dense", "shared", [tensor("a")], [tensor("b")], units=4),
        layer("Dense", "second", [tensor("shared", 1)], units=4), layer("Subtract", "difference", [[tensor("shared"), tensor("shared", 1)]]),
    ]  # fmt: skip
    graph = build(functional(layers, [["a", 0, 0], ["b", 0, 0]], [["difference", 0, 0], ["second", 0, 0]]), W)
    a, b = random(3, 4), random(3, 4)
    got = run(graph, a=a, b=b)
    np.testing.assert_allclose(got[0], dense(a) - dense(b), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(got[1], dense(dense(b), 1), rtol=1e-4, atol=1e-5)
    signature = graph.signatures["serving_default"]
    assert (list(signature.inputs), list(signature.outputs)) == (["a", "b"], ["difference", "second"])
    assert graph.aliases["output_1"] == graph.aliases["second"] == signature.outputs["second"]


def test_dicts_of_inputs_and_outputs() -> None:
    layers = [start("a", 4), start("b", 4), layer("Add", "sum", [[tensor("a"), tensor("b")]])]
    graph = build(functional(layers, {"a": ["a", 0, 0], "b": ["b", 0, 0]}, {"y": ["sum", 0, 0]}), {})
    a, b = random(2, 4), random(2, 4)
    np.testing.assert_allclose(run(graph, a=a, b=b)[0], a + b, rtol=1e-6)
    assert list(graph.signatures["serving_default"].outputs) == ["y"]


@pytest.mark.parametrize("keras", [2, 3])
def test_models_in_models_are_called_like_layers(keras: int) -> None:
    """A functional model counts the call that made it; a second call has another number."""
    inner = functional(
        [start("i", 4), layer("Dense", "d", [tensor("i")], units=4)], [["i", 0, 0]], [["d", 0, 0]], "inner"
    )
    inner["inbound_nodes"] = [{"args": [tensor("x")], "kwargs": {}}, {"args": [tensor("inner", 1)], "kwargs": {}}]
    layers = [start("x", 4), inner, layer("Add", "sum", [[tensor("inner", 1), tensor("inner", 2)]])]
    names = ["layers/functional/layers/dense/vars/0", "layers/functional/layers/dense/vars/1"]
    arrays = dict(zip(names, W.values(), strict=False))
    graph = build(
        functional(layers, [["x", 0, 0]], [["sum", 0, 0]]), arrays, keras, None if keras == 3 else {"inner": names}
    )
    x = random(3, 4)
    np.testing.assert_allclose(run(graph, x=x)[0], dense(x) + dense(dense(x)), rtol=1e-4, atol=1e-5)
    assert graph.aliases["inner/d"] == graph.aliases["d"]


def test_layers_that_are_one_object_in_two_models() -> None:
    shared = layer("Dense", "d", units=4) | {"shared_object_id": 7, "inbound_nodes": []}
    sequences = [
        {"class_name": "Sequential", "name": n, "config": {"name": n, "layers": [start(f"{n}_i", 4), shared]},
         "inbound_nodes": [{"args": [tensor("x")], "kwargs": {}}]} for n in ("first", "other")
    ]  # fmt: skip
    layers = [start("x", 4), *sequences, layer("Subtract", "y", [[tensor("first"), tensor("other")]])]
    arrays = {"layers/sequential/layers/dense/vars/0": random(4, 4), "layers/sequential/layers/dense/vars/1": random(4)}
    np.testing.assert_array_equal(
        run(build(functional(layers, [["x", 0, 0]], [["y", 0, 0]]), arrays), x=random(2, 4))[0], np.zeros((2, 4))
    )


def ops(kind: str, name: str, *args: Any, package: str = "numpy", **config: Any) -> dict[str, Any]:
    return layer(kind, name, list(args), module=f"keras.src.ops.{package}", **config) | {"registered_name": kind}


def piece(*parts: Any) -> list[Any]:
    return [
        {"class_name": "__slice__", "config": dict(zip(("start", "stop", "step"), p, strict=True))}
        if isinstance(p, tuple)
        else p
        for p in parts
    ]


X = random(2, 3, 4)
FUNCTIONS: dict[str, tuple[dict[str, Any], Array]] = {
    "constant first": (ops("Subtract", "y", 3.0, tensor("x")), 3 - X),
    "array": (ops("Add", "y", tensor("x"), {"class_name": "__numpy__", "config": {"value": [1, 2, 3, 4], "dtype": "float32"}}), np.add(X, [1, 2, 3, 4])),
    "power": (ops("Power", "y", tensor("x"), 2), X**2),
    "mean": (ops("Mean", "y", tensor("x"), axis=[1], keepdims=True), X.mean(1, keepdims=True)),
    "of all": (ops("Max", "y", tensor("x"), axis=None, keepdims=False, initial=None), X.max()),
    "variance": (ops("Var", "y", tensor("x"), axis=-1, keepdims=False), X.var(-1)),
    "reshape": (ops("Reshape", "y", tensor("x"), newshape=[-1, 6]), X.reshape(-1, 6)),
    "item": (ops("GetItem", "y", tensor("x"), piece((None, None, None), (None, None, -1), 1)), X[:, ::-1, 1]),
    "ellipsis": (ops("GetItem", "y", tensor("x"), [{"class_name": "__ellipsis__", "config": {}}, None, 0]), X[..., None, 0]),
    "take": (ops("Take", "y", tensor("x"), [3, -4], axis=-1), X[..., [3, 0]]),
    "concatenate": (ops("Concatenate", "y", [tensor("x"), tensor("x")], axis=1), np.concatenate([X, X], 1)),
    "split": (ops("Split", "y", tensor("x"), indices_or_sections=[1], axis=2), X[..., :1]),
    "clip": (ops("Clip", "y", tensor("x"), x_min=0, x_max=0.5), X.clip(0, 0.5)),
    "repeat": (ops("Repeat", "y", tensor("x"), repeats=2, axis=1), X.repeat(2, 1)),
    "flip": (ops("Flip", "y", tensor("x"), axis=2), X[..., ::-1]),
    "swap": (ops("Swapaxes", "y", tensor("x"), axis1=1, axis2=-1), X.swapaxes(1, 2)),
    "pad": (ops("Pad", "y", tensor("x"), pad_width=[[0, 0], [1, 0], [0, 2]], mode="constant"), np.pad(X, [(0, 0), (1, 0), (0, 2)])),
    "argmax": (ops("Argmax", "y", tensor("x"), axis=1, keepdims=False), X.argmax(1)),
    "relu": (ops("Relu", "y", tensor("x"), package="nn"), np.maximum(X, 0)),
    "cast": (ops("Cast", "y", tensor("x"), package="core", dtype="int32"), X.astype(np.int32)),
    "normalize": (ops("Normalize", "y", tensor("x"), package="nn", axis=-1, order=2, epsilon=None), X / np.sqrt((X**2).sum(-1, keepdims=True))),
    "Keras 2": (layer("TFOpLambda", "y", ("x", 0, 0, {"y": 3.0, "name": None}), module=None, function="math.multiply"), X * 3),
    "Keras 2, constant first": (layer("TFOpLambda", "y", ("_CONSTANT_VALUE", -1, 2.0, {"y": ["x", 0, 0]}), module=None, function="math.subtract"), 2 - X),
    "Keras 2, list": (layer("TFOpLambda", "y", (["x", 0, 0, {"axis": -1}], ["x", 0, 0, {"axis": -1}]), module=None, function="concat"), np.concatenate([X, X], -1)),
    "Keras 2, slices": (layer("SlicingOpLambda", "y", ("x", 0, 0, {"slice_spec": [{"start": None, "stop": None, "step": None}, 1]}), module=None, function="__operators__.getitem"), X[:, 1]),
    "Keras 2, two tensors": (layer("TFOpLambda", "y", ("x", 0, 0, {"y": ["x", 0, 0], "name": None}), module=None, function="__operators__.add"), X + X),
}  # fmt: skip


@pytest.mark.parametrize("case", FUNCTIONS)
def test_functions_on_tensors(case: str) -> None:
    spec, want = FUNCTIONS[case]
    graph = build(
        functional([start("x", 3, 4), spec], [["x", 0, 0]], [["y", 0, 0]]), {}, 2 if case.startswith("Keras 2") else 3
    )
    got = run(graph, x=X)[0]
    assert got.shape == want.shape
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)


def test_functions_of_keras_3_have_no_module_in_hdf5() -> None:
    spec = layer("Add", "y", [tensor("x"), 2.0], module=None)
    graph = build(functional([start("x", 3, 4), spec], [["x", 0, 0]], [["y", 0, 0]]), {}, 3, {})
    np.testing.assert_allclose(run(graph, x=X)[0], X + 2, rtol=1e-6)
    own = layer("Negative", "y", [tensor("x")], module=None, trainable=True)  # a layer of the user's
    with pytest.raises(LoadError, match="class 'Negative'"):
        build(functional([start("x", 3, 4), own], [["x", 0, 0]], [["y", 0, 0]]), {}, 3, {})


def test_masks_that_keras_3_writes_as_arguments() -> None:
    """Embedding with mask_zero: a function of the input, which goes to the layers after it as 'mask'."""
    pool = layer("GlobalAveragePooling1D", "y", [tensor("e")])
    pool["inbound_nodes"][0]["kwargs"] = {"mask": tensor("n")}
    layers = [
        {**start("x", 4), "config": {"name": "x", "batch_shape": [None, 4], "dtype": "int32"}},
        layer("Embedding", "e", [tensor("x")], input_dim=3, output_dim=2, mask_zero=True), ops("NotEqual", "n", tensor("x"), 0), pool,
    ]  # fmt: skip
    table, x = random(3, 2), np.array([[1, 0, 2, 0], [2, 2, 2, 2]], np.int32)
    got = run(build(functional(layers, [["x", 0, 0]], [["y", 0, 0]]), {"layers/embedding/vars/0": table}), x=x)[0]
    np.testing.assert_allclose(got, [(table[1] + table[2]) / 2, table[2]], rtol=1e-5)


def test_half_precision_is_computed_in_float32_and_says_so() -> None:
    spec = layer(
        "Dense", "y", [tensor("x")], units=4, dtype={"class_name": "DTypePolicy", "config": {"name": "mixed_float16"}}
    )
    graph = build(
        functional([start("x", 4), spec], [["x", 0, 0]], [["y", 0, 0]]), {k: v for k, v in W.items() if "_1" not in k}
    )
    assert graph.metadata["precision"] == "dtype policy mixed_float16; computed in float32"
    x = random(2, 4)
    np.testing.assert_allclose(run(graph, x=x)[0], dense(x), rtol=1e-4, atol=1e-5)


def test_float64_stays() -> None:
    arrays = {k: v.astype(np.float64) for k, v in W.items() if "_1" not in k}
    first = {**start("x", 4), "config": {"name": "x", "batch_shape": [None, 4], "dtype": "float64"}}
    spec = layer("Dense", "y", [tensor("x")], units=4, dtype="float64")
    got = run(build(functional([first, spec], [["x", 0, 0]], [["y", 0, 0]]), arrays), x=np.ones((1, 4)))[0]
    assert got.dtype == np.float64
    np.testing.assert_allclose(got, dense(np.ones((1, 4)), 0, arrays), rtol=1e-12)


# --- hostile ------------------------------------------------------------------------------------------------------------------


def test_models_that_call_each_other_often_are_bounded() -> None:
    """Every level calls the one below 40 times: 40 ** 5 calls in 20 kB."""
    inner: dict[str, Any] = layer("Flatten", "f")
    for i in range(5):
        name = f"m{i}"
        inner["inbound_nodes"] = [{"args": [tensor(f"i{i}")], "kwargs": {}} for _ in range(40)]
        first = 1 if i else 0
        ends = [[inner["name"], k + first, 0] for k in range(40)]
        adds = layer("Add", "s", [[tensor(n, c) for n, c, _ in ends]])
        inner = functional([start(f"i{i}", 4), inner, adds], [[f"i{i}", 0, 0]], [["s", 0, 0]], name)
    with pytest.raises(LoadError, match="more than 10,000 calls"):
        build(inner, {})


def test_shared_objects_do_not_multiply() -> None:
    """Two models of each level share both of the level below."""
    levels: list[Any] = [
        layer("Dense", "a", units=1) | {"shared_object_id": 1},
        layer("Dense", "b", units=1) | {"shared_object_id": 2},
    ]
    for i in range(12):
        levels = [
            {"class_name": "Sequential", "name": f"{n}{i}", "shared_object_id": 10 * i + 10 + k,
             "config": {"name": f"{n}{i}", "layers": [{**v, "config": {**v["config"], "layers": []}} if i else v for v in levels]}}
            for k, n in enumerate("ab")
        ]  # fmt: skip
    with pytest.raises(LoadError):
        build(
            {"class_name": "Sequential", "config": {"name": "m", "layers": [start("x", 4), *levels]}},
            {},
            2,
            {"a": ["w"]},
        )


def test_the_last_layer_is_looked_for_without_end() -> None:
    """A layer that is called twice: its first call reads what reads its second one."""
    layers = [
        start("x", 4), layer("Dropout", "d", [tensor("f")], [tensor("x")]), layer("Flatten", "f", [tensor("d", 1)]),
    ]  # fmt: skip
    graph = build(functional(layers, [["x", 0, 0]], [["d", 0, 0]]), {})
    assert graph.metadata["scores"] == "values"
    with pytest.raises(LoadError, match="output_layers"):
        build(functional(layers, [["x", 0, 0]], {}), {})


def test_the_scaled_sum_of_inception_resnet() -> None:
    sum_ = layer("CustomScaleLayer", "y", [[tensor("a"), tensor("b")]], scale=0.25)
    graph = build(functional([start("a", 4), start("b", 4), sum_], [["a", 0, 0], ["b", 0, 0]], [["y", 0, 0]]), {})
    a, b = random(2, 4), random(2, 4)
    np.testing.assert_allclose(run(graph, a=a, b=b)[0], a + b / 4, rtol=1e-6)
