"""Memory of the host: alignment, buffers that share slabs, memory that is given back."""

from __future__ import annotations

import gc
import mmap
import weakref
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from kigraph.kernels import devices
from kigraph.kernels.devices import ALIGNMENT, HostDevice


@pytest.mark.parametrize("lasting", [False, True])
def test_buffers_are_aligned_and_apart(lasting: bool) -> None:
    host = HostDevice()
    allocate = host.allocate_lasting if lasting else host.allocate
    sizes = [0, 1, 63, 64, 65, 5000, 3 << 20, 7 << 20, 9 << 20, 100, 1 << 20]
    buffers = [allocate(size) for size in sizes]
    for i, (buffer, size) in enumerate(zip(buffers, sizes, strict=True)):
        assert (buffer.dtype, buffer.shape) == (np.uint8, (size,))
        assert size == 0 or buffer.ctypes.data % ALIGNMENT == 0
        buffer[...] = i
    for i, buffer in enumerate(buffers):
        assert (buffer == i).all()


def test_lasting_buffers_from_several_threads() -> None:
    host = HostDevice()

    def take(number: int) -> list[np.ndarray]:
        buffers = [host.allocate_lasting(100_000 + number) for _ in range(20)]
        for buffer in buffers:
            buffer[...] = number
        return buffers

    with ThreadPoolExecutor(8) as pool:
        for number, buffers in enumerate(pool.map(take, range(8))):
            assert all((b == number).all() for b in buffers)


def test_a_slab_goes_when_its_buffers_are_gone() -> None:
    host = HostDevice()
    first, second = host.allocate_lasting(100_000), host.allocate_lasting(100_000)
    assert first.base is not None
    slab = weakref.ref(first.base)
    host.allocate_lasting(devices._SLAB_BYTES)  # begins another slab
    del first
    gc.collect()
    assert slab() is not None
    del second
    gc.collect()
    assert slab() is None


def test_systems_without_huge_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(mmap, "MADV_HUGEPAGE", raising=False)
    buffer = HostDevice().allocate_lasting(1 << 20)
    buffer[...] = 3
    assert buffer.ctypes.data % ALIGNMENT == 0
    assert (buffer == 3).all()
