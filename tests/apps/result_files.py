"""Files of results, read by other readers than kigraph's."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

__all__ = ["rows_in"]


def rows_in(path: Path) -> list[dict[str, Any]]:
    """The rows of a .parquet, .jsonl or .csv file; empty fields are None."""
    if path.suffix == ".parquet":
        return pytest.importorskip("pyarrow.parquet").read_table(path).to_pylist()
    if path.suffix == ".jsonl":
        return [json.loads(line) for line in path.read_text().splitlines()]
    with open(path, newline="", encoding="utf-8") as file:
        return [{k: v or None for k, v in row.items()} for row in csv.DictReader(file)]
