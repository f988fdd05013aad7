"""Which array is which variable: Keras' order in HDF5, its paths in Keras 3; what is missing or left over."""

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
RNG = np.random.default_rng(11)


def random(*shape: int) -> Array:
    return (RNG.standard_normal(shape) ** 2 + 0.1).astype(np.float32)


def layer(kind: str, name: str, **config: Any) -> dict[str, Any]:
    return {"class_name": kind, "config": {"name": name, **config}}


def sequential(name: str, *layers: Any, **config: Any) -> dict[str, Any]:
    return {"class_name": "Sequential", "config": {"name": name, "layers": list(layers), **config}}


START = layer("InputLayer", "x", batch_shape=[None, 3])
NORM = ("gamma", "beta", "moving_mean", "moving_variance")


def build(config: Any, groups: Mapping[str, Mapping[str, Array]], version: str = "2.15.0") -> Graph:
    """HDF5: the arrays of each layer in order."""
    arrays = {f"{g}/{n}": a for g, names in groups.items() for n, a in names.items()}
    tensors = {n: TensorInfo(a.dtype, a.shape, a.dtype.name, lambda a=a: a, n) for n, a in arrays.items()}
    layers = {g: tuple(f"{g}/{n}" for n in names) for g, names in groups.items()}
    metadata = {"model_config": json.dumps(config), "keras_version": version, "layers": layers}
    return graph_of_weights(WeightsFile("m.h5", "keras-h5", tensors, metadata))


def by_path(config: Any, arrays: Mapping[str, Array]) -> Graph:
    tensors = {n: TensorInfo(a.dtype, a.shape, a.dtype.name, lambda a=a: a, n) for n, a in arrays.items()}
    metadata = {"model_config": json.dumps(config), "keras_version": "3.15.0", "form": "keras-3"}
    return graph_of_weights(WeightsFile("m.keras", "keras", tensors, metadata))


def run(graph: Graph, x: Array) -> Array:
    (name,) = graph.signatures["serving_default"].outputs.values()
    return np.asarray(Session(graph, backend="numpy").run(name, {"x": x}))


def norm(x: Array, v: Sequence[Array]) -> Array:
    return np.asarray((x - v[2]) / np.sqrt(v[3] + 1e-3) * v[0] + v[1])


D1, D2 = (random(3, 3), random(3)), (random(3, 3), random(3))
B1, B2 = (tuple(random(3) for _ in range(4)) for _ in range(2))


def want(x: Array) -> Array:
    return norm(norm(x @ D1[0] + D1[1], B1) @ D2[0] + D2[1], B2)


def inner(**frozen: bool) -> dict[str, Any]:
    """Dense, norm, dense, norm in one nested model; ``frozen``: layers that are not trained."""
    parts = [("Dense", "d1"), ("BatchNormalization", "b1"), ("Dense", "d2"), ("BatchNormalization", "b2")]
    layers = [
        layer(k, n, trainable=not frozen.get(n, False), **({"units": 3} if k == "Dense" else {})) for k, n in parts
    ]
    return sequential("inner", START, *layers, trainable=not frozen.get("inner", False))


def named(*parts: tuple[str, Sequence[Array], Sequence[str]]) -> dict[str, Array]:
    return {f"{name}/{v}:0": a for name, arrays, names in parts for v, a in zip(names, arrays, strict=True)}


TRAINED = [
    ("d1", D1, ("kernel", "bias")),
    ("b1", B1[:2], NORM[:2]),
    ("d2", D2, ("kernel", "bias")),
    ("b2", B2[:2], NORM[:2]),
]
OTHERS = [("b1", B1[2:], NORM[2:]), ("b2", B2[2:], NORM[2:])]


@pytest.mark.parametrize("version", ["2.15.0", "3.15.0"])
@pytest.mark.parametrize(
    ("frozen", "order"),
    [
        ((), [*TRAINED, *OTHERS]),
        (("d1",), [*TRAINED[1:], TRAINED[0], *OTHERS]),
        (("b1",), [TRAINED[0], *TRAINED[2:], ("b1", B1, NORM), OTHERS[1]]),
        (("d1", "b1", "d2", "b2", "inner"), [TRAINED[0], ("b1", B1, NORM), TRAINED[2], ("b2", B2, NORM)]),
    ],
)
def test_trained_arrays_come_first(frozen: Sequence[str], order: Any, version: str) -> None:
    """Names that say nothing, so that the order alone decides."""
    x = random(2, 3)
    config = sequential("m", START, inner(**dict.fromkeys(frozen, True)))
    arrays = {f"w{i}:0": a for i, a in enumerate(named(*order).values())}
    np.testing.assert_allclose(run(build(config, {"inner": arrays}, version), x), want(x), rtol=1e-4)


def test_names_decide_where_they_contradict_the_order() -> None:
    x, arrays = random(2, 3), named(*TRAINED, *OTHERS)
    config = sequential("m", START, inner(d1=True, b1=True))  # frozen after the order of the file was made
    np.testing.assert_allclose(run(build(config, {"inner": arrays}), x), want(x), rtol=1e-4)
    doubled = {n.replace("b2/", "b1/b1/").replace("d2/", "d1/d1/"): a for n, a in arrays.items()}
    with pytest.raises(LoadError, match=r"found the arrays .*; expected one '"):
        build(config, {"inner": doubled})


def test_layers_have_other_names_in_the_file() -> None:
    x = random(2, 3)
    config = sequential(
        "m", START, layer("Dense", "dense_7", units=3), layer("Dropout", "d"), layer("Dense", "dense_8", units=3)
    )
    groups = {
        "dense": named(TRAINED[0]),
        "dense_1": named(TRAINED[2]),
        "dropout": {"StateVar:0": np.zeros(3, np.int64)},
    }
    np.testing.assert_allclose(run(build(config, groups), x), (x @ D1[0] + D1[1]) @ D2[0] + D2[1], rtol=1e-4)


def test_paths_count_classes() -> None:
    x = random(2, 3)
    arrays = {
        **{f"layers/sequential/layers/dense/vars/{i}": a for i, a in enumerate(D1)},
        **{f"layers/sequential/layers/batch_normalization/vars/{i}": a for i, a in enumerate(B1)},
        **{f"layers/sequential/layers/dense_1/vars/{i}": a for i, a in enumerate(D2)},
        **{f"layers/sequential/layers/batch_normalization_1/vars/{i}": a for i, a in enumerate(B2)},
        "layers/dropout/seed_generator/vars/0": np.zeros(2, np.uint32),
    }
    config = sequential("m", START, inner(), layer("Dropout", "drop"))
    np.testing.assert_allclose(run(by_path(config, arrays), x), want(x), rtol=1e-4)
    old = {n.replace("layers", "_layer_checkpoint_dependencies"): a for n, a in arrays.items()}
    np.testing.assert_allclose(run(by_path(config, old), x), want(x), rtol=1e-4)


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (lambda a: a.pop("layers/dense/vars/1"), "'dense'.*1 arrays; expected 2: kernel, bias"),
        (
            lambda a: a.update({"layers/dense_1/vars/0": D1[0]}),
            r"'layers/dense_1/vars/0' \(3, 3\); expected those of the layers",
        ),
        (lambda a: a.update({"layers/dense/vars/2": D1[0]}), "'layers/dense/vars/2'"),
        (lambda a: a.update({"layers/dense/vars/0": random(3, 2)}), r"'kernel' of shape \(3, 2\); expected \(3, 3\)"),
        (lambda a: a.update({"layers/dense/vars/0": D1[0].astype(complex)}), "complex128; expected numbers"),
    ],
)
def test_every_array_is_used_and_every_weight_found(change: Any, found: str) -> None:
    arrays = {f"layers/dense/vars/{i}": a for i, a in enumerate(D1)}
    change(arrays)
    with pytest.raises(LoadError, match=found):
        by_path(sequential("m", START, layer("Dense", "dense", units=3)), arrays)


def test_weights_stay_in_the_file() -> None:
    reads: list[str] = []

    def info(name: str, a: Array) -> TensorInfo:
        return TensorInfo(a.dtype, a.shape, "float32", lambda: (reads.append(name), a)[1], name)

    tensors = {f"layers/conv2d/vars/{i}": info(str(i), a) for i, a in enumerate((random(3, 3, 3, 5), random(5)))}
    start = layer("InputLayer", "x", batch_shape=[None, 8, 8, 3])
    config = sequential("m", start, layer("Conv2D", "c", filters=5, kernel_size=[3, 3]))
    metadata = {"model_config": json.dumps(config), "keras_version": "3.15.0", "form": "keras-3"}
    graph = graph_of_weights(WeightsFile("m.keras", "keras", tensors, metadata))
    assert reads == []
    assert run(graph, random(1, 8, 8, 3)).shape == (1, 6, 6, 5)
    assert set(reads) == {"0", "1"}
