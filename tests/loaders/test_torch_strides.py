"""Offsets, shapes and strides of a state dict: what is legal is read, what leaves the storage is a LoadError."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from kigraph.graph.errors import LoadError
from kigraph.graph.loaders import load

HUGE = 1 << 100


@pytest.mark.parametrize(
    ("shape", "offset", "strides", "want"),
    [
        ((1, 4), 0, (HUGE, 1), [[0, 1, 2, 3]]),
        ((4, 1), 0, (1, HUGE), [[0], [1], [2], [3]]),
        ((1, 1), 3, (HUGE, HUGE), [[3]]),
        ((2, 3), 1, (0, 1), [[1, 2, 3], [1, 2, 3]]),
        ((2, 0), 0, (HUGE, HUGE), np.zeros((2, 0))),
        ((0,), 4, (1,), np.zeros(0)),
        ((), 2, (), 2),
    ],
)
@pytest.mark.parametrize("legacy", [False, True])
def test_strides_that_are_never_used(
    shape: tuple[int, ...], offset: int, strides: tuple[int, ...], want: Any, legacy: bool, write: Any, torch_files: Any
) -> None:
    """PyTorch stores what it likes for axes of size 1 and for empty tensors."""
    data = np.arange(4, dtype=np.float32).tobytes()
    value = {"a": torch_files.strided("0", "float32", 4, offset, shape, strides)}
    made = torch_files.legacy(value, {"0": (4, data)}) if legacy else torch_files.zip(value, {"0": data})
    got = load(write(made)).weights
    assert got is not None
    np.testing.assert_array_equal(got.read("a"), np.asarray(want, np.float32))


@pytest.mark.parametrize(
    ("shape", "offset", "strides"),
    [
        ((2, 2), 0, (HUGE, 1)),
        ((2, 2), 0, (-1, 1)),
        ((2,), HUGE, (1,)),
        ((1,), HUGE, (1,)),
        ((0,), HUGE, (1,)),
        ((0,), 5, (1,)),
        ((HUGE,), 0, (0,)),
        ((1 << 40,), 0, (0,)),
        ((2, HUGE, 0), 0, (1, 1, 1)),
        ((2, 2), 2, (1, 1)),
        ((4,), 0, (1, 1)),
        ((-1,), 0, (1,)),
    ],
)
@pytest.mark.parametrize("legacy", [False, True])
def test_windows_outside_of_the_storage(
    shape: tuple[int, ...], offset: int, strides: tuple[int, ...], legacy: bool, write: Any, torch_files: Any
) -> None:
    data = np.arange(4, dtype=np.float32).tobytes()
    value = {"a": torch_files.strided("0", "float32", 4, offset, shape, strides)}
    made = torch_files.legacy(value, {"0": (4, data)}) if legacy else torch_files.zip(value, {"0": data})
    with pytest.raises(LoadError):
        load(write(made))


def test_names_that_cannot_be_printed(write: Any, torch_files: Any) -> None:
    """Half a surrogate pair is a Python text, but not one that any output takes."""
    tensors, storages = torch_files.state_dict({"ab": np.zeros(3, np.float32)})
    pickle = torch_files.pickled(tensors).replace(b"\x02\0\0\0ab", b"\x03\0\0\0\xed\xa0\x80")
    with pytest.raises(LoadError, match="UTF-8"):
        load(write(torch_files.zip(pickle, storages)))
