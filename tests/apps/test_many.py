"""Many images through a model: the same answers as one by one, in order, with errors in their places."""

from __future__ import annotations

import random
import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import kigraph as ki
from kigraph.errors import CardError, FeedError, RunError
from kigraph.graph.writers.graphdef import save_graphdef
from kigraph.many import Lanes, lanes_of, scored


@pytest.fixture
def photographs(tmp_path: Path) -> list[str]:
    """Forty files of all kinds in random sizes, four of them damaged, one missing."""
    generator = np.random.default_rng()
    paths = []
    for number in range(40):
        pixels = generator.integers(0, 256, (*generator.integers(8, 40, 2), 3), np.uint8)
        path = tmp_path / f"{number:02d} a.{('jpg', 'png', 'webp', 'bmp')[number % 4]}"
        Image.fromarray(pixels).save(path)
        if number % 9 == 4:
            path.write_bytes(path.read_bytes()[: random.randrange(30)])
        paths.append(str(path))
    paths.insert(17, str(tmp_path / "missing.jpg"))
    return paths


@pytest.mark.parametrize("kind", ["slim", "2015"])
@pytest.mark.parametrize("backend", ["numpy", "cython"])
@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("batch", [None, 5])
def test_the_answers_of_one_by_one(models, photographs, kind, backend, threads, batch) -> None:
    if kind == "2015" and batch == 5:
        batch = 2
    model = ki.load(models[kind], backend=backend, threads=threads)
    found = list(model.classify_many(photographs, 4, batch=batch, workers=random.randint(1, 3)))
    assert [item.source for item in found] == photographs
    assert sum(item.error is not None for item in found) == 5
    for item in found:
        if item.error is None:
            assert item.prediction == model.classify(item.source, 4)
        else:
            assert item.prediction is None
            with pytest.raises(ki.ImageError) as one:
                model.classify(item.source, 4)
            assert str(item.error) == str(one.value)


def test_bytes_pixels_and_pillow_images(models) -> None:
    model = ki.load(models["retrained"])
    pixels = np.full((20, 20, 3), (250, 3, 3), np.uint8)
    found = list(model.classify_many([pixels, Image.fromarray(pixels), b"no image"], 1))
    assert [item.prediction and item.prediction[0].label for item in found] == ["red", "red", None]
    assert found[2].error is not None


def test_a_fixed_batch_is_filled_up(tmp_path: Path) -> None:
    graph = ki.Graph()
    with graph.as_default():
        x = ki.placeholder(ki.float32, [4, 8, 8, 3], name="input")
        weights = ki.constant(np.eye(3, dtype=np.float32) / 50)
        ki.softmax(ki.matmul(ki.reduce_mean(x, [1, 2]), weights), name="final_result")
    save_graphdef(graph, tmp_path / "model.pb")
    card = ki.Card("mine", "mine", "input:0", "final_result:0", ki.Preprocessing((8, 8), "half_pixel"), "file")
    model = ki.load(tmp_path / "model.pb", card=card, labels=["r", "g", "b"])
    images = [np.random.default_rng().integers(0, 256, (9, 9, 3), np.uint8) for _ in range(11)]
    found = [item.prediction for item in model.classify_many(images, 3)]
    whole = model.classify(images + images[-1:], 3)
    assert [[(label.label, label.probability) for label in f] for f in found] == [
        [(label.label, label.probability) for label in f] for f in whole[:11]
    ]
    with pytest.raises(FeedError, match="a multiple of 4"):
        next(model.classify_many(images, batch=6))


@pytest.mark.parametrize(("threads", "lanes"), [(1, (1, 1)), (2, (2, 1)), (16, (16, 1)), (64, (16, 4)), (100, (16, 6))])
def test_lanes_on_a_cpu(threads: int, lanes: tuple[int, int]) -> None:
    assert lanes_of("numpy", threads, None) == Lanes(*lanes, 8)
    assert lanes_of("numpy", threads, 3, 6).batch == 6


@pytest.mark.parametrize("wrong", [0, -1, 1.5, True, "8"])
def test_a_wrong_batch_or_number_of_workers(models, wrong) -> None:
    model = ki.load(models["slim"])
    for options in ({"batch": wrong}, {"workers": wrong}, {"top": 0}):
        with pytest.raises(FeedError):
            next(model.classify_many([np.zeros((4, 4, 3), np.uint8)], **options))


def test_a_model_without_a_card_or_classes(models) -> None:
    graph = ki.Graph()
    with graph.as_default():
        ki.identity(ki.placeholder(ki.float32, [None, 3], name="a"))
    model = ki.Classifier(graph, ki.Session(graph), None, None)
    with pytest.raises(CardError):
        next(model.classify_many([]))


def test_one_image_that_the_network_refuses_is_its_own_error() -> None:
    def score(images: list[int]) -> np.ndarray:
        if 13 in images:
            raise RunError("13 cannot be computed")
        return np.array(images, np.float32)[:, None]

    found = list(scored(range(30), np.array, score, Lanes(2, 1, 8), 2))
    assert [image for image, _, _ in found] == list(range(30))
    assert [image for image, _, error in found if error] == [13]
    assert all(row is not None and row[0] == image for image, row, error in found if not error)


def test_batches_are_full_whatever_fails(models) -> None:
    sizes, lock = [], threading.Lock()

    def prepare(number: int) -> int:
        if number % 3 == 1:
            raise ki.ImageError("damaged")
        return number

    def score(images: list[int]) -> np.ndarray:
        with lock:
            sizes.append(len(images))
        return np.array(images, np.float32)[:, None]

    found = list(scored(range(100), prepare, score, Lanes(1, 1, 8), 2))
    assert len(found) == 100
    assert sizes == [8] * 8 + [3]
    sizes.clear()
    assert sum(error is not None for _, _, error in scored([1] * 500, prepare, score, Lanes(1, 1, 8), 2)) == 500
    assert not sizes


def test_closing_stops_the_threads(models, photographs) -> None:
    model = ki.load(models["slim"])
    before = threading.active_count()
    stream = model.classify_many(photographs * 50)
    next(stream)
    stream.close()
    assert not [t for t in threading.enumerate() if t.name.startswith("kigraph-decode")]
    assert threading.active_count() <= before + 2, "the network's own helpers"


def test_variables_of_a_session_go_with_it() -> None:
    graph = ki.Graph()
    with graph.as_default():
        v = ki.variable(np.float32(3), name="v")
        double = v * 2.0
    session = ki.Session(graph, threads=2)
    session.set_variables({"v": np.float32(5)})
    narrow = session.with_threads(1)
    assert (narrow.threads, session.threads) == (1, 2)
    assert narrow.run(double) == session.run(double) == 10
    session.set_variables({"v": np.float32(6)})
    assert narrow.run(double) == 10
    assert session.with_threads(1).run(double) == 12
