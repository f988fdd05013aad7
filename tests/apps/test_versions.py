"""What a bug report needs, as text and as data."""

from __future__ import annotations

import json
import os
import platform
import re
from pathlib import Path

import numpy as np
import pytest

import kigraph as ki
from kigraph.machine import Backends, backend_status

Capture = pytest.CaptureFixture[str]


def test_the_dict_is_plain_data_and_true(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "packed").mkdir()
    (tmp_path / "packed" / "a").write_bytes(b"x" * 10)
    monkeypatch.setenv("KIGRAPH_CACHE_DIR", str(tmp_path))
    monkeypatch.setenv("KIGRAPH_NUM_THREADS", "3")
    monkeypatch.setenv("KIGRAPH_BAKEND", "secret")
    found = json.loads(json.dumps(ki.versions()))
    assert found["kigraph"]["version"] == ki.__version__
    assert found["python"]["version"] == platform.python_version()
    assert found["packages"]["numpy"] == np.__version__
    assert [b["name"] for b in found["backends"]] == [b.name for b in backend_status()]
    assert all(b["detail"] and (b["available"] or b["remedy"]) for b in found["backends"])
    assert found["settings"]["KIGRAPH_NUM_THREADS"] == 3
    assert found["cache"] == {"folder": str(tmp_path), "packed": "1 files, 10 bytes"}
    assert found["unknown_settings"] == {"KIGRAPH_BAKEND": "KIGRAPH_BACKEND"}
    assert "secret" not in json.dumps(found)


def test_the_text_says_the_same(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KIGRAPH_PLAN_CACHE", "7")
    assert ki.show_versions() is None
    text = capsys.readouterr().out
    for part in (f"kigraph: {ki.__version__}", np.__version__, platform.python_version()):
        assert part in text
    assert re.search(r"KIGRAPH_PLAN_CACHE +7\n", text)
    for backend in backend_status():
        assert f"{backend.name}: {'usable' if backend.available else 'not usable'}" in text
        assert backend.remedy in text


def test_invalid_settings_and_unreadable_caches_are_shown(
    capsys: Capture, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("KIGRAPH_NUM_THREADS", "none\x1b[31m")
    monkeypatch.setenv("KIGRAPH_CACHE_DIR", str(tmp_path / "nothing"))
    ki.show_versions()
    text = capsys.readouterr().out
    assert "invalid: KIGRAPH_NUM_THREADS" in text
    assert "\x1b" not in text
    assert "not there yet" in text
    assert ki.versions()["problem"].startswith("KIGRAPH_NUM_THREADS")
    (tmp_path / "file").write_text("x")
    monkeypatch.setenv("KIGRAPH_CACHE_DIR", os.fspath(tmp_path / "file"))
    assert "cannot be read" in ki.versions()["cache"]["state"]


def test_the_status_of_backends_prints_as_a_table() -> None:
    status = ki.backend_status()
    assert isinstance(status, Backends)
    assert [b.name for b in status] == ["cupy", "cython", "numba", "numpy"]
    assert str(status).splitlines()[0].split() == ["backend", "usable", "what", "here"]
    assert repr(status).startswith("<Backends: cupy")
    html = status._repr_html_()
    assert html.count("<tr>") == 1 + len(status)
    assert all(b.name in html for b in status)
