"""Parquet files of results. A row group cannot be appended to, so rows wait in a journal until the whole file is written."""

from __future__ import annotations

import contextlib
import glob
import os
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any

from ..errors import FeedError
from ..kernels.atomic_files import PART, replacing
from .rows import Row, columns, top_of

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["read_parquet", "remove_parts", "require_pyarrow", "write_parquet"]

#: Rows of a row group: of this size readers of Parquet work best, and no more are in memory.
_GROUP = 100_000


def require_pyarrow() -> Any:
    """pyarrow and pyarrow.parquet; FeedError with the remedy if they are not installed."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise FeedError(
            f"Parquet needs pyarrow ({error}): pip install 'kigraph[parquet]', or name the file .csv or .jsonl"
        ) from None
    return pyarrow


def _schema(top: int) -> pa.Schema:
    pa = require_pyarrow()
    kinds = {"score": pa.float32(), "index": pa.int32()}
    return pa.schema([(name, kinds.get(name.partition("_")[0], pa.string())) for name in columns(top)])


def read_parquet(path: str, names: Iterable[str]) -> Iterator[Row]:
    """The rows of a file with the columns ``names``, the others None; FeedError if it is not a file of results."""
    pa = require_pyarrow()
    try:
        with pa.parquet.ParquetFile(path) as file:
            found = file.schema_arrow.names
            if not top_of(found):
                raise FeedError(f"{path}: not a file of results: its columns are {', '.join(found)[:120]}")
            for batch in file.iter_batches(_GROUP, columns=list(names)):
                yield from (dict.fromkeys(found) | row for row in batch.to_pylist())
    except (pa.ArrowException, OSError) as error:
        text = " ".join(str(error).split())[:160]
        raise FeedError(f"{path}: not a Parquet file that can be read: {text}; give another file") from None


def write_parquet(
    path: str,
    top: int,
    old: str | None,
    rows: Iterator[Row],
    progress: Callable[[int], None],
    counts: Callable[[Row], bool] | None = None,
) -> None:
    """The rows of the file ``old`` and then ``rows`` as one file, which takes the place of ``path`` when it is complete.

    counts: asked with the path of each row of ``old``, in order, whether it stays; None: all do.
    """
    pa = require_pyarrow()
    schema = _schema(top)
    with (
        replacing(os.path.realpath(path)) as target,
        pa.parquet.ParquetWriter(target, schema, compression="zstd") as writer,
    ):
        if old is not None:
            with pa.parquet.ParquetFile(old) as file:
                for batch in file.iter_batches(_GROUP):
                    if counts is not None:
                        names = batch.select(["path", "path_base64"]).to_pylist()
                        batch = batch.filter(pa.array([counts(row) for row in names], pa.bool_()))
                    writer.write_batch(batch, _GROUP)
                    progress(len(batch))
        while group := list(islice(rows, _GROUP)):
            writer.write_table(pa.Table.from_pylist(group, schema), _GROUP)
            progress(len(group))


def remove_parts(path: str) -> None:
    """Removes what writers of this file left that were killed; only for who has its journal locked."""
    for part in glob.glob(glob.escape(path) + "????????" + PART):
        with contextlib.suppress(OSError):
            os.unlink(part)
