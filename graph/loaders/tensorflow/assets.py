"""The files in a SavedModel's folder ``assets``: vocabularies of its lookup tables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ...formats.beside import open_beside
from ...formats.limits import Budget
from ...formats.saved_model import MetaGraph
from ...formats.source import Source
from .edges import node_of

__all__ = ["Assets"]


@dataclass(frozen=True, slots=True)
class Assets:
    """Node that stands for the path of an asset -> the file's name. Files are read when they are asked for."""

    names: Mapping[str, str]
    source: Source
    budget: Budget
    #: The files that were read.
    files: list[Source]

    @classmethod
    def of(cls, meta: MetaGraph, source: Source, budget: Budget) -> Assets:
        names = {
            node_of(a.tensor_info.name or ""): a.filename for a in meta.asset_file_def if a.tensor_info is not None
        }
        return cls(names, source, budget, [])

    def lines(self, node: str) -> list[bytes] | None:
        """The lines of the file whose path a node is, without their ends; None if it is no asset. Raises LoadError."""
        name = self.names.get(node)
        if not name:
            return None
        file = open_beside(self.source.path, f"assets/{name}", self.budget, f"the asset '{name[:200]}'")
        self.files.append(file)
        budget = self.budget.of_another(file.name, file.size)
        budget.bytes(file.size, "the lines")
        data = file.read(0, file.size)
        budget.item("the lines", 0, data.count(b"\n"))
        lines = data.replace(b"\r", b"").split(b"\n")
        return lines if lines[-1] else lines[:-1]
