"""No two modules import each other, and docs/module-map.svg shows the imports as they are."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]
SCRIPT = ROOT / "docs" / "module_map.py"

pytestmark = pytest.mark.skipif(not SCRIPT.is_file(), reason="needs the checkout, not an installed copy")


@pytest.fixture(scope="module")
def module_map() -> Any:
    spec = importlib.util.spec_from_file_location("module_map", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["module_map"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def imports(module_map: Any) -> Any:
    return module_map.read_imports()


def test_the_picture_is_current(module_map: Any) -> None:
    drawn = module_map.TARGET.read_text(encoding="utf-8")
    assert drawn == module_map.render(), "docs/module-map.svg is not current; run `make docs-map` and commit the result"


def test_no_two_modules_import_each_other(module_map: Any, imports: Any) -> None:
    assert len(imports) > 300
    assert "kigraph.kernels.cython.core" in imports
    found = module_map.circles(imports, module_map.declared())
    assert found == [], "\n".join(" -> ".join(circle) for circle in found)


def test_the_declared_imports_are_needed(module_map: Any, imports: Any) -> None:
    """What stands in pyproject.toml as an exception is one: without it there is a circle. The facade's closes none."""
    for exception in (e for e in module_map.declared() if e[0] != "kigraph"):
        others = [e for e in module_map.declared() if e != exception]
        assert module_map.circles(imports, others), exception


SOURCES = {
    "pyproject.toml": """
[[tool.importlinter.contracts]]
type = "layers"
containers = ["kigraph"]
layers = ["a : b", "graph", "kernels"]
[[tool.importlinter.contracts]]
type = "layers"
containers = ["kigraph.graph"]
layers = ["upper", "(lower)"]
ignore_imports = ["kigraph.graph.lower -> kigraph.graph.upper.**"]
[[tool.importlinter.contracts]]
type = "layers"
containers = ["kigraph.kernels"]
layers = ["x | y"]
""",
    "kigraph/__init__.py": "",
    "kigraph/a.py": "from . import b\nfrom .graph.upper.one import f",
    "kigraph/b.py": "import kigraph.kernels.x",
    "graph/__init__.py": "",
    "graph/upper/__init__.py": "",
    "graph/upper/one.py": "from ..lower import f",
    "graph/lower.py": "def f():\n    from .upper import one",
    "kernels/__init__.py": "",
    "kernels/x.pyx": 'from libc.stddef cimport ptrdiff_t\ninclude "_part.pxi"\n',
    "kernels/_part.pxi": "",
    "kernels/y.py": "from . import x",
}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A small project: one declared circle and no other."""
    for name, text in SOURCES.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path


def circles_of(module_map: Any, tree: Path) -> list[list[str]]:
    found: list[list[str]] = module_map.circles(module_map.read_imports(tree), module_map.declared(tree))
    return found


def test_what_is_declared_is_no_circle(module_map: Any, tree: Path) -> None:
    assert circles_of(module_map, tree) == []
    assert len(module_map.circles(module_map.read_imports(tree))) == 1


@pytest.mark.parametrize(
    ("name", "text", "other"),
    [
        ("kigraph/b.py", "from .a import f", "kigraph.a"),
        ("kigraph/b.py", "def f():\n    import kigraph.a as late", "kigraph.a"),
        ("kigraph/b.py", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from . import a", "kigraph.a"),
        ("kigraph/b.py", "import typing\nif typing.TYPE_CHECKING:\n    from .graph.upper import one", None),
        ("kernels/_part.pxi", "from . import y", "kigraph.kernels.y"),
        ("kernels/x.pyx", "from ..b import f", "kigraph.b"),
    ],
)
def test_a_planted_circle_is_found(module_map: Any, tree: Path, name: str, text: str, other: str | None) -> None:
    path = tree / name
    path.write_text(f"{path.read_text()}\n{text}\n")
    found = circles_of(module_map, tree)
    assert bool(found) == (other is not None)
    for circle in found:
        assert circle[0] == circle[-1]
        assert other in circle


def test_imports_for_type_checkers_are_told_apart(module_map: Any, tree: Path) -> None:
    (tree / "kigraph/b.py").write_text("if TYPE_CHECKING:\n    from . import a\nelse:\n    from .kernels import y\n")
    assert module_map.read_imports(tree)["kigraph.b"] == {"kigraph.a": False, "kigraph.kernels.y": True}


def test_an_arrow_that_points_up_is_refused(module_map: Any, tree: Path) -> None:
    picture = module_map.render(tree)
    assert 'class="down"' in picture
    assert 'class="up"' in picture
    (tree / "graph/lower.py").write_text("if TYPE_CHECKING:\n    from . import late\n    from .upper import one\n")
    pyproject = tree / "pyproject.toml"
    pyproject.write_text(pyproject.read_text().replace("ignore_imports", "others"))
    with pytest.raises(SystemExit, match=r"kigraph\.graph: arrows that point up: lower -> upper"):
        module_map.render(tree)


def test_arrows_that_follow_are_left_out(module_map: Any) -> None:
    """One that runs stays where only type checkers go the longer way."""
    every = {
        ("a", "b"): True,
        ("b", "c"): True,
        ("a", "c"): True,
        ("a", "d"): True,
        ("c", "d"): False,
        ("b", "d"): False,
    }
    assert module_map.without_implied(every) == {
        ("a", "b"): True, ("b", "c"): True, ("a", "d"): True, ("c", "d"): False,
    }  # fmt: skip
