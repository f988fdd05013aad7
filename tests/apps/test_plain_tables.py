"""Tables of names in any script, which a file or a folder may have given."""

from __future__ import annotations

import sys

import pytest
from rich.cells import cell_len

from kigraph.cli.output import print_table


def test_columns_are_aligned_in_any_script(capsys: pytest.CaptureFixture[str]) -> None:
    """Widths by rich, which has its own table of them."""
    names = ["rose", "\u65e5\u672c \u8a9e", "\u0440\u043e\u0437\u0430", "cafe\u0301", "\uff21", "a\x1bb"]
    print_table(("class", *names), [(name, *range(6)) for name in names], right=range(1, 7))
    lines = capsys.readouterr().out.splitlines()
    assert len({cell_len(line) for line in lines}) == 1
    assert all(cell_len(line[: line.index(" 0")]) == cell_len(lines[1][: lines[1].index(" 0")]) for line in lines[1:])
    assert "\x1b" not in "".join(lines)


def test_names_are_no_markup_on_a_terminal(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    names = ["[/red]", "[bold]b", "a\x1b[31m"]
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "100")
    print_table(("", *names), [(name, 1, 2, 3) for name in names])
    lines = capsys.readouterr().out.splitlines()
    for name in ("[/red]", "[bold]b", "a?[31m"):
        assert name in lines[0]
        assert sum(line.startswith(name) for line in lines) == 1
