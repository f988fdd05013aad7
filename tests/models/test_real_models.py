"""Real networks against TensorFlow's own outputs, on every backend of this machine."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from kigraph.graph.loaders import load
from kigraph.graph.session import Session
from kigraph.opening import open_file

#: Largest difference of a probability. GPUs sum in another order with other units.
TOLERANCE = {"cupy": 1e-3}
#: The reference backend takes a second per photograph.
COUNT = {"numpy": 10}
CONTENTS, RESULT = "DecodeJpeg/contents:0", "final_result:0"


# --- MobileNet v1 -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["grace_hopper.jpg", "cropped_panda.jpg"])
def test_mobilenet(shared: Path, backend: str, name: str) -> None:
    folder = shared / "models" / "mobilenet_v1_0.25_224"
    loaded = load(folder / "frozen_graph.pb")
    assert loaded.inputs == ("input:0",)
    assert loaded.outputs == ("MobilenetV1/Predictions/Reshape_1:0",)
    assert loaded.graph is not None
    with np.load(folder / "golden_tensorflow.npz") as golden:
        image, want = golden[name], golden[f"{name}.probabilities"]
    (got,) = Session(loaded.graph, backend=backend).run(loaded.outputs[0], {"input:0": image})
    assert np.abs(got - want).max() <= TOLERANCE.get(backend, 1e-4)
    assert np.argsort(-got)[:5].tolist() == np.argsort(-want)[:5].tolist()
    top = json.loads((folder / "golden_top5_tensorflow.json").read_text())[name]
    assert [int(np.argsort(-got)[i]) for i in range(5)] == [
        int(row["index"] if isinstance(row, dict) else row[0]) for row in top
    ]


# --- Inception v3, flowers --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def session(flowers: Path, backend: str) -> Session:
    return Session(open_file(flowers, strict=True).graph, backend=backend)


def photos(shared: Path, golden: Any, count: int) -> list[tuple[int, bytes]]:
    """(index, JPEG bytes) of photographs spread over all classes."""
    files = golden["files"]
    picked = range(0, len(files), max(1, len(files) // count))
    return [(i, (shared / "photos" / "flowers" / str(files[i])).read_bytes()) for i in picked][:count]


def test_photographs_from_jpeg_bytes(shared: Path, session: Session, backend: str, golden: Any) -> None:
    """Through the graph's own DecodeJpeg and ResizeBilinear: all 120, ten on the reference backend."""
    sample = photos(shared, golden, COUNT.get(backend, 120))
    want = golden["probabilities"]
    worst, other = 0.0, []
    for i, data in sample:
        (got,) = session.run(RESULT, {CONTENTS: data})
        worst = max(worst, float(np.abs(got - want[i]).max()))
        if got.argmax() != want[i].argmax():
            other.append(str(golden["files"][i]))
    assert not other, f"another first label than TensorFlow's: {other}"
    assert worst <= TOLERANCE.get(backend, 1e-4), f"probabilities differ by up to {worst:.2e}"
    assert len(sample) == COUNT.get(backend, 120)


def test_features(shared: Path, session: Session, backend: str, golden: Any) -> None:
    for i, data in photos(shared, golden, 3):
        got = session.run("pool_3:0", {CONTENTS: data}).ravel()
        assert np.abs(got - golden["pool_3"][i]).max() <= 10 * TOLERANCE.get(backend, 1e-4)


def test_pixels_fed_behind_the_decoder(shared: Path, session: Session, backend: str, golden: Any) -> None:
    """Any tensor can be fed: here Pillow's pixels in place of the decoded ones."""
    want = golden["probabilities_from_pillow_pixels"]
    for i, data in photos(shared, golden, 4):
        pixels = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
        (got,) = session.run(RESULT, {"DecodeJpeg:0": pixels})
        assert np.abs(got - want[i]).max() <= TOLERANCE.get(backend, 1e-4)


def test_activations_inside(shared: Path, session: Session, backend: str) -> None:
    """Sampled values of every block, so that an error is found where it begins; fetched together with the result."""
    with np.load(shared / "models" / "inception_v3_flowers" / "golden_activations.npz") as arrays:
        golden = dict(arrays)
    layers = sorted({key.split(".")[1] for key in golden if key.endswith(".value")})
    tensors = [f"{name.replace('_join', '/join')}:0" for name in layers]
    assert len(layers) == 14
    for i, file in enumerate(golden["files"][: 1 if backend == "numpy" else 3]):
        data = (shared / "photos" / "flowers" / str(file)).read_bytes()
        values = session.run([*tensors, RESULT], {CONTENTS: data})
        for name, value in zip(layers, values[:-1], strict=True):
            mean, std = golden[f"{i}.{name}.mean_std"]
            got = value.ravel()[golden[f"{i}.{name}.index"]]
            error = np.abs(got - golden[f"{i}.{name}.value"]).max() / std
            assert error <= 10 * TOLERANCE.get(backend, 1e-4), f"{name} of {file}: {error:.2e} deviations"
            np.testing.assert_allclose(
                [value.mean(dtype=np.float64), value.std(dtype=np.float64)], [mean, std], rtol=1e-3
            )
