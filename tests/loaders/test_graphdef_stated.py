"""What is written of ops whose types and counts follow from their definitions: all attributes that TensorFlow requires."""

from __future__ import annotations

from pathlib import Path

import numpy as np

import kigraph as ki
from kigraph.graph.opdefs import OPDEFS
from kigraph.graph.writers.graphdef import save_graphdef


def test_types_and_counts_are_written(tmp_path: Path) -> None:
    with ki.Graph().as_default() as graph:
        x = ki.placeholder("float32", [2, 3], name="x")
        made = [
            ki.add_n([x, x, x]), ki.one_hot([0, 2], 3), ki.gather_nd(x, [[0, 1]]), ki.einsum("ab,cb->ac", x, x),
            *ki.identity_n([x, ki.constant([1])]), ki.clip_by_value(x, 0.0, 1.0), ki.roll(x, 1, 0), ki.leaky_relu(x),
            ki.cumsum(x, 1), ki.where(x), ki.reverse(x, 1), ki.matrix_band_part(x, 0, 1), ki.bitcast(x, "int32"),
            ki.unsorted_segment_sum(x, [0, 1], 2), ki.linspace(0.0, 1.0, 4), ki.ensure_shape(x, [None, 3]),
            ki.tensor_scatter_nd_add(x, [[0]], [[1.0, 2.0, 3.0]]), ki.unique(ki.reshape(x, [-1]))[1],
        ]  # fmt: skip
        totals = [ki.reduce_sum(ki.cast(t, "float64"), list(range(t.type.rank or 0))) for t in made]
        ki.identity(ki.add_n(totals), name="out")
    save_graphdef(graph, tmp_path / "ops.pb")
    loaded = ki.load(tmp_path / "ops.pb").graph
    assert loaded is not None
    for operation in loaded.operations:
        required = {
            name for name, a in OPDEFS[operation.type].attributes.items() if a.of is not None or a.count is not None
        }
        assert required <= set(operation.attrs), operation
    feeds = {"x:0": np.arange(6, dtype=np.float32).reshape(2, 3) / 4}
    got, want = (ki.Session(g, backend="numpy").run("out:0", feeds) for g in (loaded, graph))
    assert got == want
