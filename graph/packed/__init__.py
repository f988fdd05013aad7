"""Packed weights: made once per graph, kept in the cache folder, shared between processes.

store.py: what a graph's sessions share, in memory. cache.py: which file of the cache folder holds what. file.py: one file.
"""

from __future__ import annotations

__all__: list[str] = []
