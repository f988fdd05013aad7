"""What Inception v3 is compiled to: no copies, no changes of layout, one product per family of 1x1 convolutions."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kigraph.graph.loaders import load
from kigraph.graph.plan.lowering import Step
from kigraph.graph.plan.stage import Stage
from kigraph.graph.session import Session

IMAGE = np.zeros((1, 299, 299, 3), np.float32)


def steps_between(session: Session, fetch: str, feed: str) -> list[Step]:
    stages = [stage for _, stage in session.plan(fetch, {feed: IMAGE}).compiled()]
    return [step for stage in stages if isinstance(stage, Stage) for step in stage.lowering.steps]


@pytest.fixture(scope="module")
def graph(flowers: Path) -> Any:
    return load(flowers).graph


def test_nothing_is_copied_between_image_and_logits(graph: Any, backend: str) -> None:
    if backend == "cupy":
        pytest.skip("weights would have to be packed on the GPU; the plan is the same")
    steps = steps_between(Session(graph, backend), "final_result:0", "Mul:0")
    joins = [s for s in steps if s.op in ("Concat", "ConcatV2")]
    assert len(joins) == 11
    assert all(s.kernel is None and s.note.startswith("free") for s in joins), [s.note for s in joins]
    ran = Counter(s.op for s in steps if s.kernel is not None)
    assert ran == {
        "KiFusedConv2D": 57,
        "KiSiblingConv2D": 10,
        "KiFusedAvgPool": 8,
        "MaxPool": 5,
        "AvgPool": 1,
        "KiFusedMatMul": 1,
        "Softmax": 1,
    }
    assert [s.op for s in steps if s.kernel is None and s.op not in ("Concat", "ConcatV2")] == []


def test_normalisation_of_the_image_is_part_of_the_first_layer(graph: Any) -> None:
    """From the resized picture on: Sub and Mul of the 2015 graph are gone."""
    session = Session(graph, "numpy")
    between = session.optimized("conv:0", ["ResizeBilinear:0"])
    assert [n.op for n in between if n.op not in ("Const", "Placeholder")] == ["KiFusedConv2D"]
    rng = np.random.default_rng(0)
    feeds = {"ResizeBilinear:0": rng.integers(0, 256, IMAGE.shape).astype(np.float32)}
    plain = Session(graph, "numpy", skip_passes=["fold_input_affine"])
    wanted = plain.run(["conv:0", "Sub:0", "Mul:0"], feeds)
    np.testing.assert_allclose(session.run("conv:0", feeds), wanted[0], rtol=1e-5, atol=1e-5 * np.abs(wanted[0]).max())
    for found, value in zip(session.run(["conv:0", "Sub:0", "Mul:0"], feeds), wanted, strict=True):
        np.testing.assert_allclose(found, value, rtol=1e-5, atol=1e-5 * np.abs(value).max())
