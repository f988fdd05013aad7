"""KIGRAPH_LOG: the level, one handler, and an application's own logging left alone."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import kigraph

ROOT = Path(kigraph.__file__).resolve().parents[1]
RUN = "import kigraph as ki\nki.Session(ki.Graph(), backend='numpy')\nki.Session(ki.Graph(), backend='numpy')\n"
SAID = "INFO kigraph: backend numpy"


def errors_of(code: str, level: str | None, **more: str) -> str:
    kept = {k: v for k, v in os.environ.items() if not k.startswith("KIGRAPH_")}
    said = {} if level is None else {"KIGRAPH_LOG": level}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, env=kept | said | more, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stderr


@pytest.mark.parametrize(("level", "count"), [(None, 0), ("error", 0), ("warning", 0), ("info", 1), ("debug", 1)])
def test_the_level_decides(level: str | None, count: int) -> None:
    assert errors_of(RUN, level).count(SAID) == count


def test_warnings_and_compiled_plans() -> None:
    code = (
        "import kigraph as ki\ng = ki.Graph()\nwith g.as_default(): c = ki.constant(1.0) + 2.0\n"
        "ki.Session(g, backend='numpy').run(c)\n"
    )
    said = errors_of(code, "debug", KIGRAPH_BAKEND="x")
    assert "DEBUG kigraph: compiled <Plan: " in said
    assert said.count("WARNING kigraph: the environment variable KIGRAPH_BAKEND") == 1
    assert errors_of(code, "error", KIGRAPH_BAKEND="x") == ""


def test_an_application_that_logs_is_left_alone() -> None:
    code = "import logging\nlogging.basicConfig(format='mine: %(message)s')\n" + RUN
    said = errors_of(code, "info")
    assert said.count("backend numpy") == 1
    assert "mine: backend numpy" in said


def test_an_application_that_begins_to_log_later_gets_each_line_once() -> None:
    code = (
        RUN
        + "import logging\nlogging.basicConfig(format='mine: %(message)s')\nlogging.getLogger('kigraph').info('after')\n"
    )
    said = errors_of(code, "info")
    assert said.count(SAID) == 1
    assert said.count("after") == 1
    assert "mine: after" in said


def test_without_standard_error_nothing_fails() -> None:
    assert errors_of("import sys\nkept, sys.stderr = sys.stderr, None\n" + RUN, "info") == ""


def test_an_invalid_level_is_an_error() -> None:
    code = "import kigraph as ki\ntry: ki.Session(ki.Graph())\nexcept ki.SettingsError as e: print(e, file=__import__('sys').stderr)"
    assert "Valid: debug, info, warning, error" in errors_of(code, "loud")


def test_commands_follow_it() -> None:
    code = "import sys\nfrom kigraph.cli import main\nsys.exit(main(['inspect', 'demo']))"
    assert errors_of(code, None, KIGRAPH_BAKEND="x").startswith("kigraph: warning: the environment variable")
    assert errors_of(code, "error", KIGRAPH_BAKEND="x") == ""
    loud = "import sys\nfrom kigraph.cli import main\nsys.exit(main(['bench', '--weights', 'demo', '-n', '1', '--seconds', '1']))"
    assert "kigraph: info: backend numpy" in errors_of(loud, "info", KIGRAPH_BACKEND="numpy")
