"""The training loop: resumed to the same bits, weights of examples, smoothing, early stopping, generators, callbacks."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import kigraph as ki
from kigraph.train import AdamW, Callback, EarlyStopping, GradientDescent, Model
from kigraph.train.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from kigraph.train.layers import BatchNorm, Dense, Dropout
from kigraph.train.schedules import Cosine

Array = np.ndarray[Any, Any]


def points(count: int = 60) -> tuple[Array, Array]:
    rng = np.random.default_rng(4)
    x = rng.standard_normal((count, 5)).astype(np.float32)
    return x, (x @ rng.standard_normal(5) > 0).astype(np.int64)


def make(seed: int = 1, **options: Any) -> Model:
    optimizer = options.pop("optimizer", None) or AdamW(Cosine(0.05, 40, 4), global_clip_norm=1.0)
    layers = [Dense(8, "relu", initial="he_normal"), BatchNorm(), Dropout(0.3), Dense(2)]
    return Model(layers, (5,), optimizer=optimizer, seed=seed, backend="numpy", **options)


def test_resumed_at_any_epoch_gives_the_same_bits(tmp_path: Path) -> None:
    x, y = points()
    options: dict[str, Any] = {
        "batch_size": 16, "validation_data": (x[:20], y[:20]), "class_weight": {1: 2.0}, "progress": False,
    }  # fmt: skip

    def stopping() -> EarlyStopping:
        return EarlyStopping(patience=50)

    whole = make(label_smoothing=0.1)
    whole.fit(x, y, 6, callbacks=[stopping()], **options)
    for interrupted in (1, 3, 5):
        path = tmp_path / f"{interrupted}.npz"
        make(label_smoothing=0.1).fit(x, y, interrupted, callbacks=[stopping()], checkpoint=path, **options)
        again = make(seed=77, label_smoothing=0.1)
        again.fit(x, y, 6, callbacks=[stopping()], checkpoint=path, **options)
        assert again.history.rows == whole.history.rows
        assert again.steps == whole.steps == 24
        for name, value in whole.weights().items():
            np.testing.assert_array_equal(again.weights()[name], value)


def test_an_interruption_inside_an_epoch_leaves_the_last_checkpoint(tmp_path: Path) -> None:
    x, y = points()
    ended: list[bool] = []

    class Stop(Callback):
        def on_batch_end(self, model: Any, step: int, loss: float) -> None:
            if step == 11:
                raise InterruptedError

        def on_train_end(self, model: Any, finished: bool) -> None:
            ended.append(finished)

    whole = make()
    whole.fit(x, y, 4, 16, progress=False)
    with pytest.raises(InterruptedError):
        make().fit(x, y, 4, 16, callbacks=[Stop()], checkpoint=tmp_path / "c.npz", progress=False)
    again = make(seed=5)
    again.fit(x, y, 4, 16, checkpoint=tmp_path / "c.npz", progress=False)
    assert ended == [False]
    assert (again.predict(x) == whole.predict(x)).all()


def test_a_checkpoint_of_the_first_version_is_read(tmp_path: Path) -> None:
    x, y = points()
    optimizer = GradientDescent(0.1)
    model = make(optimizer=optimizer)
    model.fit(x, y, 2, 16, checkpoint=tmp_path / "c.npz", progress=False)
    new = load_checkpoint(tmp_path / "c.npz")
    meta = {k: v for k, v in new.meta.items() if k in ("epoch", "generator", "history")}
    save_checkpoint(tmp_path / "old.npz", Checkpoint(new.variables, meta))
    old = make(seed=3, optimizer=GradientDescent(0.1))
    old.fit(x, y, 4, 16, checkpoint=tmp_path / "old.npz", progress=False)
    model.fit(x, y, 4, 16, progress=False)
    assert (old.predict(x) == model.predict(x)).all()
    assert old.steps == model.steps == 16
    # Now with a schedule: the rate of the file is dropped, and the schedule begins where the training is.
    save_checkpoint(tmp_path / "old.npz", Checkpoint(new.variables, meta))
    rates: list[int] = []
    scheduled = make(optimizer=GradientDescent(lambda step: rates.append(step) or 0.1))  # type: ignore[func-returns-value]
    rates.clear()
    scheduled.fit(x, y, 3, 16, checkpoint=tmp_path / "old.npz", progress=False)
    assert sorted(set(rates)) == [8, 9, 10, 11]


@pytest.mark.parametrize(
    "change", [{"steps": -1}, {"steps": 1.5}, {"callbacks": 3}, {"callbacks": [1]}, {"epoch": "x"}]
)
def test_damaged_state_is_refused(tmp_path: Path, change: dict[str, Any]) -> None:
    model = make()
    model.save_checkpoint(tmp_path / "c.npz")
    good = load_checkpoint(tmp_path / "c.npz")
    save_checkpoint(tmp_path / "bad.npz", Checkpoint(good.variables, {**good.meta, **change}))
    with pytest.raises(ki.LoadError):
        make().restore(tmp_path / "bad.npz")


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_the_loss_is_the_weighted_mean_of_the_formula(smoothing: float) -> None:
    x, y = points(30)
    weights = np.random.default_rng(1).uniform(0, 2, 30).astype(np.float32)
    model = Model([Dense(3)], (5,), label_smoothing=smoothing, backend="numpy")
    kernel, bias = model.weights().values()
    logits = (x @ kernel + bias).astype(np.float64)
    logs = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    target = np.eye(3)[y] * (1 - smoothing) + smoothing / 3
    losses = -(target * logs).sum(1)
    assert model.evaluate(x, y)["loss"] == pytest.approx(losses.mean(), rel=1e-5)
    assert model.evaluate(x, y, sample_weight=weights)["loss"] == pytest.approx((losses * weights).mean(), rel=1e-5)


def test_weights_of_classes_are_weights_of_examples() -> None:
    x, y = points(40)
    first, second = (Model([Dense(2)], (5,), optimizer=GradientDescent(0.2), backend="numpy") for _ in range(2))
    first.fit(x, y, 2, 16, class_weight={0: 0.25}, progress=False)
    second.fit(x, y, 2, 16, sample_weight=np.where(y == 0, 0.25, 1.0), progress=False)
    assert (first.predict(x) == second.predict(x)).all()


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"class_weight": {5: 1.0}}, "classes are 0 to 1"), ({"class_weight": {0: -1.0}}, "at least 0"),
        ({"sample_weight": [1.0, 2.0]}, "one for each example"), ({"sample_weight": np.full(40, np.nan)}, "at least 0"),
        ({"callbacks": [print]}, "Callback"), ({"validation_data": (1, 2, 3, 4)}, "validation_data"),
        ({"callbacks": [EarlyStopping()]}, "Give validation_data"),
    ],
)  # fmt: skip
def test_wrong_arguments_say_what_is_expected(options: dict[str, Any], text: str) -> None:
    x, y = points(40)
    with pytest.raises(ki.GraphError, match=text):
        make().fit(x, y, 1, progress=False, **options)


def test_labels_beyond_the_classes_are_an_error_with_smoothing_and_weights() -> None:
    x, y = points(40)
    with pytest.raises(ki.GraphError, match="expected 0 to 1"):
        make(label_smoothing=0.1).fit(x, y + 1, 1, progress=False)
    with pytest.raises(ki.GraphError, match="expected 0 to 1"):
        make().fit(x, y + 1, 1, class_weight={0: 2.0}, progress=False)


def test_early_stopping_stops_keeps_the_best_and_stays_stopped(tmp_path: Path) -> None:
    x, y = points(40)
    metrics = iter([3.0, 1.0, 2.0, 1.5, 0.5, 0.1])
    kept: dict[int, Mapping[str, Array]] = {}

    class Scripted(Callback):
        """Puts scripted numbers in the place of the metric, before EarlyStopping sees them."""

        def on_epoch_end(self, model: Any, row: Mapping[str, float]) -> None:
            row["val_loss"] = next(metrics)  # type: ignore[index]
            kept[model.epoch] = model.weights()

    model, stopping = make(), EarlyStopping(patience=2)
    model.fit(x, y, 9, 16, callbacks=[Scripted(), stopping], checkpoint=tmp_path / "c.npz", progress=False)
    assert model.epoch == 4
    assert (stopping.best, stopping.best_epoch) == (1.0, 2)
    for name, value in kept[2].items():
        np.testing.assert_array_equal(model.weights()[name], value)
    again = make(seed=8)
    again.fit(
        x, y, 9, 16, callbacks=[Scripted(), EarlyStopping(patience=2)], checkpoint=tmp_path / "c.npz", progress=False
    )
    assert again.epoch == 4  # it had ended
    for name, value in kept[2].items():
        np.testing.assert_array_equal(again.weights()[name], value)


def test_generators_give_batches_anew_for_each_epoch() -> None:
    x, y = points(48)

    def batches() -> Iterator[tuple[Array, Array]]:
        for start in range(0, 48, 16):
            yield x[start : start + 16], y[start : start + 16]

    first, second = make(), make()
    first.fit(batches, epochs=3, validation_data=batches, progress=False)
    second.fit(x, y, 3, 16, shuffle=False, validation_data=(x, y), progress=False)
    assert first.history["loss"] == second.history["loss"]
    with pytest.raises(ki.GraphError, match="used up"):
        make().fit(batches(), epochs=2, progress=False)
    with pytest.raises(ki.GraphError, match="no batch"):
        make().fit(lambda: [], epochs=1, progress=False)
    with pytest.raises(ki.GraphError, match="tuple"):
        make().fit(lambda: [x], epochs=1, progress=False)
    with pytest.raises(ki.GraphError, match="go with arrays"):
        make().fit(batches, y, epochs=1, progress=False)


def test_history_has_the_rate_and_its_files_are_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = points(32)
    model = make()
    history = model.fit(x, y, 2, 16, progress=False)
    assert history["learning_rate"] == pytest.approx([Cosine(0.05, 40, 4)(1), Cosine(0.05, 40, 4)(3)])
    path = history.save_csv(tmp_path / "h.csv")
    before, mask = path.read_bytes(), os.umask(0o022)
    os.umask(mask)
    assert path.stat().st_mode & 0o777 == 0o666 & ~mask
    path.chmod(0o640)
    assert history.save_csv(path).stat().st_mode & 0o777 == 0o640
    assert before.splitlines()[0] == b"epoch,loss,accuracy,learning_rate"

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(OSError, match="No space"):
        history.save_csv(path)
    monkeypatch.undo()
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["h.csv"]
    assert json.dumps(history.rows)


def test_a_rate_cannot_be_set_beside_a_schedule() -> None:
    with pytest.raises(ki.GraphError, match="schedule"):
        make().set_learning_rate(0.1)
    model = make(optimizer=GradientDescent(0.1))
    model.set_learning_rate(0.25)
    assert model.learning_rate == 0.25
