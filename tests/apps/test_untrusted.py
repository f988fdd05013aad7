"""``kigraph inspect --untrusted``: the same report, from a child process that limits stop."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import kigraph as ki
from kigraph.cli import limited, main
from kigraph.cli.limited import run_limited


@pytest.fixture
def model(tmp_path: Path) -> Path:
    with (graph := ki.Graph()).as_default():
        ki.relu(ki.placeholder(ki.float32, [2, 3], name="x"), name="y")
    return ki.save_graph(graph, tmp_path / "net.pb")


def test_the_report_is_the_same(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", str(model), "--json"]) == 0
    want = json.loads(capsys.readouterr().out)
    assert main(["inspect", str(model), "--json", "--untrusted"]) == 0
    assert json.loads(capsys.readouterr().out) == want
    assert main(["inspect", str(model), "--untrusted", "--tensors"]) == 0
    assert "Placeholder" in capsys.readouterr().out


def test_errors_come_through(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bad = tmp_path / "-bad.pb"  # a name that looks like an option
    bad.write_bytes(b"\x00" * 100)
    assert main(["inspect", "--untrusted", "--", str(bad)]) == 2
    assert "LoadError" in capsys.readouterr().err


def test_a_child_at_its_limits_is_an_error(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hungry = limited._CHILD.replace("from kigraph.cli import main", "bytearray(1 << 40)")
    monkeypatch.setattr(limited, "_CHILD", hungry)
    assert run_limited(["inspect", str(model)], "net.pb") == 1  # MemoryError in the child, and nothing here
    monkeypatch.setattr(limited, "_CHILD", limited._CHILD.replace("bytearray(1 << 40)", "while True: pass"))
    with pytest.raises(ki.LoadError, match=r"died|was stopped"):
        run_limited(["inspect", str(model)], "net.pb", seconds=1, wall=20)
    with pytest.raises(ki.LoadError, match=r"more than 0\.2 s"):
        run_limited(["inspect", str(model)], "net.pb", wall=0.2)


def test_the_child_writes_nothing(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "made"
    writing = f"open({str(target)!r}, 'wb').write(b'x' * 10)"
    monkeypatch.setattr(limited, "_CHILD", limited._CHILD.replace("from kigraph.cli import main", writing))
    assert run_limited(["inspect", str(model)], "net.pb") == 1
    assert not target.exists() or target.stat().st_size == 0


def test_modules_of_the_current_folder_are_not_used(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Where a model was unpacked, other files may lie, too."""
    for name in ("resource", "kigraph", "json"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('foreign code ran')")
    monkeypatch.chdir(tmp_path)
    assert run_limited(["inspect", str(model)], "net.pb") == 0
    assert "foreign code" not in capfd.readouterr().err


def test_limits_above_those_of_the_process_are_lowered(model: Path) -> None:
    """A service manager's own limits may be tighter."""
    import subprocess
    import sys

    code = (
        "import resource; resource.setrlimit(resource.RLIMIT_CPU, (30, 30)); from kigraph.cli.limited import run_limited; "
        f"raise SystemExit(run_limited(['inspect', {str(model)!r}], 'net.pb'))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
