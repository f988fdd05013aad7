"""Weights cards and the catalogue."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

import kigraph as ki
from kigraph.vision import RESIZE_RULES
from kigraph.vision.labels import LABEL_SETS
from kigraph.weights import CARDS, CATALOGUE, card_by_name, catalogue_entry, find_card
from kigraph.weights.cards import LABELS_BESIDE
from kigraph.weights.catalogue import DEFAULT, is_known_size


def _graph(nodes: dict[str, tuple[str, list[int | None]]]) -> ki.Graph:
    """A graph of placeholders and unknown ops with the given names: name -> (op, shape)."""
    graph = ki.Graph()
    with graph.as_default():
        for name, (op, shape) in nodes.items():
            if op == "Placeholder":
                ki.placeholder(ki.float32, shape, name=name)
            elif op == "DecodeJpeg":
                ki.decode_jpeg(ki.constant(b"", name="DecodeJpeg/contents"), channels=3, name=name)
            else:
                ki.constant(np.zeros([d or 1 for d in shape], np.float32), name=name)
    return graph


IMAGE: list[int | None] = [None, 299, 299, 3]
JPEG: dict[str, tuple[str, list[int | None]]] = {"DecodeJpeg": ("DecodeJpeg", []), "Mul": ("Const", [1, 299, 299, 3])}


@pytest.mark.parametrize(
    ("nodes", "name", "labels", "size"),
    [
        (JPEG | {"pool_3": ("Const", [1]), "softmax": ("Const", [1, 1008])}, "inception-v3-2015", "imagenet-2015", 299),
        (JPEG | {"final_result": ("Const", [1, 5])}, "inception-v3-2015-retrained", LABELS_BESIDE, 299),
        (
            {"input": ("Placeholder", IMAGE), "InceptionV3/Predictions/Reshape_1": ("Const", [1, 1001])},
            "inception-v3-slim",
            "imagenet-1001",
            299,
        ),
        (
            {"input": ("Placeholder", [1, 160, 160, 3]), "MobilenetV1/Predictions/Reshape_1": ("Const", [1, 1001])},
            "mobilenet-v1",
            "imagenet-1001",
            160,
        ),
        (
            {"input": ("Placeholder", [1, 160, 160, 3]), "MobilenetV1/Predictions/Reshape_1": ("Const", [1, 7])},
            "mobilenet-v1",
            LABELS_BESIDE,
            160,
        ),
        (
            {"input": ("Placeholder", [1, 224, 224, 3]), "final_result": ("Const", [1, 2])},
            "retrained",
            LABELS_BESIDE,
            224,
        ),
        ({"Placeholder": ("Placeholder", IMAGE), "final_result": ("Const", [1, 2])}, "retrained", LABELS_BESIDE, 299),
    ],
)
def test_cards_by_nodes(nodes: dict[str, tuple[str, list[int | None]]], name: str, labels: str, size: int) -> None:
    graph = _graph(nodes)
    card = find_card(graph)
    assert card is not None
    assert (card.name, card.labels, card.preprocessing.size) == (name, labels, (size, size))
    for tensor in card.tensors:
        graph.tensor(tensor)
    assert card_by_name(name, graph) == card


def test_hub_modules_take_zero_to_one() -> None:
    card = find_card(_graph({"Placeholder": ("Placeholder", IMAGE), "final_result": ("Const", [1, 2])}))
    assert card is not None
    ends = card.preprocessing.normalization(np.array([0, 255, 51], np.uint8).reshape(1, 1, 3))
    assert ends.ravel().tolist() == pytest.approx([0, 1, 0.2])


@pytest.mark.parametrize(
    ("family", "rule"), [("torchvision", "torchvision"), ("keras", "keras_nearest"), ("kigraph", "half_pixel")]
)
def test_cards_by_family(family: str, rule: str) -> None:
    graph = _graph({"input": ("Placeholder", IMAGE), "predictions": ("Const", [1, 1000])})
    card = find_card(graph, family=family)
    assert card is not None
    assert (card.preprocessing.rule, card.labels) == (rule, "imagenet-1000")
    assert find_card(graph) is None, "nodes alone do not say whose weights these are"
    small = _graph({"input": ("Placeholder", IMAGE), "predictions": ("Const", [1, 10])})
    card = find_card(small, family=family)
    assert card is not None
    assert card.labels == LABELS_BESIDE


def test_cards_by_checksum() -> None:
    graph = _graph({"input": ("Placeholder", IMAGE), "predictions": ("Const", [1, 1000])})
    sha256 = catalogue_entry("inception-v3-keras").sha256
    card = find_card(graph, sha256=sha256)
    assert card is not None
    assert card.name == "inception-v3-keras"
    # A checksum of an archive says nothing about the file that was in it.
    assert find_card(graph, sha256=catalogue_entry("inception-v3-2016").sha256) is None


def test_unknown_graph_has_no_card() -> None:
    assert find_card(_graph({"x": ("Placeholder", [2, 2])})) is None


def test_cards_are_complete() -> None:
    assert len({rule.name for rule in CARDS}) == len(CARDS)
    graph = _graph({"input": ("Placeholder", IMAGE), "predictions": ("Const", [1, 1000])})
    for family in ("torchvision", "keras"):
        card = find_card(graph, family=family)
        assert card is not None
        assert card.preprocessing.rule in RESIZE_RULES
        assert card.labels in (*LABEL_SETS, LABELS_BESIDE)
        assert json.loads(json.dumps(card.to_json()))["preprocessing"]["size"] == [299, 299]
        assert "before the graph" in str(card)


def test_catalogue() -> None:
    assert DEFAULT in {e.name for e in CATALOGUE}
    assert len({e.name for e in CATALOGUE}) == len(CATALOGUE)
    for entry in CATALOGUE:
        assert entry.url.startswith("https://")
        assert entry.sha256 is None or re.fullmatch(r"[0-9a-f]{64}", entry.sha256)
        assert entry.sha256 or entry.size, "a file without a checksum has at least a size"
        assert "/" not in entry.filename
        assert entry.card in {rule.name for rule in CARDS}
        assert entry.checked_by
    assert is_known_size(108_949_747)
    assert not is_known_size(1)
    with pytest.raises(ki.WeightsError, match="inception-v3-2015"):
        catalogue_entry("nonsense")


def test_the_real_files(shared: Path) -> None:
    model = ki.load(shared / "models" / "mobilenet_v1_0.25_224" / "frozen_graph.pb", backend="numpy")
    assert model.card is not None
    assert model.card.name == "mobilenet-v1"
