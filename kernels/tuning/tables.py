"""Tables of measured times: one that comes with the package, and one file per processor in the cache folder."""

from __future__ import annotations

import functools
import json
import logging
import math
from collections.abc import Mapping
from dataclasses import field
from pathlib import Path
from typing import Any

from ..atomic_files import replacing
from ..cache_files import UnsafeFileError, read_private
from ..digest import blake2b
from ..records import dataclass
from ..settings import cache_folder

__all__ = ["Table", "cpu_model", "read_table", "shipped_table", "table_path", "write_table"]

_LOG = logging.getLogger("kigraph")
_FORMAT = 1
#: A table of 1,000 layers has about 200 kB.
_MOST_BYTES = 16 << 20
_SHIPPED = Path(__file__).with_name("shipped.json")


@dataclass(slots=True)
class Table:
    """Microseconds by layer (see ``signature``) and kernel. ``source``: the origin of a choice, for ``explain()``."""

    source: str
    layers: dict[str, dict[str, float]] = field(default_factory=dict)


@functools.cache
def cpu_model() -> str:
    """The processor's name as the system gives it."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
            for line in file:
                name, _, value = line.partition(":")
                if name.strip() == "model name":
                    return value.strip()
    except OSError:
        pass
    import platform

    return platform.processor() or platform.machine()


def table_path(backend: str, target: str, folder: Path | None = None) -> Path:
    """The path of this processor's table. ``target``: the instruction set that the backend's kernels use."""
    digest = blake2b(cpu_model().encode(), digest_size=6).hexdigest()
    return (folder or cache_folder()) / "tuning" / f"{backend}-{target}-{digest}.json"


def read_table(path: Path, backend: str, target: str) -> Table:
    """The table of a file; empty if there is none, or if it is damaged or of another machine (the log says so)."""
    table = Table("tuning")
    try:
        document = json.loads(read_private(path, _MOST_BYTES))
        wanted = _header(backend, target)
        found = {key: document.get(key) for key in wanted} if isinstance(document, dict) else None
        if found != wanted:
            raise ValueError(f"it is for {found}, not for {wanted}")
        table.layers = _layers(document["layers"])
    except OSError:
        return table
    except (UnsafeFileError, ValueError, KeyError, OverflowError, RecursionError) as error:
        _LOG.warning("the tuning file %s is not used: %s", path, error)
    return table


def write_table(path: Path, backend: str, target: str, layers: Mapping[str, Mapping[str, float]]) -> None:
    """Adds layers to a file, which is replaced in one step. Raises OSError."""
    known = read_table(path, backend, target).layers
    document = {**_header(backend, target), "layers": {**known, **{k: dict(v) for k, v in layers.items()}}}
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path, "w", encoding="utf-8") as file:
        file.write(dump(document))


def dump(document: Mapping[str, Any]) -> str:
    """JSON with one layer per line, so that changes can be read."""
    lines = [f" {json.dumps(k)}: {json.dumps(v)}" for k, v in document.items() if k != "layers"]
    layers = ",\n".join(f"  {json.dumps(k)}: {json.dumps(v)}" for k, v in sorted(document["layers"].items()))
    return "{\n" + ",\n".join([*lines, f' "layers": {{\n{layers}\n }}']) + "\n}\n"


@functools.cache
def _shipped() -> dict[str, Table]:
    if not _SHIPPED.exists():
        return {}
    document = json.loads(_SHIPPED.read_text(encoding="utf-8"))
    return {name: Table("shipped table", _layers(layers)) for name, layers in document["targets"].items()}


def shipped_table(backend: str, target: str) -> Table:
    """The choices that come with the package for an instruction set, whatever processor it is."""
    return _shipped().get(f"{backend} {target}", Table("shipped table"))


def _header(backend: str, target: str) -> dict[str, Any]:
    return {"format": _FORMAT, "backend": backend, "target": target, "cpu": cpu_model()}


def _layers(value: Any) -> dict[str, dict[str, float]]:
    """Checked: text -> text -> a positive finite number. Raises ValueError."""
    if not isinstance(value, dict):
        raise ValueError("'layers' is no object")
    for layer, times in value.items():
        good = isinstance(times, dict) and all(
            isinstance(t, int | float) and not isinstance(t, bool) and math.isfinite(t) and t > 0
            for t in times.values()
        )
        if not good:
            raise ValueError(f"the times of {layer[:80]!r} are {str(times)[:80]}")
    return value
