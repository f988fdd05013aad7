"""Fine-tuning: which blocks a trunk has, what is trained and what stays, one step by hand, the same bits after interruptions."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import kigraph as ki
from kigraph.errors import GraphError, KigraphError
from kigraph.retraining import finetune, result
from kigraph.retraining.blocks import last_blocks
from kigraph.retraining.finetune import FineTuning, fine_tune
from kigraph.retraining.head import Data, Head
from kigraph.retraining.trunk import Trunk, find_trunk

Draw = Callable[..., Path]


class Stop(BaseException):
    """Ends a run where it stands."""


def blocky() -> ki.Graph:
    """conv, batch norm, relu; two branches that are joined; conv with a bias; mean; dense."""
    rng = np.random.default_rng(3)

    def weights(name: str, *shape: int) -> ki.Tensor:
        return ki.constant(rng.normal(0, 0.4, shape).astype(np.float32), name=name)

    graph = ki.Graph()
    with graph.as_default():
        x = ki.placeholder(ki.float32, [None, 16, 16, 3], name="input")
        y = ki.conv2d(x, weights("w1", 3, 3, 3, 6), 2, "SAME")
        scale, offset = (
            ki.constant(np.full(6, 1.5, np.float32), name="gamma"),
            ki.constant(np.zeros(6, np.float32), name="beta"),
        )
        mean, variance = ki.constant(np.full(6, 0.1, np.float32)), ki.constant(np.full(6, 0.5, np.float32))
        y = ki.relu(ki.fused_batch_norm(y, scale, offset, mean, variance), name="stem")
        left = ki.conv2d(y, weights("w2", 1, 1, 6, 4), 1, "SAME")
        right = ki.conv2d(
            ki.relu(ki.conv2d(y, weights("w3", 1, 1, 6, 4), 1, "SAME")), weights("w4", 3, 3, 4, 4), 1, "SAME"
        )
        y = ki.relu(ki.concat([left, right], 3), name="mixed")
        y = ki.bias_add(ki.conv2d(y, weights("w5", 3, 3, 8, 10), 2, "SAME"), weights("b5", 10), name="last")
        y = ki.reduce_mean(ki.relu(y), [1, 2], name="pooled")
        ki.softmax(ki.matmul(y, weights("w6", 10, 4)), name="scores")
    return graph


@pytest.fixture
def trunk(tmp_path: Path) -> Trunk:
    ki.save_graph(blocky(), tmp_path / "blocky.pb")
    return find_trunk(ki.load(tmp_path / "blocky.pb"))


def test_blocks(trunk: Trunk) -> None:
    found = {count: last_blocks(trunk.graph, count) for count in (1, 2, 3)}
    assert [found[n].start.name for n in (1, 2, 3)] == ["mixed:0", "stem:0", "images:0"]
    assert found[1].constants == ("w5", "b5")
    assert found[2].constants == ("w2", "w3", "w4", "w5", "b5")
    assert found[3].constants == ("w1", "w2", "w3", "w4", "w5", "b5")  # neither gamma nor beta
    with pytest.raises(GraphError, match="the trunk has 3 blocks"):
        last_blocks(trunk.graph, 4)


def test_a_step_is_the_gradient_by_hand(trunk: Trunk, seed: int) -> None:
    """One batch, one epoch: float64 by NumPy for the head, a difference quotient of the loss for a weight of the trunk."""
    rng = np.random.default_rng(seed)
    blocks = last_blocks(trunk.graph, 1)
    sizes = (blocks.start.shape or ())[1:]
    x, labels = rng.random((12, *sizes), np.float32), rng.integers(0, 3, 12)
    labels[:3] = 0, 1, 2
    head = Head(rng.normal(0, 0.3, (10, 3)).astype(np.float32), np.zeros(3, np.float32), 0.1, [])
    none = Data(x[:0], labels[:0])
    tuned = fine_tune(trunk, blocks, head, Data(x, labels), none, FineTuning(1, 0.05), "a", balanced=False)

    def features(w5: np.ndarray, b5: np.ndarray) -> np.ndarray:
        with ki.Graph().as_default():
            y = ki.bias_add(ki.conv2d(ki.constant(x.astype(np.float64)), ki.constant(w5), 2, "SAME"), ki.constant(b5))
            found = ki.reduce_mean(ki.relu(y), [1, 2])
            return np.asarray(ki.Session(found.graph, "numpy").run(found))

    def loss(w5: np.ndarray) -> float:
        logits = features(w5, b5) @ head.weights.astype(np.float64)
        return float(np.mean(np.log(np.exp(logits).sum(1)) - logits[np.arange(12), labels]))

    w5, b5 = (trunk.graph.operation(n).attrs["value"].array().astype(np.float64) for n in ("w5", "b5"))
    f = features(w5, b5)
    p = np.exp(f @ head.weights.astype(np.float64))
    p = p / p.sum(1, keepdims=True) - np.eye(3)[labels]
    assert np.allclose(tuned.head.weights, head.weights - 0.05 * f.T @ p / 12, atol=1e-6)
    assert np.allclose(tuned.head.biases, -0.05 * p.mean(0), atol=1e-6)
    at, small = (1, 1, 2, 3), np.zeros_like(w5)
    small[at] = 1e-5
    slope = (loss(w5 + small) - loss(w5 - small)) / 2e-5
    assert np.isclose(w5[at] - tuned.constants["w5"][at], 0.05 * slope, atol=1e-6)


@pytest.fixture
def runs(draw: Draw, trunk: Trunk, tmp_path: Path) -> Callable[..., ki.Retrained]:
    """runs("name") -> the result of a run with fine-tuning of two blocks."""
    folder = draw(lemon=14, lime=14)

    def run(name: str, **options: object) -> ki.Retrained:
        (tmp_path / name).mkdir(exist_ok=True)
        chosen = {"fine_tune": 2, "epochs": 4, "learning_rate": 0.01, "testing": 0.2, "validation": 0.2, **options}
        return ki.retrain(folder, weights=trunk.model, output=tmp_path / name / "m.pb", **chosen)  # type: ignore[arg-type]

    return run


def test_what_is_trained_and_what_stays(runs: Callable[..., ki.Retrained], trunk: Trunk) -> None:
    done = runs("a")
    old, new = trunk.model.graph, done.classifier.graph
    rows = [row for row in done.history.rows if not row["penalty"]]
    assert len(rows) == 4
    assert all({"loss", "accuracy", "val_loss", "val_accuracy"} <= row.keys() for row in rows)
    changed = {
        op.name for op in old.operations
        if op.type == "Const" and op.name in new and not np.array_equal(op.attrs["value"].array(), new.operation(op.name).attrs["value"].array())
    }  # fmt: skip
    kept = {"w1", "gamma", "beta"}
    before = [row for row in done.history.rows if row["penalty"]][-1]["val_loss"]
    assert changed == {"w2", "w3", "w4", "w5", "b5"} or min(r["val_loss"] for r in rows) > before
    assert not changed & kept
    assert "Fine-tuning" in done.page.read_text(encoding="utf-8")


def test_interrupted_it_ends_with_the_same_bits(
    runs: Callable[..., ki.Retrained], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = runs("whole").path.read_bytes()
    real, epoch = finetune._keep, finetune._epoch
    for name, calls in (("one", 1), ("three", 3)):
        (tmp_path / name).mkdir()
        left = [calls]

        def stop(*args: object, left: list[int] = left) -> None:
            real(*args)  # type: ignore[arg-type]
            left[0] -= 1
            if not left[0]:
                raise Stop

        with monkeypatch.context() as patch:
            patch.setattr(finetune, "_keep", stop)
            patch.setattr(result.shutil, "rmtree", lambda *args, **options: None)
            with pytest.raises(Stop):
                runs(name)
        epochs: list[int] = []
        with monkeypatch.context() as patch:
            patch.setattr(finetune, "_epoch", lambda *a, e=epochs: (e.append(a[-1]), epoch(*a))[1])
            assert runs(name).path.read_bytes() == whole
        assert epochs == list(range(calls + 1, 5))


def test_a_damaged_state_is_not_used(
    runs: Callable[..., ki.Retrained], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = runs("whole").path.read_bytes()

    def stop(*args: object, **options: object) -> None:
        raise Stop

    with monkeypatch.context() as patch:
        patch.setattr(finetune.shutil, "rmtree", stop)
        with pytest.raises(Stop):
            runs("other")
    states = list((tmp_path / "cache").rglob("state.npz"))
    assert len(states) == 1
    states[0].write_bytes(states[0].read_bytes()[:-200])
    assert runs("other").path.read_bytes() == whole


def test_a_loss_that_is_no_number_is_said(trunk: Trunk) -> None:
    blocks = last_blocks(trunk.graph, 1)
    x = np.full((4, *(d or 0 for d in (blocks.start.shape or ())[1:])), 1e38, np.float32)
    labels = np.array([0, 1, 0, 1])
    head = Head(np.ones((10, 2), np.float32), np.zeros(2, np.float32), 0.1, [])
    with (
        np.errstate(all="ignore"),
        pytest.raises(KigraphError, match=r"epoch 1 of fine-tuning; try a lower .* than 0\.5"),
    ):
        fine_tune(trunk, blocks, head, Data(x, labels), Data(x, labels), FineTuning(2, 0.5), "b", balanced=True)
