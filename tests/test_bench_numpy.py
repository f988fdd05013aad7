"""The comparison with plain NumPy programs: both compute the same, in every row; a wrong result is noticed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from kigraph.kernels.conformance import process_seed

pytestmark = pytest.mark.skipif(
    not (Path(__file__).resolve().parents[1] / "benchmarks").is_dir(), reason="needs the checkout"
)
against = pytest.importorskip("benchmarks.against_numpy")
ROWS = against.ALL_ROWS


def test_the_plain_programs_compute_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """Some of the rows, others in every run; the script itself compares all."""
    monkeypatch.setattr(against, "BACKENDS", ("numpy",))
    for number in np.random.default_rng(process_seed()).choice(len(ROWS), 8, replace=False):
        row = ROWS[number]
        values = row.make(np.random.default_rng(process_seed()))
        with np.errstate(all="ignore"):
            calls = against._Calls(row, values)
            against.compare(row, calls.results["numpy"], calls.runs["plain"]())


def test_names_are_unique() -> None:
    assert len({row.name for row in ROWS}) == len(ROWS)


def test_a_row_is_measured_and_a_wrong_one_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(against, "BACKENDS", ("numpy",))
    row = next(r for r in ROWS if r.name == "round")
    found = against.measure(row, 0.0)
    assert found["only_kernels"]
    assert found["ratios"]["numpy"] > 0
    assert "1 rows" in against.table([found])
    with pytest.raises(AssertionError):
        against.measure(replace(row, plain=np.floor), 0.0)
