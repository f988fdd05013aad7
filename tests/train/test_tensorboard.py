"""Event files: TensorBoard's own reader reads what the callback writes. Skips without tensorboardX or tensorboard."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

import kigraph as ki
from kigraph.train import GradientDescent, Model, TensorBoard
from kigraph.train.layers import Dense
from kigraph.train.schedules import StepDecay


def test_without_the_library_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    with pytest.raises(ki.KigraphError, match=r"kigraph\[tensorboard\]"):
        TensorBoard("logs")


def test_what_is_written_is_what_tensorboard_reads(tmp_path: Path) -> None:
    pytest.importorskip("tensorboardX", reason="pip install 'kigraph[tensorboard]'")
    reader = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator", reason="TensorBoard's reader"
    )
    rng = np.random.default_rng()
    x, y = rng.standard_normal((32, 3)).astype(np.float32), rng.integers(0, 2, 32)
    model = Model([Dense(2)], (3,), optimizer=GradientDescent(StepDecay(0.1, 8, 0.5)), backend="numpy")
    history = model.fit(
        x, y, 3, 8, validation_data=(x, y), callbacks=[TensorBoard(tmp_path / "logs", every=2)], progress=False
    )
    found = reader.EventAccumulator(str(tmp_path / "logs"))
    found.Reload()
    assert set(found.Tags()["scalars"]) == {
        "loss",
        "accuracy",
        "val_loss",
        "val_accuracy",
        "learning_rate",
        "batch_loss",
    }
    for name in ("loss", "accuracy", "val_loss", "val_accuracy"):
        events = found.Scalars(name)
        assert [e.step for e in events] == [1, 2, 3]
        np.testing.assert_allclose([e.value for e in events], history[name], rtol=1e-6)
    assert [e.step for e in found.Scalars("batch_loss")] == [2, 4, 6, 8, 10, 12]
