"""Cards that a graph itself shows, cards in files, and what a user states instead."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import kigraph as ki
from kigraph.cli import main
from kigraph.cli.options import ORDERS, RESIZES
from kigraph.graph.signatures import SERVING_DEFAULT, Signature
from kigraph.vision.normalize import CHANNELS, IMAGENET, INCEPTION, PIXELS, Preprocessing
from kigraph.vision.resize import RESIZE_RULES
from kigraph.weights.cards import find_card

Make = Callable[..., ki.Graph]


def classifier(
    shape: tuple[int | None, ...] = (None, 8, 8, 3),
    *,
    dtype: Any = ki.float32,
    before: Callable[[Any], Any] = lambda x: x,
    last: Callable[..., Any] = ki.softmax,
    classes: int = 3,
    **metadata: Any,
) -> ki.Graph:
    """A network that looks at the mean colour."""
    graph = ki.Graph()
    with graph.as_default():
        x = ki.placeholder(dtype, shape, name="x")
        y = before(ki.cast(x, ki.float32) if dtype != ki.float32 else x)
        axes = [1, 2] if shape[3] in (1, 3) else [2, 3]
        channels = shape[3] if axes == [1, 2] else shape[1]
        mean = ki.reduce_mean(y, axes)
        last(ki.matmul(mean, ki.constant(20 * np.eye(channels or 3, classes, dtype=np.float32))), name="y")
    graph.metadata.update(metadata)
    return graph


def test_the_command_lines_words_are_those_of_vision() -> None:
    assert tuple(RESIZE_RULES) == RESIZES
    assert CHANNELS == ORDERS


@pytest.mark.parametrize(
    ("graph", "scores", "normalization", "layout", "size"),
    [
        (classifier(), "probabilities", INCEPTION, "NHWC", (8, 8)),
        (classifier(last=ki.sigmoid), "sigmoid", INCEPTION, "NHWC", (8, 8)),
        (classifier(last=ki.identity), "logits", INCEPTION, "NHWC", (8, 8)),
        (classifier((None, 3, 6, 9), family="onnx"), "probabilities", IMAGENET, "NCHW", (6, 9)),
        (classifier(dtype=ki.uint8), "probabilities", PIXELS, "NHWC", (8, 8)),
        (classifier(before=lambda x: x / 127.5 - 1.0), "probabilities", PIXELS, "NHWC", (8, 8)),
        (classifier(before=lambda x: (x - 128.0) * 0.0078125), "probabilities", PIXELS, "NHWC", (8, 8)),
        (classifier(before=lambda x: x - np.array([123.68, 116.779, 103.939], np.float32)), "probabilities", PIXELS, "NHWC", (8, 8)),
        (classifier(before=lambda x: x - 0.5), "probabilities", INCEPTION, "NHWC", (8, 8)),
        (classifier(before=lambda x: x * 2.0), "probabilities", INCEPTION, "NHWC", (8, 8)),
        (classifier((None, None, None, 3)), "probabilities", INCEPTION, "NHWC", (224, 224)),
        (classifier(normalization={"x:0": (127.5, 63.75)}), "probabilities", ki.Normalization((127.5,) * 3, (63.75,) * 3), "NHWC", (8, 8)),
    ],
)  # fmt: skip
def test_what_a_graph_shows(graph: ki.Graph, scores: str, normalization: Any, layout: str, size: Any) -> None:
    card = find_card(graph)
    assert card is not None
    assert (card.input, card.output, card.scores, card.layout) == ("x:0", "y:0", scores, layout)
    assert card.preprocessing.normalization == normalization
    assert card.preprocessing.size == size
    assert "assumed" in card.note


def test_what_is_no_image_classifier_has_no_card() -> None:
    with (graph := ki.Graph()).as_default():
        ki.placeholder(ki.float32, [None, 8, 8, 3], name="a")
        b = ki.placeholder(ki.float32, [None, 4], name="b")
        ki.softmax(b, name="y")
    assert find_card(graph) is None  # another input needs a value
    with (graph := ki.Graph()).as_default():
        x = ki.placeholder(ki.float32, [None, 8, 8, 3], name="a")
        ki.relu(x, name="y")
    assert find_card(graph) is None  # an image comes out


def test_keras_networks_take_what_their_preprocessing_gives() -> None:
    card = find_card(classifier(model="resnet50"))
    assert card is not None
    assert card.preprocessing.channels == "BGR"
    red = np.zeros((8, 8, 3), np.uint8)
    red[..., 0] = 255
    np.testing.assert_allclose(card.preprocessing(red)[0, 0], [-103.939, -116.779, 255 - 123.68], atol=1e-3)


def test_a_graph_that_decodes_takes_files(tmp_path: Path) -> None:
    with (graph := ki.Graph()).as_default():
        contents = ki.placeholder(ki.string, [], name="contents")
        pixels = ki.cast(ki.decode_jpeg(contents, channels=3), ki.float32) / 255.0
        mean = ki.reduce_mean(ki.resize_bilinear(ki.expand_dims(pixels, 0), [4, 4]), [1, 2])
        ki.softmax(20.0 * mean, name="y")
    path = ki.save_graph(graph, tmp_path / "net.pb")
    for name in ("green.jpg", "green.png"):
        Image.new("RGB", (20, 10), "#00ff00").save(tmp_path / name)
        answer = ki.load(path, backend="numpy", labels=["r", "g", "b"]).classify(str(tmp_path / name), top=1)
        assert answer[0].label == "g"


@pytest.mark.parametrize("stated", [False, True], ids=["", "mean and deviation stated"])
def test_integers_in_and_out(stated: bool, tmp_path: Path) -> None:
    """As TensorFlow Lite's integer models: reals from -1 to 1 as int8, probabilities in steps of 1/256."""
    with (graph := ki.Graph()).as_default():
        x = ki.placeholder(ki.int8, [None, 8, 8, 3], name="x")
        y = ki.softmax((ki.reduce_mean(ki.cast(x, ki.float32), [1, 2]) + 1.0) / 128.0, name="real")
        steps = ki.minimum(ki.maximum(ki.round(y * 256.0), 0.0), 255.0)
        ki.cast(steps - 128.0, ki.int8, name="y")
    graph.metadata["quantization"] = {"x:0": (1 / 128, -1), "y:0": (1 / 256, -128)}
    if stated:
        graph.metadata["normalization"] = {"x:0": (np.array([127.5]), np.array([127.5]))}
    card = find_card(graph)
    assert card is not None
    assert (card.scores, card.quantization) == ("probabilities", (1 / 256, -128))
    ends = card.preprocessing.normalization(np.array([[[0, 0, 0], [255, 255, 255]]], np.uint8))[0, :, 0]
    np.testing.assert_allclose(ends, [-129, 127] if stated else [-128, 127])
    model = ki.Classifier(graph, ki.Session(graph, backend="numpy"), card, None)
    red = np.zeros((8, 8, 3), np.uint8)
    red[..., 0] = 255
    want = _softmax(np.array([1.0, -1, -1]))
    np.testing.assert_allclose(model.probabilities([red])[0], want, atol=0.01)


def _softmax(x: Any) -> Any:
    return np.exp(x) / np.exp(x).sum()


def test_grey_images() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (8, 8, 3)).astype(np.uint8)
    grey = Preprocessing((8, 8), "half_pixel", PIXELS, channels="L")(picture)
    assert grey.shape == (8, 8, 1)
    want = np.asarray(Image.fromarray(picture).convert("L"), np.float32)
    assert np.abs(grey[..., 0] - want).max() <= 0.51
    model = find_card(classifier((None, 8, 8, 1), classes=2))
    assert model is not None
    assert model.preprocessing.channels == "L"


@pytest.mark.parametrize(
    "graph",
    [
        classifier(),
        classifier((None, 3, 8, 8), family="onnx"),
        classifier(dtype=ki.uint8),
        classifier((1, 8, 8, 3)),
        classifier(before=lambda x: x / 255.0),
    ],
    ids=["NHWC", "NCHW", "uint8", "batch of one", "scaled inside"],
)
def test_colours_are_told_apart(graph: ki.Graph, tmp_path: Path) -> None:
    path = ki.save_graph(graph, tmp_path / "net.pb")
    (tmp_path / "labels.txt").write_text("0 red\n1 green\n2 blue\n")
    files = []
    for i, colour in enumerate(("red", "green", "blue")):
        Image.new("RGB", (20, 20), colour if i != 1 else "#00ff00").save(file := tmp_path / f"{colour}.png")
        files.append(str(file))
    answers = ki.load(path, backend="numpy").classify(files, top=1)
    assert [a[0].label for a in answers] == ["red", "green", "blue"]


def test_a_card_beside_the_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = ki.save_graph(classifier(), tmp_path / "net.pb")
    (tmp_path / "names.txt").write_text("r\ng\nb\n")
    stated = ["--mean", "0", "--std", "10,20,30", "--size", "16x12", "--resize", "legacy", "--scores", "logits"]
    assert main(["card", str(path), "--labels", str(tmp_path / "names.txt"), *stated]) == 0
    text = capsys.readouterr().out
    (tmp_path / "model.card.json").write_text(text)
    model = ki.load(path, backend="numpy")
    assert model.card is not None
    assert model.card.preprocessing == Preprocessing((16, 12), "legacy", ki.Normalization((0,) * 3, (10, 20, 30)))
    assert model.card.scores == "logits"
    assert model.labels is not None
    assert model.labels.names == ("r", "g", "b")
    # Another file of the folder does not get it; one with its name must fit.
    other = ki.save_graph(classifier(classes=2), tmp_path / "other.pb")
    assert ki.load(other, backend="numpy").card.name == "inferred"  # type: ignore[union-attr]
    (tmp_path / "other.card.json").write_text(text)
    with pytest.raises(ki.CardError, match="is for a file with SHA-256"):
        ki.load(other)
    with pytest.raises(ki.CardError, match="is for a file with SHA-256"):
        ki.load(path, card=_damaged(tmp_path, text, sha256="0" * 64))


def _damaged(folder: Path, text: str, **change: Any) -> Path:
    file = folder / "damaged.json"
    file.write_text(json.dumps({**json.loads(text), **change}))
    return file


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"kigraph_card": 2}, "no card"),
        ({"preprocessing": None}, "preprocessing"),
        ({"preprocessing": {"size": [0, 1]}}, "size"),
        ({"preprocessing": {"size": [8, 8], "mean": [1, 2], "std": [1, 1, 1]}}, "mean"),
        ({"preprocessing": {"size": [8, 8], "mean": [1, 2, 3], "std": [1, 0, 1]}}, "std"),
        ({"layout": "HWC"}, "layout"),
        ({"scores": 5}, "scores"),
        ({"input": ""}, "input"),
        ({"input": "nonsense"}, "does not fit"),
        ({"classes": "abc"}, "classes"),
    ],
)
def test_a_card_file_that_is_wrong(
    change: dict[str, Any], match: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = ki.save_graph(classifier(), tmp_path / "net.pb")
    main(["card", str(path)])
    with pytest.raises(ki.CardError, match=match):
        ki.load(path, backend="numpy", card=_damaged(tmp_path, capsys.readouterr().out, **change))


def test_a_graph_that_shows_nothing_takes_a_stated_card(tmp_path: Path) -> None:
    with (graph := ki.Graph()).as_default():
        x = ki.placeholder(ki.float32, None, name="x")
        ki.softmax(ki.reduce_mean(x, [1, 2]), name="y")
    path = ki.save_graph(graph, tmp_path / "net.pb")
    with pytest.raises(ki.CardError, match="--size is needed"):
        ki.load(path, changes={"mean": (0.0,) * 3})
    model = ki.load(path, backend="numpy", changes={"size": (4, 4)})
    assert model.probabilities([np.zeros((5, 5, 3), np.uint8)]).shape == (1, 3)


# --- calling ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def called() -> ki.Classifier:
    with (graph := ki.Graph()).as_default():
        a = ki.placeholder(ki.float32, [None, 2], name="a")
        b = ki.placeholder_with_default(np.float32(1), [], name="b")
        ki.multiply(a, 2.0, name="c")
        ki.add(a, b, name="d")
    graph.signatures[SERVING_DEFAULT] = Signature({"in": "a:0", "shift": "b:0"}, {"twice": "c:0", "more": "d:0"})
    graph.signatures["one"] = Signature({"in": "a:0"}, {"twice": "c:0"})
    return ki.Classifier(graph, ki.Session(graph, backend="numpy"), None, None)


def test_signatures_are_called_by_name(called: ki.Classifier) -> None:
    assert list(called.inputs) == ["in", "shift"]
    assert called.outputs["twice"].shape == (None, 2)
    found = called.predict({"in": np.ones((1, 2)), "shift": 3})
    assert {n: v.tolist() for n, v in found.items()} == {"twice": [[2, 2]], "more": [[4, 4]]}
    assert called.predict({"in": np.ones((1, 2))})["more"].tolist() == [[2, 2]]
    assert called.signatures["one"](np.ones((1, 2)))["twice"].tolist() == [[2, 2]]
    assert called.signatures["one"](**{"in": np.ones((1, 2))})["twice"].tolist() == [[2, 2]]


@pytest.mark.parametrize(
    ("given", "match"),
    [
        (np.ones((1, 2)), "takes 2 inputs; pass a dict"),
        ({"shift": 1}, "'in' is missing"),
        ({"In": 1}, "no input 'In'"),
        ({"in": np.ones(3)}, "shape"),
    ],
)
def test_a_wrong_call(given: Any, match: str, called: ki.Classifier) -> None:
    with pytest.raises(ki.FeedError, match=match):
        called.predict(given)


@pytest.mark.parametrize("shape", [(2, 3, 1, 1), (1, 3)])
def test_a_fixed_batch_is_run_in_parts(shape: tuple[int, ...]) -> None:
    model = _doubling(shape)
    x = np.arange(12).reshape(4, *shape[1:])
    assert model.predict(x).tolist() == (2 * x).tolist()
    if shape[0] > 1:
        with pytest.raises(ki.FeedError, match="no multiple"):
            model.predict(x[:3])


def test_a_first_axis_that_may_be_no_batch_is_not_cut() -> None:
    with pytest.raises(ki.FeedError, match=r"has shape \(4, 3\), expected \(2, 3\)"):
        _doubling((2, 3)).predict(np.ones((4, 3)))


def _doubling(shape: tuple[int, ...]) -> ki.Classifier:
    with (graph := ki.Graph()).as_default():
        ki.multiply(ki.placeholder(ki.float32, shape, name="x"), 2.0, name="y")
    graph.signatures[SERVING_DEFAULT] = Signature({"x": "x:0"}, {"y": "y:0"})
    return ki.Classifier(graph, ki.Session(graph, backend="numpy"), None, None)
