"""All state of a training run in one file: variables, optimizer slots, epoch, step, generator, history, callbacks.

The file is a NumPy .npz without pickled objects. It is written to a temporary file beside it and renamed, so a reader sees
the old one or the new one, never half of one.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..kernels.atomic_files import replacing

if TYPE_CHECKING:
    from ..graph.formats.limits import Budget
    from ..graph.loaders import LoadLimits

__all__ = ["Checkpoint", "load_checkpoint", "save_checkpoint"]

_META = "kigraph.json"
_VERSION = 1
_MAX_META = 64 << 20


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """``variables``: name -> value. ``meta``: epoch, steps, generator state, history, states of callbacks: plain data.

    ``arrays``: of the callbacks, by name. Files of kigraph 0.1 have no steps and no callbacks.
    """

    variables: Mapping[str, np.ndarray[Any, Any]]
    meta: Mapping[str, Any]
    arrays: Mapping[str, np.ndarray[Any, Any]] = field(default_factory=dict)


def save_checkpoint(path: str | os.PathLike[str], checkpoint: Checkpoint) -> Path:
    """Writes atomically; an interrupted write leaves the old file as it was."""
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    arrays = {f"v/{name}": value for name, value in checkpoint.variables.items()}
    arrays |= {f"c/{name}": value for name, value in checkpoint.arrays.items()}
    text = json.dumps({"version": _VERSION, **checkpoint.meta})
    with replacing(target) as file:
        np.savez(file, **{_META: np.frombuffer(text.encode(), np.uint8)}, **arrays)  # type: ignore[arg-type]
    return target


def load_checkpoint(path: str | os.PathLike[str], limits: LoadLimits | None = None) -> Checkpoint:
    """Reads what ``save_checkpoint`` wrote.

    Raises LoadError for a file that is damaged, not a checkpoint, or over the limits (``LoadLimits()`` by default).
    """
    from ..graph.formats.limits import Budget
    from ..graph.formats.source import Source
    from ..graph.loaders.npz import read_npz

    source = Source(path)
    budget = Budget(source.name, source.size, limits)
    arrays = read_npz(source, budget)
    text = arrays.get(_META)
    if text is None or text.dtype != np.uint8:
        raise budget.error("the archive", f"no member {_META!r} of text", "a checkpoint of kigraph")
    meta = _meta(text.tobytes(), budget)
    variables, others = (
        {name[2:]: value for name, value in arrays.items() if name.startswith(kind)} for kind in ("v/", "c/")
    )
    return Checkpoint(variables, meta, others)


def _meta(text: bytes, budget: Budget) -> dict[str, Any]:
    """The plain data: version, epoch (a count), history (rows of numbers) and the generator's state."""
    from ..graph.formats.limits import brief

    place = f"member {_META!r}"
    if len(text) > _MAX_META:
        raise budget.error(place, f"{len(text):,} bytes", f"at most {_MAX_META:,}")
    try:
        meta = json.loads(text.decode())
    except RecursionError:
        raise budget.error(place, "deep nesting", "plain data") from None
    except ValueError as error:  # also UnicodeDecodeError, JSONDecodeError and integers of thousands of digits
        raise budget.error(place, str(error)[:200], "plain data") from None
    if not isinstance(meta, dict) or meta.get("version") != _VERSION:
        found = meta.get("version") if isinstance(meta, dict) else meta
        raise budget.error(place, f"checkpoint version {brief(found)}", f"version {_VERSION}")
    history, generator = meta.get("history", []), meta.get("generator", {})
    for name in ("epoch", "steps"):
        count = meta.get(name, 0)
        if type(count) is not int or not 0 <= count < 1 << 62:
            raise budget.error(place, f"{name} {brief(count)}", f"a count of {name.rstrip('s')}s")
    states = meta.get("callbacks", [])
    if not isinstance(states, list) or not all(isinstance(state, dict) for state in states):
        raise budget.error(place, f"callbacks {brief(states)}", "a list of states")
    rows = history if isinstance(history, list) else [None]
    if not all(isinstance(row, dict) and all(type(v) in (int, float) for v in row.values()) for row in rows):
        raise budget.error(place, f"history {brief(history)}", "rows of numbers")
    if not isinstance(generator, dict):
        raise budget.error(place, f"generator {brief(generator)}", "the state of a generator")
    return meta
