"""Checks that the convolutions of Inception v3 reach their share of the peak, and measures register tiles.

    python -m benchmarks.tile_check                # exit status 1 if a layer is below its share
    python -m benchmarks.tile_check --measure FILE # times every tile of every layer, adds them to FILE (JSON)

The peak is measured in the same run with the same instruction set (KIGRAPH_ISA), between the layers, so that a machine that
other programs slow down is slow for both. One thread, constant weights in the caches, the least of many short runs. What is
asked of a layer is SHARE of the best tile's share of the peak when the table was measured (``TABLE``), which a tile
that is not the chosen one misses in at least some layers; a noisy second is measured again.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

from kigraph.kernels.conformance.check import FixedConstants
from kigraph.kernels.contracts.conv2d import CONV2D, Conv2DParams
from kigraph.kernels.cython import conv2d, core
from kigraph.kernels.cython.tiles import Tile, choose_tile, cycles
from kigraph.kernels.devices import HOST
from kigraph.kernels.inception_v3 import ConvLayer, distinct_convolutions
from kigraph.kernels.kernel import Query
from kigraph.kernels.tensor import TensorType

__all__ = ["TABLE", "forced", "layers", "measure"]

#: Facts: machine, instruction set, layer -> GFLOP/s per number of vectors of a tile, as a share of the peak.
TABLE = Path(__file__).parents[1] / "tests" / "kernels" / "measured_tiles.json"
#: Of the share of the peak that the best tile reached when the table was measured.
SHARE = 0.8
_RUNS, _SECONDS, _TRIES, _MOST_MACS = 4, 0.012, 6, 40_000_000


def layers() -> list[ConvLayer]:
    """The distinct layers but those of three channels, which have a kernel of their own."""
    return [layer for layer, _ in distinct_convolutions() if layer.cin > 3]


def forced(vectors: int) -> Any:
    """A choice of tiles that has no choice: the tile of so many vectors."""

    def choose(
        itemsize: int, lines: int, length: int, k: float, cout: int, limits: tuple[int, ...] = ()
    ) -> tuple[float, Tile]:
        lanes = core.F32_LANES if itemsize == 4 else core.F64_LANES
        tile = Tile((limits or core.TILE_MR)[vectors - 1], vectors)
        return cycles(tile, lanes * itemsize, lines, length, k, -(-cout // lanes)), tile

    return choose


def _height(layer: ConvLayer) -> int:
    """Lines of the image to compute: of large layers a part, for a run of several milliseconds is always disturbed."""
    return min(layer.size, max(layer.size * _MOST_MACS // layer.macs, layer.kernel[0] + 4 * layer.stride))


def _bound(layer: ConvLayer, choose: Any) -> tuple[Any, int]:
    """What runs a layer, and its float operations."""
    x = TensorType(np.dtype(np.float32), (1, _height(layer), layer.size, layer.cin))
    w = TensorType(x.dtype, (*layer.kernel, layer.cin, layer.cout))
    params = Conv2DParams((layer.stride, layer.stride), layer.padding)
    (y,) = CONV2D.check([x, w], params)
    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal(t.dims).astype(np.float32) for t in (x, w)]
    query = Query(CONV2D, (x, w), (y,), params, frozenset([1]))
    with mock.patch.object(conv2d, "choose_tile", choose):
        prepared = conv2d.prepare_igemm(query, FixedConstants({1: arrays[1]}))
    out = HOST.view(HOST.allocate(y.nbytes), 0, y.dtype, y.dims)
    run = prepared.bind([arrays[0], None], [out], HOST.allocate(prepared.workspace_bytes))
    return run, CONV2D.flops([x, w], [y], params)


def _peak() -> float:
    rounds = 60_000
    begin = time.perf_counter()
    return float(core.probe_flops(rounds)) / (time.perf_counter() - begin)


def measure(layer: ConvLayer, choices: list[Any]) -> list[float]:
    """For each way of choosing a tile the share of the peak that the layer reaches; all in turn."""
    runs = [_bound(layer, choose) for choose in choices]
    best, peak = [float("inf")] * len(runs), 0.0
    for _ in range(_RUNS):
        for i, (run, _flops) in enumerate(runs):
            peak = max(peak, _peak())
            end = time.perf_counter() + _SECONDS
            while (begin := time.perf_counter()) < end:
                run()
                best[i] = min(best[i], time.perf_counter() - begin)
    return [flops / seconds / peak for (_run, flops), seconds in zip(runs, best, strict=True)]


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else ():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return "unknown processor"


def _measure(path: Path) -> int:
    table = json.loads(path.read_text()) if path.exists() else {"layers": {}}
    table["processor"] = _processor()
    table.setdefault("rows", {})[core.ISA_IN_USE] = [core.F32_LANES, *core.TILE_MR]
    found = table["layers"].setdefault(core.ISA_IN_USE, {})
    for layer in layers():
        shares = measure(layer, [forced(v) for v in range(1, len(core.TILE_MR) + 1)])
        before = found.get(layer.name, [0.0] * len(shares))
        found[layer.name] = [round(max(a, b), 3) for a, b in zip(shares, before, strict=True)]
        print(layer.name, found[layer.name], flush=True)
    text = json.dumps(table, indent=1)
    path.write_text(text + "\n")
    return 0


def _failures(wanted: dict[str, list[float]]) -> Iterator[str]:
    for layer in layers():
        least, best = SHARE * max(wanted[layer.name]), 0.0
        for _ in range(_TRIES):
            best = max(best, measure(layer, [conv2d.choose_tile])[0])
            if best >= least:
                break
        print(f"{layer.name:10} {best:6.1%} of the peak, at least {least:.1%}", flush=True)
        if best < least:
            yield layer.name


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--measure", type=Path, help="time all tiles and write them to this file")
    parser.add_argument("--force", type=int, help="take the tile of so many vectors everywhere, to see the check fail")
    options = parser.parse_args()
    if options.measure is not None:
        return _measure(options.measure)
    table = json.loads(TABLE.read_text())
    if core.ISA_IN_USE not in table["layers"]:
        print(f"no measurements for {core.ISA_IN_USE} in {TABLE}")
        return 1
    choose = choose_tile if options.force is None else forced(options.force)
    with mock.patch.object(conv2d, "choose_tile", choose):
        slow = list(_failures(table["layers"][core.ISA_IN_USE]))
    print(f"{core.ISA_IN_USE}: {len(slow)} of {len(layers())} layers are too slow: {', '.join(slow) or 'none'}")
    return bool(slow)


if __name__ == "__main__":
    sys.exit(main())
