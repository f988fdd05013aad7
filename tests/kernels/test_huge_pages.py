"""Large buffers of the host lie in huge pages, and are aligned and writable at every size."""

from __future__ import annotations

import mmap

import numpy as np
import pytest

from kigraph.kernels import devices
from kigraph.kernels.errors import OutOfMemoryError


@pytest.mark.parametrize("nbytes", [0, 1, (2 << 20) - 1, 2 << 20, (4 << 20) + 12345])
def test_buffers_of_every_size_are_aligned_and_writable(nbytes: int) -> None:
    buffer = devices.HOST.allocate(nbytes)
    assert buffer.nbytes == nbytes
    assert buffer.dtype == np.uint8
    assert not nbytes or buffer.ctypes.data % devices.ALIGNMENT == 0
    if nbytes >= 2 << 20 and hasattr(mmap, "MADV_HUGEPAGE"):
        assert buffer.ctypes.data % (2 << 20) == 0
    buffer.fill(3)
    assert (buffer == 3).all()


def test_a_mapping_that_cannot_be_had_is_an_error_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    if not hasattr(mmap, "MADV_HUGEPAGE"):
        pytest.skip("this system has no huge pages on request")

    def refused(*args: object, **kwargs: object) -> mmap.mmap:
        raise OSError(12, "Cannot allocate memory")

    monkeypatch.setattr(devices.mmap, "mmap", refused)
    with pytest.raises(OutOfMemoryError, match="4,194,304 bytes"):
        devices.HOST.allocate(4 << 20)
    with pytest.raises((OutOfMemoryError, MemoryError)):
        devices._huge(4 << 20)
