"""Memory of packed weights: slabs of huge pages, which small arrays use but do not begin."""

from __future__ import annotations

import numpy as np

from kigraph.kernels.devices import _LEAST_SLAB, _SLAB_BYTES, ALIGNMENT, HostDevice


def begun(device: HostDevice) -> int:
    return device._slab.nbytes


def test_small_arrays_begin_no_slab() -> None:
    """Where packed weights are mapped, the biases of Inception v3 took a huge page of 2 MB for themselves."""
    device = HostDevice()
    small = [device.allocate_lasting(n) for n in (0, 1, 64, 4095, _LEAST_SLAB - ALIGNMENT)]
    assert begun(device) == 0
    assert [a.nbytes for a in small] == [0, 1, 64, 4095, _LEAST_SLAB - ALIGNMENT]
    assert all(a.ctypes.data % ALIGNMENT == 0 for a in small if a.nbytes)


def test_small_arrays_use_the_room_of_a_slab_that_is_there() -> None:
    device = HostDevice()
    large = device.allocate_lasting(_LEAST_SLAB)
    small = device.allocate_lasting(100)
    assert begun(device) == _SLAB_BYTES
    assert small.ctypes.data == large.ctypes.data + large.nbytes
    large[:], small[:] = 1, 2
    assert np.all(large == 1)
    assert np.all(small == 2)


def test_a_full_slab_is_not_followed_by_one_for_small_arrays() -> None:
    device = HostDevice()
    whole = device.allocate_lasting(_SLAB_BYTES)
    first = device._slab
    small = device.allocate_lasting(100)
    assert device._slab is first
    assert not np.shares_memory(whole, small)
