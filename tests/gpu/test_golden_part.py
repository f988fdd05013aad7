"""Part 4 of the GPU call says what is right, and names the layer where an error begins; here on the numpy backend."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.gpu import golden
from benchmarks.gpu import reference as ref
from benchmarks.gpu.inputs import images
from benchmarks.gpu.record import Recorder, read
from kigraph.graph.builder import Graph
from kigraph.graph.session import Session

NDArray = np.ndarray[Any, Any]
Lines = list[dict[str, Any]]


@pytest.fixture(scope="module")
def graph() -> Graph:
    return ref.network()


@pytest.fixture(scope="module")
def small(graph: Graph) -> ref.Reference:
    """For one image."""
    return ref.compute(1, graph)


@pytest.fixture(autouse=True)
def out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("OUT", str(tmp_path / "out"))
    return tmp_path / "out" / "results.jsonl"


@pytest.fixture
def on_numpy(monkeypatch: pytest.MonkeyPatch) -> None:
    """The sessions of the part, on a backend that every machine has."""
    opened = golden.opened
    monkeypatch.setattr(golden, "opened", lambda graph, precision, backend="numpy": opened(graph, precision, "numpy"))


def figure(out: Path, name: str) -> Lines:
    return [line for line in read(out) if line["figure"] == name]


def planted(graph: Graph, name: str, change: Any) -> golden.Fetch:
    """The network with the tensor ``name`` spoiled; all that depends on it is wrong as well."""
    session = Session(graph, backend="numpy")
    feeds = {ref.FEED: images(1)}
    value = session.run(name, feeds).copy()
    change(value)
    return lambda names: list(session.run(list(names), feeds | {name: value}))


def _double(x: NDArray) -> None:
    x *= 2


def _nan(x: NDArray) -> None:
    x[0, 5, 5, 7] = np.nan


def _row(x: NDArray) -> None:
    x[:, 3] = x[:, 4]


@pytest.mark.parametrize(
    ("name", "change", "first", "inner"),
    [
        ("mixed_4/join:0", _double, "mixed_4/join:0", "none"),
        ("mixed_7/tower_1/conv_2:0", _nan, "mixed_7/join:0", "mixed_7/tower_1/conv_2:0"),
        ("mixed_3/tower/conv_1:0", _row, "mixed_3/join:0", "mixed_3/tower/conv_1:0"),
        ("conv_2:0", _row, "conv_2:0", "none"),
        ("logits:0", _double, "logits:0", "none"),
    ],
)
def test_the_layer_where_an_error_begins_is_named(
    graph: Graph, small: ref.Reference, out: Path, name: str, change: Any, first: str, inner: str
) -> None:
    record = Recorder("golden")
    golden.check_layers(record, small, graph, "fp32", planted(graph, name, change))
    (line,) = figure(out, "first_wrong")
    assert (line["value"], line["inside"], line["ok"]) == (first, inner, False)
    layers = figure(out, "layer")
    assert [layer["layer"] for layer in layers] == list(ref.LAYERS)
    assert [layer["ok"] for layer in layers] == [
        ref.LAYERS.index(layer["layer"]) < ref.LAYERS.index(first) for layer in layers
    ]
    assert record.rate() == 1


def of(found: dict[str, NDArray]) -> golden.Fetch:
    return lambda names: [found[name] for name in names]


def test_each_precision_is_told_from_the_next_lower(graph: Graph, small: ref.Reference, out: Path) -> None:
    """tf32's result passes as tf32 and not as fp32; bf16's passes as bf16 and not as tf32."""
    feeds, record = {ref.FEED: images(1)}, Recorder("golden")
    for bits, passes, fails in ((11, "tf32", "fp32"), (8, "bf16", "tf32")):
        found = ref.evaluate(graph, feeds, list(small.layers), ref.first_bits(bits))
        for precision in (passes, fails):
            golden.check_layers(record, small, graph, precision, of(found))
    assert [line["ok"] for line in figure(out, "first_wrong")] == [True, False, True, False]


class _Canned:
    """A session whose scores depend on the batch as they are told to."""

    def __init__(self, scores: dict[int, NDArray]) -> None:
        self._scores = scores

    def run(self, fetch: str, feeds: dict[str, NDArray]) -> NDArray:
        assert fetch == ref.LOGITS
        return self._scores[len(feeds[ref.FEED])]


def test_batches_are_compared_with_each_other_and_the_reference(small: ref.Reference, out: Path) -> None:
    right = small.layers[ref.LOGITS].elements.astype(np.float32)
    eight = np.repeat(right, 8, 0)
    for scores in ({1: right, 8: eight}, {1: right, 8: eight + 0.01}, {1: right * np.float32(1 + 1e-6), 8: eight}):
        golden.check_batches(Recorder("golden"), small, "fp32", _Canned(scores), 8)  # type: ignore[arg-type]
    assert [(line["batch"], line["ok"]) for line in figure(out, "scores")] == [
        (1, True), (8, True), (1, True), (8, False), (1, True), (8, True),
    ]  # fmt: skip
    gaps = figure(out, "batch_difference")
    assert [line["ok"] for line in gaps] == [True, False, True]
    assert [line["same_bits"] for line in gaps] == [True, False, False]


def test_a_failing_precision_does_not_stop_the_others(
    out: Path, graph: Graph, small: ref.Reference, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The whole part for a GPU, in the reference's place one image, and tf32 broken."""
    opened = golden.opened

    @contextmanager
    def some(graph: Graph, precision: str) -> Iterator[Session]:
        if precision == "tf32":
            raise RuntimeError("an illegal memory access")
        with opened(graph, precision, "numpy") as session:
            assert session.numerics.precision == precision
            yield session

    monkeypatch.setattr(golden, "opened", some)
    monkeypatch.setattr(golden, "_reference", lambda *_: small)
    monkeypatch.setattr(golden, "LARGE", 2)
    record = Recorder("golden")
    golden.inception(record, ("tf32", "fp32"))
    assert [(line["precision"], line["value"]) for line in figure(out, "first_wrong")] == [("fp32", "none")]
    (line,) = figure(out, "inception")
    assert (line["precision"], line["value"]) == ("tf32", "RuntimeError: an illegal memory access")
    assert [line["batch"] for line in figure(out, "scores")] == [1, 2]
    assert record.failed == 1


# --- trained networks -----------------------------------------------------------------------------------------------


def test_where_models_are_looked_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(golden, "PREPARED", tmp_path / ".gpu")
    monkeypatch.delenv("KIGRAPH_SHARED", raising=False)
    assert golden.shared_folder() == golden.ROOT.parent / "shared"
    (tmp_path / ".gpu" / "shared").mkdir(parents=True)
    assert golden.shared_folder() == tmp_path / ".gpu" / "shared"
    monkeypatch.setenv("KIGRAPH_SHARED", "/elsewhere")
    assert golden.shared_folder() == Path("/elsewhere")


def test_photographs_are_spread_over_the_classes() -> None:
    assert golden.photographs(["x"] * 120) == list(range(0, 120, 5))
    assert golden.photographs(["x"] * 10) == list(range(10))


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    """MobileNet, with results that a test may change."""
    source = golden.shared_folder() / "models" / "mobilenet_v1_0.25_224"
    if not (source / "frozen_graph.pb").is_file():
        pytest.skip(f"no real models: {source} is missing")
    target = tmp_path / "shared" / "models" / source.name
    target.mkdir(parents=True)
    for file in ("frozen_graph.pb", "golden_tensorflow.npz"):
        shutil.copy(source / file, target / file)
    return tmp_path / "shared"


@pytest.mark.usefixtures("on_numpy")
def test_mobilenet_is_held_to_tensorflows_result(out: Path, copied: Path) -> None:
    record = Recorder("golden")
    golden.mobilenet(record, copied)
    assert [line["ok"] for line in figure(out, "mobilenet") + figure(out, "mobilenet_top5")] == [True] * 4
    path = copied / "models" / "mobilenet_v1_0.25_224" / "golden_tensorflow.npz"
    with np.load(path) as file:
        arrays = dict(file)
    arrays["grace_hopper.jpg.probabilities"] = np.roll(arrays["grace_hopper.jpg.probabilities"], 1)
    arrays.pop("cropped_panda.jpg")
    np.savez(path, **arrays)
    golden.mobilenet(record, copied)
    assert [line["ok"] for line in figure(out, "mobilenet")[2:]] == [False, False], "rolled, and missing"
    assert [line["ok"] for line in figure(out, "mobilenet_top5")[2:]] == [False]
    assert record.failed == 3


def test_what_is_missing_is_skipped_with_a_reason(out: Path, tmp_path: Path) -> None:
    record = Recorder("golden")
    golden.mobilenet(record, tmp_path)
    golden.flowers(record, tmp_path)
    assert [str(tmp_path) in str(line["skipped"]) for line in read(out)] == [True, True]
    assert record.rate() == 0


def lines_of(name: str, lines: Lines) -> Sequence[Any]:
    return [line["value"] for line in lines if line["figure"] == name]


def test_the_rehearsal_without_a_gpu_and_without_models(out: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.gpu.golden", "--dry"],
        cwd=golden.ROOT,
        env=os.environ | {"KIGRAPH_SHARED": str(tmp_path / "nowhere"), "OUT": str(out.parent)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    lines: Lines = [json.loads(line) for line in out.read_text().splitlines()]
    assert all(line["dry"] for line in lines)
    assert lines_of("first_wrong", lines) == ["none"] * 3
    assert len(lines_of("layer", lines)) == 3 * len(ref.LAYERS)
    assert [line["figure"] for line in lines if "skipped" in line] == ["mobilenet", "flowers"]
