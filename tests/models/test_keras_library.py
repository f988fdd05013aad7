"""Models that Keras itself writes and computes, in every form that it saves; they skip where Keras is not installed."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kigraph.graph.session import Session
from kigraph.opening import open_file

Array = np.ndarray[Any, Any]
LIBRARIES = ("keras", "tf_keras")


@pytest.fixture(scope="module", params=LIBRARIES)
def keras(request: pytest.FixtureRequest) -> Any:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    pytest.importorskip("h5py")
    return pytest.importorskip(request.param, reason=f"compares with {request.param}, which is not installed here")


def cnn(k: Any) -> Any:
    x = start = k.Input((20, 18, 3))
    x = k.layers.Rescaling(1 / 127.5, -1)(k.layers.RandomFlip()(x))
    x = k.layers.Conv2D(8, 3, strides=2, padding="same", use_bias=False)(x)
    x = k.layers.ReLU(6.0)(k.layers.BatchNormalization()(x))
    y = k.layers.DepthwiseConv2D(3, padding="same")(x)
    y = k.layers.Activation("swish")(k.layers.BatchNormalization()(y))
    x = k.layers.Add()([x, k.layers.SeparableConv2D(8, 3, padding="same")(y)])
    x = k.layers.GlobalAveragePooling2D()(k.layers.MaxPooling2D()(x))
    return k.Model(start, k.layers.Dense(5, activation="softmax")(k.layers.Dropout(0.2)(x)))


def nested(k: Any) -> Any:
    base = k.Sequential([k.Input((8, 8, 3)), k.layers.Conv2D(4, 3), k.layers.BatchNormalization()])
    base.trainable = False
    a, b = k.Input((8, 8, 3)), k.Input((8, 8, 3))
    x = k.layers.Concatenate()([k.layers.Flatten()(base(a)), k.layers.Flatten()(base(b) * 2.0 - 1.0)])
    return k.Model([a, b], [k.layers.Dense(3)(x), k.layers.LayerNormalization()(x)])


def sequence(k: Any) -> Any:
    x = start = k.Input((6,), dtype="int32")
    x = k.layers.Embedding(9, 8, mask_zero=True)(x)
    x = k.layers.Bidirectional(k.layers.LSTM(4, return_sequences=True))(x)
    return k.Model(start, k.layers.Dense(2, activation="sigmoid")(k.layers.GRU(5)(x)))


def transformer(k: Any) -> Any:
    x = start = k.Input((7, 12))
    x = k.layers.LayerNormalization()(x + k.layers.MultiHeadAttention(3, 4)(x, x, use_causal_mask=True))
    x = x + k.layers.Dense(12)(k.layers.Dense(20, activation="gelu")(x))
    return k.Model(start, k.layers.Dense(3)(x[:, 0]))


MODELS: dict[str, Callable[[Any], Any]] = {
    "cnn": cnn,
    "nested": nested,
    "sequence": sequence,
    "transformer": transformer,
}


@pytest.mark.parametrize("name", MODELS)
def test_all_forms(keras: Any, name: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(12)
    net = MODELS[name](keras)
    net.set_weights([w + rng.uniform(0.1, 0.5, w.shape).astype(w.dtype) for w in net.get_weights()])
    shapes = [(2, *t.shape[1:]) for t in net.inputs]
    feeds: list[Array] = [
        rng.integers(0, 9, s).astype(np.int32) if name == "sequence" else rng.standard_normal(s).astype(np.float32)
        for s in shapes
    ]
    found = net.predict(feeds if len(feeds) > 1 else feeds[0], verbose=0)
    wanted = found if isinstance(found, list) else [found]
    (tmp_path / "w.json").write_text(net.to_json())
    net.save_weights(tmp_path / "w.weights.h5")
    for path in (tmp_path / "m.keras", tmp_path / "m.h5", tmp_path / "w.weights.h5"):
        if not path.exists():
            net.save(path)
        graph = open_file(path, strict=True).graph
        assert graph is not None
        called = graph.signatures["serving_default"]
        got = Session(graph, backend="numpy").run(
            list(called.outputs.values()), dict(zip(called.inputs, feeds, strict=True))
        )
        for value, want in zip(got, wanted, strict=True):
            assert np.linalg.norm(value - want) <= 1e-5 * np.linalg.norm(want), path.name
