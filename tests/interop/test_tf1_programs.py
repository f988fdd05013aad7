"""Programs for TensorFlow 1: kigraph.compat.v1 next to TensorFlow itself, number by number."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.interop.tf1_results import EVERY, difference, run

pytestmark = pytest.mark.skipif(
    not all(importlib.util.find_spec(name) for name in ("tensorflow", "tf_keras")),
    reason="needs tensorflow and tf_keras",
)


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """TensorFlow's results, from a process of its own: the ways of its first version hold for all of a process."""
    path = tmp_path_factory.mktemp("tf1") / "results.json"
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-m", "tests.interop.tf1_results", path], cwd=root, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(path.read_text())


@pytest.mark.parametrize("name", EVERY)
def test_both_give_the_same(name: str, results: Any) -> None:
    import kigraph.compat.v1 as tf

    if name not in results:
        pytest.skip("needs scikit-learn")
    expected, found = results[name], run(tf, name)
    assert {*found} == {*expected}
    assert {p: why for p, fact in expected.items() if (why := difference(found[p], fact)) is not None} == {}
