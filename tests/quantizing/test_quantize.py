"""Whole runs on a small network: next to onnx's evaluator, what the file has, what is refused."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import kigraph as ki
from kigraph.cli import main
from kigraph.errors import FeedError, GraphError, ImageError, KigraphError
from tests.quantizing.conftest import CARD, Whole, loaded, photographs

OPTIONS = ["--input", "image:0", "--output", "classes:0", "--mean", "0", "--std", "1", "--backend", "cython"]


def _nodes(path: Path) -> Any:
    onnx = pytest.importorskip("onnx", reason="needs onnx (extra dev)")
    proto = onnx.load(path)
    onnx.checker.check_model(proto, full_check=True)
    return proto


def test_the_integers_answer_as_the_floats(whole: Whole) -> None:
    found, model, photos = whole.found, whole.model, whole.photos
    assert found.held == 4
    assert found.calibrated == 12
    assert found.agreement == 1.0
    assert len(found.layers) == 6
    assert not found.kept
    assert found.loss > 25
    assert found.size == found.path.stat().st_size
    small = ki.load(found.path, backend="cython")
    assert small.labels is not None
    assert list(small.labels.names) == list("vwxyz")
    files = sorted(photos.rglob("*.png"))
    wanted, got = model.probabilities([str(f) for f in files]), small.probabilities([str(f) for f in files])
    assert (wanted.argmax(1) == got.argmax(1)).mean() > 0.9
    assert np.abs(wanted - got).max() < 0.1


def test_onnx_evaluator_computes_the_same(whole: Whole) -> None:
    proto = _nodes(whole.found.path)
    from onnx.reference import ReferenceEvaluator

    proto.opset_import[0].version = 19  # the evaluator begins with it, and nothing that is used here has changed
    small = ki.load(whole.found.path, backend="cython")
    x = small.prepare([str(f) for f in sorted(whole.photos.rglob("*.png"))[:6]])
    (got,) = ReferenceEvaluator(proto).run(None, {"image": x})
    # Sums in another order may end on the other side of a half: one step of one value.
    np.testing.assert_allclose(got, small.predict(x), atol=0.02)


def test_onnx_runtime_computes_the_same_with_integers(whole: Whole, tmp_path: Path) -> None:
    runtime = pytest.importorskip("onnxruntime", reason="needs onnxruntime (extra interop)")
    options = runtime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "as_run.onnx")
    session = runtime.InferenceSession(str(whole.found.path), options, providers=["CPUExecutionProvider"])
    small = ki.load(whole.found.path, backend="cython")
    x = small.prepare([str(f) for f in sorted(whole.photos.rglob("*.png"))[:6]])
    (got,) = session.run(None, {"image": x})
    np.testing.assert_allclose(got, small.predict(x), atol=0.02)
    # Five convolutions, a sum, pools and a concat of integers.
    kinds = (tmp_path / "as_run.onnx").read_bytes()
    for kind in (b"QLinearConv", b"QLinearAdd", b"QLinearAveragePool"):
        assert kind in kinds


class Parts:
    """A file's nodes, constants, and which node makes which value."""

    def __init__(self, path: Path) -> None:
        self.proto = _nodes(path)
        from onnx import numpy_helper

        self.constants = {t.name: numpy_helper.to_array(t) for t in self.proto.graph.initializer}
        self.makers = {o: n for n in self.proto.graph.node for o in n.output}

    def all(self, kind: str) -> list[Any]:
        return [n for n in self.proto.graph.node if n.op_type == kind]

    def arrays(self, name: str) -> list[Any]:
        """What the node that makes a value reads."""
        return [self.constants[i] for i in self.makers[name].input]


@pytest.mark.parametrize(("kind", "count", "axis"), [("Conv", 5, 0), ("Gemm", 1, 1)])
def test_weights_and_biases_are_integers(whole: Whole, kind: str, count: int, axis: int) -> None:
    file = Parts(whole.found.path)
    nodes = file.all(kind)
    assert len(nodes) == count
    for node in nodes:
        values, steps, zeros = file.arrays(node.input[1])
        assert (values.dtype, steps.shape) == (np.int8, (values.shape[axis],))
        assert not zeros.any()
        assert np.abs(values.astype(int)).max() == 127
    biased = [n for n in nodes if len(n.input) == 3]
    assert biased
    for node in biased:
        whole_numbers, unit, _ = file.arrays(node.input[2])
        assert whole_numbers.dtype == np.int32
        step = file.constants[file.makers[node.input[0]].input[1]]
        np.testing.assert_array_equal(unit, step * file.arrays(node.input[1])[1])


def test_activations_and_norms_are_gone_and_a_concat_is_free(whole: Whole) -> None:
    file = Parts(whole.found.path)
    assert not [*file.all("Relu"), *file.all("Clip"), *file.all("BatchNormalization")]
    (joined,) = file.all("Concat")
    (after,) = [n for n in file.all("QuantizeLinear") if n.input[0] == joined.output[0]]
    assert {tuple(file.makers[i].input[1:]) for i in joined.input} == {tuple(after.input[1:])}
    (most,) = file.all("MaxPool")
    (after,) = [n for n in file.all("QuantizeLinear") if n.input[0] == most.output[0]]
    assert file.makers[most.input[0]].input[1:] == after.input[1:]
    assert sum(v.zero == 0 for v in whole.found.values) >= 4


def test_a_layer_that_breaks_the_answers_stays_float(made: Callable[..., Path], photos: Path, tmp_path: Path) -> None:
    """Behind the first layer one channel lies a thousand steps above the others, which are lost in one step."""
    model = loaded(made("outlier.pb", 7, 3e4))
    found = ki.quantize(model, tmp_path / "q.onnx", photos, agreement=1.0, calibrate="minmax")
    assert found.agreement == 1.0
    assert 0 < len(found.kept) < len(found.layers)
    assert {x.kept for x in found.kept} == {"agreement"}
    free = ki.quantize(model, tmp_path / "free.onnx", photos, agreement=0.0, calibrate="minmax")
    assert not free.kept
    assert free.loss < found.loss


def test_layers_that_are_named_stay_float(whole: Whole, tmp_path: Path) -> None:
    model, photos = whole.model, whole.photos
    name = whole.found.layers[2].name
    found = ki.quantize(model, tmp_path / "q.onnx", photos, keep=[name], calibrate="mse", limit=8)
    assert [x.name for x in found.kept] == [name]
    assert found.kept[0].kept == "asked"
    proto = _nodes(tmp_path / "q.onnx")
    makers = {o: n for n in proto.graph.node for o in n.output}
    floats = [n for n in proto.graph.node if n.op_type in ("Conv", "Gemm") and n.input[1] not in makers]
    assert len(floats) == 1
    with pytest.raises(
        FeedError, match=r"keep: no layer is called 'nothing\*'; the layers with weights are .* and 1 more"
    ):
        ki.quantize(model, tmp_path / "q.onnx", photos, keep=["nothing*"])


def test_the_same_photographs_give_the_same_bytes(model: ki.Classifier, photos: Path, tmp_path: Path) -> None:
    ki.quantize(model, tmp_path / "one.onnx", photos, limit=6)
    shutil.copytree(photos, elsewhere := tmp_path / "else where" / "photos")
    ki.quantize(model, tmp_path / "two.onnx", elsewhere, limit=6)
    assert (tmp_path / "one.onnx").read_bytes() == (tmp_path / "two.onnx").read_bytes()


def test_names_of_files_may_be_any_bytes(model: ki.Classifier, tmp_path: Path) -> None:
    folder = photographs(tmp_path / "photos", 6)
    files = sorted(folder.rglob("*.png"))
    os.rename(files[0], os.fsencode(files[0].parent) + b"/new\nline \xff.png")
    (folder / "a" / "broken.png").write_bytes(files[1].read_bytes()[:60])
    shutil.copy(files[2], folder / "copy.png")
    found = ki.quantize(model, tmp_path / "q.onnx", folder, report=tmp_path / "q.html", calibrate="percentile")
    assert found.calibrated + found.held == 6
    assert [os.path.basename(f) for f, _ in found.unreadable] == ["broken.png"]
    assert found.notes == ("1 copies of photographs were left out",)
    page = (tmp_path / "q.html").read_text()
    assert page.count("<rect") == len(found.layers)
    assert "broken.png" in page


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"output": "q.pb"}, r"q\.pb: the new file is ONNX; expected a name that ends in \.onnx"),
        ({"output": "missing/q.onnx"}, r"there is no folder '.*missing'; make it first"),
        ({"report": "q.txt"}, r"q\.txt: the report is a page; expected a name that ends in \.html"),
        ({"limit": 1}, "limit must be a whole number of at least 2, got 1"),
        ({"holdout": 1.0}, r"holdout must be a share between 0 and 1, such as 0\.25, got 1\.0"),
        ({"agreement": 95}, "agreement must be a share from 0 to 1"),
        ({"calibrate": "best"}, "calibrate must be one of auto, minmax, percentile, mse, got 'best'"),
    ],
)
def test_wrong_options(model: ki.Classifier, photos: Path, tmp_path: Path, options: dict[str, Any], text: str) -> None:
    output = tmp_path / options.pop("output", "q.onnx")
    if "report" in options:
        options["report"] = tmp_path / options["report"]
    with pytest.raises(FeedError, match=text):
        ki.quantize(model, output, photos, **options)
    assert not output.exists()


def test_photographs_that_cannot_be_used(model: ki.Classifier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    many = photographs(tmp_path / "many", 3)
    with monkeypatch.context() as small:
        small.setattr("kigraph.quantizing.photographs._ROOM", 2 * 16 * 16 * 3 * 4)
        with pytest.raises(
            FeedError, match=r"3 photographs of 3,072 bytes each.* ask for 2 at most \(limit=, --limit\)"
        ):
            ki.quantize(model, tmp_path / "q.onnx", many)
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(ImageError, match="have no images"):
        ki.quantize(model, tmp_path / "q.onnx", empty)
    one = photographs(tmp_path / "one", 1)
    with pytest.raises(FeedError, match="one photograph; expected two at least"):
        ki.quantize(model, tmp_path / "q.onnx", one)
    for name in ("x.png", "y.png"):
        (empty / name).write_bytes(b"no image")
    with pytest.raises(ImageError, match=r"2 of 2 photographs cannot be read.*the first: "):
        ki.quantize(model, tmp_path / "q.onnx", empty)


def test_models_that_cannot_be_quantised(whole: Whole, tmp_path: Path) -> None:
    model, photos = whole.model, whole.photos
    shutil.copy(whole.found.path, tmp_path / "q.onnx")
    shutil.copy(f"{whole.found.path}.card.json", tmp_path / "q.onnx.card.json")
    with pytest.raises(GraphError, match=r"q\.onnx is quantised itself; give the float model"):
        ki.quantize(tmp_path / "q.onnx", tmp_path / "r.onnx", photos)
    before = (tmp_path / "q.onnx").read_bytes()
    with pytest.raises(KigraphError, match="the output is the source itself"):
        ki.quantize(ki.load(ki.save(model, tmp_path / "same.onnx")), tmp_path / "same.onnx", photos)
    assert (tmp_path / "q.onnx").read_bytes() == before
    with (graph := ki.Graph()).as_default():
        image = ki.placeholder(ki.float32, [None, 4, 4, 3], name="image")
        ki.softmax(ki.reduce_mean(image, [1, 2]), name="classes")
    plain = ki.load(ki.save_graph(graph, tmp_path / "plain.pb"), changes=CARD, labels=list("abc"))
    with pytest.raises(GraphError, match="no convolution and no product of matrices"):
        ki.quantize(plain, tmp_path / "r.onnx", photos)


def test_a_full_disk_leaves_the_file_that_was_there(
    model: ki.Classifier, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "out").mkdir()
    target = tmp_path / "out" / "q.onnx"
    target.write_bytes(b"what was there")

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        ki.quantize(model, target, photos, limit=4, calibrate="minmax")
    assert [p.name for p in target.parent.iterdir()] == ["q.onnx"]
    assert target.read_bytes() == b"what was there"


def test_from_a_shell(
    made: Callable[..., Path], photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = made("net.pb")
    (tmp_path / "net_labels.txt").write_text("v\nw\nx\ny\nz\n")
    target = tmp_path / "q.onnx"
    assert main(["quantize", str(source), "--images", str(photos), "-o", str(target), *OPTIONS]) == 0
    shown = capsys.readouterr()
    assert "6 of 6 with 8-bit integers" in shown.out
    assert "4 held-out photographs tell little" in shown.err
    quick = ["--limit", "6", "--calibrate", "minmax"]
    assert main(["quantize", str(source), "--images", str(photos), "-o", str(target), "--json", *OPTIONS, *quick]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["agreement"] == 1.0
    assert len(document["layers"]) == 6
    picture = str(next(photos.rglob("*.png")))
    assert main(["classify", picture, "--weights", str(target), "--backend", "cython", "--json"]) == 0
    (answer,) = json.loads(capsys.readouterr().out)["images"]
    assert answer["labels"][0]["label"] in "vwxyz"
    for path in photos.rglob("*.png"):
        if path.stem > "004":
            path.write_bytes(b"\x89PNG")
    assert main(["quantize", str(source), "--images", str(photos), "-o", str(target), *OPTIONS, *quick]) == 1
    assert "cannot be read: " in capsys.readouterr().err
    assert main(["quantize", str(source), "--images", str(photos), "-o", str(tmp_path), *OPTIONS]) == 2
    assert "cannot be written: a folder" in capsys.readouterr().err
    assert main(["quantize", str(source), "-o", "x.onnx", "--images", str(photos), "--holdout", "2"]) == 2
    assert "expected a share between 0 and 1" in capsys.readouterr().err
