"""Which register tile an implicit GEMM should use: a model of cycles, fitted to measured tiles.

A tile of MR pixels x NV vectors takes per input channel the maximum of: its FMAs (two per clock), its loads (two per clock),
the latency of a chain of FMAs (4 clocks), and the transfer of its weights from the L2 cache, unless they stay in L1; and a
little for its loop and each load.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..records import dataclass
from . import core

__all__ = ["Tile", "choose_tile", "cycles"]

#: Bytes per clock that the L2 cache delivers to a stream of weights; bytes of the largest panel that stays in the L1 cache.
_L2_BYTES, _L1_PANEL = 24, 24 << 10
#: Clocks to begin and end a tile, besides one per accumulator.
_TILE_OVERHEAD = 60
_FMA_LATENCY = 4
#: Clocks per iteration of the inner loop, and per load in it, that the FMAs do not hide.
_TURN_OVERHEAD, _LOAD_OVERHEAD = 0.5, 0.1
#: Vectors of this size are those of portable C: it multiplies and adds in two steps, and spends clocks on a broadcast
#: (measured on Inception's layers: 4 x 3 takes 30 clocks an iteration, 6 x 2 36, 10 x 1 50).
_PORTABLE_BYTES, _BROADCAST = 16, 4.0


@dataclass(frozen=True, slots=True)
class Tile:
    """Most pixels, and vectors of output channels."""

    pixels: int
    vectors: int


def cycles(tile: Tile, lanes_bytes: int, lines: int, length: int, k: float, vectors: int) -> float:
    """Estimated clocks of ``lines`` lines of ``length`` pixels with ``k`` inputs per pixel and ``vectors`` of channels."""
    chunks = -(-length // tile.pixels)
    total = 0.0
    full, rest = divmod(vectors, tile.vectors)
    for count, nv in ((full, tile.vectors), (1, rest)):
        if not nv or not count:
            continue
        # Chunks differ by one pixel at most.
        short, longer = divmod(length, chunks) if chunks else (0, 0)
        for mr, times in ((short, chunks - longer), (short + 1, longer)):
            if times:
                weights = nv * lanes_bytes / _L2_BYTES if k * nv * lanes_bytes > _L1_PANEL else 0.0
                fused = lanes_bytes > _PORTABLE_BYTES
                step = max(mr * nv / 2 if fused else mr * (nv + _BROADCAST), (mr + nv) / 2, _FMA_LATENCY, weights)
                step += _TURN_OVERHEAD + _LOAD_OVERHEAD * (mr + nv)
                total += times * count * (step * k + mr * nv + _TILE_OVERHEAD)
    return total * lines


def choose_tile(
    itemsize: int, lines: int, length: int, k: float, cout: int, limits: Sequence[int] = ()
) -> tuple[float, Tile]:
    """The tile with the fewest estimated clocks, and their number. ``limits``: most pixels per number of vectors.

    Of forward layers conv2d.place_tiles calls it (there 1x1 layers become one line of pixels), of products matmul.py,
    of backward layers gradients.py.
    """
    lanes = core.F32_LANES if itemsize == 4 else core.F64_LANES
    vectors = -(-cout // lanes)
    best: tuple[float, Tile] | None = None
    for nv, most in enumerate(limits or core.TILE_MR, 1):
        tile = Tile(most, nv)
        estimate = cycles(tile, lanes * itemsize, lines, length, k, vectors)
        if best is None or estimate < best[0]:
            best = (estimate, tile)
    assert best is not None
    return best
