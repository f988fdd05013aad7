"""Keras models with Inception v3 in them are built as their config says, like any other.

conftest.py writes the configs, in the JSON of Keras 2 and of Keras 3. Arrays of the blocks are never read: what stands
around them runs alone, on random values for the last block's output, and is compared with float64.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kigraph.graph.models import graph_of_weights
from kigraph.graph.models.inception_v3.layers import NETWORK
from kigraph.graph.opdefs.table import OPDEFS
from kigraph.graph.session import Session
from kigraph.opening import open_file

Array = np.ndarray[Any, Any]


# --- what is built ------------------------------------------------------------------------------------------------------

RNG = np.random.default_rng(20)


def random(*shape: int, scale: float = 1.0) -> Array:
    return (RNG.standard_normal(shape) * scale).astype(np.float32)


def dense(
    net: Any, x: str, units: int, activation: str | None, name: str = "dense", rows: int = 2048, bias: bool = True
) -> str:
    arrays = {"kernel": random(rows, units, scale=rows**-0.5)} | ({"bias": random(units)} if bias else {})
    return net.add("Dense", name, [x], arrays, units=units, activation=activation or "linear", use_bias=bias)


def gap(net: Any, x: str) -> str:
    return net.add("GlobalAveragePooling2D", "gap", [x], data_format="channels_last", keepdims=False)


def of(net: Any, layer: str, variable: str) -> Array:
    return np.asarray(net.arrays[layer][f"{layer}/{variable}"], np.float64)


def soft(x: Array) -> Array:
    e = np.exp(x - x.max(-1, keepdims=True))
    return np.asarray(e / e.sum(-1, keepdims=True))


def matmul(net: Any, x: Array, name: str = "dense") -> Array:
    return np.asarray(
        x @ of(net, name, "kernel") + (of(net, name, "bias") if f"{name}/bias" in net.arrays[name] else 0)
    )


def bn_arrays(n: int) -> dict[str, Array]:
    return {"gamma": random(n), "beta": random(n), "moving_mean": random(n), "moving_variance": random(n) ** 2}


def bn(net: Any, x: Array, name: str = "bn") -> Array:
    g, b, m, v = (of(net, name, k) for k in ("gamma", "beta", "moving_mean", "moving_variance"))
    return np.asarray((x - m) / np.sqrt(v + 1e-3) * g + b)


def two_layers(net: Any, x: str) -> str:
    x = dense(net, gap(net, x), 64, "relu")
    x = net.add("Dropout", "dropout", [x], rate=0.5)
    return dense(net, x, 5, "softmax", "dense_1", 64)


def with_norms(net: Any, x: str) -> str:
    x = net.add("BatchNormalization", "bn", [x], bn_arrays(2048), axis=[3], epsilon=1e-3)
    x = net.add(
        "GaussianNoise", "noise", [net.add("ReLU", "relu", [x], max_value=None, negative_slope=0.0, threshold=0.0)]
    )
    x = dense(net, gap(net, x), 16, None)
    x = net.add("BatchNormalization", "bn_1", [x], bn_arrays(16), axis=[1], epsilon=1e-3)
    x = net.add("Activation", "elu", [x], activation="elu")
    return net.add("Softmax", "softmax", [dense(net, x, 3, None, "dense_1", 16)], axis=-1)


def windows(net: Any, x: str) -> str:
    x = net.add("AveragePooling2D", "pool", [x], pool_size=[2, 2], strides=None, padding="same")
    return dense(net, net.add("Flatten", "flatten", [x]), 2, "softmax", rows=4 * 2048)


def pooled_same(x: Array) -> Array:
    """2x2 windows, stride 2, over 3x3 with padding that is not counted."""
    parts = [x[:, i : i + 2, j : j + 2].mean((1, 2)) for i in (0, 2) for j in (0, 2)]
    return np.stack(parts, 1).reshape(len(x), -1)


HEADS: dict[str, tuple[Callable[[Any, str], str], Callable[[Any, Array], Array], str]] = {
    "softmax": (lambda n, x: dense(n, gap(n, x), 5, "softmax"), lambda n, x: soft(matmul(n, x.mean((1, 2)))), "probabilities"),
    "logits": (lambda n, x: dense(n, gap(n, x), 5, None), lambda n, x: matmul(n, x.mean((1, 2))), "logits"),
    "one sigmoid": (
        lambda n, x: dense(n, gap(n, x), 1, "sigmoid"),
        lambda n, x: 1 / (1 + np.exp(-matmul(n, x.mean((1, 2))))),
        "sigmoid",
    ),
    "one number": (lambda n, x: dense(n, gap(n, x), 1, None, bias=False), lambda n, x: matmul(n, x.mean((1, 2))), "logits"),
    "maximum": (
        lambda n, x: dense(n, n.add("GlobalMaxPooling2D", "gmax", [x]), 5, "softmax"),
        lambda n, x: soft(matmul(n, x.max((1, 2)))),
        "probabilities",
    ),
    "flatten": (
        lambda n, x: dense(n, n.add("Flatten", "flatten", [x]), 3, "tanh", rows=9 * 2048),
        lambda n, x: np.tanh(matmul(n, x.reshape(len(x), -1))),
        "values",
    ),
    "two layers": (
        two_layers,
        lambda n, x: soft(matmul(n, np.maximum(matmul(n, x.mean((1, 2))), 0), "dense_1")),
        "probabilities",
    ),
    "batch norm": (
        with_norms,
        lambda n, x: soft(
            matmul(n, (lambda y: np.where(y > 0, y, np.expm1(np.minimum(y, 0))))(
                bn(n, matmul(n, np.maximum(bn(n, x), 0).mean((1, 2))), "bn_1")), "dense_1")
        ),
        "probabilities",
    ),
    "windows": (windows, lambda n, x: soft(matmul(n, pooled_same(x))), "probabilities"),
    "leaky": (
        lambda n, x: n.add("LeakyReLU", "leaky", [dense(n, gap(n, x), 7, None)], alpha=0.3),
        lambda n, x: (lambda y: np.where(y > 0, y, 0.3 * y))(matmul(n, x.mean((1, 2)))),
        "values",
    ),
    "no top": (lambda n, x: x, lambda n, x: x, "values"),
    "features": (gap, lambda n, x: x.mean((1, 2)), "values"),
}  # fmt: skip


NEEDS = {"leaky": "LeakyRelu", "batch norm": "Elu"}


@pytest.mark.parametrize(
    ("head", "keras", "nested"),
    [
        *((head, 2, True) for head in HEADS),
        *((head, 3, False) for head in HEADS),
        ("two layers", 2, False),
        ("two layers", 3, True),
    ],
)
def test_heads(keras_models: Any, head: str, keras: int, nested: bool) -> None:
    if NEEDS.get(head, "Relu") not in OPDEFS:
        pytest.skip(f"needs the op {NEEDS[head]}")
    make, want, scores = HEADS[head]
    net, output = keras_models.model(make, nested=nested)
    graph = graph_of_weights(net.file(output, keras))
    assert graph.tensor("input_1").shape == (None, 150, 150, 3)
    assert graph.metadata["scores"] == scores
    x = np.abs(random(2, 3, 3, 2048))
    got = Session(graph, backend="numpy").run([graph.metadata["output"]], {"mixed10": x})[0]
    expected = want(net, x.astype(np.float64))
    assert got.shape == expected.shape
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)


def rescaling(net: Any, x: str) -> str:
    x = net.add("RandomFlip", "flip", [x], mode="horizontal")
    return net.add("Rescaling", "rescaling", [x], scale=1 / 127.5, offset=-1)


def normalization(net: Any, x: str) -> str:
    return net.add(
        "Normalization",
        "norm",
        [x],
        axis=[-1],
        invert=False,
        mean=[[120.0, 110.0, 100.0]],
        variance=[[3000.0, 3500.0, 4000.0]],
    )


def adapted(net: Any, x: str) -> str:
    arrays = {"mean": np.float32([1, 2, 3]), "variance": np.float32([4, 0, 9]), "count": np.zeros((), np.float32)}
    return net.add("Normalization", "norm", [x], arrays, axis=[-1], mean=None, variance=None)


def arithmetic(net: Any, x: str) -> str:
    return net.add("Subtract", "subtract", [net.add("TrueDivide", "divide", [x, 127.5]), 1.0])


@pytest.mark.parametrize(
    ("front", "want", "divided_by"),
    [
        (rescaling, lambda x: x / 127.5 - 1, 1.0),
        (lambda n, x: n.add("Rescaling", "r", [x], scale=1 / 255, offset=0.0), lambda x: x / 255, 1.0),
        (lambda n, x: n.add("Rescaling", "r", [x], scale=2.0, offset=-1.0), lambda x: 2 * x - 1, 255.0),
        (lambda n, x: n.add("Rescaling", "r", [x], scale=1e5, offset=-1.0), lambda x: 1e5 * x - 1, None),
        (normalization, lambda x: (x - [120, 110, 100]) / np.sqrt([3000, 3500, 4000]), 1.0),
        (adapted, lambda x: (x - [1, 2, 3]) / [2, 1e-7, 3], None),
        (arithmetic, lambda x: x / 127.5 - 1, 1.0),
    ],
    ids=["rescaling", "to 1", "from 1", "unclear", "normalization", "adapted", "preprocess_input"],
)
def test_scaling_in_front(
    keras_models: Any, front: Any, want: Callable[[Array], Array], divided_by: float | None
) -> None:
    net, output = keras_models.model(HEADS["softmax"][0], front)
    graph = graph_of_weights(net.file(output, 3))
    x = RNG.uniform(0, 255, (1, 150, 150, 3)).astype(np.float32)
    scaled = graph.operation("conv2d/Conv2D").inputs[0].name
    got = Session(graph, backend="numpy").run(scaled, {"input_1": x})
    np.testing.assert_allclose(got, want(x.astype(np.float64)), rtol=1e-5, atol=1e-4)
    assert graph.metadata["pixels_divided_by"] == divided_by


@pytest.mark.parametrize("blocks", [8, 15])
def test_blocks_may_be_cut_off(keras_models: Any, blocks: int) -> None:
    """Models often end at 'mixed7'; the features after it have 768 channels."""
    cut = NETWORK[:blocks]
    channels = {8: 256, 15: 768}[blocks]
    net, output = keras_models.model(
        lambda n, x: dense(n, gap(n, x), 2, "softmax", rows=channels), network=cut, first=3
    )
    graph = graph_of_weights(net.file(output, 2))
    assert f"mixed{blocks - 7}" not in graph.aliases
    assert graph.tensor("dense").shape == (None, 2)


@pytest.mark.parametrize("shape", [(None, None, None, 3), (4, 96, 130, 3)])
def test_input_sizes(keras_models: Any, shape: tuple[int | None, ...]) -> None:
    net, output = keras_models.model(HEADS["softmax"][0], shape=shape)
    graph = graph_of_weights(net.file(output, 3))
    assert graph.tensor("input_1").shape == shape
    x = np.abs(random(4, 2, 5, 2048)) if shape[1] is None else np.abs(random(4, 1, 2, 2048))
    got = Session(graph, backend="numpy").run("dense", {"mixed10": x})
    np.testing.assert_allclose(got, HEADS["softmax"][1](net, x.astype(np.float64)), rtol=1e-4, atol=1e-5)


def test_keras_itself(tmp_path: Path) -> None:
    """Where TensorFlow is installed: a fine-tuned binary classifier, saved and asked by Keras."""
    keras = pytest.importorskip("tensorflow", reason="compares with Keras, which is not installed here").keras
    pytest.importorskip("h5py")
    layers = keras.layers
    image = keras.Input((96, 110, 3))
    x = layers.Rescaling(1 / 127.5, -1)(layers.RandomFlip("horizontal")(image))
    base = keras.applications.InceptionV3(weights=None, include_top=False, input_shape=(96, 110, 3))
    x = layers.Dropout(0.3)(layers.GlobalMaxPooling2D()(base(x, training=False)))
    x = layers.Dense(32, activation="elu")(x)
    net = keras.Model(image, layers.Dense(1, activation="sigmoid")(layers.BatchNormalization()(x)))
    net.save(tmp_path / "m.h5")
    x = RNG.uniform(0, 255, (2, 96, 110, 3)).astype(np.float32) * np.float32([1, 0.2]).reshape(2, 1, 1, 1)
    graph = open_file(tmp_path / "m.h5", strict=True).graph
    assert graph is not None
    got = Session(graph, backend="numpy").run(graph.metadata["output"], {graph.metadata["input"]: x})
    np.testing.assert_allclose(got, net.predict(x, verbose=0), rtol=1e-4)
