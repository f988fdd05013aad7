"""What a precision costs, layer by layer: ratios, the worst element, what counts as the same, graphs of one image at a time."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import kigraph as ki
from kigraph.cli import main
from kigraph.kernels.bfloat16 import round_to_bfloat16
from kigraph.verify import Subject, verify
from kigraph.verify.report import Comparison, Layer, Report, allowed
from kigraph.weights.store import EMBEDDED

NDArray = np.ndarray[Any, Any]


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    from PIL import Image

    folder, rng = tmp_path_factory.mktemp("photos"), np.random.default_rng(3)
    for i in range(3):
        Image.fromarray(rng.integers(0, 256, (48, 64, 3), np.uint8)).save(folder / f"{i} x.png")
    return [str(folder / f"{i} x.png") for i in range(3)]


def test_ratio_and_worst_element_of_a_layer(seed: int) -> None:
    rng = np.random.default_rng(seed)
    a = rng.standard_normal((2, 5, 7)).astype(np.float32)
    b = a + 1e-3 * rng.standard_normal(a.shape).astype(np.float32)
    b[1, 2, 3] = a[1, 2, 3] + 1
    layer = Layer.of("x", "x", "Relu", a, b)
    x, y = a.astype(np.float64), b.astype(np.float64)
    assert layer.sqnr == pytest.approx(10 * math.log10((x**2).sum() / ((x - y) ** 2).sum()))
    assert layer.worst is not None
    assert (layer.worst.at, layer.worst.reference, layer.worst.found) == ((1, 2, 3), x[1, 2, 3], y[1, 2, 3])
    assert json.loads(json.dumps(layer.to_json()))["worst"]["at"] == [1, 2, 3]
    same = Layer.of("x", "x", "Relu", a, a)
    assert (same.sqnr, same.worst, same.to_json()["sqnr_db"]) == (math.inf, None, None)
    a[0, 0, 0] = b[0, 0, 0] = np.nan
    assert Layer.of("x", "x", "Relu", a, b).worst == layer.worst


def test_what_is_allowed_follows_from_the_precisions() -> None:
    assert allowed("fp32", "fp32") == (1e-4, 1.0)
    assert allowed("fp32", "bf16")[0] > 1e-3
    assert allowed("int8+bf16", "fp32") == allowed("int8") > allowed("bf16")[:1]
    layer = Layer("y", "y", "output", 0.02, 0.02, 9)
    exact, rounded = (Comparison("x", (), (layer,), 1, 1, None, None, *allowed("fp32", p)) for p in ("fp32", "bf16"))
    assert not Report("r", (exact,), 1e-4).ok
    assert Report("r", (rounded,), 1e-4).ok
    few = Comparison("x", (), (layer,), 1, 1, 0.9, 0.9, 0.1, 0.95)
    assert not few.same(0.1)
    assert Comparison("x", (), (layer,), 1, 1, 0.95, 0.9, 0.1, 0.95).same(0.1)


def test_the_loss_of_bf16_is_that_of_rounded_operands(tmp_path: Path, seed: int) -> None:
    """One layer: its error is the one that rounding by hand gives."""
    rng = np.random.default_rng(seed)
    w = rng.standard_normal((3, 3, 8, 16)).astype(np.float32)
    with ki.Graph().as_default() as graph:
        x = ki.placeholder(ki.float32, [2, 9, 9, 8], name="x")
        ki.conv2d(x, w, 1, "VALID", name="y")
        ki.save_graph(graph, tmp_path / "one.pb")
    subjects = [Subject(str(tmp_path / "one.pb"), "numpy", p) for p in ("fp32", "bf16")]
    report = verify(subjects, seed=seed)
    (layer,) = (x for x in report.comparisons[0].layers if x.op == "Conv2D")
    values = np.random.default_rng(seed).standard_normal((2, 9, 9, 8)).astype(np.float32)  # as verify draws them
    session = ki.Session(graph, "numpy", precision="fp32")
    exact = session.run("y", {"x:0": values})
    with ki.Graph().as_default() as other:
        ki.conv2d(ki.placeholder(ki.float32, [2, 9, 9, 8], name="x"), round_to_bfloat16(w), 1, "VALID", name="y")
    rounded = ki.Session(other, "numpy", precision="fp32").run("y", {"x:0": round_to_bfloat16(values)})
    wanted = Layer.of("y", "y", "Conv2D", exact, rounded)
    assert layer.relative == pytest.approx(wanted.relative, rel=1e-3)
    assert 45 < layer.sqnr < 60  # two roundings of 8 bits
    assert report.ok


def test_the_command_shows_what_a_precision_costs(
    photos: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["verify", str(EMBEDDED), "-b", "numpy", "--precision", "fp32,bf16"]
    for photo in photos:
        words += ["--image", photo]
    drawn = tmp_path / "a b.svg"
    assert main([*words, "--rows", "3", "--draw", str(drawn)]) == 0
    out = capsys.readouterr().out
    assert "SQNR dB" in out
    assert "worst layer: " in out
    assert "its worst element [" in out
    assert out.rstrip().endswith(f"the same\n{drawn}")
    assert "tolerance 0.03" in drawn.read_text()
    assert main([*words, "--json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)["comparisons"]
    assert (found["tolerance"], found["agreement"]) == allowed("bf16")
    losses = [layer["sqnr_db"] for layer in found["layers"] if layer["sqnr_db"] is not None]
    assert min(losses) > 25
    assert max(losses) < 90
    assert main([*words, "--tolerance", "1e-7"]) == 1
    assert "DIFFERENT" in capsys.readouterr().out
    assert main([*words, "--agreement", "2"]) == 2
    assert "expected a share from 0 to 1" in capsys.readouterr().err


def test_a_graph_that_takes_one_image_is_run_for_each(tmp_path: Path, photos: list[str]) -> None:
    """The same values as a graph of any batch gives."""
    rng = np.random.default_rng(9)
    w, v = (rng.standard_normal(s).astype(np.float32) for s in ((3, 3, 3, 4), (4, 2)))
    files = []
    for batch in (None, 1):
        with ki.Graph().as_default() as graph:
            x = ki.placeholder(ki.float32, [batch, 16, 16, 3], name="input")
            y = ki.reduce_mean(ki.relu(ki.conv2d(x, w, 2, "SAME", name="conv")), [1, 2])
            ki.softmax(ki.matmul(y, v), name="scores")
            files.append(ki.save_graph(graph, tmp_path / f"{batch}.pb"))
    report = verify([Subject(str(f), "numpy") for f in files], photos)
    (found,) = report.comparisons
    assert report.ok
    assert found.same_first == 1.0
    assert {layer.op for layer in found.layers} >= {"Conv2D", "Relu", "MatMul"}
    assert all(layer.relative < 1e-6 for layer in (*found.layers, *found.outputs))
