"""verify next to quantised files, and where two networks part."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import kigraph as ki
from kigraph.verify import verify
from kigraph.verify.align import closest
from kigraph.verify.report import Comparison, Layer
from tests.loaders.tflite_files import Lite

TOLERANCE = 1e-4


def comparison(layers: list[float], output: float) -> Comparison:
    made = [Layer(f"l{i}", f"l{i}", "op", r, r, r) for i, r in enumerate([*layers, output])]
    return Comparison("x", tuple(made[:-1]), tuple(made[-1:]), len(layers), len(layers))


@pytest.mark.parametrize(
    ("layers", "output", "place"),
    [
        ([0, 0, 0], 0, None),
        ([0, 0.3, 0, 0], 1e-7, None),  # a folded batch norm
        ([0, 0, 0.1, 0.2, 0.3], 0.3, 2),
        ([0, 0.3, 0, 0, 0.1, 0.2, 0.3], 0.3, 4),
        ([0.2, 0.2, 0, 0.2, 0.2], 0.2, 0),  # one that agrees by chance
        ([0, 0, 0], 0.5, None),
        ([0, np.inf], np.inf, 1),
    ],
)
def test_where_two_networks_part(layers: list[float], output: float, place: int | None) -> None:
    found = comparison(layers, output).diverging(TOLERANCE)
    assert (None if found is None else found.name) == (None if place is None else f"l{place}")


def test_rows_of_a_product_are_the_same_layer(seed: int) -> None:
    x = np.random.default_rng(seed).standard_normal((2, 3, 4))
    found = closest(x, x.reshape(6, 4))
    assert found is not None
    np.testing.assert_array_equal(found, x)


@pytest.mark.parametrize(("kind", "zero"), [("int8", -10), ("uint8", 118)])
@pytest.mark.parametrize("first", [True, False])
def test_integers_next_to_reals(kind: str, zero: int, first: bool, seed: int, tmp_path: Path) -> None:
    """The reals that are fed are on the integers' grid, and the integers that come out are compared as reals."""
    rng = np.random.default_rng(seed)
    w, steps = rng.integers(-60, 60, (3, 4)).astype(np.int8), 0.01
    model = Lite()
    x = model.tensor("x", (2, 4), kind, scale=0.05, zero=zero)
    y = model.tensor("y", (2, 3), kind, scale=0.12, zero=zero)
    bias = model.constant("b", np.zeros(3, np.int32), scale=0.05 * steps, zero=0)
    model.op("FULLY_CONNECTED", [x, model.constant("w", w, scale=steps, zero=0), bias], [y], {})
    (tmp_path / "q.tflite").write_bytes(model.bytes([x], [y]))
    with (graph := ki.Graph()).as_default():
        given = ki.placeholder(ki.float32, [2, 4], name="x")
        ki.matmul(given, ki.constant((w.T * np.float32(steps)).astype(np.float32)), name="y")
    ki.save_graph(graph, tmp_path / "f.pb")
    files = [tmp_path / "q.tflite", tmp_path / "f.pb"]
    report = verify(files if first else files[::-1], tolerance=0.1)
    (output,) = report.comparisons[0].outputs
    assert 0 < output.absolute <= 0.061  # half a step
    assert report.ok
