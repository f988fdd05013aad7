"""``import kigraph``: light, complete, and the same for people and type checkers."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import kigraph as ki

SOURCE = Path(ki.__file__)


def _modules_after(code: str) -> set[str]:
    script = f"{code}\nimport sys, json; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=SOURCE.parents[1]
    )
    return set(json.loads(done.stdout))


def test_import_loads_nothing_heavy() -> None:
    loaded = _modules_after("import kigraph")
    assert {m for m in loaded if m.startswith("kigraph")} == {"kigraph"}
    assert not loaded & {"numpy", "numba", "cupy", "PIL", "rich", "matplotlib", "h5py", "simplejpeg", "asyncio"}


def test_building_a_graph_loads_no_optional_library() -> None:
    loaded = _modules_after("import kigraph as ki\nki.matmul([[1.0]], [[2.0]])")
    assert "numpy" in loaded
    assert not loaded & {"numba", "cupy", "PIL", "rich", "matplotlib", "h5py", "simplejpeg"}


def test_help_of_the_command_loads_no_kernels() -> None:
    code = "import contextlib, io\nfrom kigraph.cli import main\nwith contextlib.redirect_stdout(io.StringIO()): main(['--help'])"
    assert not _modules_after(code) & {"numpy", "numba", "cupy", "rich", "matplotlib", "h5py", "PIL"}


@pytest.mark.parametrize("name", sorted(ki.__all__))
def test_every_public_name_resolves(name: str) -> None:
    value = getattr(ki, name)
    assert value is getattr(ki, name)
    assert name in dir(ki)


def test_type_checkers_see_the_same_names() -> None:
    tree = ast.parse(SOURCE.read_text())
    block = next(n for n in tree.body if isinstance(n, ast.If))
    seen = {
        (node.module, alias.asname)
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        if alias.asname == alias.name
    }
    assert seen == {(module, name) for name, module in ki._HOME.items()}


def test_names_are_defined_once() -> None:
    names = [name for text in ki._MODULES.values() for name in text.split()]
    assert len(names) == len(set(names))
    assert len(ki.__all__) == len(set(ki.__all__))


def test_all_op_functions_are_public() -> None:
    from kigraph.graph import ops

    assert {n for n in ops.__all__ if n != "getitem"} <= set(ki.__all__)


def test_all_errors_are_public_and_ours() -> None:
    from kigraph import errors

    for name in errors.__all__:
        assert issubclass(getattr(ki, name), ki.KigraphError)


def test_unknown_name() -> None:
    with pytest.raises(AttributeError, match="no_such_thing"):
        _ = ki.no_such_thing  # type: ignore[attr-defined]


def test_version_is_the_projects() -> None:
    pyproject = SOURCE.resolve().parents[1] / "pyproject.toml"
    if not pyproject.is_file():
        pytest.skip("an installed copy has no pyproject.toml")
    assert ki.__version__ == tomllib.loads(pyproject.read_text())["project"]["version"]
