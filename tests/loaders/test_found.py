"""Files that fuzzing found, opened again: FAMILY.what-was-wrong in the folder ``found``. Only errors of kigraph come out."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

import fuzz_open
import fuzz_seeds
import pytest

from kigraph.kernels.errors import KigraphError

FOUND = sorted(Path(__file__).with_name("found").iterdir())


@pytest.mark.parametrize("file", FOUND, ids=lambda file: file.name)
def test_files_that_fuzzing_found(file: Path, tmp_path: Path) -> None:
    family = file.name.partition(".")[0]
    assert family in fuzz_seeds.FAMILIES
    path = tmp_path / "case"
    path.write_bytes(file.read_bytes())
    start = time.process_time()
    with contextlib.suppress(KigraphError):
        fuzz_open.OPENERS.get(family.split("-")[0], fuzz_open.open_model)(path)
    if family.split("-")[0] not in fuzz_open.OPENERS:
        fuzz_open.inspect(path)
    assert time.process_time() - start < 5
