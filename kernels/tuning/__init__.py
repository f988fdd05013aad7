"""kigraph.kernels.tuning: which of several legal kernels a layer gets, decided by measurement.

    signature.py     what a layer is: the key of a choice; never the batch, the number of threads or the weights
    measure.py       times the candidates of one layer
    tables.py        the table that comes with the package (shipped.json) and the files in the cache folder
    tuner.py         Tuner: off, cached, full; what a session uses

Choices are made among kernels that support the query; a table can never make an illegal kernel run.
"""

from __future__ import annotations

from .measure import measure
from .signature import signature
from .tables import Table, read_table, shipped_table, table_path, write_table
from .tuner import Decision, Tuner, accurate_enough

__all__ = [
    "Decision",
    "Table",
    "Tuner",
    "accurate_enough",
    "measure",
    "read_table",
    "shipped_table",
    "signature",
    "table_path",
    "write_table",
]
