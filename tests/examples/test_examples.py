"""The programs under examples/ run as a reader would run them, and print what their texts promise."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

import kigraph as ki

ROOT = Path(__file__).resolve().parents[2]
SHARED = ROOT.parent / "shared"
#: Programs; a file without a main part is a module of one of them.
EXAMPLES = sorted(p.stem for p in (ROOT / "examples").glob("*.py") if '__name__ == "__main__"' in p.read_text())


def run(name: str, *arguments: object, **environment: str) -> str:
    clean = {k: v for k, v in os.environ.items() if not k.startswith("KIGRAPH_")}
    done = subprocess.run(
        [sys.executable, str(ROOT / "examples" / f"{name}.py"), *map(str, arguments)],
        env=clean | {"PYTHONPATH": str(ROOT)} | environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_example_has_a_test() -> None:
    """Here, or with the tests of what it shows."""
    text = "".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    assert [name for name in EXAMPLES if f'"{name}"' not in text] == []
    assert len(EXAMPLES) >= 5


def test_hello_world() -> None:
    tensor, value = run("hello_world").splitlines()
    assert tensor == "the tensor: <Tensor 'Const:0' string[]>"
    assert value == "its value:  Hello World"


def test_formula() -> None:
    assert run("formula").splitlines() == [
        "a = 5, b = 3, c = 2:    u = bc = 6    v = a + u = 11    J = 3v = 33",
        "v replaced by 7:        J = 21",
        "u replaced by 10:       v = 15    J = 45",
    ]


def test_matrix() -> None:
    head, *rows = run("matrix").splitlines()
    assert head == "(2, 2) x (2, 1) -> (2, 1)"
    results = dict(row.split(": ") for row in rows)
    assert [name.strip() for name in results] == list(ki.available_backends())
    assert set(results.values()) == {"[[210.0], [-210.0]]"}


def test_line_and_curve(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    picture = tmp_path / "fit.png"
    line, curve, wrote = run("line_and_curve", "--out", picture).splitlines()
    assert line.startswith("Y = 2X:    learnt Y = 2.0000 X ")
    by_line, by_network = map(float, re.findall(r"0\.\d+", curve))
    assert by_network < by_line / 100
    assert wrote == f"wrote {picture}"
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_digits(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    pytest.importorskip("sklearn", reason="the digits are scikit-learn's")
    out = run("digits", "--epochs", 6, "--out", tmp_path)
    accuracy = re.search(r"([\d.]+)% of 360 held-out digits right", out)
    assert accuracy is not None
    assert float(accuracy[1]) >= 95
    assert {p.name for p in tmp_path.iterdir()} == {"digits.pb", "digits.png", "digits_history.png", "digits.csv"}


def test_apples_or_oranges(tmp_path: Path) -> None:
    """The network that comes with kigraph beats the rules on pictures that nobody has seen."""
    pytest.importorskip("matplotlib")
    out = run("apples_or_oranges", "--held-out", 200, "--out", tmp_path)
    right = re.search(r"rules: ([\d.]+)% right, network: ([\d.]+)% right, of 200 pictures", out)
    assert right is not None
    rules, network = map(float, right.groups())
    assert rules < 85 < 90 <= network
    assert (tmp_path / "apples_or_oranges.png").read_bytes().startswith(b"\x89PNG")


def test_draw_graph(tmp_path: Path) -> None:
    assert run("draw_graph", "--out", tmp_path).split() == [
        str(tmp_path / f"graph.{s}") for s in ("dot", "svg", "html")
    ]
    dot, html = (tmp_path / "graph.dot").read_text(), (tmp_path / "graph.html").read_text()
    assert "= 33.0" in dot
    assert "= 33.0" in html
    shown = [e.text for e in ElementTree.parse(tmp_path / "graph.svg").iter("{http://www.w3.org/2000/svg}text")]
    assert {"J = 3 (a + bc)", "= 5.0", "= 6.0", "= 11.0", "= 33.0"} <= set(shown)


def test_draw_a_model(tmp_path: Path) -> None:
    model = SHARED / "models/mobilenet_v1_0.25_224/frozen_graph.pb"
    if not model.exists():
        pytest.skip("the real MobileNet v1 of ../shared/models is not here")
    run("draw_graph", model, "--out", tmp_path)
    assert "MobilenetV1/Predictions/Reshape_1" in (tmp_path / "graph.html").read_text()


def test_classify_photo() -> None:
    model = SHARED / "models/mobilenet_v1_0.25_224/frozen_graph.pb"
    if not model.exists():
        pytest.skip("the real MobileNet v1 of ../shared/models is not here")
    out = run("classify_photo", SHARED / "photos/grace_hopper.jpg", "--weights", model, "--backend", "numpy")
    assert out.startswith("frozen_graph.pb: ")
    assert "military uniform" in out
