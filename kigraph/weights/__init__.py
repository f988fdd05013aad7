"""kigraph.weights: which files exist, where they are on this machine, and how each expects its input.

Map of the folder::

    catalogue.py   the official files: address, size, checksum, licence
    store.py       the cache folder: download, verify, unpack, lock; and which file a command uses
    transfer.py    one download: progress, continuation, byte budget
    archive.py     one named member out of a .tar.gz, and nothing else
    card.py        a weights card: tensors, preprocessing and labels that belong to a file
    cards.py       which card a file has: by its SHA-256, its family, or the nodes of its graph
"""

from __future__ import annotations

import importlib
from typing import Any

#: Names of this package by module. Imported when first used: `kigraph --help` needs the catalogue, not NumPy.
_HOME = {
    name: module
    for module, names in {
        "cards": "CARDS Card card_by_name find_card",
        "catalogue": "CATALOGUE Entry catalogue_entry",
        "store": "Resolved cache_folder cached_path fetch resolve_weights",
    }.items()
    for name in names.split()
}

__all__ = [*_HOME]  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value
