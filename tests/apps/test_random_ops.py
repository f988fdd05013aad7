"""``kigraph inspect`` names what makes results differ from run to run, and the input that switches it off."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

import kigraph as ki
from kigraph.cli import main
from kigraph.cli.random_ops import random_ops

SHARED = Path(os.environ.get("KIGRAPH_SHARED") or Path(__file__).resolve().parents[3] / "shared")


def dropped(default: bool, *, switched: bool = True) -> ki.Graph:
    """y = x + noise while ``training``, else x."""
    graph = ki.Graph()
    with graph.as_default():
        x = ki.placeholder(ki.float32, [None, 3], name="x")

        def noise(y: ki.Tensor, name: str) -> ki.Tensor:
            drawn = graph.create_op("RandomUniform", [ki.shape(y)], {"dtype": ki.float32, "T": ki.int32}, name).outputs[
                0
            ]
            return ki.add(y, drawn)

        if not switched:
            ki.identity(noise(x, "drawn"), name="y")
            return graph
        training = graph.create_op("PlaceholderWithDefault", [ki.constant(default)], {"shape": ()}, "training").outputs[
            0
        ]
        off, on = graph.create_op("Switch", [x, ki.identity(training)], {}, "switch", num_outputs=2).outputs
        merged = graph.create_op("Merge", [off, noise(on, "drawn")], {}, "merge", num_outputs=2).outputs[0]
        ki.identity(merged, name="y")
    return graph


def test_the_switch_is_named() -> None:
    (found,) = random_ops(dropped(True), ["y:0"])
    assert (found.name, found.type, found.off, found.value) == ("drawn", "RandomUniform", "training:0", False)
    assert random_ops(dropped(False), ["y:0"]) == []
    (found,) = random_ops(dropped(False, switched=False), ["y:0"])
    assert found.off == ""


def test_feeding_the_switch_makes_runs_the_same() -> None:
    graph = dropped(True)
    (found,) = random_ops(graph, ["y:0"])
    feeds = {"x:0": [[1.0, 2.0, 3.0]], found.off: found.value}
    with ki.Session(graph) as session:
        assert session.run("y:0", feeds).tolist() == [[1, 2, 3]]
        del feeds[found.off]
        assert session.run("y:0", feeds).tolist() != session.run("y:0", feeds).tolist()


def test_inspect_says_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ki.save_graph(dropped(True), tmp_path / "m.pb")
    assert main(["inspect", str(tmp_path / "m.pb")]) == 0
    assert "drawn: run by default" in capsys.readouterr().out
    assert main(["inspect", str(tmp_path / "m.pb"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["random"] == [
        {"name": "drawn", "op": "RandomUniform", "off": "training:0", "value": False}
    ]


def test_a_released_file(capsys: pytest.CaptureFixture[str]) -> None:
    path = SHARED / "files" / "public" / "faced_face_corrector.pb"
    if not path.is_file():
        pytest.skip(f"no released files beside the project: {path} is missing")
    assert main(["inspect", str(path), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["random"]
    assert len(found) == 3
    assert {op["off"] for op in found} == {"training:0"}
