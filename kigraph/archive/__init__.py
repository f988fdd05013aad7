"""kigraph.archive: whole archives of photographs to tables of labels, which may be interrupted at any time.

Map of the folder::

    listing.py   folders and patterns -> paths in a stable order; which of them belong to a shard
    rows.py      the columns of a table, and what a row has to agree with: model, top-k, shard
    lines.py     CSV and JSON Lines that are appended to; a half-written last line is cut off
    parquet.py   Parquet: rows are kept in a journal beside the file until all are there
    results.py   one file of results of any format: opened, resumed, written, finished
    run.py       photographs through a model into such a file
    rays.py      the same by actors of Ray on many machines
"""

from __future__ import annotations

__all__: list[str] = []
