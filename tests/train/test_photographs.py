"""Photographs in folders as examples."""

from __future__ import annotations

import logging
import os
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import kigraph as ki
from kigraph.train import Adam, Folder, Model, flip, folder, shift
from kigraph.train.layers import Conv2D, Dense, GlobalAvgPool2D
from kigraph.vision import Normalization, Preprocessing, decode_image

NAMES = [b"a b.jpg", b"new\nline.PNG", b"caf\xe9.jpg", b"deep.jpeg", b"7.bmp", b"8.gif", b"9.webp"]


def fill(top: Path, classes: dict[str, tuple[int, int, int]], each: int = 7) -> None:
    rng = np.random.default_rng(3)
    for name, colour in classes.items():
        (top / name / "inner").mkdir(parents=True)
        for number in range(each):
            pixels = np.clip(rng.normal(0, 20, (20 + number, 30, 3)) + colour, 0, 255).astype(np.uint8)
            file = NAMES[number % len(NAMES)] if number < len(NAMES) else f"{number}.png".encode()
            place = top / name / "inner" if number == 3 else top / name
            kind = {".jpg": "JPEG", ".jpeg": "JPEG", ".png": "PNG"}.get(
                os.path.splitext(os.fsdecode(file))[1].lower(), "PNG"
            )
            with open(os.path.join(os.fsencode(place), file), "wb") as stream:
                Image.fromarray(pixels).save(stream, kind)


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    top = tmp_path / "my photographs"
    fill(top, {"red": (200, 40, 40), "blue": (40, 40, 200)})
    (top / "red" / "notes.txt").write_text("no photograph")
    (top / "red" / ".hidden.jpg").write_bytes(b"x")
    (top / ".cache").mkdir()
    return top


def test_every_photograph_is_there_with_its_class(photographs: Path) -> None:
    data = folder(photographs, (16, 24))
    assert data.classes == ("blue", "red")
    assert len(data) == 14
    assert sorted({os.path.basename(p) for p in data.paths}) == sorted(NAMES)
    (batch,) = data.batches(32, None)
    assert batch.x.shape == (14, 16, 24, 3)
    assert batch.x.dtype == np.float32
    assert batch.y.tolist() == [0] * 7 + [1] * 7
    for path, image in zip(data.paths, batch.x, strict=True):
        with open(path, "rb") as file:
            want = Preprocessing((16, 24), "keras_bilinear", Normalization((0.0,) * 3, (255.0,) * 3))(
                decode_image(file.read())
            )
        np.testing.assert_array_equal(image, want)


def test_batches_are_seeded_and_of_one_shape(photographs: Path) -> None:
    def epoch(seed: int, workers: int, **options: Any) -> list[np.ndarray[Any, Any]]:
        data = folder(photographs, (16, 16), augment=[flip, shift(0.2)], workers=workers, **options)
        return [b.x for b in data.batches(4, np.random.default_rng(seed))]

    first, same, other = epoch(1, 1), epoch(1, 4), epoch(2, 2)
    assert [len(x) for x in first] == [4, 4, 4, 2]
    for a, b in zip(first, same, strict=True):
        np.testing.assert_array_equal(a, b)
    assert not np.array_equal(first[0], other[0])
    assert [len(x) for x in epoch(1, 2, drop_last=True, ahead=3)] == [4, 4, 4]


def test_split_takes_a_share_of_every_class(photographs: Path) -> None:
    data = folder(photographs, (8, 8), augment=[flip])
    train, held = data.split(0.3, seed=4)
    assert (len(train), len(held)) == (10, 4)
    assert set(train.paths) | set(held.paths) == set(data.paths)
    assert np.bincount(held.labels).tolist() == [2, 2]
    assert (train.augment, held.augment) == ((flip,), ())
    assert data.split(0.3, seed=4)[1].paths == held.paths
    assert data.split(0.3, seed=5)[1].paths != held.paths
    with pytest.raises(ki.GraphError, match="between 0 and 1"):
        data.split(1.0)


def test_damaged_photographs_are_left_out_and_named_once(photographs: Path, caplog: pytest.LogCaptureFixture) -> None:
    (photographs / "red" / "bad.jpg").write_bytes(b"\xff\xd8\xff\xe0 no photograph")
    (photographs / "blue" / "empty.png").write_bytes(b"")
    data = folder(photographs, (8, 8))
    with caplog.at_level(logging.WARNING, "kigraph"):
        for _ in range(2):
            assert sum(len(b) for b in data.batches(5, None)) == 14
    assert sorted(os.path.basename(name) for name in data.unreadable) == ["bad.jpg", "empty.png"]
    assert len(caplog.records) == 2
    for path in data.paths:
        with open(path, "wb"):
            pass
    model = Model([GlobalAvgPool2D(), Dense(2)], (8, 8, 3), backend="numpy")
    with pytest.raises(ki.GraphError, match="no batch"):
        model.fit(data, epochs=1, progress=False)


def test_folders_that_are_no_data_set_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ki.GraphError, match="is no folder"):
        folder(tmp_path / "none", (8, 8))
    with pytest.raises(ki.GraphError, match="no sub-folders"):
        folder(tmp_path, (8, 8))
    (tmp_path / "roses").mkdir()
    with pytest.raises(ki.GraphError, match="no photographs"):
        folder(tmp_path, (8, 8))


def test_threads_end_with_an_epoch_that_is_left(photographs: Path) -> None:
    before = threading.active_count()
    found = folder(photographs, (8, 8), workers=3).batches(2, None)
    next(found)
    found.close()  # type: ignore[attr-defined]
    assert threading.active_count() == before


def test_a_model_learns_from_a_folder_and_its_file_classifies(tmp_path: Path) -> None:
    fill(tmp_path / "data", {"red": (200, 40, 40), "blue": (40, 40, 200)}, each=20)
    train, held = folder(tmp_path / "data", (12, 12), augment=[flip]).split(0.25)

    def model(seed: int) -> Model:
        return Model(
            [Conv2D(4, 3, activation="relu"), GlobalAvgPool2D(), Dense(2)], held.input_shape, optimizer=Adam(0.02),
            classes=held.classes, seed=seed, backend="cython",
        )  # fmt: skip

    first = model(0)
    history = first.fit(train, epochs=8, batch_size=8, validation_data=held, progress=False)
    assert history["val_accuracy"][-1] == 1
    assert first.evaluate(held)["accuracy"] == 1
    model(0).fit(train, epochs=3, batch_size=8, validation_data=held, checkpoint=tmp_path / "c.npz", progress=False)
    second = model(9)
    second.fit(train, epochs=8, batch_size=8, validation_data=held, checkpoint=tmp_path / "c.npz", progress=False)
    assert second.history.rows == history.rows
    answer = ki.load(first.save(tmp_path / "m.pb")).classify(os.fsdecode(held.paths[-1]))
    assert answer[0].label == held.classes[held.labels[-1]]


def test_the_scale_of_folder_and_model_must_agree(photographs: Path) -> None:
    data = folder(photographs, (8, 8), mean=127.5, std=127.5)
    model = Model([GlobalAvgPool2D(), Dense(2)], (8, 8, 3), backend="numpy")
    with pytest.raises(ki.GraphError, match="pixel_scale"):
        model.fit(data, epochs=1, progress=False)
    assert isinstance(data, Folder)
    assert "14 photographs" in repr(data)


def test_a_wrong_augmentation_is_an_error(photographs: Path) -> None:
    data = folder(photographs, (8, 8), augment=[lambda image, rng: image[:4]])
    with pytest.raises(ki.GraphError, match="augmentation gave"):
        list(data.batches(4, np.random.default_rng(0)))
