"""Images one by one through a network on all CPUs: decoded by the threads that run it, with the same answers and errors."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import kigraph as ki
from kigraph import many
from kigraph.classifier import Classifier
from kigraph.errors import ImageError


@pytest.fixture
def photographs(tmp_path: Path, odd_names: list[bytes]) -> list[str]:
    """Files with odd names in random sizes; some damaged, one a folder, one missing."""
    generator, paths = np.random.default_rng(), []
    for number, name in enumerate([*odd_names, *(b"%d.png" % n for n in range(9))]):
        path = tmp_path / os.fsdecode(name)
        pixels = generator.integers(0, 256, (*generator.integers(8, 40, 2), 3), np.uint8)
        Image.fromarray(pixels).save(path, "JPEG" if path.suffix == ".jpg" else "PNG")
        if number % 5 == 2:
            path.write_bytes(path.read_bytes()[: generator.integers(0, 40)])
        paths.append(str(path))
    (tmp_path / "folder.jpg").mkdir()
    return [*paths[:3], str(tmp_path / "missing.jpg"), *paths[3:], str(tmp_path / "folder.jpg")]


@pytest.mark.parametrize("cpus", [1, 2, 3])
@pytest.mark.parametrize("workers", [None, 2])
def test_the_same_answers_wherever_they_are_decoded(
    models: dict[str, Path], photographs: list[str], cpus: int, workers: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = ki.load(models["slim"], threads=2)
    expected = []
    for path in photographs:
        try:
            expected.append((path, model.classify(path, 3), None))
        except ImageError as error:
            expected.append((path, None, str(error)))
    monkeypatch.setattr(many, "available_cpus", lambda: cpus)
    both: list[bool] = []  # whether an image was prepared where the network runs
    running, local = Classifier._scores, threading.local()
    prepare = Classifier.prepare

    def prepared(self: Classifier, images: list) -> np.ndarray:
        local.prepared = True
        return prepare(self, images)

    def scores(self: Classifier, batch: np.ndarray) -> np.ndarray:
        both.append(getattr(local, "prepared", False))
        return running(self, batch)

    monkeypatch.setattr(Classifier, "prepare", prepared)
    monkeypatch.setattr(Classifier, "_scores", scores)
    found = list(model.classify_many(photographs, 3, batch=1, workers=workers))
    assert [(a.source, a.prediction, a.error and str(a.error)) for a in found] == expected
    assert sum(a.error is not None for a in found) == 5
    late = workers is None and cpus <= 2
    assert both == [late] * 13


def test_bytes_pixels_and_limits(models: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(many, "available_cpus", lambda: 1)
    model = ki.load(models["slim"], threads=1, max_pixels=500)
    pixels = np.full((20, 20, 3), (250, 3, 3), np.uint8)
    large = Image.new("RGB", (40, 40))
    found = list(
        model.classify_many([pixels, Image.fromarray(pixels), b"no image", large, pixels[:, :, 0]], 1, batch=1)
    )
    assert [a.prediction is not None for a in found] == [True, True, False, False, False]
    assert found[0].prediction is not None
    assert found[0].prediction[0] == model.classify(pixels, 1)[0]
    for answer, image in zip(found[2:], [b"no image", large, pixels[:, :, 0]], strict=True):
        with pytest.raises(ImageError) as one:
            model.classify(image)
        assert str(answer.error) == str(one.value)
