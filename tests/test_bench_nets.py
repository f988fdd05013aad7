"""`make bench-nets`: networks have the published sizes, the command runs end to end, and who is wrong gets no time."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import kigraph as ki

ROOT = Path(__file__).resolve().parents[1]

pytestmark = pytest.mark.skipif(not (ROOT / "benchmarks").is_dir(), reason="needs the checkout, not an installed copy")

#: Parameters without the statistics of batch norms, as torchvision states them.
PARAMETERS = {
    "vgg-16": 138_357_544, "resnet-50": 25_557_032, "densenet-121": 7_978_856, "mobilenet-v2": 3_504_872,
    "mobilenet-v3-small": 2_542_856, "mobilenet-v3-large": 5_483_032, "efficientnet-b0": 5_288_548, "convnext-tiny": 28_589_128,
    "vit-b-16": 86_567_656,
}  # fmt: skip


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """A network of two layers in place of MobileNet v1, with a cache folder of its own."""
    from benchmarks.nets import zoo

    def layers() -> Any:
        x = ki.placeholder(np.float32, (None, 8, 8, 3), name="input")
        weights = np.random.default_rng(3).standard_normal((3, 3, 3, 5)).astype(np.float32)
        return ki.reduce_mean(ki.relu(ki.conv2d(x, weights)), [1, 2])

    monkeypatch.setenv("KIGRAPH_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setitem(zoo.NETWORKS, "mobilenet-v1", zoo.Known("mobilenet-v1", "Tiny", 8, layers=layers))
    return "mobilenet-v1"


@pytest.mark.parametrize("name", PARAMETERS)
def test_state_dicts_have_the_published_number_of_parameters(name: str) -> None:
    from benchmarks.nets.zoo import NETWORKS

    make = NETWORKS[name].state
    assert make is not None
    state = make()
    trained = (shape for key, shape in state.shapes.items() if not key.endswith(("running_mean", "running_var")))
    assert sum(int(np.prod(shape)) for shape in trained) == PARAMETERS[name]


@pytest.mark.parametrize("name", ["mobilenet-v3-small", "convnext-tiny", "nasnet-mobile"])
def test_graphs_are_built_from_them(name: str) -> None:
    """Those of one builder each; the rest is built by the command."""
    from benchmarks.nets.zoo import NETWORKS, graph_of

    graph = graph_of(NETWORKS[name])
    assert graph.tensor("input:0").shape == (None, 224, 224, 3)
    assert graph.tensor("probabilities:0").shape == (None, 1000)


def test_the_cell_networks_have_keras_parameters() -> None:
    """keras.applications counts 5,326,716 of NASNet mobile and 4,253,864 of MobileNet v1."""
    from benchmarks.nets.zoo import NETWORKS, graph_of

    for name, count in (("nasnet-mobile", 5_326_716), ("mobilenet-v1", 4_253_864)):
        graph = graph_of(NETWORKS[name])
        weights = sum(
            int(np.prod(op.outputs[0].shape))
            for op in graph.operations
            if op.type == "Const" and op.outputs[0].dtype.kind == "f"
        )
        assert weights == count, name


def test_seeded_arrays_depend_on_their_name_alone() -> None:
    from benchmarks.nets.states import mobilenet_v3_small

    one, two = mobilenet_v3_small().file(), mobilenet_v3_small().file()
    key = "features.4.block.1.0.weight"
    assert one.read(key).tobytes() == two.read(key).tobytes()
    assert one.read(key).dtype == np.float32
    assert not np.array_equal(one.read(key), one.read("features.5.block.1.0.weight")[: len(one.read(key))])


def test_files_are_made_once(tiny: str) -> None:
    from benchmarks.nets.zoo import NETWORKS, network_files, truth

    first = network_files(NETWORKS[tiny])
    stamp = Path(first.onnx).stat().st_mtime_ns
    assert network_files(NETWORKS[tiny]) == first
    assert Path(first.onnx).stat().st_mtime_ns == stamp
    logits, probabilities = truth(first)
    assert logits.shape == probabilities.shape == (2, 5)
    assert logits.dtype == np.float64


def test_end_to_end(tiny: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from benchmarks.nets.__main__ import main

    names = ["kigraph", "onnxruntime"] if _installed("onnxruntime") else ["kigraph"]
    options = ["--threads=1", "--batch=1,3", "--rounds=2", "--seconds=0.005", f"--contenders={','.join(names)}"]
    assert main([f"--only={tiny}", *options, f"--out={tmp_path}"]) == 0
    result = json.loads((tmp_path / "nets.json").read_text())
    settings = result["networks"][tiny]["settings"]
    assert [s["batch"] for s in settings] == [1, 3]
    for s in settings:
        assert set(s["ms"]) == set(names)
        assert s["failed"] == {}
        assert s["difference"]["kigraph"]["logits"] < 1e-5
        assert s["profiles"]["kigraph"]["stages"] == 1
        assert set(s["ratios"]) == ({"kigraph"} if len(names) > 1 else set())
    assert "Tiny" in capsys.readouterr().out
    assert str(ROOT) not in json.dumps(result)
    assert main([f"--show={tmp_path / 'nets.json'}", f"--out={tmp_path / 'again'}"]) == 0


def test_who_is_wrong_gets_no_time(tiny: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from benchmarks.nets import zoo
    from benchmarks.nets.__main__ import main

    files = zoo.network_files(zoo.NETWORKS[tiny])
    logits, probabilities = zoo.truth(files)
    np.savez(Path(files.folder, "truth.npz"), logits=logits[::-1], probabilities=probabilities[::-1])
    out = f"--out={tmp_path}"
    assert main([f"--only={tiny}", "--quick", "--contenders=kigraph", "--seconds=0.001", "--rounds=1", out]) == 1
    (setting,) = json.loads((tmp_path / "nets.json").read_text())["networks"][tiny]["settings"]
    assert setting["ms"] == {}
    assert "wrong answer" in setting["failed"]["kigraph"]
    assert "wrong answer" in capsys.readouterr().out


def test_results_of_several_runs_are_put_together() -> None:
    from benchmarks.nets.report import merged

    def result(threads: int, batch: int, ms: float, name: str = "a") -> dict[str, Any]:
        setting = {"threads": threads, "batch": batch, "ms": {"kigraph": ms}}
        return {"versions": {"kigraph": "1"}, "networks": {name: {"title": name, "settings": [setting]}}}

    found = merged([result(1, 8, 1.0), result(1, 1, 2.0), result(1, 8, 3.0), result(1, 1, 4.0, "b")])
    assert [(s["batch"], s["ms"]["kigraph"]) for s in found["networks"]["a"]["settings"]] == [(1, 2.0), (8, 3.0)]
    assert list(found["networks"]) == ["a", "b"]


def test_wrong_options_say_what_is_known() -> None:
    line = [sys.executable, "-m", "benchmarks.nets", "--only=lenet"]
    done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 2
    assert "known: vgg-16, resnet-50" in done.stderr


def _installed(name: str) -> bool:
    import importlib.util

    return importlib.util.find_spec(name) is not None
