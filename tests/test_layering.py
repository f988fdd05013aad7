"""Arrows point down only. The layers are written once, in pyproject.toml, for import-linter; here they are enforced.

Also: what `import kigraph` loads, and that the code cannot be imported under a second name.
"""

from __future__ import annotations

import ast
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from kigraph.kernels.backends import backend_names

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("kigraph", "kernels", "graph")
#: Nothing of these may be loaded before it is needed.
HEAVY = "numpy numba llvmlite cupy cuda PIL simplejpeg rich matplotlib h5py scipy"

pytestmark = pytest.mark.skipif(not (ROOT / "kernels").is_dir(), reason="needs the sources, not an installed copy")


def lint(folder: Path) -> subprocess.CompletedProcess[str]:
    command = "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports(no_cache=True))"
    return subprocess.run([sys.executable, "-c", command], cwd=folder, capture_output=True, text=True, timeout=300)


def run_python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_layers() -> None:
    pytest.importorskip("importlinter")
    done = lint(ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 broken" in done.stdout


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python sources with real folders in place of the links, to plant faults in."""
    pytest.importorskip("importlinter")
    folder = tmp_path_factory.mktemp("layers")
    shutil.copy(ROOT / "pyproject.toml", folder)
    for name in FOLDERS:
        target = folder / "kigraph" if name == "kigraph" else folder / "kigraph" / name
        skip = shutil.ignore_patterns("__pycache__", "*.so", "*.c", *(FOLDERS[1:] if name == "kigraph" else ()))
        shutil.copytree(ROOT / name, target, ignore=skip)
    return folder


@pytest.mark.parametrize(
    ("module", "fault"),
    [
        ("kernels/contracts/concat.py", "from ...graph import ir"),
        ("kernels/tensor.py", "from . import registry"),
        ("kernels/numba/__init__.py", "from ..cython import core"),
        ("graph/ir.py", "from . import builder"),
        ("graph/ir.py", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from . import builder"),
        ("graph/session.py", "from ..kernels import numpy"),
        ("cli/cache.py", "def f():\n    from ..kernels.testing import launcher"),
        ("graph/opdefs/base.py", "def f():\n    import numba"),
    ],
)
def test_a_planted_fault_is_found(copy: Path, module: str, fault: str) -> None:
    path = copy / "kigraph" / module
    good = path.read_text()
    path.write_text(f"{good}\n{fault}\n")
    try:
        done = lint(copy)
    finally:
        path.write_text(good)
    assert done.returncode == 1
    assert " broken." in done.stdout
    assert "0 broken" not in done.stdout


def test_importing_kigraph_loads_nothing_heavy() -> None:
    found = run_python(f"import sys, kigraph; print([m for m in '{HEAVY}'.split() if m in sys.modules])")
    assert found == "[]"


def test_building_a_graph_loads_no_optional_library() -> None:
    optional = HEAVY.replace("numpy", "")
    code = f"""
import sys
import kigraph as ki
with ki.Graph().as_default() as graph:
    x = ki.constant([[1.0, 2.0], [-1.0, -2.0]])
    y = ki.matmul(x, x)
with ki.Session(graph, backend="numpy") as session:
    session.run(y)
print([m for m in "{optional}".split() if m in sys.modules])
"""
    assert run_python(code) == "[]"


def test_importing_kigraph_is_quick() -> None:
    """At most 0.15 s; the best of five processes, so that a busy machine does not matter."""
    code = "import time; t = time.perf_counter(); import kigraph; print(time.perf_counter() - t)"
    assert min(float(run_python(code)) for _ in range(5)) <= 0.15


@pytest.mark.parametrize("name", ["kernels", "graph"])
def test_the_folders_refuse_a_second_name(name: str) -> None:
    """A second copy of a module would have a second registry."""
    code = f"try:\n    import {name}\nexcept ImportError as error:\n    print(error)"
    assert f"import kigraph.{name}" in run_python(code)


def test_graph_has_no_branch_on_a_backend() -> None:
    names = {*backend_names(), "host"}
    found = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in sorted((ROOT / "graph").rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Compare)
        for part in ast.walk(node)
        if isinstance(part, ast.Constant) and part.value in names
    ]
    assert found == []
