"""The same network in several files: layers aligned, the first that diverges, exit status."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

import kigraph as ki
from kigraph.cli import main
from kigraph.verify import Subject, verify
from kigraph.verify.align import Value, align, closest
from kigraph.verify.report import Layer


def network(path: Path, *, folded: bool = False, wrong: float = 0.0, name: str = "", seed: int = 5) -> Path:
    """Three convolutions with batch norm, which one form has folded into weights and names otherwise."""
    rng = np.random.default_rng(seed)
    with (graph := ki.Graph()).as_default():
        x = ki.placeholder(ki.float32, [None, 12, 12, 3], name=f"{name}x")
        for i, (a, b) in enumerate(((3, 4), (4, 6), (6, 5))):
            w = rng.standard_normal((3, 3, a, b)).astype(np.float32) / 5
            scale, shift = (rng.uniform(0.5, 1.5, b).astype(np.float32) for _ in range(2))
            w_used = w * (1 + wrong) if i == 1 else w
            if folded:
                x = ki.conv2d(x, w_used * scale, 1, "SAME", name=f"{name}c{i}") + shift
            else:
                x = ki.conv2d(x, w_used, 1, "SAME", name=f"{name}c{i}") * scale + shift
            x = ki.relu(x, name=f"{name}r{i}")
        head = ki.constant(rng.standard_normal((5, 4)).astype(np.float32))
        ki.softmax(ki.matmul(ki.reduce_mean(x, [1, 2]), head), name=f"{name}y")
    return ki.save_graph(graph, path)


def test_a_folded_and_renamed_network_is_the_same(tmp_path: Path) -> None:
    a, b = network(tmp_path / "a.pb"), network(tmp_path / "b.pb", folded=True, name="net/")
    report = verify([a, b])
    assert report.ok
    (found,) = report.comparisons
    pairs = {layer.name: layer.other for layer in found.layers}
    assert {pairs[f"r{i}"] for i in range(3)} == {f"net/r{i}" for i in range(3)}
    assert max(layer.relative for layer in found.layers) < 1e-5
    assert found.diverging(1e-4) is None


def test_the_first_wrong_layer_is_named(tmp_path: Path) -> None:
    a, b = network(tmp_path / "a.pb"), network(tmp_path / "b.pb", folded=True, name="net/", wrong=0.02)
    report = verify([a, b])
    assert not report.ok
    diverging = report.comparisons[0].diverging(report.tolerance)
    assert diverging is not None
    assert diverging.other in ("net/c1", "net/add_1", "net/r1")
    assert 1e-3 < diverging.relative < 0.05


def test_backends_and_images_and_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a = network(tmp_path / "a.pb")
    pixels = np.random.default_rng(1).integers(0, 256, (20, 30, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(picture := tmp_path / "p.png")
    arguments = ["verify", str(a), "-b", "numpy,cython", "--image", str(picture), "--draw", str(tmp_path / "v.svg")]
    assert main([*arguments, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    (found,) = document["comparisons"]
    assert document["ok"] is True
    assert (found["same_first_label"], found["same_top_labels"]) == (1, 1)
    assert len(found["layers"]) == found["layers_of_reference"] > 8
    svg = ElementTree.parse(tmp_path / "v.svg").getroot()
    assert len(svg.findall("{*}circle")) == len(found["layers"]) + 1
    assert main(arguments) == 0
    assert "the same" in capsys.readouterr().out


def test_the_exit_status_tells(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a, b = network(tmp_path / "a.pb"), network(tmp_path / "b.pb", seed=6)
    assert main(["verify", str(a), str(b)]) == 1
    out = capsys.readouterr().out
    assert "DIFFERENT" in out
    assert "first layer beyond 0.0001" in out
    assert main(["verify", str(a)]) == 2
    assert "second file" in capsys.readouterr().err
    assert main(["verify", str(a), str(b), "--draw", "x.png"]) == 2


def test_what_cannot_be_compared(tmp_path: Path) -> None:
    a = network(tmp_path / "a.pb")
    with (graph := ki.Graph()).as_default():
        ki.relu(ki.placeholder(ki.float32, [None, 5, 5, 3], name="x"), name="y")
    b = ki.save_graph(graph, tmp_path / "b.pb")
    with pytest.raises(ki.KigraphError, match="not the same network"):
        verify([a, b])
    with (graph := ki.Graph()).as_default():
        ki.add(ki.placeholder(ki.float32, [2]), ki.placeholder(ki.float32, [2]), name="y")
    with pytest.raises(ki.KigraphError, match="takes 2 inputs"):
        verify([a, ki.save_graph(graph, tmp_path / "c.pb")])
    with pytest.raises(ki.KigraphError, match="at least two"):
        verify([Subject(str(a))])


@pytest.mark.parametrize(
    ("a", "b", "absolute", "ulps"),
    [
        ([1.0, 2.0], [1.0, 2.0], 0, 0),
        ([1.0], [np.nextafter(np.float32(1), np.float32(2))], 2**-23, 1),
        ([0.0], [-0.0], 0, 0),
        ([np.float32(1e-45)], [np.float32(-1e-45)], 2.8e-45, 2),
        ([np.nan, 1.0], [np.nan, 1.0], 0, 0),
        ([np.nan], [1.0], np.inf, np.inf),
        ([np.inf], [-np.inf], np.inf, np.inf),
        ([], [], 0, 0),
    ],
)
def test_differences(a: Any, b: Any, absolute: float, ulps: float) -> None:
    layer = Layer.of("a", "b", "op", np.array(a, np.float32), np.array(b, np.float32))
    assert layer.absolute == pytest.approx(absolute, rel=0.1)
    assert layer.ulps == ulps


def test_layers_are_told_by_their_values_in_any_layout(seed: int) -> None:
    rng = np.random.default_rng(seed)
    values = [rng.standard_normal((2, 3, 4, 5)) * s for s in (1, 3, 9, 27)]
    a = [Value(f"a{i}", "op", v) for i, v in enumerate(values)]
    b = [Value(f"b{i}", "op", values[i].transpose(0, 3, 1, 2)) for i in (0, 2, 3)]
    assert align(a, b) == [(0, 0), (2, 1), (3, 2)]
    assert align(a, []) == []
    found = closest(values[0], values[0].transpose(0, 3, 1, 2))
    assert found is not None
    assert (found == values[0]).all()
    assert closest(values[0], np.zeros((2, 3, 4, 6))) is None
    square = rng.standard_normal((1, 3, 3, 3))
    turned = closest(square, square.transpose(0, 3, 1, 2))
    assert turned is not None
    assert (turned == square).all()
