"""What a network's output means: probabilities, logits, sigmoids, values; and timm's config.json beside the weights."""

from __future__ import annotations

import json
import struct
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import kigraph as ki
from kigraph.classifier import Classifier
from kigraph.errors import CardError, LabelError, LoadError
from kigraph.graph.models.inception_v3.layers import CONVS
from kigraph.vision.labels import LabelSet
from kigraph.vision.normalize import INCEPTION, Preprocessing
from kigraph.weights import Card, find_card
from kigraph.weights.timm_config import read_timm_config

CARD = Card("test", "test", "input:0", "predictions:0", Preprocessing((4, 4), "half_pixel", INCEPTION), "file")


def classifier(scores: Any, kernel: Any, labels: Any = None, activation: str = "") -> Classifier:
    """Mean colours times a kernel."""
    with ki.Graph().as_default() as graph:
        x = ki.placeholder(ki.float32, [None, 4, 4, 3], name="input")
        y = ki.matmul(ki.reduce_mean(x, [1, 2]), ki.constant(np.asarray(kernel, np.float32)))
        y = {"sigmoid": ki.sigmoid, "softmax": ki.softmax, "": ki.identity}[activation](y, name="predictions")
    found = None if labels is None else LabelSet("given", tuple(labels))
    return Classifier(graph, ki.Session(graph, backend="numpy"), replace(CARD, scores=scores), found)


RNG = np.random.default_rng(8)
WHITE = np.full((4, 4, 3), 255, np.uint8)


def test_one_sigmoid_is_a_choice_of_two() -> None:
    """Keras' binary classifier: the output is the probability of class 1, the second label."""
    yes = float(1 / (1 + np.exp(-1.5)))
    model = classifier("sigmoid", [[0.5], [0.5], [0.5]], ["cat", "dog"], "sigmoid")
    assert model.predict(np.ones((1, 4, 4, 3), np.float32)).shape == (1, 1)
    answer = model.classify(WHITE)
    assert [(a.label, a.index) for a in answer] == [("dog", 1), ("cat", 0)]
    assert [a.probability for a in answer] == pytest.approx([yes, 1 - yes], abs=1e-6)
    unnamed = classifier("sigmoid", [[-0.5], [-0.5], [-0.5]], None, "sigmoid").classify(WHITE)
    assert [a.label for a in unnamed] == ["class 0", "class 1"]
    for names in (["cat"], ["a", "b", "c"]):
        with pytest.raises(LabelError, match=f"{len(names)} names"):
            classifier("sigmoid", [[0.5], [0.5], [0.5]], names, "sigmoid")


def test_several_sigmoids_stay_as_they_are() -> None:
    kernel = RNG.standard_normal((3, 4)).astype(np.float32)
    model = classifier("sigmoid", kernel, list("abcd"), "sigmoid")
    want = 1 / (1 + np.exp(-kernel.sum(0, dtype=np.float64)))
    np.testing.assert_allclose(model.probabilities([WHITE])[0], want, rtol=1e-5)
    assert [a.label for a in model.classify(WHITE)] == ["abcd"[i] for i in np.argsort(-want)]


def test_logits_become_probabilities_but_predict_gives_logits() -> None:
    kernel = RNG.standard_normal((3, 4)).astype(np.float32)
    model = classifier("logits", kernel)
    logits = kernel.sum(0, dtype=np.float64)
    np.testing.assert_allclose(model.predict(np.ones((1, 4, 4, 3), np.float32))[0], logits, rtol=1e-5)
    np.testing.assert_allclose(model.probabilities([WHITE])[0], np.exp(logits) / np.exp(logits).sum(), rtol=1e-5)


@pytest.mark.parametrize(
    ("scores", "outputs", "found"), [("logits", 1, "softmax of one number is 1"), ("values", 4, "no class scores")]
)
def test_what_is_no_classification(scores: str, outputs: int, found: str) -> None:
    model = classifier(scores, np.ones((3, outputs)))
    assert model.predict(np.ones((2, 4, 4, 3), np.float32)).shape == (2, outputs)
    with pytest.raises(CardError, match=found):
        model.classify(WHITE)


# --- cards of built-in networks ---------------------------------------------------------------------------------------------


def graph_with(node: str, classes: int, side: int | None = 150, **metadata: Any) -> ki.Graph:
    with ki.Graph().as_default() as graph:
        ki.placeholder(ki.float32, [None, side, side, 3], name="input")
        ki.placeholder(ki.float32, [None, classes], name=node)
    graph.metadata.update(metadata)
    return graph


def test_cards_say_what_the_file_computes() -> None:
    card = find_card(graph_with("logits", 5, output="logits:0", scores="logits"), family="keras")
    assert card is not None
    assert (card.output, card.scores, card.preprocessing.size) == ("logits:0", "logits", (150, 150))
    assert "assume" in card.note or "does not say" in card.note
    assert card.note in str(card)
    assert card.to_json()["note"] == card.note


def keras_graph(side: int | None = 150, **facts: Any) -> ki.Graph:
    """What the translation of a Keras config says of itself."""
    facts = {"model": "m", "input": "input:0", "output": "y:0", "scores": "probabilities", "applications": (), **facts}
    return graph_with("y", 5, side, **facts)


@pytest.mark.parametrize(("divided_by", "white"), [(1.0, 255.0), (255.0, 1.0)])
def test_cards_of_networks_that_scale_themselves(divided_by: float, white: float) -> None:
    card = find_card(keras_graph(pixels_divided_by=divided_by), family="keras-model")
    assert card is not None
    assert card.preprocessing(WHITE).max() == white
    assert f"0 to {white:g}" in card.note
    assert find_card(keras_graph(pixels_divided_by=None), family="keras-model") is None


def test_cards_of_networks_that_are_known_by_name() -> None:
    card = find_card(keras_graph(applications=("inception_v3",)), family="keras-model")
    assert card is not None
    assert (card.name, card.preprocessing(WHITE).max(), card.labels) == ("keras", 1.0, "file")
    assert "inception_v3; the file does not say" in card.note
    assert find_card(keras_graph(), family="keras-model") is None


def test_card_of_any_size_takes_the_inner_networks() -> None:
    card = find_card(keras_graph(None, size=(96, 130), pixels_divided_by=1.0), family="keras-model")
    assert card is not None
    assert card.preprocessing.size == (96, 130)
    assert find_card(keras_graph(None, pixels_divided_by=1.0), family="keras-model") is None


def test_card_of_the_network_of_2015_with_torchvisions_names() -> None:
    card = find_card(graph_with("predictions", 1008, 299, variant="2015"), family="torchvision")
    assert card is not None
    assert (card.labels, card.preprocessing.rule) == ("imagenet-2015", "half_pixel")


# --- config.json beside the weights ---------------------------------------------------------------------------------------------

CONFIG = {
    "architecture": "inception_v3",
    "num_classes": 5,
    "label_names": list("abcde"),
    "pretrained_cfg": {
        "tag": "gluon_in1k", "input_size": [3, 299, 299], "interpolation": "bicubic", "crop_pct": 0.95,
        "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225],
    },
}  # fmt: skip


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """Zeros under torchvision's names, a file with holes."""
    shapes: dict[str, tuple[int, ...]] = {"fc.weight": (5, 2048), "fc.bias": (5,)}
    for sized in CONVS:
        height, width, inputs, filters = sized.shape
        shapes[f"{sized.conv.torchvision}.conv.weight"] = (filters, inputs, height, width)
        for part in ("weight", "bias", "running_mean", "running_var"):
            shapes[f"{sized.conv.torchvision}.bn.{part}"] = (filters,)
    header, at = {}, 0
    for name, shape in shapes.items():
        size = 4 * int(np.prod(shape))
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [at, at + size]}
        at += size
    raw = json.dumps(header).encode()
    path = tmp_path / "model.safetensors"
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(raw)) + raw)
        file.truncate(8 + len(raw) + at)
    return path


def test_timms_config_is_used_and_said(weights: Path) -> None:
    plain = ki.load(weights)
    assert plain.card is not None
    assert plain.card.preprocessing.normalization == INCEPTION
    assert "does not say" in plain.card.note
    (weights.parent / "config.json").write_text(json.dumps(CONFIG))
    model = ki.load(weights)
    assert model.card is not None
    normalization = model.card.preprocessing.normalization
    assert normalization.mean == pytest.approx((123.675, 116.28, 103.53))
    assert normalization.std == pytest.approx((58.395, 57.12, 57.375))
    for said in ("config.json", "bicubic", "0.95"):
        assert said in model.card.note
    assert model.labels is not None
    assert model.labels.names == tuple("abcde")
    (weights.parent / "config.json").write_text(json.dumps(CONFIG | {"num_classes": 7}))
    with pytest.raises(LoadError, match=r"num_classes 7.*have 5"):
        ki.load(weights)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[" * 100_000,
        "[]",
        "{}",
        '{"architecture": "resnet50"}',
        '{"architectures": ["ViT"]}',
        '{"architecture": 3}',
        "9" * 9999,
    ],
)
def test_another_config_is_left_alone(tmp_path: Path, text: str) -> None:
    (tmp_path / "config.json").write_text(text)
    assert read_timm_config(tmp_path / "w.safetensors") is None


@pytest.mark.parametrize(
    "change",
    [
        {"mean": None}, {"mean": [1, 2]}, {"mean": ["a", 1, 2]}, {"std": [0, 1, 1]}, {"std": [True, 1, 1]}, {"input_size": [3, 0, 1]},
        {"input_size": "x"}, {"crop_pct": 7}, {"crop_pct": "x"}, {"label_names": 3}, {"label_names": [1]}, {"num_classes": "x"},
    ],
)  # fmt: skip
def test_a_config_that_cannot_be_used(tmp_path: Path, change: dict[str, Any]) -> None:
    values = {"architecture": "inception_v3", "mean": [0.5] * 3, "std": [0.5] * 3} | change
    (tmp_path / "config.json").write_text(json.dumps(values))
    with pytest.raises(LoadError, match=rf"config.json: {next(iter(change))}: found"):
        read_timm_config(tmp_path / "w.safetensors")
