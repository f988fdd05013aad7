"""SavedModels and checkpoints that TensorFlow wrote: made here if it is installed, and from the folder of real files."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import kigraph as ki
from kigraph.graph.errors import LoadError
from kigraph.graph.formats.source import Source
from kigraph.graph.loaders import load
from tests.loaders.saved_files import B, W, X, reference_model

FILES = Path(os.environ.get("KIGRAPH_SHARED") or Path(__file__).resolve().parents[3] / "shared") / "files"


@pytest.fixture(scope="module")
def tf() -> Any:
    return pytest.importorskip("tensorflow", reason="writes the model that is read here")


def test_a_module(tf: Any, tmp_path: Path) -> None:
    class Model(tf.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            self.w, self.b = tf.Variable(W), tf.Variable(B)
            self.calls = tf.Variable(0)

        @tf.function
        def scores(self, x: Any) -> Any:
            self.calls.assign_add(1)
            return {"scores": tf.cond(tf.reduce_sum(x) > 0, lambda: x @ self.w, lambda: x @ self.w + self.b)}

    model = Model()
    signature = model.scores.get_concrete_function(tf.TensorSpec([None, 3], tf.float32, "x"))
    tf.saved_model.save(model, str(tmp_path / "m"), signatures=signature)
    graph = load(tmp_path / "m").graph
    assert graph is not None
    for x in (np.abs(X), -np.abs(X)):
        expected = x @ W if x.sum() > 0 else x @ W + B
        np.testing.assert_allclose(ki.Session(graph, backend="numpy").run("scores", {"x": x}), expected, rtol=1e-5)
    prefix = tf.train.Checkpoint(model=model).write(str(tmp_path / "ck"))
    weights = load(prefix).weights
    assert weights is not None
    np.testing.assert_array_equal(weights.read(next(n for n in weights if weights[n].shape == (3, 2))), W)


@pytest.mark.parametrize(
    "name", ["savedmodel/tl_softmax", "savedmodel/v1_simple_save", "public/tf2onnx_regression_savedmodel"]
)
def test_real_files(name: str) -> None:
    if not (FILES / "index.json").is_file():
        pytest.skip("needs the folder of real files")
    entry = next(e for e in json.loads((FILES / "index.json").read_text()) if e["file"] == name)
    golden = np.load(FILES / entry["golden"])
    graph = load(FILES / name).graph
    assert graph is not None
    feeds = {i["name"]: golden["input:" + i["name"]] for i in entry["inputs"]}
    for output in entry["outputs"]:
        found, expected = ki.Session(graph, backend="numpy").run(output, feeds), golden["output:" + output]
        assert np.linalg.norm(found - expected) <= 1e-5 * np.linalg.norm(expected)


@pytest.mark.parametrize(
    "file", ["saved_model.pb", "variables/variables.index", "variables/variables.data-00000-of-00001"]
)
def test_a_file_that_is_cut_while_it_is_read(file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At every read that loading makes; what loads gives its own values or an error, never others."""
    whole = Source.read_into
    for when in range(100):
        folder = reference_model(tmp_path / f"{when}")
        count = 0

        def cut(source: Source, offset: int, buffer: memoryview) -> None:
            nonlocal count
            if count == when:  # noqa: B023
                os.truncate(folder / file, 20)  # noqa: B023
            count += 1
            whole(source, offset, buffer)

        monkeypatch.setattr(Source, "read_into", cut)
        try:
            graph = load(folder).graph
        except LoadError:
            graph = None
        finally:
            monkeypatch.setattr(Source, "read_into", whole)
        if graph is not None:
            try:
                found = ki.Session(graph, backend="numpy").run("scores", {"images": X})
            except LoadError:
                continue
            np.testing.assert_allclose(found, X @ W + B, rtol=1e-6)
        if count <= when:
            return
    pytest.fail("loading makes more reads than were tried")
