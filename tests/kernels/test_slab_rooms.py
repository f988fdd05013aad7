"""Lasting buffers share slabs of huge pages without sharing bytes, and slabs live as long as what is in them."""

from __future__ import annotations

import gc
import itertools
import weakref

import numpy as np

from kigraph.kernels import devices
from kigraph.kernels.conformance import process_seed
from kigraph.kernels.devices import ALIGNMENT, HostDevice

SLAB = devices._SLAB_BYTES


def slab_of(buffer: np.ndarray) -> int:
    return id(buffer.base)


def test_what_is_small_goes_where_there_is_room() -> None:
    host = HostDevice()
    first = host.allocate_lasting(SLAB - (1 << 20))
    second = host.allocate_lasting(SLAB - (1 << 19))
    small = host.allocate_lasting(1 << 19)  # fits in both: the tighter one is taken
    other = host.allocate_lasting(1 << 19)
    assert slab_of(small) == slab_of(second) != slab_of(first) == slab_of(other)


def test_the_last_page_of_a_large_buffer_is_used() -> None:
    host = HostDevice()
    large = host.allocate_lasting(2 * SLAB + 5)
    assert slab_of(host.allocate_lasting(1 << 20)) == slab_of(large)


def test_no_two_buffers_overlap() -> None:
    rng = np.random.default_rng(process_seed())
    host = HostDevice()
    kept: dict[int, np.ndarray] = {}
    for number in range(400):
        kept[number] = host.allocate_lasting(int(rng.choice([1, 63, 64, 65, 5000, 300_000, SLAB // 3])))
        assert kept[number].ctypes.data % ALIGNMENT == 0
        kept[number][[0, -1]] = number % 251
        if rng.random() < 0.5:
            del kept[int(rng.choice(list(kept)))]
    for number, buffer in kept.items():
        assert set(buffer[[0, -1]]) == {number % 251}, process_seed()
    spans = sorted((b.ctypes.data, b.ctypes.data + b.nbytes) for b in kept.values())
    assert all(end <= begin for (_, end), (begin, _) in itertools.pairwise(spans)), process_seed()


def test_rooms_keep_no_slab_alive() -> None:
    host = HostDevice()
    buffers = [host.allocate_lasting(SLAB - 4096) for _ in range(4)]
    slabs = [weakref.ref(b.base) for b in buffers if b.base is not None]
    assert len(slabs) == 4
    del buffers
    gc.collect()
    assert [slab() is None for slab in slabs] == [True, True, True, False]  # the last one is for what comes next
    again = host.allocate_lasting(4096)
    assert again.base is slabs[3]()
