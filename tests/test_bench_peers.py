"""`make bench-peers`: the figures are what they are called, and the whole of it runs on the small model of the package."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[1]
MODEL = ROOT / "kigraph" / "data" / "apples_or_oranges.pb"

pytestmark = pytest.mark.skipif(not (ROOT / "benchmarks").is_dir(), reason="needs the checkout, not an installed copy")


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "benchmarks.peers", *arguments]
    return subprocess.run(line, cwd=ROOT, capture_output=True, text=True, timeout=300)


def test_ratios_compare_with_the_fastest_peer_of_the_same_round() -> None:
    from benchmarks.peers.rounds import ratios

    found = ratios({"kigraph": [6.0, 6.0, 9.0], "onnxruntime": [10.0, 20.0, 10.0], "openvino": [12.0, 12.0, 30.0]})
    assert set(found) == {"kigraph"}
    assert found["kigraph"] == {"median": 0.6, "low": 0.5, "high": 0.9}
    assert ratios({"kigraph": [1.0]}) == {}


def test_difference_is_the_worst_image() -> None:
    from benchmarks.peers.network import difference

    want = np.array([[3.0, 4.0], [30.0, 40.0]])
    got = want + np.array([[0.0, 0.5], [0.0, 0.5]])
    assert difference(got, want) == pytest.approx(0.1)


def test_float64_truth_begins_at_the_input_and_rounds_nothing(tmp_path: Path) -> None:
    import kigraph as ki
    from benchmarks.peers.network import read_network, truth_of, write_network

    network = write_network(tmp_path, MODEL)
    assert read_network(str(tmp_path)) == network
    logits, probabilities = truth_of(network)
    assert logits.dtype == probabilities.dtype == np.float64
    np.testing.assert_allclose(probabilities.sum(1), 1, rtol=1e-14)
    model = ki.load(MODEL, backend="numpy")
    single = model.session.run(network.logits, {network.input: network.images(8)})
    gap = np.linalg.norm(single - logits) / np.linalg.norm(logits)
    assert 1e-9 < gap < 1e-5


def run_all(tmp_path: Path, names: list[str]) -> dict[str, Any]:
    done = command(
        f"--model={MODEL}", f"--only={','.join(names)}", "--threads=1", "--batch=1,3", "--rounds=2", "--seconds=0.01",
        f"--out={tmp_path}",
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    result: dict[str, Any] = json.loads((tmp_path / "peers.json").read_text())
    for setting in result["settings"]:
        assert set(setting["ms"]) == set(names)
        assert setting["failed"] == {}
        for name in names:
            assert len(setting["ms_by_round"][name]) == 2
            assert setting["difference"][name]["logits"] < 1e-5
            assert setting["difference"][name]["same_top1"]
    assert set(result["whole"]) == set(names)
    assert all(w["cold_s"] > 0 and w["peak_mb"] > 10 for w in result["whole"].values())
    assert result["commit"]
    assert result["machine"]["cpu"]
    assert str(ROOT) not in json.dumps(result)
    return result


def test_kigraph_alone_end_to_end(tmp_path: Path) -> None:
    result = run_all(tmp_path, ["kigraph"])
    assert [s["batch"] for s in result["settings"]] == [1, 3]
    assert all(s["ratios"] == {} for s in result["settings"])


def test_next_to_a_peer(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    result = run_all(tmp_path, ["kigraph", "onnxruntime"])
    assert all(set(s["ratios"]) == {"kigraph"} for s in result["settings"])
    pytest.importorskip("matplotlib")
    assert (tmp_path / "peers.png").read_bytes()[:4] == b"\x89PNG"
    again = command(f"--show={tmp_path / 'peers.json'}", f"--out={tmp_path}")
    assert "ONNX Runtime" in again.stdout, again.stderr


def test_peak_memory_is_the_contenders_own(tmp_path: Path) -> None:
    from benchmarks.peers.network import write_network
    from benchmarks.peers.whole import measure_whole

    network = write_network(tmp_path, MODEL)
    ballast = np.ones(400 << 20, np.uint8)  # the parent's memory is none of it
    found = measure_whole(network, ["kigraph"], 1, 1, lambda what: None)["kigraph"]
    assert 10 < found["peak_mb"] < ballast.nbytes / 1e6
    assert 0 < found["cold_low_s"] <= found["cold_s"] <= found["cold_high_s"]


def test_who_is_not_installed_is_left_out_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    from benchmarks.peers import contenders

    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "openvino" else find(name))
    found = contenders.absent(["kigraph", "openvino"])
    assert found == {"openvino": "not installed here; remedy: pip install 'kigraph[peers]'"}


def test_the_readme_part_is_replaced(tmp_path: Path) -> None:
    from benchmarks.peers.__main__ import BEGIN, END, write_readme

    page = tmp_path / "page.md"
    page.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    write_readme("new", page)
    assert page.read_text() == f"before\n{BEGIN}\nnew\n{END}\nafter\n"


def test_wrong_options_say_what_is_known() -> None:
    done = command("--only=tensorflow")
    assert done.returncode == 2
    assert "known: kigraph, direct" in done.stderr
    assert command("--threads=0").returncode == 2


def test_work_of_a_layer_is_the_contracts() -> None:
    from benchmarks.conv_layers import inception_shapes
    from benchmarks.peers.layers import work
    from kigraph.kernels.inception_v3 import CONVOLUTIONS

    assert [work(shape, 1)[0] for _, shape in inception_shapes()] == [2 * layer.macs for layer in CONVOLUTIONS]
    flops, moved = work((5, 5, 2, 3, 3, 4, 2, "VALID"), 3)
    assert (flops, moved) == (2 * 3 * 2 * 2 * 4 * 18, 4 * (3 * (50 + 16) + 72 + 4))


def test_the_roofline_is_the_longer_of_computing_and_moving() -> None:
    from benchmarks.peers.layers_report import floor_ms

    machine = {"peak_gflops": {"1": 100.0, "2": None}, "read_gbytes_per_s": {"1": 10.0, "2": None}}
    assert floor_ms({"machine": machine}, 1, {"flops": 1e9, "bytes": 1e6}) == pytest.approx(10.0)
    assert floor_ms({"machine": machine}, 1, {"flops": 1e6, "bytes": 1e9}) == pytest.approx(100.0)
    assert floor_ms({"machine": machine}, 2, {"flops": 1e6, "bytes": 1e9}) is None


def test_layers_end_to_end(tmp_path: Path) -> None:
    names = ["kigraph", "onnxruntime"] if importlib.util.find_spec("onnxruntime") else ["kigraph"]
    done = command(
        "--layers", "--quick", f"--only={','.join(names)}", "--rounds=1", "--seconds=0.001", f"--out={tmp_path}"
    )
    assert done.returncode == 0, done.stdout + done.stderr
    result = json.loads((tmp_path / "layers.json").read_text())
    (table,) = result["tables"]
    assert len(table["layers"]) >= 6
    for row in table["layers"]:
        assert set(row["ms"]) == set(names)
        assert all(ms > 0 for ms in row["ms"].values())
        assert row["kernel"]["kigraph"]
