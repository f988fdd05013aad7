"""Attention and sums behind a mask, and sequences of any length, against plain NumPy in float64."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from kigraph.graph.errors import LoadError
from kigraph.graph.loaders.weights import TensorInfo, WeightsFile
from kigraph.graph.models import graph_of_weights
from kigraph.graph.session import Session

Array = np.ndarray[Any, Any]
RNG = np.random.default_rng(17)
INDEX = np.array([[3, 0, 1, 0, 2], [0, 2, 2, 1, 3], [1, 1, 0, 0, 0]], np.int32)
HEADS, SIZE = 2, 3


def random(*shape: int) -> Array:
    return RNG.standard_normal(shape).astype(np.float32) * 0.5


TABLE = random(4, 6)
WEIGHTS = [random(*s) for s in [(6, HEADS, SIZE), (HEADS, SIZE)] * 3 + [(HEADS, SIZE, 6), (6,)]]


def node(kind: str, name: str, inbound: list[Any], **config: Any) -> dict[str, Any]:
    return {
        "class_name": kind,
        "name": name,
        "config": {"name": name, **config},
        "inbound_nodes": [inbound] if inbound else [],
    }


def model(layers: list[dict[str, Any]], arrays: dict[str, list[Array]], version: str) -> Any:
    config = {
        "name": "m", "layers": layers, "input_layers": [["x", 0, 0]], "output_layers": [[layers[-1]["name"], 0, 0]],
    }  # fmt: skip
    groups = {k: tuple(f"{k}/w{i}:0" for i in range(len(v))) for k, v in arrays.items()}
    tensors = {
        n: TensorInfo(a.dtype, a.shape, "float32", lambda a=a: a, n)
        for k, names in groups.items()
        for n, a in zip(names, arrays[k], strict=True)
    }
    text = json.dumps({"class_name": "Functional", "config": config})
    return graph_of_weights(
        WeightsFile("m.h5", "keras-h5", tensors, {"model_config": text, "layers": groups, "keras_version": version})
    )


def text_layers(steps: int | None = None) -> list[dict[str, Any]]:
    return [
        node("InputLayer", "x", [], batch_shape=[None, steps], dtype="int32"),
        node("Embedding", "e", [["x", 0, 0, {}]], input_dim=4, output_dim=6, mask_zero=True),
    ]


def softmax(x: Array) -> Array:
    e = np.exp(x - x.max(-1, keepdims=True))
    return np.asarray(e / e.sum(-1, keepdims=True))


@pytest.mark.parametrize("steps", [5, None])
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("version", ["2.15.0", "3.15.0"])
def test_multi_head_attention_and_the_sum_after_it(version: str, causal: bool, steps: int | None) -> None:
    """The mask goes on: the mean counts the steps that the sum's mask has."""
    layers = [
        *text_layers(steps),
        node("MultiHeadAttention", "a", [["e", 0, 0, {"value": ["e", 0, 0], "use_causal_mask": causal}]],
             num_heads=HEADS, key_dim=SIZE),
        node("Add", "s", [["e", 0, 0, {}], ["a", 0, 0, {}]]),
        node("GlobalAveragePooling1D", "g", [["s", 0, 0, {}]]),
    ]  # fmt: skip
    x, keep = TABLE[INDEX].astype(float), INDEX != 0
    q, k, v = (np.einsum("btd,dhk->bhtk", x, WEIGHTS[i]) + WEIGHTS[i + 1][:, None] for i in (0, 2, 4))
    scores = np.einsum("bhtk,bhsk->bhts", q, k) / np.sqrt(SIZE)
    allowed = keep[:, None, :, None] & keep[:, None, None, :] & (np.tri(5, dtype=bool) if causal else True)
    y = x + np.einsum("bhts,bhsk,hkd->btd", softmax(np.where(allowed, scores, -1e9)), v, WEIGHTS[6]) + WEIGHTS[7]
    want = (y * keep[..., None]).sum(1) / keep.sum(1)[:, None]
    got = Session(model(layers, {"e": [TABLE], "a": WEIGHTS}, version), backend="numpy").run("g", {"x": INDEX})
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", ["Attention", "AdditiveAttention"])
def test_attention_of_masked_queries_and_values(kind: str) -> None:
    """Values that do not count get no weight; the rows of queries that do not count are 0."""
    scale = random(6)
    config, arrays = ({"use_scale": True}, {"a": [scale]}) if kind == "AdditiveAttention" else ({}, {})
    layers = [*text_layers(5), node(kind, "a", [["e", 0, 0, {}], ["e", 0, 0, {}]], **config)]
    x, keep = TABLE[INDEX].astype(float), INDEX != 0
    both = np.tanh(x[:, :, None] + x[:, None]) * scale
    scores = both.sum(-1) if kind == "AdditiveAttention" else x @ x.transpose(0, 2, 1)
    want = softmax(np.where(keep[:, None], scores, -1e9)) @ x * keep[..., None]
    got = Session(model(layers, {"e": [TABLE], **arrays}, "3.15.0"), backend="numpy").run("a", {"x": INDEX})
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5)


def merged(kind: str, version: str, **config: Any) -> Any:
    """Of the embedded steps, masked, and of themselves without their mask."""
    layers = [
        *text_layers(5),
        node("Reshape", "r", [["e", 0, 0, {}]], target_shape=[5, 6]),
        node(kind, "s", [["e", 0, 0, {}], ["r", 0, 0, {}]], **config),
        node("GlobalAveragePooling1D", "g", [["s", 0, 0, {}]]),
    ]
    return model(layers, {"e": [TABLE]}, version)


def test_versions_differ_in_the_mask_of_a_sum() -> None:
    """Keras 3 has none if one input has none; Keras 2 keeps the others'."""
    x, keep = 2 * TABLE[INDEX].astype(float), INDEX != 0
    for version, want in (
        ("3.15.0", x.mean(1)),
        ("2.15.0", (x * keep[..., None]).sum(1) / keep.sum(1)[:, None]),
    ):
        got = Session(merged("Add", version), backend="numpy").run("g", {"x": INDEX})
        np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-6)


def test_a_join_of_different_masks_is_refused() -> None:
    with pytest.raises(LoadError, match="inputs with different masks"):
        merged("Concatenate", "3.15.0", axis=-1)
