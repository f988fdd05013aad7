"""Models written in another format: the same numbers, the same card, proved by verify."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import kigraph as ki
from kigraph.cli import main
from kigraph.graph.formats.limits import Budget
from kigraph.graph.formats.source import Source
from kigraph.graph.loaders.safetensors import read_safetensors
from kigraph.graph.loaders.weights import TensorInfo, WeightsFile
from kigraph.graph.writers.safetensors import save_safetensors


def classifier(path: Path, seed: int = 1) -> Path:
    """A flatten of an unknown batch, spelled by its computed shape, as frozen VGG networks have it."""
    rng = np.random.default_rng(seed)
    with (graph := ki.Graph()).as_default():
        x = ki.placeholder(ki.float32, [None, 8, 8, 3], name="image")
        w = ki.constant(rng.standard_normal((3, 3, 3, 4)).astype(np.float32))
        y = ki.max_pool(ki.relu(ki.conv2d(x, w, 1, "SAME")), 2, 2, "VALID")
        flat = ki.reshape(y, ki.stack([ki.shape(y)[0], -1]))
        ki.softmax(ki.matmul(flat, ki.constant(rng.standard_normal((64, 3)).astype(np.float32) / 8)), name="classes")
    return ki.save_graph(graph, path)


def test_a_converted_model_answers_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = classifier(tmp_path / "net.pb")
    (tmp_path / "net_labels.txt").write_text("a\nb\nc\n")
    (tmp_path / "out").mkdir()
    target = tmp_path / "out" / "other.pb"
    assert main(["convert", str(source), "-o", str(target), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["same"] is True
    assert document["relative_difference"] < 1e-6
    Image.new("RGB", (9, 9), "#408020").save(picture := tmp_path / "p.png")
    answers = [ki.load(f, backend="numpy").classify(str(picture)).to_json() for f in (source, target)]
    assert answers[0] == answers[1]
    assert answers[0]["labels"][0]["label"] in "abc"


def test_onnx_takes_the_names_and_is_right(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx", reason="needs onnx (extra dev)")
    from onnx.reference import ReferenceEvaluator

    model = ki.load(classifier(tmp_path / "net.pb"), backend="numpy")
    written = ki.save(model, tmp_path / "net.onnx")
    proto = onnx.load(written)
    onnx.checker.check_model(proto, full_check=True)
    assert [i.name for i in proto.graph.input] == ["image"]
    assert [o.name for o in proto.graph.output] == ["classes"]
    x = np.random.default_rng(2).standard_normal((3, 8, 8, 3)).astype(np.float32)
    (got,) = ReferenceEvaluator(proto).run(None, {"image": x})
    np.testing.assert_allclose(got, model.predict(x), rtol=1e-4, atol=1e-6)
    card = json.loads((tmp_path / "net.onnx.card.json").read_text())
    assert (card["input"], card["output"]) == ("image", "classes")


def test_weights_keep_their_names(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    arrays = {
        "a.weight": rng.standard_normal((2, 3)).astype(np.float32), "b": np.arange(5, dtype=np.int64),
        "empty": np.zeros((0, 4), np.float16), "scalar": np.float64(2.5) * np.ones(()), "bits": rng.random(7) > 0.5,
    }  # fmt: skip
    infos = {n: TensorInfo(v.dtype, v.shape, v.dtype.name, lambda v=v: v, n) for n, v in arrays.items()}  # type: ignore[misc]
    save_safetensors(WeightsFile("x", "test", infos), tmp_path / "w.safetensors", {"framework": "kigraph"})
    source = Source(tmp_path / "w.safetensors")
    found = read_safetensors(source, Budget(source.name, source.size, None))
    assert list(found) == list(arrays)
    for name, value in arrays.items():
        np.testing.assert_array_equal(found.read(name), value)
        assert found[name].dtype == value.dtype


def test_what_cannot_be_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = classifier(tmp_path / "net.pb")
    for target, why in (("x.safetensors", "holds its network"), ("x.tflite", "cannot tell the format")):
        assert main(["convert", str(source), "-o", str(tmp_path / target)]) == 2
        assert why in capsys.readouterr().err
    assert main(["convert", str(source), "-o", str(tmp_path / "missing" / "x.pb")]) == 2
    assert "cannot be written" in capsys.readouterr().err
    assert [p.name for p in tmp_path.iterdir()] == ["net.pb"]
