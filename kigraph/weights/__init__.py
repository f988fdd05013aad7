"""kigraph.weights: which files exist, where they lie on this machine, and how each wants its input.

Map of the folder::

    catalogue.py   the official files: address, size, checksum, licence
    store.py       the cache folder: download, verify, unpack, lock; and which file a command uses
    transfer.py    one download: progress, continuation, byte budget
    archive.py     one named member out of a .tar.gz, and nothing else
    cards.py       weights cards: tensors, preprocessing and labels that belong to a file
"""

from __future__ import annotations

from .cards import CARDS, Card, card_by_name, find_card
from .catalogue import CATALOGUE, Entry, catalogue_entry
from .store import Resolved, cache_folder, cached_path, fetch, resolve_weights

__all__ = [
    "CARDS",
    "CATALOGUE",
    "Card",
    "Entry",
    "Resolved",
    "cache_folder",
    "cached_path",
    "card_by_name",
    "catalogue_entry",
    "fetch",
    "find_card",
    "resolve_weights",
]
