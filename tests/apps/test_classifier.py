"""load() and Model: every kind of image, every family of graph, and what is refused."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

import kigraph as ki
from kigraph.vision import Preprocessing

Encode = Callable[..., bytes]
_MODELS: dict[str, ki.Classifier] = {}


@pytest.mark.parametrize("kind", ["2015", "retrained", "slim"])
def test_every_kind_of_image_in_every_family(kind: str, models: dict[str, Path], pictures: dict[str, Path]) -> None:
    model = ki.load(models[kind], backend="numpy")
    for number, colour in enumerate(("red", "green", "blue")):
        file = pictures[colour]
        image = Image.open(file).convert("RGB")
        for form in (file, str(file), file.read_bytes(), image, np.asarray(image)):
            best = model.classify(form, top=1)[0]
            assert best.index == number
            assert best.probability > 0.99


def test_a_list_gives_a_list_and_the_same_answers(models: dict[str, Path], pictures: dict[str, Path]) -> None:
    for kind in ("retrained", "slim"):
        model = ki.load(models[kind], backend="numpy")
        files = [pictures[c] for c in ("red", "green", "blue")] * 4
        together = model.classify(files, top=3)
        assert isinstance(together, list)
        assert [p.source for p in together] == [str(f) for f in files]
        for file, prediction in zip(files, together, strict=True):
            alone = model.classify(file, top=3)
            assert [x.index for x in alone] == [x.index for x in prediction]
            assert np.allclose([x.probability for x in alone], [x.probability for x in prediction], rtol=1e-6)
        assert model.classify([]) == []


def test_labels_beside_the_weights(models: dict[str, Path], pictures: dict[str, Path], tmp_path: Path) -> None:
    model = ki.load(models["retrained"], backend="numpy")
    assert model.labels is not None
    assert model.labels.names == ("red", "green", "blue")
    alone = tmp_path / "alone.pb"
    alone.write_bytes(models["retrained"].read_bytes())
    assert ki.load(alone, backend="numpy").classify(pictures["green"], 1)[0].label == "class 1"
    (tmp_path / "labels.txt").write_text("one\ntwo\n")  # of another model: does not fit
    assert ki.load(alone, backend="numpy").labels is None
    assert ki.load(alone, backend="numpy", labels=["r", "g", "b"]).classify(pictures["blue"], 1)[0].label == "b"
    with pytest.raises(ki.LabelError, match="2 names"):
        ki.load(alone, backend="numpy", labels=tmp_path / "labels.txt")


def test_turned_photographs_are_classified_upright(
    models: dict[str, Path], encode: Encode, photo: np.ndarray[Any, Any]
) -> None:
    # The tiny classifier sees only means, so the pixels that reach it are compared instead.
    model = ki.load(models["2015"], backend="numpy")
    exif = Image.Exif()
    exif[0x0112] = 6
    seen: list[Any] = []
    original = model.session.run

    def spy(fetches: Any, feed_dict: Any = None) -> Any:
        seen.append(feed_dict)
        return original(fetches, feed_dict)

    model.session.run = spy  # type: ignore[method-assign]
    model.classify(encode(np.ascontiguousarray(np.rot90(photo)), "JPEG", exif=exif, quality=95, subsampling=0))
    pixels = seen[-1]["DecodeJpeg:0"]
    assert pixels.shape == photo.shape
    assert np.abs(pixels.astype(int) - photo).mean() < 5
    seen.clear()
    upright = encode(photo, "JPEG")
    model.classify(upright)
    assert seen == [{"DecodeJpeg/contents:0": upright}]


def test_results_are_shown_and_serialised(models: dict[str, Path], pictures: dict[str, Path]) -> None:
    prediction = ki.load(models["retrained"], backend="numpy").classify(pictures["red"], top=2)
    assert len(prediction) == 2
    assert str(prediction).splitlines()[0] == f"{pictures['red']}:"
    assert "red" in str(prediction).splitlines()[1]
    document = json.loads(json.dumps(prediction.to_json()))
    assert document["labels"][0]["label"] == "red"
    assert document["labels"][0]["probability"] >= document["labels"][1]["probability"]


def test_predict_is_the_raw_output(models: dict[str, Path]) -> None:
    model = ki.load(models["slim"], backend="numpy")
    batch = np.random.default_rng(0).uniform(-1, 1, (5, 16, 16, 3)).astype(np.float32)
    logits = 20 * batch.mean((1, 2))
    expected = np.exp(logits) / (np.exp(logits).sum(1, keepdims=True) + 998)
    assert np.allclose(model.predict(batch)[:, :3], expected, atol=1e-5)
    with pytest.raises(ki.FeedError, match="batch"):
        model.predict(batch[0])


def test_a_graph_of_one_image_takes_several(models: dict[str, Path]) -> None:
    model = ki.load(models["2015"], backend="numpy")
    batch = np.random.default_rng(0).uniform(-1, 1, (3, 16, 16, 3)).astype(np.float32)
    assert model.predict(batch).shape == (3, 1008)


def test_logits_become_probabilities(models: dict[str, Path], pictures: dict[str, Path]) -> None:
    graph = ki.load(models["retrained"], backend="numpy").graph
    matmul = next(op for op in graph.operations if op.type == "MatMul")
    card = ki.Card(
        name="own",
        title="an own card",
        input="Mul:0",
        output=matmul.outputs[0].name,
        preprocessing=Preprocessing((16, 16), "legacy"),
        labels="file",
        scores="logits",
    )
    model = ki.load(models["retrained"], backend="numpy", card=card)
    scores = model.probabilities([pictures["green"]])
    assert scores.shape == (1, 3)
    assert scores.sum() == pytest.approx(1, abs=1e-6)
    assert scores.argmax() == 1


def test_an_unknown_graph_loads_but_does_not_classify(tmp_path: Path) -> None:
    from kigraph.graph.writers.graphdef import save_graphdef

    graph = ki.Graph()
    with graph.as_default():
        ki.multiply(ki.placeholder(ki.float32, [2], name="x"), 2.0, name="y")
    save_graphdef(graph, tmp_path / "double.pb")
    model = ki.load(tmp_path / "double.pb", backend="numpy")
    assert model.session.run("y:0", {"x:0": [1, 2]}).tolist() == [2, 4]
    assert "no card" in repr(model)
    with pytest.raises(ki.CardError, match="no weights card"):
        model.classify(np.zeros((4, 4, 3), np.uint8))


def test_cards_by_name(models: dict[str, Path]) -> None:
    assert ki.load(models["slim"], backend="numpy", card="mobilenet-v1").card is not None
    with pytest.raises(ki.CardError, match="does not fit"):
        ki.load(models["slim"], backend="numpy", card="inception-v3-2015")
    with pytest.raises(ki.CardError, match=r"known: .*inception-v3-2015"):
        ki.load(models["slim"], backend="numpy", card="nonsense")


def test_bad_images_are_named(models: dict[str, Path], pictures: dict[str, Path], encode: Encode) -> None:
    truncated = pictures["red"].parent / "cut.jpg"
    data = pictures["red"].read_bytes()
    truncated.write_bytes(data[: len(data) // 2])
    for kind in ("2015", "slim"):
        model = ki.load(models[kind], backend="numpy")
        for file in (pictures["bad"], truncated, pictures["red"].parent / "missing.jpg"):
            with pytest.raises(ki.ImageError, match=file.name):
                model.classify(file)
        for top in (0, -1, 2.5):
            with pytest.raises(ki.FeedError, match="top"):
                model.classify(pictures["red"], top=top)  # type: ignore[call-overload]


@pytest.mark.parametrize("kind", ["2015", "slim"])
def test_the_largest_image_can_be_set(
    kind: str, models: dict[str, Path], pictures: dict[str, Path], encode: Encode
) -> None:
    with Image.open(pictures["red"]) as image:
        pixels, array = image.width * image.height, np.asarray(image.convert("RGB"))
    model = ki.load(models[kind], backend="numpy", max_pixels=pixels - 1)
    for image in (pictures["red"], pictures["red"].read_bytes(), encode(array, "PNG"), array, Image.fromarray(array)):
        model.max_pixels = pixels - 1
        with pytest.raises(ki.ImageError, match=f"pixels are more than {pixels - 1:,}, the limit"):
            model.classify(image)
        model.max_pixels = pixels
        assert model.classify(image)
    with pytest.raises(ki.FeedError, match="max_pixels must be a whole number of at least 1, got 0"):
        ki.load(models[kind], backend="numpy", max_pixels=0)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damaged_jpegs_give_an_answer_or_image_error(
    data: st.DataObject, models: dict[str, Path], pictures: dict[str, Path]
) -> None:
    """The path through the graph's own decoder, which Pillow's check of the header comes before."""
    model = _MODELS.setdefault("2015", ki.load(models["2015"], backend="numpy"))
    raw = bytearray(pictures["red"].read_bytes())
    for _ in range(data.draw(st.integers(1, 8))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    if data.draw(st.booleans()):
        del raw[data.draw(st.integers(1, len(raw) - 1)) :]
    try:
        prediction = model.classify(bytes(raw))
    except ki.ImageError:
        return
    assert sum(label.probability for label in prediction) <= 1 + 1e-5


@pytest.mark.parametrize("content", [b"", b"\x00" * 100, b"hello\n", b"\x1f\x8b" + bytes(50)])
def test_files_that_are_no_model(content: bytes, tmp_path: Path) -> None:
    file = tmp_path / "model.pb"
    file.write_bytes(content)
    with pytest.raises(ki.LoadError, match=r"model\.pb"):
        ki.load(file)


def test_explain_names_kernels(models: dict[str, Path]) -> None:
    for kind in ("2015", "slim"):
        text = ki.load(models[kind], backend="numpy").explain()
        assert "numpy" in text
        assert "MatMul" in text or "matmul" in text


def test_threads_get_the_same_answers(models: dict[str, Path], pictures: dict[str, Path]) -> None:
    model = ki.load(models["retrained"], backend="numpy")
    expected = {c: model.classify(pictures[c]) for c in ("red", "green", "blue")}
    wrong: list[str] = []

    def work(colour: str) -> None:
        for _ in range(10):
            if model.classify(pictures[colour]) != expected[colour]:
                wrong.append(colour)

    threads = [threading.Thread(target=work, args=(c,)) for c in expected for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_mobilenet_on_photographs(shared: Path) -> None:
    model = ki.load(shared / "models" / "mobilenet_v1_0.25_224" / "frozen_graph.pb", backend="numpy")
    assert model.card is not None
    assert model.card.name == "mobilenet-v1"
    assert model.card.preprocessing.size == (224, 224)
    panda = model.classify(shared / "photos" / "cropped_panda.jpg", top=1)[0]
    assert panda.label.startswith("giant panda")
    golden = json.loads((shared / "models" / "mobilenet_v1_0.25_224" / "golden_top5_tensorflow.json").read_text())
    # TensorFlow's figures were made without the central crop.
    without_crop = ki.load(
        shared / "models" / "mobilenet_v1_0.25_224" / "frozen_graph.pb",
        backend="numpy",
        card=_without_crop(model.card),
    )
    for name, expected in golden.items():
        got = without_crop.classify(shared / "photos" / name, top=3)
        assert [label.index for label in got] == [row[0] for row in expected[:3]]
        assert [label.label for label in got] == [row[1].split(":", 1)[1] for row in expected[:3]]
        assert [label.probability for label in got] == pytest.approx([row[2] for row in expected[:3]], abs=0.05)


def _without_crop(card: ki.Card) -> ki.Card:
    from dataclasses import replace

    return replace(card, preprocessing=replace(card.preprocessing, crop=1.0))
