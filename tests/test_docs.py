"""The documents are true: their links lead somewhere, their commands exist, their programs run, their table is current."""

from __future__ import annotations

import contextlib
import io
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import kigraph as ki
from kigraph.kernels.backends import BACKENDS

ROOT = Path(__file__).resolve().parents[1]
PAGES = (
    "README.md", "CONTRIBUTING.md", "CHANGELOG.md", "docs/architecture.md", "docs/gpu.md", "docs/micro-kernels.md",
    "docs/model-files.md",
    "docs/logging.md", "docs/retrain.md",
    "docs/service.md", "docs/precision.md",
)  # fmt: skip

pytestmark = pytest.mark.skipif(not (ROOT / "README.md").exists(), reason="needs the checkout, not an installed copy")


def read(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_to_files(page: str) -> None:
    targets = re.findall(r"\]\(([^)#]+)\)", read(page))
    local = [t for t in targets if not t.startswith("https://")]
    assert [t for t in local if not (ROOT / page).parent.joinpath(t).exists()] == []


@pytest.mark.parametrize("page", PAGES)
def test_paths_exist(page: str) -> None:
    """Whatever is written as a path of the project, `graph/ops/__init__.py` or `kernels/host`, is there."""
    named = re.findall(r"`((?:\.ci|docs|graph|kernels|kigraph|tests|benchmarks|examples)/[\w./*-]*)`", read(page))
    # The links kigraph/kernels and kigraph/graph are there in a checkout only.
    paths = {p for p in named if p not in ("kigraph/kernels", "kigraph/graph")}
    assert [p for p in sorted(paths) if not list(ROOT.glob(p.rstrip("/")))] == []


@pytest.mark.parametrize("page", PAGES)
def test_make_targets_exist(page: str) -> None:
    targets = set(re.findall(r"^([a-z-]+):", read("Makefile"), re.MULTILINE))
    named = set(re.findall(r"(?:^|`|\| )make ([a-z-]+)", read(page), re.MULTILINE))
    assert named <= targets


def test_commands_of_the_readme_exist() -> None:
    from kigraph.cli import build_parser

    shell = "".join(re.findall(r"```sh\n(.*?)```", read("README.md"), re.DOTALL))
    commands = re.findall(r"^kigraph (\w+)", shell, re.MULTILINE)
    assert len(commands) >= 6
    for command in commands:
        with contextlib.redirect_stdout(io.StringIO()), pytest.raises(SystemExit) as stop:
            build_parser().parse_args([command, "--help"])
        assert stop.value.code == 0


def test_the_program_of_the_readme_runs() -> None:
    program = next(b for b in re.findall(r"```python\n(.*?)```", read("README.md"), re.DOTALL) if "ki.placeholder" in b)
    said = io.StringIO()
    with contextlib.redirect_stdout(said), ki.using_backend("numpy"):
        exec("import kigraph as ki\n" + program, {})
    first, second, plan = said.getvalue().split("\n", 2)
    assert re.findall(r"[\d.]+(?=\))", first) == ["6.0", "33.0"]
    assert float(second) == 45.0
    assert "numpy.mul" in plan


def test_the_support_table_is_current() -> None:
    missing = [b.name for b in BACKENDS if not b.status().available and "import failed" in b.status().detail]
    if missing:
        pytest.skip(f"the table has all backends; not installed here: {', '.join(missing)}")
    command = [sys.executable, str(ROOT / "docs/support_table.py"), "--check"]
    done = subprocess.run(command, cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)}, timeout=300)
    assert done.returncode == 0, "docs/support-table.md is not current; run `make docs-table` and commit the result"
