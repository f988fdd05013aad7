"""``import kigraph``: light, complete, and the same for people and type checkers."""

from __future__ import annotations

import ast
import importlib
import json
import subprocess
import sys
import tomllib
from pathlib import Path
from types import FunctionType

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


def _stub_names() -> dict[str, str | None]:
    """The names that the stub makes public (``x as x``, what ``import *`` brings, annotations), and their modules."""
    names: dict[str, str | None] = {}
    for node in ast.parse(SOURCE.with_suffix(".pyi").read_text()).body:
        if isinstance(node, ast.ImportFrom) and node.names[0].name == "*":
            names |= dict.fromkeys(importlib.import_module(f"kigraph.{node.module}").__all__, node.module)
        elif isinstance(node, ast.ImportFrom):
            names |= {alias.name: node.module for alias in node.names if alias.asname == alias.name}
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            names[node.target.id] = None
    return names


def test_type_checkers_see_the_same_names() -> None:
    seen = _stub_names()
    assert set(seen) == set(ki.__all__)
    assert {name: seen[name] for name in ki._HOME} == ki._HOME


def test_a_name_has_one_home() -> None:
    assert len(ki.__all__) == len(set(ki.__all__))


def test_all_op_functions_are_public() -> None:
    """Every function without an underscore but what tensor[key] calls, and the same object everywhere."""
    from kigraph.graph import ops
    from kigraph.graph.ops import array, core, losses, math, nn

    defined = {
        name
        for module in (core, array, math, nn, losses)
        for name, value in vars(module).items()
        if isinstance(value, FunctionType) and value.__module__ == module.__name__ and not name.startswith("_")
    }
    assert defined - {"getitem", "matmul_operator"} <= set(ki.__all__)
    assert all(getattr(ki, name) is getattr(ops, name) for name in ops.__all__)


@pytest.mark.parametrize(
    "code", ["from kigraph import cli", "import kigraph; hasattr(kigraph, 'vision')", "from kigraph import saving"]
)
def test_names_of_modules_load_no_kernels(code: str) -> None:
    """An op of that name is looked for last."""
    assert not {m for m in _modules_after(code) if m.startswith("kigraph.graph.ops")}


def test_star_import() -> None:
    names: dict[str, object] = {}
    exec("from kigraph import *", names)
    assert set(ki.__all__) <= set(names)


def test_all_errors_are_public_and_ours() -> None:
    from kigraph import errors

    for name in errors.__all__:
        assert issubclass(getattr(ki, name), ki.KigraphError)


@pytest.mark.parametrize("name", ["no_such_thing", "a.b", "", "two words"])
def test_names_that_are_not_there(name: str) -> None:
    assert not hasattr(ki, name)


def test_unknown_name() -> None:
    with pytest.raises(AttributeError, match="no_such_thing"):
        _ = ki.no_such_thing  # type: ignore[attr-defined]


def test_version_is_the_projects() -> None:
    pyproject = SOURCE.resolve().parents[1] / "pyproject.toml"
    if not pyproject.is_file():
        pytest.skip("an installed copy has no pyproject.toml")
    assert ki.__version__ == tomllib.loads(pyproject.read_text())["project"]["version"]
