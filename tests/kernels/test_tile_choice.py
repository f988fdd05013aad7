"""The register tiles that kernels choose, against measured ones: a wrong choice costs a third of the speed and no result."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from kigraph.kernels.contracts.conv2d import CONV2D, Conv2DParams
from kigraph.kernels.cython import conv2d, core
from kigraph.kernels.inception_v3 import ConvLayer, distinct_convolutions
from kigraph.kernels.kernel import Query
from kigraph.kernels.tensor import TensorType

#: Written by ``python -m benchmarks.tile_check --measure``: per instruction set and layer the share of the peak that the
#: tile of 1, 2, ... vectors reached, at best of several runs.
TABLE = json.loads(Path(__file__).with_name("measured_tiles.json").read_text())
LAYERS = {layer.name: layer for layer, _ in distinct_convolutions()}
#: How far from the best tile the chosen one may be, in one layer and over all of them.
NEAR, NEAR_ON_AVERAGE = 0.85, 0.95


def chosen(layer: ConvLayer, monkeypatch: pytest.MonkeyPatch, isa: str) -> int:
    """Vectors of the tile that the direct kernel takes with this instruction set, whatever this machine has."""
    lanes, *rows = TABLE["rows"][isa]
    monkeypatch.setattr(core, "TILE_MR", tuple(rows))
    monkeypatch.setattr(core, "F32_LANES", lanes)
    x = TensorType(np.dtype(np.float32), (1, layer.size, layer.size, layer.cin))
    w = TensorType(x.dtype, (*layer.kernel, layer.cin, layer.cout))
    params = Conv2DParams((layer.stride, layer.stride), layer.padding)
    query = Query(CONV2D, (x, w), CONV2D.check([x, w], params), params, frozenset([1]))
    down, across = conv2d._axes(query, params)
    _, oh, ow, cout = query.outputs[0].dims
    batch = (1, layer.size**2, oh * ow)
    tile, _, _ = conv2d.place_tiles(4, batch, (down, across), layer.cin, cout)
    assert tile.pixels == rows[tile.vectors - 1]
    return tile.vectors


@pytest.mark.parametrize("isa", sorted(TABLE["layers"]))
def test_chosen_tiles_are_near_the_best_measured_ones(isa: str, monkeypatch: pytest.MonkeyPatch) -> None:
    measured: dict[str, list[float]] = TABLE["layers"][isa]
    assert set(measured) == {name for name, layer in LAYERS.items() if layer.cin > 3}
    shares = {}
    for name, found in measured.items():
        vectors = chosen(LAYERS[name], monkeypatch, isa)
        shares[name] = found[vectors - 1] / max(found)
        print(isa, name, vectors, found, round(shares[name], 3))
    far = {name: round(share, 2) for name, share in shares.items() if share < NEAR}
    assert not far, f"{isa}: of the best tile's speed on {TABLE['processor']} the chosen one has {far}"
    assert sum(shares.values()) / len(shares) > NEAR_ON_AVERAGE


@pytest.mark.parametrize("isa", sorted(TABLE["layers"]))
def test_this_machine_has_the_tiles_that_were_measured(isa: str) -> None:
    if isa != core.ISA_IN_USE:
        pytest.skip(f"this process uses {core.ISA_IN_USE}")
    assert [core.F32_LANES, *core.TILE_MR] == TABLE["rows"][isa]


def test_numba_has_the_measured_tiles() -> None:
    """Rows of a tile of one and of two vectors; others were slower (numba/targets.py), and nothing else would tell."""
    targets = pytest.importorskip("kigraph.kernels.numba.targets")
    measured = {"avx512": (14, 14), "avx2": (12, 6), "portable": (8, 5)}
    assert {t.name: t.rows for t in targets.TARGETS} == measured
