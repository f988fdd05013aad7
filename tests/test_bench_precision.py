"""`make bench-peers` in bf16 and int8: who is compared with whom, the errors, the quantised files, and runs of it."""

from __future__ import annotations

import importlib.util
import json
import lzma
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import kigraph as ki

ROOT = Path(__file__).resolve().parents[1]
MODEL = ROOT / "kigraph" / "data" / "apples_or_oranges.pb"

pytestmark = pytest.mark.skipif(not (ROOT / "benchmarks").is_dir(), reason="needs the checkout, not an installed copy")


def test_ratios_are_to_peers_of_the_same_precision() -> None:
    from benchmarks.peers.report import least_ratio
    from benchmarks.peers.rounds import ratios

    medians = {
        "kigraph": [6.0, 6.0],
        "onnxruntime": [10.0, 12.0],
        "kigraph-int8": [2.0, 3.0],
        "openvino-int8": [4.0, 4.0],
        "onnxruntime-int8": [5.0, 3.0],
        "kigraph-bf16": [1.0, 1.0],
    }
    found = ratios(medians)
    assert set(found) == {"kigraph", "kigraph-int8"}
    assert found["kigraph-int8"] == {"median": 0.75, "low": 0.5, "high": 1.0}
    setting = {"best_ms": {name: min(times) for name, times in medians.items()}}
    assert least_ratio(setting, "kigraph-int8") == pytest.approx(2 / 3)
    assert least_ratio(setting, "kigraph-bf16") is None


def test_errors_are_in_the_unit_of_the_logits() -> None:
    from benchmarks.peers.rounds import errors

    rng = np.random.default_rng()
    truth = rng.standard_normal((5, 7))
    noise = rng.standard_normal((5, 7)) * 1e-3
    noise[2, 3] = 40.0
    noise -= noise.mean(-1, keepdims=True)
    constant = rng.standard_normal((5, 1))  # of an image: no softmax sees it
    found = errors((truth + noise + constant).astype(np.float32), truth)
    assert found["largest"] == pytest.approx(np.abs(noise).max(), rel=1e-5)
    assert found["rms"] == pytest.approx(np.sqrt((noise**2).mean()), rel=1e-5)
    expected = sum(int(np.argmax(a) == np.argmax(b)) for a, b in zip(truth + noise, truth, strict=True))
    assert (found["images"], found["same_top1"]) == (5, expected)
    assert errors(truth[:3], truth)["same_top1"] == 3


def test_a_graph_for_one_image_takes_any_number(tmp_path: Path) -> None:
    from benchmarks.peers.network import copied

    weights = np.random.default_rng().standard_normal((3, 3, 3, 4), np.float32)
    with ki.Graph().as_default() as graph:
        x = ki.placeholder("float32", (1, 8, 8, 3), name="x")
        y = ki.reduce_mean(ki.conv2d(x, weights, padding="SAME"), [1, 2], keepdims=True)
        ki.identity(ki.reshape(y, [1, 4]), name="y")
    copy = copied(graph, "x:0", "y:0", shape=(None, 8, 8, 3))
    images = np.random.default_rng().standard_normal((3, 8, 8, 3), np.float32)
    one = ki.Session(graph, backend="numpy")
    want = np.concatenate([one.run("y:0", {"x:0": images[i : i + 1]}) for i in range(3)])
    np.testing.assert_allclose(
        ki.Session(copy, backend="numpy").run("y:0", {"x:0": images}), want, rtol=1e-5, atol=1e-6
    )
    wide = ki.Session(copied(graph, "x:0", "y:0", shape=(1, 8, 8, 3), wide=True), backend="numpy")
    assert wide.run("y:0", {"x:0": images[:1].astype("f8")}).dtype == np.float64


def test_who_cannot_take_part_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    import kigraph.machine
    from benchmarks.peers import contenders

    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "onnx" else object())
    monkeypatch.setattr(kigraph.machine, "cpu_flags", lambda: ("avx2",))
    found = contenders.absent(["kigraph-bf16", "openvino-bf16", "kigraph-int8", "tflite-int8"])
    assert found["kigraph-bf16"] == found["openvino-bf16"] == "this processor has no bf16"
    assert "made with onnx, not installed here; remedy: pip install 'kigraph[peers]'" in found["kigraph-int8"]
    assert "tflite-int8" not in found
    assert contenders.absent(["kigraph-int8"], int8_given=True) == {}
    from benchmarks.peers.network import Network

    network = Network("", "", "", "", "", "", int8="there.onnx")
    assert set(contenders.missing_files(network, ["kigraph", "kigraph-int8", "tflite-int8"], "")) == {"tflite-int8"}
    network = Network("", "", "", "", "", "", tflite="there.tflite")
    assert contenders.missing_files(network, ["kigraph-int8", "tflite-int8"], "broke") == {"kigraph-int8": "broke"}


def test_photographs_are_of_all_classes_whatever_their_names(tmp_path: Path) -> None:
    from benchmarks.flowers import labels_of, photographs

    names = [b"a b.jpg", b"new\nline.JPG", b"\xff\xfe.jpeg", b"text.txt"]
    for kind in ("roses", "daisy"):
        (tmp_path / kind).mkdir()
        for name in names:
            Path(os.fsdecode(os.fsencode(tmp_path / kind) + b"/" + name)).write_bytes(b"")
    (tmp_path / "empty").mkdir()
    found = photographs(tmp_path)
    assert len(found) == 6
    assert {path.parent.name for path in photographs(tmp_path, 2)} == {"roses", "daisy"}
    assert labels_of(found[:2], ["daisy", "roses"]) == [0, 1]
    assert labels_of(found, ["daisy"]) is None
    with pytest.raises(SystemExit, match="no JPEG files"):
        photographs(tmp_path / "empty")


def test_packed_files_are_unpacked_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from benchmarks.peers.quantised import unpacked

    monkeypatch.setenv("KIGRAPH_CACHE_DIR", str(tmp_path / "cache"))
    data = np.random.default_rng().bytes(3000)
    packed = tmp_path / "net.pb.xz"
    packed.write_bytes(lzma.compress(data))
    first = unpacked(packed)
    assert (first.name, first.read_bytes()) == ("net.pb", data)
    modified = first.stat().st_mtime_ns
    assert unpacked(packed).stat().st_mtime_ns == modified
    packed.write_bytes(lzma.compress(data[::-1]))
    assert unpacked(packed).read_bytes() == data[::-1]


def peers(tmp_path: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "benchmarks.peers", f"--model={MODEL}", f"--out={tmp_path}", *arguments]
    environment = os.environ | {"KIGRAPH_CACHE_DIR": str(tmp_path / "cache")}
    return subprocess.run(line, cwd=ROOT, capture_output=True, text=True, timeout=300, env=environment)


def test_int8_end_to_end(tmp_path: Path) -> None:
    """kigraph gives ONNX Runtime's answers for the file that the latter's own tool makes."""
    pytest.importorskip("onnxruntime", reason="onnxruntime, of the extra peers, is not installed")
    names = ["onnxruntime", "kigraph-int8", "onnxruntime-int8"]
    done = peers(
        tmp_path,
        f"--only={','.join(names)}",
        "--batch=1,3",
        "--threads=1",
        "--rounds=1",
        "--seconds=0.01",
        "--no-whole",
    )
    assert done.returncode == 0, done.stdout + done.stderr
    result: dict[str, Any] = json.loads((tmp_path / "peers.json").read_text())
    first, second = result["settings"]
    assert first["failed"] == second["failed"] == {}
    assert set(first["ratios"]) == {"kigraph-int8"}
    assert set(first["accuracy"]) == set(names)
    assert second["accuracy"] == {}
    mine, theirs = first["accuracy"]["kigraph-int8"], first["accuracy"]["onnxruntime-int8"]
    assert mine["rms"] == pytest.approx(theirs["rms"], rel=0.2)
    assert first["accuracy"]["onnxruntime"]["rms"] < mine["rms"]
    assert "int8" in first["notes"]["kigraph-int8"]
    assert len(list((tmp_path / "cache" / "benchmarks").glob("int8-*.onnx"))) == 1
    assert "kigraph, int8" in done.stdout


def test_without_the_tool_the_rest_is_measured(tmp_path: Path) -> None:
    if importlib.util.find_spec("onnxruntime") is not None:
        pytest.skip("onnxruntime is installed")
    done = peers(
        tmp_path,
        "--only=kigraph,kigraph-int8",
        "--batch=1",
        "--threads=1",
        "--rounds=1",
        "--seconds=0.01",
        "--no-whole",
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "left out: kigraph, int8: the quantised file is made with onnxruntime, not installed here" in done.stderr
    assert set(json.loads((tmp_path / "peers.json").read_text())["settings"][0]["ms"]) == {"kigraph"}


def test_pytorch_computes_the_same_network(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    pytest.importorskip("onnx", reason="onnx is not installed")
    from benchmarks.peers.torch_network import network_of
    from kigraph.graph.writers.onnx import save_onnx

    rng = np.random.default_rng()
    with ki.Graph().as_default() as graph:
        x = ki.placeholder("float32", (None, 17, 17, 3), name="x")
        y = ki.conv2d(x, rng.standard_normal((3, 3, 3, 8), np.float32), strides=[1, 2, 2, 1], padding="VALID")
        scale, shift, mean, variance = rng.uniform(0.5, 2, (4, 8)).astype(np.float32)
        y = ki.relu(ki.fused_batch_norm(y, scale, shift, mean, variance, epsilon=1e-3))
        wide = ki.relu(
            ki.bias_add(ki.conv2d(y, rng.standard_normal((1, 5, 8, 4), np.float32), padding="SAME"), shift[:4])
        )
        pooled = ki.avg_pool(y, [1, 3, 3, 1], [1, 1, 1, 1], "SAME")
        y = ki.max_pool(ki.concat([wide, pooled], 3), [1, 3, 3, 1], [1, 2, 2, 1], "VALID")
        y = ki.reshape(ki.avg_pool(y, [1, 3, 3, 1], [1, 1, 1, 1], "VALID"), [-1, 12])
        logits = ki.add(
            ki.matmul(y, rng.standard_normal((12, 5), np.float32)), rng.standard_normal(5, np.float32), name="logits"
        )
        ki.softmax(logits, name="y")
    images = rng.standard_normal((3, 17, 17, 3), np.float32)
    save_onnx(graph, tmp_path / "net.onnx", ["logits:0", "y:0"], ["x:0"])
    got = network_of(str(tmp_path / "net.onnx"), torch.float32)(torch.from_numpy(images))
    want = ki.Session(graph, backend="numpy").run(["logits:0", "y:0"], {"x:0": images})
    for mine, theirs in zip(want, got, strict=True):
        np.testing.assert_allclose(theirs.numpy(), mine, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("wrong", ["--precision=fp8", "--int8=nowhere.onnx", "--tflite=nowhere.tflite"])
def test_wrong_options_are_refused(tmp_path: Path, wrong: str) -> None:
    done = peers(tmp_path, wrong)
    assert done.returncode == 2
    assert "known: fp32, bf16, int8" in done.stderr or "'nowhere." in done.stderr


def test_accuracy_counts_right_answers_and_tells_what_is_missing() -> None:
    from benchmarks.precision_accuracy import row_of, table

    truth = np.array([[1.0, 3.0], [2.0, 0.0], [0.0, 5.0]])
    row = row_of(np.array([[1.0, 3.5], [0.0, 2.0], [0.0, 5.0]], np.float32), truth, [1, 1, 0])
    assert (row["right"], row["same_top1"], row["largest"]) == (2, 2, 2.0)
    assert "right" not in row_of(truth.astype(np.float32), truth, None)
    shown = table(
        {
            "rows": {"float64": row_of(truth, truth, [1, 1, 0]), "kigraph-int8": row},
            "absent": {"tflite-int8": "no file"},
            "failed": {"openvino-int8": "ended with 1"},
            "notes": {"kigraph-int8": "3 of 4"},
            "network": "a network",
            "images": 3,
            "commit": "0",
            "date": "today",
        }
    )
    assert "2 of 3" in shown
    for line in ("left out: TFLite (int8): no file", "failed: OpenVINO (int8): ended with 1", "kigraph, int8: 3 of 4"):
        assert line in shown


def test_accuracy_of_a_model_and_photographs(tmp_path: Path) -> None:
    from PIL import Image

    rng = np.random.default_rng()
    for kind in ("apple", "orange"):
        (tmp_path / "photos" / kind).mkdir(parents=True)
        pixels = rng.integers(0, 256, (40, 50, 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / "photos" / kind / "a b.jpg")
    (tmp_path / "labels.txt").write_text("apple\norange\n")
    line = [
        sys.executable, "-m", "benchmarks.precision_accuracy", f"--model={MODEL}", f"--photographs={tmp_path / 'photos'}",
        f"--labels={tmp_path / 'labels.txt'}", "--only=kigraph", f"--json={tmp_path / 'out' / 'accuracy.json'}",
    ]  # fmt: skip
    environment = os.environ | {"KIGRAPH_CACHE_DIR": str(tmp_path / "cache")}
    done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, timeout=300, env=environment)
    assert done.returncode == 0, done.stderr
    result = json.loads((tmp_path / "out" / "accuracy.json").read_text())
    assert result["images"] == 2
    assert result["rows"]["kigraph"]["rms"] < 1e-4
    assert result["rows"]["kigraph"]["right"] == result["rows"]["float64"]["right"]
    assert (tmp_path / "cache" / "benchmarks").is_dir()


def test_accuracy_without_photographs_is_refused(tmp_path: Path) -> None:
    line = [sys.executable, "-m", "benchmarks.precision_accuracy", "--only=kigraph"]
    done = subprocess.run(
        line, cwd=ROOT, capture_output=True, text=True, env=os.environ | {"KIGRAPH_SHARED": str(tmp_path)}
    )
    assert done.returncode == 2
    assert "remedy: set KIGRAPH_SHARED" in done.stderr


@pytest.mark.parametrize("padding", ["SAME", "VALID"])
def test_quantised_layers_compute_what_they_say(padding: str) -> None:
    from benchmarks.peers.layers import no_quantised_ops, quantised_layer_graph

    if no_quantised_ops():
        pytest.skip(no_quantised_ops())
    rng = np.random.default_rng()
    graph = quantised_layer_graph((9, 8, 5, 3, 3, 6, 1, padding), seed=3)
    x = rng.integers(0, 256, (2, 9, 8, 5)).astype(np.uint8)
    got = ki.Session(graph, backend="numpy").run("y:0", {"x:0": x})
    draw = np.random.default_rng(3)
    kernel, bias = draw.integers(-127, 128, (3, 3, 5, 6)), draw.integers(-5000, 5000, 6)
    multiplier = (draw.uniform(0.5, 1.5, 6) / (128 * np.sqrt(45))).astype(np.float32)
    wide = np.pad(x.astype(int), ((0, 0), (1, 1), (1, 1), (0, 0))) if padding == "SAME" else x.astype(int)
    windows = np.lib.stride_tricks.sliding_window_view(wide, (3, 3), axis=(1, 2))
    sums = np.einsum("nhwcij,ijco->nhwo", windows, kernel) + bias
    want = np.clip(np.rint(sums.astype(np.float32) * multiplier), 0, 255)
    np.testing.assert_array_equal(got, want)
    assert 0 < (want > 0).mean() < 1


def test_layers_in_other_precisions_stand_beside_fp32(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    from benchmarks.peers.layers_report import draw, print_table

    row = {
        "ms": {"kigraph": 2.0, "kigraph-bf16": 1.0, "kigraph-int8": 0.5}, "kernel": {"kigraph": "wide", "kigraph-int8": "narrow"},
        "layer": "stem1", "count": 2, "shape": [9, 9, 3, 3, 3, 8, 1, "SAME"], "flops": 1e6, "bytes": 1e5,
    }  # fmt: skip
    machine = {"cpu": "a processor", "cpus": 1, "peak_gflops": {"1": None}, "read_gbytes_per_s": {"1": None}}
    result = {
        "tables": [{"threads": 1, "layers": [row]}], "batch": 1, "absent": {}, "machine": machine, "commit": "0", "date": "today",
    }  # fmt: skip
    print_table(result)
    line = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("stem1"))
    assert "0.50" in line
    assert "0.25" in line
    assert line.endswith("wide; int8: narrow")
    pytest.importorskip("matplotlib")
    draw(result, tmp_path / "layers.png")
    assert (tmp_path / "layers.png").stat().st_size > 1000
