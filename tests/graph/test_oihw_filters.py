"""Filters that a file stores as (out, in, height, width), behind a Transpose: packed once, and kept nowhere else."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from kigraph.graph import evaluate, ops
from kigraph.graph.builder import Graph
from kigraph.graph.session import Session
from kigraph.graph.writers.graphdef import save_graphdef
from kigraph.kernels.backends import get_backend
from tests.graph.packed_models import files, run


def build(seed: int) -> Graph:
    rng = np.random.default_rng(seed)
    with Graph().as_default() as graph:
        y = x = ops.placeholder("float32", (None, 8, 9, 9), name="x")
        for i, shape in enumerate(((48, 8, 3, 3), (48, 24, 3, 3))):  # the second one has two groups
            w = ops.constant(rng.standard_normal(shape).astype(np.float32), name=f"w{i}")
            y = ops.conv2d(y, ops.transpose(w, [2, 3, 1, 0]), 1, "SAME", data_format="NCHW")
            y = ops.relu(ops.bias_add(y, rng.standard_normal(48).astype(np.float32), data_format="NCHW"))
        ops.identity(y, name="y")
        assert x.shape == (None, 8, 9, 9)
    return graph


def test_a_second_start_packs_nothing(tmp_path: Path, cache: Path, packs: list[str], rng: np.random.Generator) -> None:
    if not get_backend("cython").status().available:
        pytest.skip("no cython here")
    path = tmp_path / "model.pb"
    save_graphdef(build(3), path)
    x = rng.standard_normal((2, 8, 9, 9)).astype(np.float32)
    first = run(path, x=x)
    assert len(packs) == 3
    assert len(files(cache)) == 1
    packs.clear()
    np.testing.assert_array_equal(run(path, x=x), first)
    assert packs == []


def test_what_one_node_reads_is_not_kept(graph: Graph) -> None:
    x = ops.placeholder("float32", (1, 64, 3, 3))
    large = np.ones((64, 64, 3, 3), np.float32)
    w = [ops.transpose(ops.constant(large), [2, 3, 1, 0]) for _ in range(2)]
    y = [ops.conv2d(x, w[0], data_format="NCHW"), *(ops.conv2d(x, w[1], k, data_format="NCHW") for k in (1, 2))]
    folded = Session(graph, backend="numpy", skip_passes=["merge_siblings"]).optimized(y, [x])
    found = [folded.literal(n.inputs[1]) for n in folded if n.op == "Conv2D"]
    with evaluate.shared_values():
        assert [literal is not None and literal.array() is literal.array() for literal in found] == [False, True, True]
