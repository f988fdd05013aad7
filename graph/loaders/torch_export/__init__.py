"""PyTorch's exported programs (.pt2 of torch.export.save) to a Graph.

    __init__.py   looks_like_pt2, read_pt2
    program.py    the JSON of the program and the weights beside it, checked
    call.py       what a converter sees of a call, and the table's type
    importer.py   the calls in order, names and types
    nn.py math.py functions.py shapes.py selection.py windows.py resize.py recurrent.py   ATen op -> converter

The program's JSON names ATen ops; nothing of it is run. Values keep PyTorch's layout (NCHW), weights stay in the file.
"""

from __future__ import annotations

from collections.abc import Collection

from ...builder import Graph
from ...formats.archive import Archive
from ...formats.limits import Budget
from ...formats.source import Source
from .importer import Importer
from .program import read_program

__all__ = ["looks_like_pt2", "read_pt2"]


def looks_like_pt2(members: Collection[str]) -> bool:
    """Whether a zip archive with these members is one of torch.export.save, of this or an earlier layout."""
    return any(n.endswith("archive_format") or n == "serialized_exported_program.json" for n in members)


def read_pt2(source: Source, budget: Budget) -> Graph:
    """The graph of the archive's only program, its inputs and outputs under their names in the program."""
    archive = Archive(source, budget)
    return Importer(read_program(source, archive, budget), budget).run()
