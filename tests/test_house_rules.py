"""The house rules of CONTRIBUTING.md that a machine can check."""

from __future__ import annotations

import ast
import fnmatch
import importlib.util
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from kigraph.kernels.settings import OTHER_NAMES, SETTINGS

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("kigraph", "kernels", "graph")
SOURCES = (".py", ".pyi", ".pyx", ".pxd", ".pxi", ".c", ".h", ".hpp", ".cpp", ".cu", ".cuh", ".js", ".css")
MOST_LINES = 400
#: Cyclomatic complexity of a function, as radon counts it.
MOST_COMPLEX = 20
FUNCTIONS = ast.FunctionDef | ast.AsyncFunctionDef

pytestmark = pytest.mark.skipif(not (ROOT / "kernels").is_dir(), reason="needs the sources, not an installed copy")


def files(*folders: str) -> Iterator[Path]:
    """Files of these folders; links, caches and what is built are left out."""
    for folder in folders:
        for path, names, entries in os.walk(ROOT / folder):
            names[:] = [
                n for n in names if n != "__pycache__" and not n.startswith(".") and not Path(path, n).is_symlink()
            ]
            yield from (Path(path, entry) for entry in sorted(entries) if not entry.startswith("."))


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


MODULES = {name_of(path): ast.parse(path.read_text()) for path in files(*FOLDERS) if path.suffix == ".py"}


def test_no_file_is_longer_than_400_lines() -> None:
    everywhere = files(*FOLDERS, "tests", "benchmarks", "examples", "docs", ".ci")
    lines = {name_of(p): p.read_text().count("\n") for p in everywhere if p.suffix in SOURCES}
    assert len(lines) > 100
    assert {name: count for name, count in lines.items() if count > MOST_LINES} == {}


def decisions(node: ast.AST) -> int:
    """How many more paths through its function a node makes."""
    match node:
        case ast.If() | ast.IfExp() | ast.Assert():
            return 1
        case ast.BoolOp():
            return len(node.values) - 1
        case ast.For() | ast.AsyncFor() | ast.While():
            return 1 + bool(node.orelse)
        case ast.Try():
            return len(node.handlers) + bool(node.orelse)
        case ast.comprehension():
            return 1 + len(node.ifs)
        case ast.Match():
            rest = any(isinstance(c.pattern, ast.MatchAs) and c.pattern.pattern is None for c in node.cases)
            return len(node.cases) - rest
        case _:
            return 0


def complexity(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """McCabe's number as radon counts it: operands and comprehensions as well; of a function inside its own."""
    total, waiting = 1, list[ast.AST](function.body)
    while waiting:
        node = waiting.pop()
        if not isinstance(node, FUNCTIONS | ast.ClassDef):
            total += decisions(node)
            if not isinstance(node, ast.Assert):
                waiting.extend(ast.iter_child_nodes(node))
    return total


def too_complex(tree: ast.Module) -> list[str]:
    functions = [node for node in ast.walk(tree) if isinstance(node, FUNCTIONS)]
    return [f"{f.lineno} {f.name}: {complexity(f)}" for f in functions if complexity(f) > MOST_COMPLEX]


def test_no_function_is_more_complex_than_20() -> None:
    """Split by what the parts do. ruff's C901 counts neither operands of and, or, nor comprehensions, so it is not used."""
    everywhere = [*files(*FOLDERS, "tests", "benchmarks", "examples", "docs"), ROOT / "setup.py"]
    sources = [path for path in everywhere if path.suffix == ".py"]
    assert len(sources) > 400
    found = [f"{name_of(path)}:{text}" for path in sources for text in too_complex(ast.parse(path.read_text()))]
    assert not found, "\n".join(found)


PATHS = """
def function(a, b):
    assert a and b                      # 1
    for x in [y for y in a if y if b]:  # 1 + 3
        if x and (a or b):              # 3
            continue
        while a:                        # 2
            b = 1 if a else 2           # 1
        else:
            break
    try:                                # 3
        match a:                        # 2
            case 1 | 2:
                pass
            case [x] if x:
                pass
            case other:
                pass
    except ValueError:
        pass
    except TypeError:
        pass
    else:
        pass

    def inner():
        return {{k: v for k, v in a}}     # 1, not the function's
{more}
"""


@pytest.mark.parametrize("more", [0, 3, 4])
def test_paths_are_counted(more: int) -> None:
    tree = ast.parse(PATHS.format(more="    if a: pass\n" * more))
    function, inner = (node for node in ast.walk(tree) if isinstance(node, FUNCTIONS))
    assert (complexity(function), complexity(inner)) == (17 + more, 2)
    assert bool(too_complex(tree)) == (more == 4)


def test_modules_say_what_they_are() -> None:
    assert [name for name, tree in MODULES.items() if not ast.get_docstring(tree)] == []


def public_names(tree: ast.Module) -> list[str] | None:
    """The names in __all__, None if there is none or it is made at run time."""
    for node in tree.body:
        targets = (
            node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
        )
        if any(isinstance(t, ast.Name) and t.id == "__all__" for t in targets):
            value = node.value  # type: ignore[attr-defined]
            return [c.value for c in ast.walk(value) if isinstance(c, ast.Constant)]
    return None


def test_every_module_has_all() -> None:
    # The facade makes its __all__ when it is asked for.
    without = ("kigraph/__init__.py", "kigraph/__main__.py")
    missing = [n for n, tree in MODULES.items() if public_names(tree) is None and n not in without]
    assert missing == []


def test_no_import_star() -> None:
    found = [
        f"{name}:{node.lineno}"
        for name, tree in MODULES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and any(alias.name == "*" for alias in node.names)
    ]
    assert not found, "\n".join(found)


#: Functions that every module of a package has; the package's docstring says what they are.
PROTOCOL = ("register", "run", "kernels")


def test_public_functions_and_classes_have_docstrings() -> None:
    """A function of a single statement may speak for itself."""
    found = [
        f"{name}:{node.lineno} {node.name}"
        for name, tree in MODULES.items()
        for node in tree.body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
        and node.name in (public_names(tree) or ())
        and not ast.get_docstring(node)
        and node.name not in PROTOCOL
        and (isinstance(node, ast.ClassDef) or len(node.body) > 1)
    ]
    assert not found, "\n".join(found)


def test_every_environment_variable_is_declared_once() -> None:
    declared = [setting.name for setting in SETTINGS]
    assert len(set(declared)) == len(declared)
    used: dict[str, str] = {}
    for path in files(*FOLDERS):
        if path.suffix in SOURCES:
            used.update(dict.fromkeys(re.findall(r"\bKIGRAPH_[A-Z0-9_]+\b", path.read_text()), name_of(path)))
    # Beside the settings: names that the tests and setup.py read, and the prefixes of families.
    others = [n for n in used if n in OTHER_NAMES or n in ("KIGRAPH_", "KIGRAPH_SERVE_")]
    assert {name: where for name, where in used.items() if name not in declared and name not in others} == {}
    assert set(declared) <= set(used)


def test_native_code_reads_no_environment() -> None:
    native = [p for p in files(*FOLDERS) if p.suffix in (".c", ".h", ".pyx", ".pxi", ".cu", ".cuh")]
    assert [name_of(p) for p in native if re.search(r"\bgetenv\b|\benviron\b", p.read_text())] == []


def test_settings_are_documented() -> None:
    readme = (ROOT / "README.md").read_text()
    assert [setting.name for setting in SETTINGS if f"`{setting.name}`" not in readme] == []
    assert all(setting.help for setting in SETTINGS)


@pytest.mark.parametrize("name", ["kernels", "graph"])
def test_the_links_are_relative(name: str) -> None:
    link = ROOT / "kigraph" / name
    if not link.is_symlink():
        pytest.skip("an sdist has no links; setup.py maps the packages")
    assert os.readlink(link) == f"../{name}"


def setup_value(name: str) -> dict[str, object]:
    for node in ast.parse((ROOT / "setup.py").read_text()).body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id == name:
            value: dict[str, object] = ast.literal_eval(node.value)
            return value
    raise AssertionError(f"setup.py has no {name}")


#: In the checkout and the sdist only.
NOT_IN_THE_WHEEL = ("kernels/testing",)


def test_the_emulation_is_there_in_a_checkout() -> None:
    """Where it is missing, in an installed wheel, the tests of the CUDA kernels skip. Here they must not."""
    spec = importlib.util.find_spec("kigraph.kernels.testing.standin")
    assert spec is not None
    assert spec.origin is not None
    assert Path(spec.origin).resolve().is_relative_to(ROOT / "kernels" / "testing")


def test_setup_lists_every_package() -> None:
    there = {name_of(p.parent) for p in files(*FOLDERS) if p.name == "__init__.py"}
    listed = setup_value("PACKAGES")
    assert {*there} - {*listed.values()} == {*NOT_IN_THE_WHEEL}
    assert [folder for folder in listed.values() if not (ROOT / str(folder)).is_dir()] == []
    for package, folder in listed.items():
        assert package.removeprefix("kigraph.").replace(".", "/") == str(folder).removeprefix("kigraph/")


def test_setup_lists_every_data_file() -> None:
    """Whatever is no source of an extension module is needed at run time, so the wheel must have it."""
    folders = {str(folder): package for package, folder in setup_value("PACKAGES").items()}
    data = setup_value("PACKAGE_DATA")
    missing = []
    for path in files(*FOLDERS):
        if path.suffix in (".py", ".pyx", ".pxd", ".pxi", ".so", ".o") or name_of(path).startswith("kernels/cython/c/"):
            continue
        if name_of(path).startswith(NOT_IN_THE_WHEEL):
            continue
        owner = next(parent for parent in path.parents if name_of(parent) in folders)
        patterns = data.get(folders[name_of(owner)], [])
        inside = path.relative_to(owner).as_posix()
        if not any(fnmatch.fnmatch(inside, pattern) for pattern in patterns):  # type: ignore[attr-defined]
            missing.append(name_of(path))
    assert missing == []
