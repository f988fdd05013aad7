"""Models of every format written as ONNX and as a GraphDef: the same answers, the same card, names that fit."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import kigraph as ki
from kigraph.verify import verify
from tests.loaders import onnx_files
from tests.loaders.tflite_files import Lite

FILES = Path(os.environ.get("KIGRAPH_SHARED") or Path(__file__).resolve().parents[3] / "shared") / "files"
#: One file in so many is converted here; all of them take minutes.
STEP = 9


def pytorch(path: Path) -> Path:
    """An NCHW classifier as PyTorch's exporter writes it: Conv, BatchNormalization, pools, Gemm."""
    rng = np.random.default_rng(7)
    arrays = {
        "w": rng.standard_normal((6, 3, 3, 3)), "d": rng.standard_normal((6, 1, 3, 3)), "p": rng.standard_normal((5, 6)),
        "b": rng.standard_normal(5), **{k: rng.uniform(0.5, 1.5, 6) for k in ("scale", "shift", "mean", "var")},
    }  # fmt: skip
    nodes = [
        onnx_files.node("Conv", ["input", "w"], ["c"], kernel_shape=[3, 3], pads=[1, 1, 1, 1], strides=[2, 2]),
        onnx_files.node("BatchNormalization", ["c", "scale", "shift", "mean", "var"], ["n"]),
        onnx_files.node("Relu", ["n"], ["r"]),
        onnx_files.node("Conv", ["r", "d"], ["e"], kernel_shape=[3, 3], pads=[1, 1, 1, 1], group=6),
        onnx_files.node("MaxPool", ["e"], ["m"], kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]),
        onnx_files.node("GlobalAveragePool", ["m"], ["g"]),
        onnx_files.node("Flatten", ["g"], ["f"]),
        onnx_files.node("Gemm", ["f", "p", "b"], ["logits"], transB=1),
    ]
    constants = {k: v.astype(np.float32) for k, v in arrays.items()}
    path.write_bytes(onnx_files.model(nodes, {"input": ("float32", ["n", 3, 16, 16])}, ["logits"], constants))
    return path


def integers(path: Path) -> Path:
    """A classifier that takes uint8 pixels, with a signature of other names than its tensors have."""
    rng = np.random.default_rng(8)
    model = Lite()
    x = model.tensor("t0", (1, 8, 8, 3), "uint8", scale=1 / 255, zero=0, signature=(-1, 8, 8, 3))
    flat = model.tensor("t1", (1, 192), "uint8", scale=1 / 255, zero=0, signature=(-1, 192))
    y = model.tensor("t2", (1, 4), "uint8", scale=1 / 256, zero=128, signature=(-1, 4))
    w = rng.integers(-9, 10, (4, 192)).astype(np.int8)
    model.op("RESHAPE", [x, model.constant("s", np.array([-1, 192], np.int32))], [flat], {})
    weights = model.constant("w", w, scale=0.002, zero=0)
    bias = model.constant("b", np.zeros(4, np.int32), scale=0.002 / 255, zero=0)
    model.op("FULLY_CONNECTED", [flat, weights, bias], [y], {})
    model.signature({"image": x}, {"classes": y})
    path.write_bytes(model.bytes([x], [y]))
    return path


def answers(path: Path, picture: Path) -> list[tuple[str, float]]:
    found = ki.load(path, backend="numpy").classify(str(picture))
    return [(str(label.label), round(label.probability, 4)) for label in found]


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    pixels = np.random.default_rng(3).integers(0, 256, (6, 5, 3)).astype(np.uint8)
    Image.fromarray(pixels).resize((40, 30)).save(path := tmp_path / "p.png")
    return path


@pytest.mark.parametrize("suffix", [".onnx", ".pb"])
def test_an_nchw_file_keeps_its_layout_names_and_answers(suffix: str, picture: Path, tmp_path: Path) -> None:
    source = pytorch(tmp_path / "net.onnx")
    (tmp_path / "net_labels.txt").write_text("a\nb\nc\nd\ne\n")
    (tmp_path / "out").mkdir()
    target = ki.save(ki.load(source), tmp_path / "out" / f"net{suffix}")
    assert verify([source, target], tolerance=1e-5).ok
    assert answers(target, picture) == answers(source, picture)
    model = ki.load(target)
    assert [t.shape for t in model.inputs.values()] == [(None, 3, 16, 16)]
    assert (list(model.inputs), list(model.outputs)) == (["input"], ["logits"])


def test_no_transposes_between_convolutions(tmp_path: Path) -> None:
    """Neither in the written file nor in what is run of it: a file in NCHW has none at all."""
    onnx = pytest.importorskip("onnx", reason="needs onnx (extra dev)")
    target = ki.save(ki.load(pytorch(tmp_path / "net.onnx")), tmp_path / "again.onnx")
    assert "Transpose" not in [node.op_type for node in onnx.load(target).graph.node]
    model = ki.load(target)
    ran = model.session.optimized(list(model.outputs.values()), list(model.inputs.values()))
    assert sum(node.op == "Transpose" for node in ran) <= 1


@pytest.mark.parametrize("suffix", [".onnx", ".pb"])
def test_integers_and_other_names(suffix: str, picture: Path, tmp_path: Path) -> None:
    source = integers(tmp_path / "net.tflite")
    target = ki.save(ki.load(source), tmp_path / f"out{suffix}")
    assert answers(target, picture) == answers(source, picture)
    x = np.random.default_rng(5).integers(0, 256, (3, 8, 8, 3)).astype(np.uint8)
    want = ki.load(source).signatures["serving_default"](image=x)["classes"]
    model = ki.load(target)
    (got,) = model.signatures["serving_default"](x).values()
    np.testing.assert_array_equal(got, want)
    assert (list(model.inputs), list(model.outputs)) == (["image"], ["classes"])
    assert verify([source, target], tolerance=1e-6).ok


def test_every_output_is_written(tmp_path: Path) -> None:
    """A graph without signatures: also what the card does not name, and nothing that needs another input."""
    with (graph := ki.Graph()).as_default():
        x = ki.placeholder(ki.float32, [None, 8, 8, 3], name="image")
        pooled = ki.reduce_mean(x, [1, 2])
        ki.sigmoid(pooled, name="classes")
        ki.tanh(pooled, name="second")
        ki.add(pooled, ki.placeholder(ki.float32, [3], name="other"), name="third")
    model = ki.load(ki.save_graph(graph, tmp_path / "net.pb"), changes={"input": "image:0", "output": "classes:0"})
    written = ki.load(ki.save(model, tmp_path / "net.onnx"))
    assert list(written.inputs) == ["image"]
    assert set(written.outputs) == {"classes", "second"}


def test_a_file_that_is_replaced_keeps_no_card_of_its_own(tmp_path: Path) -> None:
    """The new model has none; a card that was for another file is not kigraph's to remove."""
    with (graph := ki.Graph()).as_default():
        ki.add(ki.placeholder(ki.float32, [3], name="a"), ki.placeholder(ki.float32, [3], name="b"), name="c")
    plain = ki.load(ki.save_graph(graph, tmp_path / "plain.pb"))
    classifier = ki.load(pytorch(tmp_path / "net.onnx"))
    target, card = tmp_path / "out.onnx", tmp_path / "out.onnx.card.json"
    ki.save(classifier, target)
    assert card.is_file()
    ki.save(plain, target)
    assert not card.exists()
    assert list(ki.load(target).inputs) == ["a", "b"]
    card.write_text('{"sha256": "other"}')
    ki.save(plain, target)
    assert card.is_file()


def _sample() -> Sequence[str]:
    if not (FILES / "index.json").is_file():
        return ()
    listed = [e["file"] for e in json.loads((FILES / "index.json").read_text(encoding="utf-8")) if e["bytes"] < 60_000]
    return sorted(f for f in listed if not f.endswith(("th", ".safetensors")))[::STEP]


@pytest.mark.skipif(not (FILES / "index.json").is_file(), reason=f"no files of the real libraries in {FILES}")
@pytest.mark.parametrize("name", _sample())
def test_files_of_the_real_libraries(name: str, tmp_path: Path) -> None:
    model = ki.load(FILES / name)
    for suffix in (".onnx", ".pb"):
        try:
            target = ki.save(model, tmp_path / f"net{suffix}")
        except ki.KigraphError as error:  # strings, loops, and branches that a feed decides
            assert name.startswith("frozen/tf1_") or name.startswith("public/"), error
            continue
        assert verify([FILES / name, target], tolerance=1e-5).ok
