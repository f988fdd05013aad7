"""The last layer next to scikit-learn's logistic regression; L-BFGS next to SciPy's; measures next to their formulas."""

from __future__ import annotations

import numpy as np
import pytest

from kigraph.retraining.head import Data, _Problem, class_weights, train_head
from kigraph.retraining.joined import head_scores
from kigraph.retraining.lbfgs import minimize
from kigraph.retraining.measures import confusion_matrix, measure, wilson

linear_model = pytest.importorskip("sklearn.linear_model", reason="scikit-learn is the oracle")


def examples(seed: int, count: int, features: int, classes: int, spread: float = 1.5) -> tuple[Data, Data]:
    """Noisy clusters, not centred, of unequal sizes; two halves."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(0, spread, (classes, features)) + 5
    shares = rng.dirichlet(np.full(classes, 3.0))
    labels = np.concatenate([np.arange(classes), rng.choice(classes, 2 * count - classes, p=shares)]).astype(np.int64)
    x = (centres[labels] + rng.normal(0, 4, (2 * count, features))).astype(np.float32)
    return Data(x[:count], labels[:count]), Data(x[count:], labels[count:])


@pytest.mark.parametrize("balanced", [True, False])
@pytest.mark.parametrize("penalty", [1e-1, 1e-3])
def test_it_is_scikit_learn_s_solution(seed: int, balanced: bool, penalty: float) -> None:
    training, other = examples(seed, 160, 20, 4)
    head = train_head(training, other, 4, balanced=balanced, penalty=penalty)
    problem = _Problem(training, 4, class_weights(training.labels, 4, balanced), None)
    # sklearn: C sum w CE + |W|^2 / 2 over the features; here: mean + penalty / 2 |W|^2 over features / scale. n (balanced) = sum w.
    theirs = linear_model.LogisticRegression(
        C=1 / (len(training) * penalty * problem.scale**2), class_weight="balanced" if balanced else None,
        tol=1e-10, max_iter=20000,
    ).fit(training.features.astype(np.float64), training.labels)  # fmt: skip
    assert np.allclose(head.weights, theirs.coef_.T, atol=2e-5)
    scores = head_scores(head, other.features)
    assert np.allclose(scores, theirs.predict_proba(other.features), atol=2e-4)
    assert head.penalty == penalty


def test_accuracy_is_scikit_learn_s(seed: int) -> None:
    """With the penalty that validation chose: the same problem, so within a percentage point of its accuracy."""
    training, rest = examples(seed, 600, 24, 5, spread=1.0)
    validation, test = (Data(rest.features[a:b], rest.labels[a:b]) for a, b in ((0, 200), (200, 600)))
    head = train_head(training, validation, 5)
    problem = _Problem(training, 5, class_weights(training.labels, 5, True), None)
    theirs = linear_model.LogisticRegression(
        C=1 / (600 * head.penalty * problem.scale**2), class_weight="balanced", max_iter=20000, tol=1e-8
    ).fit(training.features.astype(np.float64), training.labels)
    mine = float((head_scores(head, test.features).argmax(1) == test.labels).mean())
    assert abs(mine - theirs.score(test.features, test.labels)) <= 0.01
    assert mine > 0.4


def test_the_penalty_is_that_of_the_least_validation_loss(seed: int) -> None:
    training, validation = examples(seed, 150, 60, 3)
    head = train_head(training, validation, 3)
    last: dict[float, float] = {}  # of each penalty, the last row of the search, which goes to weaker ones
    for row in head.history:
        if row["penalty"] > min(last, default=np.inf):
            break
        last[row["penalty"]] = row["val_loss"]
    assert min(last, key=lambda p: last[p]) == head.penalty
    assert [row["epoch"] for row in head.history] == list(range(1, len(head.history) + 1))
    assert head.history[-1]["accuracy"] >= head.history[0]["accuracy"]


def test_the_bits_do_not_depend_on_threads(seed: int) -> None:
    training, validation = examples(seed, 300, 50, 4)
    heads = [train_head(training, validation, 4, threads=threads) for threads in (1, 2, 3)]
    for head in heads[1:]:
        assert head.weights.tobytes() == heads[0].weights.tobytes()
        assert head.biases.tobytes() == heads[0].biases.tobytes()
        assert head.history == heads[0].history


def test_more_rows_than_one_part(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    training, validation = examples(seed, 200, 10, 3)
    whole = train_head(training, validation, 3, penalty=1e-2)
    monkeypatch.setattr("kigraph.retraining.head._ROWS", 64)
    parts = train_head(training, validation, 3, penalty=1e-2)
    assert np.allclose(whole.weights, parts.weights, atol=1e-5)


def test_odd_features() -> None:
    none = Data(np.zeros((0, 3), np.float32), np.zeros(0, np.int64))
    same = Data(np.ones((6, 3), np.float32), np.array([0, 0, 0, 0, 1, 1]))
    head = train_head(same, none, 2, balanced=False)  # no feature says anything: what remains is how often
    assert np.allclose(head_scores(head, same.features), [[2 / 3, 1 / 3]], atol=1e-4)
    huge = Data(np.array([[1e20, 0, 0], [0, 1e20, 0]] * 3, np.float32), np.array([0, 1] * 3))
    head = train_head(huge, none, 2)
    assert (head_scores(head, huge.features).argmax(1) == huge.labels).all()


def test_many_classes_of_two(seed: int) -> None:
    rng = np.random.default_rng(seed)
    centres = rng.normal(0, 3, (300, 40))
    labels = np.repeat(np.arange(300), 2)
    x = (centres[labels] + rng.normal(0, 0.3, (600, 40))).astype(np.float32)
    head = train_head(Data(x[::2], labels[::2]), Data(x[1::2][:0], labels[:0]), 300)
    assert float((head_scores(head, x[1::2]).argmax(1) == labels[1::2]).mean()) > 0.95


def test_minimize_finds_a_known_minimum(seed: int) -> None:
    rng = np.random.default_rng(seed)
    basis = rng.normal(size=(30, 30))
    matrix, right = basis @ basis.T + np.eye(30), rng.normal(size=30)
    steps: list[float] = []
    found = minimize(
        lambda x: (float(0.5 * x @ matrix @ x - right @ x), matrix @ x - right, float(x @ x)),
        np.zeros(30), 1e-9, 500, lambda x, note: steps.append(note),
    )  # fmt: skip
    assert np.allclose(found, np.linalg.solve(matrix, right), atol=1e-7)
    assert 5 < len(steps) < 500
    already = minimize(lambda x: (0.0, np.zeros(2), None), np.ones(2), 1e-6, 10, lambda x, note: steps.append(0))
    assert (already == 1).all()


def test_class_weights() -> None:
    labels = np.array([0, 0, 0, 1])
    assert np.allclose(class_weights(labels, 2, True), [4 / 6, 2])
    assert (class_weights(labels, 2, False) == 1).all()


@pytest.mark.parametrize(
    ("right", "total", "low", "high"),
    # From the formula in exact arithmetic; 81 of 263 is the example of Newcombe, Statistics in Medicine 17 (1998): .2553, .3662.
    [(81, 263, 0.2553, 0.3662), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718), (20, 20, 0.8389, 1.0), (0, 0, 0.0, 1.0)],
)
def test_wilson(right: int, total: int, low: float, high: float) -> None:
    assert np.allclose(wilson(right, total), (low, high), atol=5e-5)


def test_measure() -> None:
    scores = np.array([[0.9, 0.1], [0.4, 0.6], [0.05, 0.95], [0.7, 0.3]])
    found = measure(["a", "b", "c", "d"], np.array([0, 0, 0, 1]), scores, 2)
    assert (found.right, found.total, found.accuracy) == (1, 4, 0.25)
    assert found.confusion.tolist() == [[1, 2], [1, 0]]
    assert [m.path for m in found.mistakes] == ["c", "d", "b"]
    assert (confusion_matrix(np.array([1]), np.array([2]), 3).sum(0) == [0, 0, 1]).all()
    nothing = measure([], np.zeros(0, np.int64), np.zeros((0, 2)), 2)
    assert (nothing.accuracy, nothing.interval) == (None, (0.0, 1.0))
