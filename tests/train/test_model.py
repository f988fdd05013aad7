"""Model: learns, resumes to the same bits, and its file runs elsewhere."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import kigraph as ki
from kigraph.train import Adam, Model
from kigraph.train.layers import (
    Activation,
    AvgPool2D,
    BatchNorm,
    Conv2D,
    Dense,
    DepthwiseConv2D,
    Dropout,
    Flatten,
    GlobalAvgPool2D,
    MaxPool2D,
)

Array = np.ndarray[Any, Any]


def pictures(count: int = 192) -> tuple[Array, Array]:
    """Which half is brighter? A task that a small network learns in seconds."""
    rng = np.random.default_rng(0)
    x = rng.uniform(0, 1, (count, 8, 8, 3)).astype(np.float32)
    y = rng.integers(0, 2, count)
    x[y == 1, :4] += 0.5
    x[y == 0, 4:] += 0.5
    return x / 1.5, y


def make(backend: str | None = None, seed: int = 3) -> Model:
    layers = [
        Conv2D(8, 3, use_bias=False), BatchNorm(), Activation("relu"), MaxPool2D(2), DepthwiseConv2D(3, activation="relu6"),
        AvgPool2D(2), Dropout(0.2), Flatten(), Dense(16, activation="tanh"), Dense(2),
    ]  # fmt: skip
    return Model(layers, (8, 8, 3), optimizer=Adam(0.01), seed=seed, classes=["bottom", "top"], backend=backend)


@pytest.mark.slow
@pytest.mark.parametrize("backend", [b for b in ki.available_backends() if b != "cupy"])
def test_learns(backend: str) -> None:
    x, y = pictures()
    model = make(backend)
    before = model.evaluate(x, y)["loss"]
    history = model.fit(x, y, epochs=8, batch_size=32, progress=False)
    after = model.evaluate(x, y)
    assert after["loss"] < before / 2
    assert after["accuracy"] > 0.95
    assert len(history) == 8
    assert history["loss"][-1] < history["loss"][0]


def test_equal_seeds_give_equal_bits_and_other_seeds_do_not() -> None:
    x, y = pictures(64)
    runs = [make("numpy", seed) for seed in (1, 1, 2)]
    for model in runs:
        model.fit(x, y, epochs=2, progress=False)
    first, same, other = (model.predict(x) for model in runs)
    assert (first == same).all()
    assert not np.allclose(first, other)


def test_resumes_to_the_same_bits(tmp_path: Path) -> None:
    x, y = pictures(96)
    whole = make("numpy")
    whole.fit(x, y, epochs=4, progress=False)
    first = make("numpy")
    first.fit(x, y, epochs=2, checkpoint=tmp_path / "run.npz", progress=False)
    second = make("numpy", seed=99)  # everything comes from the checkpoint
    history = second.fit(x, y, epochs=4, checkpoint=tmp_path / "run.npz", progress=False)
    assert (second.predict(x) == whole.predict(x)).all()
    assert history.rows == whole.history.rows
    assert [p.name for p in tmp_path.iterdir()] == ["run.npz"]  # nothing half-written is left


def test_a_checkpoint_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    x, y = pictures(32)
    make("numpy").fit(x, y, epochs=1, checkpoint=tmp_path / "run.npz", progress=False)
    other = Model([Flatten(), Dense(2)], (8, 8, 3), backend="numpy")
    with pytest.raises(ki.LoadError, match="another model"):
        other.restore(tmp_path / "run.npz")
    data = (tmp_path / "run.npz").read_bytes()
    for broken in (b"", data[: len(data) // 2], b"PK\x03\x04" + bytes(100)):
        (tmp_path / "bad.npz").write_bytes(broken)
        with pytest.raises(ki.LoadError):
            other.restore(tmp_path / "bad.npz")


@pytest.mark.slow
def test_the_saved_file_runs_in_another_process_without_the_training_code(tmp_path: Path) -> None:
    x, y = pictures(64)
    model = make()
    model.fit(x, y, epochs=1, progress=False)
    path = model.save(tmp_path / "model.pb")
    np.save(tmp_path / "x.npy", x)
    program = (
        "import sys, json, numpy as np, kigraph as ki\n"
        f"x = np.load({str(tmp_path / 'x.npy')!r})\n"
        f"answers = {{b: ki.load({str(path)!r}, backend=b).predict(x).tolist() for b in ki.available_backends() if b != 'cupy'}}\n"
        f"image = (x[0] * 255).astype('uint8')\n"
        f"label = ki.load({str(path)!r}).classify(image, top=1)[0].label\n"
        "assert not any(m.startswith('kigraph.train') or m.startswith('kigraph.graph.gradients') for m in sys.modules)\n"
        "print(json.dumps([answers, label]))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    answers, label = json.loads(done.stdout)
    want = model.predict(x)
    for backend, got in answers.items():
        np.testing.assert_allclose(got, want, atol=1e-5, err_msg=backend)
    assert label == ["bottom", "top"][int(model.predict(np.round(x[:1] * 255) / 255).argmax())]


def test_the_saved_onnx_file_gives_the_same(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx", reason="needs onnx (extra dev)")
    from onnx.reference import ReferenceEvaluator

    x, y = pictures(16)
    model = make("numpy")
    model.fit(x, y, epochs=1, progress=False)
    proto = onnx.load(model.save(tmp_path / "model.onnx"))
    onnx.checker.check_model(proto)
    (got,) = ReferenceEvaluator(proto).run(None, {"input": x})
    np.testing.assert_allclose(got, model.predict(x), atol=1e-5)
    assert {p.key for p in proto.metadata_props} == {"kigraph/card"}


def test_regression() -> None:
    x = np.linspace(-1, 1, 64, dtype=np.float32)[:, None]
    model = Model(
        [Dense(16, activation="tanh"), Dense(1)], (1,), loss="mean_squared_error", optimizer=Adam(0.02), backend="numpy"
    )
    model.fit(x, 2 * x**2, epochs=400, batch_size=64, progress=False)
    assert model.evaluate(x, 2 * x**2)["loss"] < 0.01
    assert model.predict(x).shape == (64, 1)


def test_errors_say_what_is_wrong() -> None:
    with pytest.raises(ki.GraphError, match="put Flatten before it"):
        Model([Dense(2)], (4, 4, 3))
    with pytest.raises(ki.GraphError, match="3 class names"):
        Model([Dense(2)], (4,), classes=["a", "b", "c"])
    with pytest.raises(ki.GraphError, match="unknown loss"):
        Model([Dense(2)], (4,), loss="hinge")  # type: ignore[arg-type]
    model = Model([GlobalAvgPool2D(), Dense(2)], (8, 8, 3), backend="numpy")
    x, y = pictures(8)
    with pytest.raises(ki.GraphError, match=r"\(examples, 8, 8, 3\)"):
        model.fit(x[:, :4], y)
    with pytest.raises(ki.GraphError, match="same number of examples"):
        model.fit(x, y[:3])
    with pytest.raises(ki.KernelError, match="labels go from"):
        model.fit(x, y + 5, progress=False)


def test_a_loss_that_is_not_finite_stops_the_training() -> None:
    x, y = pictures(32)
    model = Model([Flatten(), Dense(2)], (8, 8, 3), backend="numpy")
    with pytest.raises(ki.KigraphError, match="lower learning rate"):
        model.fit(np.where(x > 0.5, np.nan, x), y, progress=False)


def test_history_as_csv_and_picture(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="needs matplotlib (extra plot)")
    x, y = pictures(32)
    model = Model([Flatten(), Dense(2)], (8, 8, 3), backend="numpy")
    seen: list[float] = []
    history = model.fit(
        x, y, epochs=2, validation_data=(x, y), progress=False, on_epoch=lambda row: seen.append(row["val_loss"])
    )
    lines = history.save_csv(tmp_path / "h.csv").read_text().splitlines()
    assert lines[0] == "epoch,loss,accuracy,val_loss,val_accuracy"
    assert len(lines) == 3
    assert seen == history["val_loss"]
    assert history.save_picture(tmp_path / "h.png").read_bytes().startswith(b"\x89PNG")
