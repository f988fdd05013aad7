"""The PyTorch parts of the GPU call: every figure has its line wherever they run, and their network is kigraph's."""

from __future__ import annotations

import copy
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]
NDArray = np.ndarray[Any, Any]
Lines = list[dict[str, Any]]

pytestmark = pytest.mark.skipif(not (ROOT / "benchmarks").is_dir(), reason="needs the checkout, not an installed copy")

CEILINGS = {
    *((name, None) for name in ("copy", "launch", "graph node", "host to device", "device to host")),
    *(("matmul", precision) for precision in ("bf16", "tf32", "fp32")),
}
MODES = ("plain", "graph")
EAGER = {
    *product(("network", "error against fp32", "error against reference"), ("bf16", "tf32", "fp32"), MODES),
    *product(("host to host",), ("bf16",), MODES),
}
COMPILE = {
    "cache loaded", "compile", "record", "error against fp32", "error against reference", "network", "cache saved",
}  # fmt: skip


@pytest.fixture(autouse=True)
def out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "out"
    monkeypatch.setenv("OUT", str(folder))
    return folder


def recorded() -> Lines:
    from benchmarks.gpu.record import read

    return read(Path(os.environ["OUT"]) / "results.jsonl")


def run(module: str, *arguments: str, hidden: Path | None = None) -> Lines:
    """The lines of a part, which ends with 0. hidden: a folder for a ``torch`` that cannot be imported."""
    path = str(ROOT)
    if hidden is not None:
        (hidden / "torch.py").write_text("raise ImportError('hidden')\n")
        path = f"{hidden}{os.pathsep}{path}"
    done = subprocess.run(
        [sys.executable, "-m", f"benchmarks.gpu.{module}", *arguments],
        cwd=ROOT, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return recorded()


def keys(lines: Lines, *tags: str) -> set[Any]:
    found = {tuple(line.get(tag) for tag in ("figure", *tags)) for line in lines}
    return found if tags else {figure for (figure,) in found}


# --- where there is no PyTorch ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("arguments", [(), ("--dry",)], ids=["device", "dry"])
@pytest.mark.parametrize(
    ("module", "more", "part", "tags", "figures"),
    [
        ("ceilings", (), "ceilings", ("precision",), CEILINGS),
        ("torch_eager", ("--batches=4",), "torch-eager", ("precision", "mode"), EAGER),
        ("torch_compile", ("--batch=4",), "torch-compile", (), COMPILE),
        ("torch_compile", ("--batch=4", "--mode=max-autotune"), "autotune", (), COMPILE),
        ("torch_compile", ("--batch=4", "--precision=tf32"), "torch-compile", (), COMPILE),
    ],
)
def test_without_pytorch_every_figure_says_why(
    module: str, more: Any, part: str, tags: Any, figures: set[Any], arguments: Any, tmp_path: Path
) -> None:
    lines = run(module, *more, *arguments, hidden=tmp_path)
    assert keys(lines, *tags) == figures
    assert len(lines) == len(figures)
    for line in lines:
        assert line["part"] == part
        assert line["value"] is None
        assert "hidden" in line["skipped"]
        assert "ok" not in line
        assert line.get("dry", False) is bool(arguments)


# --- with PyTorch on a CPU -------------------------------------------------------------------------------------------


@pytest.fixture
def torch() -> Any:
    return pytest.importorskip("torch", reason="needs PyTorch, which is no dependency of kigraph")


def right(lines: Lines, measured: set[str]) -> None:
    """No line is wrong, and these figures have values."""
    assert [line for line in lines if line.get("ok") is False] == []
    assert {line["figure"] for line in lines if line["value"] is not None} >= measured
    assert all(line["value"] is not None or line["skipped"] for line in lines)


def test_ceilings_dry(torch: Any) -> None:
    lines = run("ceilings", "--dry")
    assert keys(lines, "precision") == CEILINGS
    right(lines, {"copy", "matmul"})


def test_eager_dry(torch: Any) -> None:
    lines = run("torch_eager", "--dry")
    assert keys(lines, "precision", "mode") == EAGER
    right(lines, {"network", "error against fp32", "host to host"})
    for line in lines:
        if line["figure"] == "network" and line["value"] is not None:
            assert line["images_per_s"] == pytest.approx(line["batch"] / line["value"] * 1e3)


@pytest.mark.parametrize("option", ["--mode=reduce-overhead", "--mode=max-autotune", "--precision=tf32"])
def test_compile_dry(torch: Any, option: str) -> None:
    lines = run("torch_compile", "--dry", option)
    assert keys(lines) == COMPILE
    right(lines, set() if "tf32" in option else {"compile", "record", "error against fp32", "network"})
    assert "tf32" not in option or all("no TF32" in line["skipped"] for line in lines)


@pytest.mark.parametrize("other", [False, True], ids=["default", "other-options"])
def test_the_network_is_kigraphs(torch: Any, other: bool) -> None:
    from benchmarks.gpu import torch_model
    from benchmarks.gpu.inputs import images
    from kigraph.graph.models.inception_v3.build import Options, build
    from kigraph.graph.models.inception_v3.weights import seeded_weights
    from kigraph.graph.session import Session

    options = Options(epsilon=0.01, last_pool="max", count_padding=True) if other else Options()
    weights, given = seeded_weights(3, classes=10), images(2)
    want = Session(build(weights, options), backend="numpy").run("logits:0", {"input:0": given})
    with torch.inference_mode():
        got = torch_model.build(weights, options)(torch_model.from_images(given)).numpy()
    assert got.shape == want.shape == (2, 10)
    assert np.abs(got - want).max() <= 1e-4 * np.abs(want).max()


def test_padding_that_pytorch_does_not_have_is_refused(torch: Any) -> None:
    from benchmarks.gpu.torch_model import _padding

    assert _padding((1, 7), 1, "SAME") == (0, 3)
    assert _padding((3, 3), 2, "VALID") == (0, 0)
    with pytest.raises(ValueError, match="not symmetric"):
        _padding((3, 3), 2, "SAME")


@pytest.fixture
def tiny(torch: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """One convolution in place of Inception v3, without a float64 reference; TF32's switches are put back."""
    from benchmarks.gpu import torch_model

    layers = torch.nn.Conv2d(3, 10, 9, 32), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(1)
    network = torch.nn.Sequential(*layers).eval().requires_grad_(False)
    monkeypatch.setattr(torch_model, "seeded", lambda: copy.deepcopy(network))
    monkeypatch.setattr(torch_model.Truth.__init__, "__defaults__", (tmp_path / "absent.npz",))
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    yield
    torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before


def test_eager_goes_on_after_a_case_that_does_not_fit(torch: Any, tiny: None, monkeypatch: pytest.MonkeyPatch) -> None:
    from benchmarks.gpu import torch_eager

    network = torch_eager._network

    def unless_too_large(*given: Any) -> None:
        if len(given[4]) == 4:
            raise torch.OutOfMemoryError("no room")
        network(*given)

    monkeypatch.setattr(torch_eager, "find_torch", lambda dry: (torch, "cpu"))
    monkeypatch.setattr(torch_eager, "_network", unless_too_large)
    assert torch_eager.main(["--batches=4,1,2", "--seconds=0.01"]) == 0
    there = [line for line in recorded() if "skipped" not in line]
    cases = [f"{line['precision']} {line['batch']} {'failed' in line}" for line in there if line["figure"] == "network"]
    assert cases == ["bf16 4 True", "bf16 1 False", "fp32 4 True", "fp32 1 False", "bf16 2 False", "fp32 2 False"]
    assert [line["batch"] for line in there if line["figure"] == "host to host"] == [4, 1, 2]


@pytest.mark.parametrize(("precision", "on", "accepted"), [("tf32", True, False), ("fp32", False, True)])
def test_tf32_is_compiled_for_and_seen_when_it_was_not_used(
    torch: Any, tiny: None, monkeypatch: pytest.MonkeyPatch, precision: str, on: bool, accepted: bool
) -> None:
    """On a CPU the float32 network with TF32 allowed is as exact as without: beneath the least error of tf32."""
    from benchmarks.gpu import record, torch_compile

    seen = []

    def compiled(_: Any, network: Any, *more: object) -> Any:
        seen.append((torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32))
        return network

    monkeypatch.setattr(torch_compile, "_compiled", compiled)
    args = SimpleNamespace(dry=True, batch=2, precision=precision, backend="eager", mode="reduce-overhead")
    recorder = record.Recorder("test")
    torch_compile._measure(recorder, torch, "cpu", args, {"precision": precision})  # type: ignore[arg-type]
    (line,) = (line for line in recorded() if line["figure"] == "error against fp32")
    assert (line["ok"], recorder.rate()) == (accepted, int(not accepted))
    assert seen == [(on, on)]


def test_logits_are_held_to_both_truths(torch: Any, tmp_path: Path) -> None:
    from benchmarks.gpu.record import Recorder
    from benchmarks.gpu.reference import LOGITS, Layer, Reference, made_from
    from benchmarks.gpu.torch_model import Truth

    want = np.random.default_rng(0).uniform(-1, 1, (3, 10))
    Reference({LOGITS: Layer.of(want)}, made_from()).save(tmp_path / "reference.npz")
    truth = Truth(want.astype(np.float32), tmp_path / "reference.npz")
    recorder = Recorder("test")
    nan = np.where(want == want[1, 2], np.nan, want)
    for logits, precision in ((want, "fp32"), (want[:1], "bf16"), (want, "tf32"), (want + 1e-3, "tf32"), (nan, "bf16")):
        truth.check(recorder, torch.from_numpy(logits), precision)
    lines = recorded()
    assert [line["ok"] for line in lines] == [True] * 4 + [False] * 2 + [True] * 2 + [False] * 2
    assert keys(lines) == {"error against fp32", "error against reference"}
    Truth(want, tmp_path / "absent.npz").check(recorder, torch.from_numpy(want), "fp32")
    assert "reference.npz" in recorded()[-1]["skipped"]


# --- the clock, the cache, the end by a signal: need no PyTorch ------------------------------------------------------


class Device:
    """A ``torch`` whose device takes ``ms`` for each run, and whose events read the device's time."""

    def __init__(self, ms: float) -> None:
        self.ms, self.now, self.runs = ms, 0.0, 0
        self.cuda = SimpleNamespace(Event=self._event, synchronize=lambda: None)

    def _event(self, enable_timing: bool) -> Any:
        assert enable_timing
        event = SimpleNamespace()
        event.record = lambda: setattr(event, "at", self.now)
        event.elapsed_time = lambda after: after.at - event.at
        return event

    def run(self) -> None:
        self.runs += 1
        # Every fourth run is disturbed.
        self.now += self.ms * (10 if self.runs % 4 == 0 else 1)


@pytest.mark.parametrize(("ms", "counted"), [(2.0, 100), (0.001, 200), (500.0, 3)])
def test_the_clock_takes_the_median_within_its_time(ms: float, counted: int) -> None:
    from benchmarks.gpu.torch_common import Clock

    device = Device(ms)
    timing = Clock(device, "cuda", 0.2).queued(device.run)
    assert timing.ms == pytest.approx(ms)
    assert timing.runs == counted
    assert device.runs == counted + 2
    assert timing.p95_ms == pytest.approx(10 * ms)


def test_a_figure_that_cannot_be_measured_is_no_wrong_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    from benchmarks.gpu import ceilings, torch_eager

    # A PyTorch that has nothing of what the parts call.
    for part in (ceilings, torch_eager):
        monkeypatch.setattr(part, "find_torch", lambda dry: (SimpleNamespace(), "cuda"))
    assert (ceilings.main([]), torch_eager.main(["--batches=4"])) == (0, 0)
    lines = recorded()
    assert keys(lines, "precision") == {*CEILINGS, ("setup", None)}
    assert all("Error" in str(line["failed"]) and "ok" not in line for line in lines)


def test_the_most_wanted_cases_come_first() -> None:
    from benchmarks.gpu.torch_eager import cases

    assert cases([128, 1, 8, 32], ["bf16", "tf32", "fp32"]) == [
        ("bf16", 128), ("bf16", 1), ("tf32", 128), ("fp32", 128), ("tf32", 1), ("fp32", 1),
        ("bf16", 8), ("bf16", 32), ("tf32", 8), ("fp32", 8), ("tf32", 32), ("fp32", 32),
    ]  # fmt: skip
    assert cases([4, 2, 1], ["fp32"]) == [("fp32", 4), ("fp32", 2), ("fp32", 1)]


@pytest.mark.parametrize("option", ["--batches=8,0", "--batches=8,", "--precisions=bf16,fp8"])
def test_options_are_checked(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    from benchmarks.gpu.torch_eager import main

    with pytest.raises(SystemExit, match="2"):
        main([option])
    assert f"argument {option.split('=')[0]}: " in capsys.readouterr().err


def test_cache_files_keep_what_others_compiled(tmp_path: Path) -> None:
    from benchmarks.gpu.torch_compile import read_cache, write_cache

    path, noise = tmp_path / "cache.bin", np.random.default_rng(0).bytes(5000)
    assert read_cache(path) == {}
    size = write_cache(path, {"a-128": b"x" * 9000, "a-1": noise})
    assert size == path.stat().st_size < 9000
    assert read_cache(path) == {"a-128": b"x" * 9000, "a-1": noise}
    with pytest.raises(ValueError, match="the size limit is 4000"):
        write_cache(path, {"a-1": noise}, most=4000)
    assert sorted(read_cache(path)) == ["a-1", "a-128"]
    assert list(tmp_path.iterdir()) == [path]
    path.write_bytes(b"no zip")
    assert read_cache(path) == {}


def compiled_by(
    monkeypatch: pytest.MonkeyPatch, measure: Callable[..., None], made: bytes, prepared: Path
) -> tuple[Lines, int]:
    """The lines of torch_compile and its status with a PyTorch that compiles ``made`` while ``measure`` runs."""
    from benchmarks.gpu import torch_compile

    compiler = SimpleNamespace(load_cache_artifacts=lambda data: None, save_cache_artifacts=lambda: (made, None))
    monkeypatch.setattr(torch_compile, "find_torch", lambda dry: (SimpleNamespace(compiler=compiler), "cuda"))
    monkeypatch.setattr(torch_compile, "_measure", measure)
    monkeypatch.setattr(torch_compile, "PREPARED", prepared)
    monkeypatch.setenv("TORCHINDUCTOR_COMPILE_THREADS", "1")
    status = torch_compile.main(["--batch=8", "--mode=max-autotune"])
    return recorded(), status


def test_at_the_time_limit_what_was_compiled_is_kept(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, out: Path
) -> None:
    from benchmarks.gpu.torch_compile import read_cache, write_cache

    before = signal.getsignal(signal.SIGTERM)
    write_cache(tmp_path / "inductor_cache.bin", {"max-autotune-bf16-8": b"whole"})

    def measure(*_: object) -> None:
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            raise AssertionError("the signal did not come")
        except Exception:  # as a compiler does that tries the next kernel
            pass

    lines, status = compiled_by(monkeypatch, measure, b"half", tmp_path)
    assert keys(lines) == {"cache loaded", "cut off", "cache saved"}
    kept = read_cache(out / "inductor_cache.bin")
    assert kept == {"max-autotune-bf16-8": b"whole", "max-autotune-bf16-8-cut": b"half"}
    assert status == 0
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_cache_that_is_too_large_is_left(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, out: Path) -> None:
    from benchmarks.gpu.torch_compile import MOST_BYTES, read_cache, write_cache

    noise = np.random.default_rng(0).bytes(MOST_BYTES * 3 // 4)
    write_cache(tmp_path / "inductor_cache.bin", {"other": noise})
    lines, _ = compiled_by(monkeypatch, lambda *_: None, noise[::-1], tmp_path)
    assert read_cache(out / "inductor_cache.bin") == {"max-autotune-bf16-8": noise[::-1]}
    assert lines[-1]["value"] < MOST_BYTES
    (out / "inductor_cache.bin").unlink()
    lines, status = compiled_by(monkeypatch, lambda *_: None, noise + noise[::-1], tmp_path)
    assert "size limit" in lines[-1]["skipped"]
    assert not (out / "inductor_cache.bin").exists()
    assert status == 0


def test_a_failed_compile_is_no_wrong_answer_and_kept_apart(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, out: Path
) -> None:
    from benchmarks.gpu.torch_compile import read_cache, write_cache

    def measure(*_: object) -> None:
        raise RuntimeError("no kernel")

    write_cache(tmp_path / "inductor_cache.bin", {"max-autotune-bf16-8": b"whole"})
    lines, status = compiled_by(monkeypatch, measure, b"some", tmp_path)
    assert [line["figure"] for line in lines] == ["cache loaded", "compile", "cache saved"]
    assert lines[1]["failed"] == "RuntimeError: no kernel"
    assert not any("ok" in line for line in lines)
    assert status == 0
    kept = read_cache(out / "inductor_cache.bin")
    assert kept == {"max-autotune-bf16-8": b"whole", "max-autotune-bf16-8-cut": b"some"}
    compiled_by(monkeypatch, lambda *_: None, b"all", tmp_path)
    assert read_cache(out / "inductor_cache.bin") == {"max-autotune-bf16-8": b"all"}


def test_one_compiling_process_for_each_cpu_that_may_be_used(monkeypatch: pytest.MonkeyPatch) -> None:
    from benchmarks.gpu import torch_compile

    monkeypatch.setattr(torch_compile, "available_cpus", lambda: 13)
    monkeypatch.setenv("TORCHINDUCTOR_COMPILE_THREADS", "5")
    assert torch_compile._threads() == 5
    monkeypatch.delenv("TORCHINDUCTOR_COMPILE_THREADS")
    assert torch_compile._threads() == 13 == int(os.environ["TORCHINDUCTOR_COMPILE_THREADS"])
