"""The one progress bar: seen on a terminal only, with rate and time left, and gone at the end."""

from __future__ import annotations

import subprocess
import sys
from typing import Any
from unittest import mock

import numpy as np
import pytest

from kigraph import train
from kigraph.progress import Bar, track

Capture = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)


def terminal() -> Any:
    """Standard error passes for a terminal."""
    return mock.patch.object(sys.stderr, "isatty", return_value=True)


def test_a_terminal_sees_count_rate_and_time_left(capsys: Capture) -> None:
    with terminal(), Bar("measuring", 4) as bar:
        for _ in range(3):
            bar.update()
        bar.update(what="nearly")
    out, err = capsys.readouterr()
    assert out == ""
    assert "nearly" in err
    assert "4/4" in err
    assert "/s" in err
    assert ":0" in err  # 0:00:00


def test_bytes_have_units_and_a_total_that_becomes_known(capsys: Capture) -> None:
    with terminal(), Bar("downloading", in_bytes=True) as bar:
        bar.update(1_500_000)
        bar.update(3_000_000, 6_000_000)
        bar.update(6_000_000, None)
    err = capsys.readouterr().err
    assert "6.0/6.0 MB" in err


def test_a_description_is_no_markup(capsys: Capture) -> None:
    with terminal(), Bar("[red]file[0]", 1) as bar:
        bar.write("[bold]line[/bold]")
    err = capsys.readouterr().err
    assert "[bold]line[/bold]" in err
    assert "[red]file[0]" in err


@pytest.mark.parametrize(("total", "quiet"), [(0, False), (3, True)])
def test_nothing_is_drawn_without_work_or_when_quiet(capsys: Capture, total: int, quiet: bool) -> None:
    with terminal(), Bar("measuring", total, quiet=quiet) as bar:
        bar.update()
        bar.write("line")
    assert not bar.visible
    assert capsys.readouterr() == ("", "")


def test_nothing_is_drawn_before_the_first_update(capsys: Capture) -> None:
    with terminal(), Bar("measuring", 3):
        pass
    assert capsys.readouterr() == ("", "")


def test_without_rich_there_is_no_bar(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rich", None)
    monkeypatch.delitem(sys.modules, "rich.progress", raising=False)
    with terminal():
        assert list(track("abc", "letters")) == ["a", "b", "c"]
    assert capsys.readouterr() == ("", "")


def test_a_pipe_gets_nothing_and_rich_is_not_imported() -> None:
    code = (
        "import sys\nfrom kigraph.progress import track\nprint(list(track([1, 2, 3], 'counting')))\n"
        "assert 'rich' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    assert (done.stdout, done.stderr) == ("[1, 2, 3]\n", "")


def test_one_item_needs_no_bar(capsys: Capture) -> None:
    with terminal():
        assert list(track(["one"], "classifying")) == ["one"]
        assert capsys.readouterr() == ("", "")
        assert list(track(["one", "two"], "classifying")) == ["one", "two"]
    assert "classifying" in capsys.readouterr().err


def test_training_shows_batches_and_keeps_a_line_per_epoch(capsys: Capture) -> None:
    rng = np.random.default_rng(0)
    model = train.Model([train.layers.Dense(2)], (3,), backend="numpy")
    x, y = rng.standard_normal((8, 3), dtype=np.float32), rng.integers(0, 2, 8)
    with terminal():
        model.fit(x, y, epochs=2, batch_size=4)
    err = capsys.readouterr().err
    assert "4/4" in err
    assert "epoch 1" in err
    assert "epoch 2" in err
    with terminal():
        model.fit(x, y, epochs=3, batch_size=4, progress=False)
    assert capsys.readouterr().err == ""
