"""Random numbers of ONNX files, and files that appear whole."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import kigraph as ki
from kigraph.graph.loaders import load


def _drawn(path: Path, nodes: list[Any], shape: tuple[int, ...]) -> list[Any]:
    from onnx import TensorProto, helper

    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes, "g", [value("x", TensorProto.FLOAT, shape)], [value("y", TensorProto.FLOAT, shape)]
    )
    path.write_bytes(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)]).SerializeToString())
    session = ki.Session(load(path).graph)
    return [session.run(["y"], {"x": np.full(shape, 0.25, np.float32)})[0] for _ in range(2)]


@pytest.mark.parametrize(
    ("op", "attrs", "inputs", "mean", "deviation"),
    [
        ("RandomUniformLike", {"low": -2.0, "high": 4.0}, ["x"], 1.0, 6 / 12**0.5),
        ("RandomUniform", {"shape": [200, 100], "dtype": 1}, [], 0.5, 1 / 12**0.5),
        ("RandomNormalLike", {"mean": 3.0, "scale": 0.5}, ["x"], 3.0, 0.5),
        ("RandomNormal", {"shape": [200, 100]}, [], 0.0, 1.0),
        ("Bernoulli", {"seed": 3.5}, ["x"], 0.25, (0.25 * 0.75) ** 0.5),
    ],
)
def test_numbers_are_drawn_as_the_node_says(
    op: str, attrs: dict[str, Any], inputs: list[str], mean: float, deviation: float, tmp_path: Path
) -> None:
    helper = pytest.importorskip("onnx").helper
    first, second = _drawn(tmp_path / "m.onnx", [helper.make_node(op, inputs, ["y"], **attrs)], (200, 100))
    error = 6 * deviation / first.size**0.5  # six standard errors of the mean
    assert abs(first.mean() - mean) < error
    assert abs(first.std() - deviation) < 6 * error
    assert (first != second).any()


def test_random_numbers_survive_being_written_and_read(tmp_path: Path) -> None:
    graph = ki.Graph()
    with graph.as_default():
        x = ki.placeholder(ki.float32, (None, 500), name="x")
        shape = ki.shape(x)
        drawn = graph.create_op("RandomUniform", [shape], {"dtype": np.dtype("float32")}, "r").outputs[0]
        y = ki.identity(ki.add(drawn, ki.multiply(x, 0.0)), name="y")
    ki.save_graph(graph, tmp_path / "m.onnx", [y.name])
    model = load(tmp_path / "m.onnx")
    (found,) = ki.Session(model.graph).run([model.outputs[0]], {model.inputs[0]: np.zeros((40, 500), np.float32)})
    assert found.shape == (40, 500)
    assert 0 <= found.min() < 0.01 < 0.99 < found.max() < 1


@pytest.mark.parametrize("suffix", [".onnx", ".pb"])
def test_a_written_file_is_whole_and_readable_by_those_who_could(suffix: str, tmp_path: Path) -> None:
    graph = ki.Graph()
    with graph.as_default():
        ki.identity(ki.placeholder(ki.float32, (2,), name="x"), name="y")
    path = tmp_path / f"a model with\na line{suffix}"
    mask = os.umask(0o027)
    try:
        ki.save_graph(graph, path)
        assert path.stat().st_mode & 0o777 == 0o640
        path.chmod(0o604)
        ki.save_graph(graph, path)
    finally:
        os.umask(mask)
    assert path.stat().st_mode & 0o777 == 0o604
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("suffix", [".onnx", ".pb"])
def test_a_disk_without_room_leaves_the_old_file(suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    graph = ki.Graph()
    with graph.as_default():
        ki.identity(ki.placeholder(ki.float32, (2,), name="x"), name="y")
    path = tmp_path / f"m{suffix}"
    path.write_bytes(b"old")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        ki.save_graph(graph, path)
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_the_scores_behind_a_label_are_written_too(tmp_path: Path) -> None:
    graph = ki.Graph()
    with graph.as_default():
        x = ki.placeholder(ki.float32, (None, 8, 8, 3), name="input")
        rows = ki.reduce_mean(x, [1, 2])
        scores = ki.softmax(ki.matmul(rows, np.arange(12, dtype=np.float32).reshape(3, 4) / 7), name="output")
        ki.argmax(scores, 1, name="label")
        ki.top_k(scores, 2, name="top")
    ki.save_graph(graph, tmp_path / "m.pb")
    model = ki.load(tmp_path / "m.pb")
    ki.save(model, tmp_path / "m.onnx")
    again = ki.load(tmp_path / "m.onnx").signatures["serving_default"]
    assert {"output", "label", "top"} <= set(again.outputs)
    image = np.random.default_rng(3).random((2, 8, 8, 3), np.float32)
    found = again(image)
    assert (found["label"] == found["output"].argmax(1)).all()
    np.testing.assert_allclose(found["top"], np.sort(found["output"], 1)[:, :1:-1], rtol=1e-6)
