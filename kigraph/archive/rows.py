"""Rows of a table of results: the same columns in CSV, JSON Lines and Parquet."""

from __future__ import annotations

import base64
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from ..errors import FeedError, KigraphError
from ..kernels.atomic_files import open_regular
from ..kernels.digest import blake2b

if TYPE_CHECKING:
    from ..classifier import Classifier, Prediction

__all__ = ["Row", "Setup", "columns", "key_of", "key_of_path", "row_of", "setup_of", "top_of"]

Row: TypeAlias = "dict[str, Any]"

_HEAD = ("path", "path_base64", "status", "error")
_TAIL = ("model", "weights_sha256", "setup", "shard")


@dataclass(frozen=True, slots=True)
class Setup:
    """What all rows of a file agree in. ``setup``: a digest of card, labels and precision, which the file of weights does not say."""

    model: str
    weights_sha256: str
    setup: str
    shard: str
    top: int

    def check(self, row: Row, where: str) -> None:
        """FeedError if a row is of another model, top-k or shard."""
        found = top_of(row)
        pairs = [("top-k", str(found), str(self.top))] if found != self.top else []
        pairs += [
            (name, str(row[name]), getattr(self, name)) for name in _TAIL if str(row[name]) != getattr(self, name)
        ]
        if not pairs:
            return
        name, old, new = pairs[0]
        what = {"setup": "card or labels (or the precision)", "weights_sha256": "weights (SHA-256)"}.get(name, name)
        raise FeedError(
            f"{where}: its rows have {what} {old[:80]!r}, this run has {new[:80]!r}; resume with what the file was begun with, or give "
            "another file"
        )


def columns(top: int) -> list[str]:
    """Names of the columns: label_1, score_1, index_1 are those of the most probable class."""
    return [*_HEAD, *(f"{name}_{rank}" for rank in range(1, top + 1) for name in ("label", "score", "index")), *_TAIL]


def top_of(row: Row | list[str]) -> int:
    """The top-k of a row or header; 0 if the columns are not those of a file of results."""
    names = list(row)
    top = max(0, (len(names) - len(_HEAD) - len(_TAIL)) // 3)
    return top if names == columns(top) else 0


def row_of(path: str, prediction: Prediction | None, error: KigraphError | None, setup: Setup) -> Row:
    """The row for one image. A path that is no UTF-8 is exact in ``path_base64``; ``path`` has U+FFFD for what is none."""
    row: Row = dict.fromkeys(columns(setup.top))
    row.update(zip(("path", "path_base64"), _text(path), strict=True))
    row["status"] = "ok" if error is None else "error"
    if error is not None:
        row["error"] = "".join(c if c.isprintable() else "?" for c in " ".join(str(error).split()))
    for rank, label in enumerate(prediction or (), 1):
        row[f"label_{rank}"], row[f"score_{rank}"], row[f"index_{rank}"] = label.label, label.probability, label.index
    row.update((name, getattr(setup, name)) for name in _TAIL)
    return row


def key_of_path(path: str) -> bytes:
    """What an image is known by: 16 bytes, so that a million done ones need 80 MB."""
    return blake2b(os.fsencode(path), digest_size=16).digest()


def key_of(row: Row) -> bytes:
    """The same of a row."""
    exact = row["path_base64"]
    data = base64.b64decode(exact) if exact else str(row["path"]).encode("utf-8", "surrogatepass")
    return blake2b(data, digest_size=16).digest()


def setup_of(model: Classifier, top: int, shard: object = "1/1") -> Setup:
    """What the rows of a model agree in. Reads the whole file of weights, for its SHA-256."""
    import hashlib

    card = model.require_card()
    names = list(model.labels.names) if model.labels is not None else None
    multiplies = model.session.numerics.multiplies
    lower = [] if multiplies == "fp32" else [multiplies]  # files of fp32 are as they were before there was another
    text = json.dumps([card.to_json(), names, *lower], sort_keys=True)
    digest = hashlib.sha256()
    for path in _files(model.path) if model.path is not None else ():
        with open_regular(path) as file:
            while block := file.read(1 << 20):
                digest.update(block)
    return Setup(
        _text(model.name)[0], digest.hexdigest(), blake2b(text.encode(), digest_size=8).hexdigest(), str(shard), top
    )


def _files(path: Path) -> list[Path]:
    return sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]


def _text(path: str) -> tuple[str, str | None]:
    data = os.fsencode(path)
    try:
        return data.decode("utf-8"), None
    except UnicodeDecodeError:
        return data.decode("utf-8", "replace"), base64.b64encode(data).decode("ascii")
