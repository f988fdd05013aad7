"""Draws docs/module-map.svg from the imports in the sources: `make docs-map`. `--check` only compares.

Imports are read from the syntax trees: those that run, inside functions as well, and those under TYPE_CHECKING, which only
type checkers follow. The rows are the layers that pyproject.toml states for import-linter. ``circles`` has no picture: it
finds modules that import each other, whichever way.
"""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from itertools import pairwise
from pathlib import Path
from typing import TypeAlias

__all__ = ["Container", "circles", "containers", "declared", "main", "read_imports", "render"]

ROOT = Path(__file__).resolve().parents[1]
TARGET = Path(__file__).with_name("module-map.svg")
#: Package -> its folder. The longest name that fits owns a module.
PACKAGES = {"kigraph": "kigraph", "kigraph.graph": "graph", "kigraph.kernels": "kernels"}
SAYS = {
    "kigraph": "the applications",
    "kigraph.graph": "what to compute, when, and into which memory",
    "kigraph.kernels": "what one tensor op computes, and on what hardware",
}

#: Module -> each module that it imports -> whether the import runs (False: under TYPE_CHECKING alone).
Imports: TypeAlias = dict[str, dict[str, bool]]
Arrows: TypeAlias = dict[tuple[str, str], bool]


# --- reading ------------------------------------------------------------------------------------------------------------


def read_imports(root: Path = ROOT) -> Imports:
    """All modules of the three folders, extension modules too, with what they import of each other."""
    paths: dict[str, Path] = {}
    for package, folder in PACKAGES.items():
        for path in sorted((root / folder).rglob("*.py*")):
            inside = path.relative_to(root / folder).with_suffix("").parts
            linked = package == "kigraph" and inside[0] in ("graph", "kernels")
            if path.suffix in (".py", ".pyx") and not linked:
                paths[".".join((package, *inside)).removesuffix(".__init__")] = path
    return {name: dict(_imports_of(name, path, paths)) for name, path in paths.items()}


def _imports_of(name: str, path: Path, known: Mapping[str, Path]) -> Iterable[tuple[str, bool]]:
    package = name if path.stem == "__init__" else name.rpartition(".")[0]
    found: dict[str, bool] = {}
    for statement, runs in _statements(_tree(path), True):
        for target in _targets(statement, package, known):
            if target != name:
                found[target] = found.get(target, False) or runs
    return found.items()


def _tree(path: Path) -> ast.Module:
    """The syntax tree; of a Cython source the tree of its Python imports, with those of the files that it includes."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".py":
        return ast.parse(text)
    for included in re.findall(r'^include "(\w+\.pxi)"', text, re.MULTILINE):
        text += path.with_name(included).read_text(encoding="utf-8")
    return ast.parse("\n".join(re.findall(r"^(?:from [.\w]+ )?import [\w, ]+$", text, re.MULTILINE)))


def _statements(tree: ast.AST, runs: bool) -> Iterator[tuple[ast.Import | ast.ImportFrom, bool]]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield node, runs
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            yield from _statements(ast.Module(node.body, []), False)
            yield from _statements(ast.Module(node.orelse, []), runs)
        else:
            yield from _statements(node, runs)


def _targets(statement: ast.Import | ast.ImportFrom, package: str, known: Mapping[str, Path]) -> Iterator[str]:
    """The modules of ours that a statement names; ``from package import module`` names the module."""
    if isinstance(statement, ast.Import):
        names = [alias.name for alias in statement.names]
    else:
        base = package.split(".")[: len(package.split(".")) - statement.level + 1] if statement.level else []
        module = ".".join([*base, *([statement.module] if statement.module else [])])
        full = [f"{module}.{alias.name}" for alias in statement.names]
        names = [name if name in known else module for name in full]
    yield from (name for name in names if name in known)


# --- rules --------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Container:
    """A package and its layers, the highest first; a layer is the names of its modules and folders."""

    package: str
    layers: tuple[tuple[str, ...], ...]

    def member(self, module: str) -> str | None:
        """The module or folder of this container that a module belongs to."""
        head = module.removeprefix(f"{self.package}.").partition(".")[0]
        return head if module.startswith(f"{self.package}.") and any(head in layer for layer in self.layers) else None


def _contracts(root: Path) -> list[dict[str, list[str]]]:
    table = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    return [c for c in table["tool"]["importlinter"]["contracts"] if c["type"] == "layers"]


def containers(root: Path = ROOT) -> list[Container]:
    """The layers of pyproject.toml; those of kigraph without graph and kernels, which have their own."""
    own = {package.rpartition(".")[2] for package in PACKAGES if "." in package}
    found = []
    for contract in _contracts(root):
        layers = [tuple(n for n in re.findall(r"\w+", layer) if n not in own) for layer in contract["layers"]]
        found.append(Container(contract["containers"][0], tuple(layer for layer in layers if layer)))
    return found


def declared(root: Path = ROOT) -> list[tuple[str, str]]:
    """The imports that the layers leave out, as (module, module); '**' at the end stands for all below."""
    texts = [text for contract in _contracts(root) for text in contract.get("ignore_imports", [])]
    return [(a, b) for a, _, b in (text.partition(" -> ") for text in texts)]


def _is_declared(source: str, target: str, exceptions: Iterable[tuple[str, str]]) -> bool:
    return any(
        source == a and (target.startswith(b.removesuffix("**")) if b.endswith("**") else target == b)
        for a, b in exceptions
    )


def circles(imports: Imports, exceptions: Iterable[tuple[str, str]] = ()) -> list[list[str]]:
    """Modules that import each other, one list per circle, which ends where it begins; without declared imports."""
    exceptions = list(exceptions)
    left = {a: {b for b in imports[a] if not _is_declared(a, b, exceptions)} for a in imports}
    found: list[list[str]] = []
    while True:
        try:
            TopologicalSorter(left).prepare()
        except CycleError as error:
            circle = error.args[1][::-1]
            found.append(circle)
            left[circle[0]].discard(circle[1])
        else:
            return found


def arrows(container: Container, imports: Imports, exceptions: Iterable[tuple[str, str]]) -> tuple[Arrows, Arrows]:
    """Imports between members of a container: those that have to point down, and the declared ones."""
    exceptions = list(exceptions)
    down: Arrows = {}
    others: Arrows = {}
    for source, targets in imports.items():
        for target, runs in targets.items():
            a, b = container.member(source), container.member(target)
            if a is not None and b is not None and a != b:
                there = others if _is_declared(source, target, exceptions) else down
                there[a, b] = there.get((a, b), False) or runs
    return down, others


def without_implied(found: Arrows) -> Arrows:
    """Without the arrows that follow from longer ways: of imports that run, or of all for those of type checkers."""

    def implied(a: str, b: str, among: Iterable[tuple[str, str]]) -> bool:
        after: dict[str, list[str]] = {}
        for source, target in among:
            if (source, target) != (a, b):
                after.setdefault(source, []).append(target)
        seen, stack = {a}, [a]
        while stack:
            for target in after.get(stack.pop(), ()):
                if target not in seen:
                    seen.add(target)
                    stack.append(target)
        return b in seen

    running = [pair for pair, runs in found.items() if runs]
    return {pair: runs for pair, runs in found.items() if not implied(*pair, running if runs else found)}


# --- drawing ------------------------------------------------------------------------------------------------------------

_WIDTH, _MARGIN, _HEAD, _BOX, _PITCH, _LETTER, _BETWEEN = 680.0, 12.0, 36.0, 24.0, 54.0, 7.25, 40.0
_STYLE = """
text{font:12px ui-monospace,SFMono-Regular,Menlo,Consolas,"DejaVu Sans Mono",monospace;fill:#1f2328;text-anchor:middle}
.page{fill:#ffffff}.band{fill:#f6f8fa;stroke:#d0d7de}.layer{fill:#e9eef4}.folder{fill:#dbeafe;stroke:#4d7fc4}
.module{fill:#ffffff;stroke:#9aa4af}.name{text-anchor:start;font-weight:700;font-size:14px}.note{text-anchor:start;fill:#59636e}
.down,.types,.up{fill:none;stroke:#57606a;stroke-width:1.2}.types{stroke-dasharray:4 3}.up{stroke:#c2410c;stroke-dasharray:2 3}
.wide{fill:none;stroke:#57606a;stroke-width:4}.head,.widehead{fill:#57606a}.uphead{fill:#c2410c}
@media (prefers-color-scheme:dark){text{fill:#e6edf3}.page{fill:#0d1117}.band{fill:#151b23;stroke:#3d444d}.layer{fill:#1c2530}
.folder{fill:#17335c;stroke:#5b93e0}.module{fill:#0d1117;stroke:#6e7681}.note{fill:#9198a1}
.down,.types,.wide{stroke:#9aa4af}.head,.widehead{fill:#9aa4af}.up{stroke:#fb923c}.uphead{fill:#fb923c}}
""".replace("\n", "")


@dataclass(frozen=True, slots=True)
class Box:
    """A member of a container: its text, and the centre, upper edge and width of its box."""

    name: str
    x: float
    top: float
    width: float
    folder: bool


def _row_numbers(container: Container, down: Arrows) -> tuple[dict[str, int], list[range]]:
    """The row of every member, and the rows of every layer: more than one where its members import each other."""
    row: dict[str, int] = {}
    rows: list[range] = []
    for layer in container.layers:
        first = rows[-1].stop if rows else 0
        after = {name: {a for a, b in down if b == name and a in layer} for name in layer}
        for name in TopologicalSorter(after).static_order():
            row[name] = max((row[a] + 1 for a in after[name]), default=first)
        rows.append(range(first, max(row[name] for name in layer) + 1))
    return row, rows


def _curve(points: list[tuple[float, float]], kind: str) -> str:
    text = f"M{points[0][0]:.1f} {points[0][1]:.1f}"
    for (x0, y0), (x1, y1) in pairwise(points):
        half = (y1 - y0) / 2
        text += f"C{x0:.1f} {y0 + half:.1f} {x1:.1f} {y1 - half:.1f} {x1:.1f} {y1:.1f}"
    head = {"up": "uphead", "wide": "widehead"}.get(kind, "head")
    return f'<path class="{kind}" marker-end="url(#{head})" d="{text}"/>'


def _spread(box: Box, others: list[float], x: float) -> float:
    """Where the arrow that goes to ``x`` touches a box that has arrows to all of ``others``."""
    ordered = sorted(others)
    share = (ordered.index(x) + 1) / (len(ordered) + 1) - 0.5
    return box.x + share * min(box.width - 12, 14.0 * (len(ordered) + 1))


def _band(
    container: Container, imports: Imports, exceptions: list[tuple[str, str]], y: float
) -> tuple[list[str], float]:
    """The picture of one container whose upper edge is at ``y``, and its lower edge."""
    from kigraph.graph.draw.layout import layered_layout

    down, others = arrows(container, imports, exceptions)
    down = without_implied(down)
    row, rows = _row_numbers(container, down)
    if upward := [f"{a} -> {b}" for a, b in down if row[a] >= row[b]]:
        raise SystemExit(f"{container.package}: arrows that point up: {', '.join(upward)}; see `make layers`")
    names = sorted(row, key=lambda name: row[name])
    folders = {name for name in names if any(m.startswith(f"{container.package}.{name}.") for m in imports)}
    label = {name: f"{name}/" if name in folders else name for name in names}
    sizes = [(len(label[name]) * _LETTER + 18, _BOX) for name in names]
    pairs = [(names.index(a), names.index(b)) for a, b in down]
    layout = layered_layout(sizes, pairs, rows=[row[name] for name in names])
    left, top = (_WIDTH - layout.width) / 2, y + _HEAD
    boxes = {
        name: Box(label[name], left + place.x, top + row[name] * _PITCH, size[0], name in folders)
        for name, place, size in zip(names, layout.nodes, sizes, strict=True)
    }
    bottom = top + (rows[-1].stop - 1) * _PITCH + _BOX + 14
    parts = [
        f'<rect class="band" x="{_MARGIN}" y="{y}" width="{_WIDTH - 2 * _MARGIN}" height="{bottom - y:.1f}" rx="8"/>'
    ]
    for layer in rows:
        high, low = top + layer.start * _PITCH - 6, top + (layer.stop - 1) * _PITCH + _BOX + 6
        parts.append(
            f'<rect class="layer" x="{_MARGIN + 8}" y="{high:.1f}" width="{_WIDTH - 2 * _MARGIN - 16}" '
            f'height="{low - high:.1f}" rx="5"/>'
        )
    short = container.package.rpartition(".")[2]
    parts.append(f'<text class="name" x="{_MARGIN + 12}" y="{y + 20}">{short}/</text>')
    parts.append(f'<text class="note" x="{_MARGIN + 100}" y="{y + 20}">{SAYS[container.package]}</text>')
    ways = {
        pair: [
            (left + place.x, top + number * _PITCH + edge)
            for number, place in enumerate(places, row[pair[0]] + 1)
            for edge in (0, _BOX)
        ]
        for pair, places in zip(down, layout.edges, strict=True)
    }
    parts += _arrows(down, ways, boxes)
    for a, b in others:
        x = boxes[a].x + boxes[a].width / 4
        parts.append(_curve([(x, boxes[a].top), (boxes[b].x + boxes[b].width / 4, boxes[b].top + _BOX + 5)], "up"))
    for box in boxes.values():
        kind = "folder" if box.folder else "module"
        parts.append(
            f'<rect class="{kind}" x="{box.x - box.width / 2:.1f}" y="{box.top:.1f}" width="{box.width:.1f}" height="{_BOX}" '
            f'rx="4"/><text x="{box.x:.1f}" y="{box.top + 16:.1f}">{box.name}</text>'
        )
    return parts, bottom


def _arrows(
    down: Arrows, ways: Mapping[tuple[str, str], list[tuple[float, float]]], boxes: dict[str, Box]
) -> list[str]:
    """A curve per arrow, from the lower edge of one box between others to the upper edge of the other."""

    def toward(pair: tuple[str, str], leaving: bool) -> float:
        way = ways[pair]
        return (way[0] if leaving else way[-1])[0] if way else boxes[pair[1] if leaving else pair[0]].x

    parts = []
    for pair, runs in down.items():
        source, target = boxes[pair[0]], boxes[pair[1]]
        leaving = [toward(p, True) for p in down if p[0] == pair[0]]
        coming = [toward(p, False) for p in down if p[1] == pair[1]]
        begin = (_spread(source, leaving, toward(pair, True)), source.top + _BOX)
        end = (_spread(target, coming, toward(pair, False)), target.top - 5)
        parts.append(_curve([begin, *ways[pair], end], "down" if runs else "types"))
    return parts


def render(root: Path = ROOT) -> str:
    """The picture as it should be."""
    imports, exceptions = read_imports(root), declared(root)
    parts: list[str] = []
    y = _MARGIN
    for number, container in enumerate(containers(root)):
        if number:
            parts.append(_curve([(_WIDTH / 2, y - _BETWEEN), (_WIDTH / 2, y - 9)], "wide"))
        band, bottom = _band(container, imports, exceptions, y)
        parts += band
        y = bottom + _BETWEEN
    y -= _BETWEEN - 24
    for kind, text in (
        ("down", "imports at run time; arrows that follow from longer ways are left out"),
        ("types", "imports for type checkers alone"),
        ("up", "the one declared exception: a + b on tensors calls the op functions"),
    ):
        parts.append(_curve([(_MARGIN + 12, y - 8), (_MARGIN + 12, y + 3)], kind))
        parts.append(f'<text class="note" x="{_MARGIN + 30}" y="{y + 4:.1f}">{text}</text>')
        y += 22
    head = "".join(
        f'<marker id="{name}" viewBox="0 0 8 8" refX="3" refY="4" markerWidth="{size}" markerHeight="{size}" orient="auto" '
        f'markerUnits="userSpaceOnUse"><path class="{name}" d="M0 0L8 4L0 8z"/></marker>'
        for name, size in (("head", 7), ("uphead", 7), ("widehead", 16))
    )
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH:.0f}" height="{y:.0f}" viewBox="0 0 {_WIDTH:.0f} {y:.0f}" role="img">',
            "<title>The modules of kigraph by layer, and what imports what</title>",
            f"<style>{_STYLE}</style><defs>{head}</defs>",
            f'<rect class="page" width="{_WIDTH:.0f}" height="{y:.0f}" rx="6"/>',
            *parts,
            "</svg>\n",
        ]
    )


def main() -> int:
    text = render()
    if "--check" in sys.argv[1:]:
        return 0 if TARGET.exists() and TARGET.read_text(encoding="utf-8") == text else 1
    TARGET.write_text(text, encoding="utf-8")
    print(TARGET)
    return 0


if __name__ == "__main__":
    sys.exit(main())
