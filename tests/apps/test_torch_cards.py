"""Cards of networks that are built from state dicts: what the file does not say is said to be assumed."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import kigraph as ki
from kigraph.errors import LoadError
from kigraph.graph.models import graph_of_weights
from kigraph.graph.writers.safetensors import save_safetensors
from kigraph.opening import card_for, open_file
from kigraph.weights.cards import find_card
from tests.models.test_torch_networks import resnet, vit
from tests.models.torch_nets import Arrays, file_of

CONFIG = {
    "architecture": "resnet18",
    "num_classes": 7,
    "pretrained_cfg": {"input_size": [3, 160, 160], "mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6], "crop_pct": 0.95,
                       "interpolation": "bicubic", "tag": "a1_in1k"},
}  # fmt: skip


def saved(folder: Path, arrays: Arrays) -> Path:
    path = folder / "model.safetensors"
    save_safetensors(file_of({n: a for n, a in arrays.items() if a.shape}), path)
    return path


def test_the_card_is_that_of_the_published_network(tmp_path: Path) -> None:
    opened = open_file(saved(tmp_path, resnet(False, classes=1000)))
    card = card_for(opened)
    assert card is not None
    assert (card.name, card.title, card.scores) == ("torch", "ResNet, weights of PyTorch", "logits")
    assert (card.preprocessing.size, card.preprocessing.rule) == ((224, 224), "torchvision")
    np.testing.assert_allclose(card.preprocessing.normalization.mean, (123.675, 116.28, 103.53))
    assert (card.labels, card.note) == (
        "imagenet-1000",
        "images prepared as for the published ResNet; the file does not say; strides without the filters of timm's aa and blur "
        "variants",
    )


def test_a_vision_transformer_of_timm_takes_its_own_size() -> None:
    graph = graph_of_weights(file_of(vit("timm")))
    card = find_card(graph, family="torch")
    assert card is not None
    assert card.preprocessing.size == (12, 12)
    assert card.preprocessing.normalization.std == (127.5,) * 3


def test_grey_images_have_no_card_of_this_kind() -> None:
    graph = graph_of_weights(file_of(resnet(False, channels=1)))
    card = find_card(graph, family="torch")
    assert card is None or card.name != "torch"


def test_timms_config_beside_the_weights_says_how_images_are_prepared(tmp_path: Path) -> None:
    path = saved(tmp_path, resnet(False))
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    card = card_for(open_file(path))
    assert card is not None
    assert card.title == "ResNet, weights of timm (a1_in1k)"
    assert card.preprocessing.size == (160, 160)
    np.testing.assert_allclose(card.preprocessing.normalization.mean, (25.5, 51, 76.5))
    assert "does not say" not in card.note
    assert "bicubic" in card.note


def test_a_config_of_other_classes_is_not_for_these_weights(tmp_path: Path) -> None:
    path = saved(tmp_path, resnet(False, classes=8))
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    with pytest.raises(LoadError, match="num_classes 7, but the weights beside it have 8"):
        open_file(path)


@pytest.mark.parametrize("name", ["resnetblur50", "resnetaa50d", "seresnextaa101d_32x8d"])
def test_a_config_of_a_network_with_filters_of_its_own_is_refused(tmp_path: Path, name: str) -> None:
    """BlurPool has no array: the state dict alone looks like a ResNet's."""
    path = saved(tmp_path, resnet(False))
    (tmp_path / "config.json").write_text(json.dumps(CONFIG | {"architecture": name}))
    with pytest.raises(LoadError, match=f"architecture: found {name}; expected a plain ResNet"):
        open_file(path)


def test_a_picture_is_classified(tmp_path: Path) -> None:
    """Sizes, range and softmax: the probabilities of all classes are those of the graph's logits."""
    path = saved(tmp_path, resnet(False))
    picture = np.random.default_rng(0).integers(0, 255, (300, 260, 3), dtype=np.uint8)
    model = ki.load(path)
    card = card_for(open_file(path))
    assert card is not None
    x = card.preprocessing(picture)[None]
    logits = ki.Session(model.graph).run("output", {"input": x})[0]
    want = np.exp(logits - logits.max())
    found = ki.load(path, labels=[f"c{i}" for i in range(7)]).classify(picture, top=7)
    assert [p.label for p in found] == [f"c{i}" for i in np.argsort(-want)]
    np.testing.assert_allclose([p.probability for p in found], np.sort(want / want.sum())[::-1], rtol=1e-5)
