"""Numerics: what a session may trade for speed is fixed when it is made."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import kigraph as ki
from kigraph.kernels.conformance.cases.conv2d import conv_case
from kigraph.kernels.errors import SettingsError
from kigraph.kernels.numerics import Numerics
from kigraph.kernels.tuning import signature


@pytest.fixture
def graph() -> ki.Graph:
    """y = a convolution of x, of any batch."""
    with ki.Graph().as_default() as graph:
        x = ki.placeholder(ki.float32, [None, 6, 6, 4], name="x")
        ki.conv2d(x, np.ones((3, 3, 4, 8), np.float32), 1, "SAME", name="y")
    return graph


def images(batch: int) -> dict[str, Any]:
    return {"x:0": np.ones((batch, 6, 6, 4), np.float32)}


@pytest.mark.parametrize("name", ["KIGRAPH_PRECISION", "KIGRAPH_CUPY_PRECISION"])
def test_all_plans_of_a_session_have_its_precision(
    name: str, graph: ki.Graph, stand_in: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A change of the environment between two plans changed the digits of the second."""
    stand_in()
    monkeypatch.setenv(name, "tf32")
    session = ki.Session(graph, backend="cupy")
    for batch, now in ((1, "bf16"), (2, "fp32"), (3, "tf32")):
        monkeypatch.setenv(name, now)
        assert "f32_conv2d_igemm_tf32" in session.plan("y", images(batch)).explain()
    assert "f32_conv2d_igemm_tf32" in ki.Session(graph, backend="cupy").plan("y", images(1)).explain()


def test_the_argument_goes_before_the_context_and_that_before_the_environment(
    graph: ki.Graph, stand_in: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in()
    monkeypatch.setenv("KIGRAPH_PRECISION", "bf16")
    monkeypatch.setenv("KIGRAPH_CUPY_PRECISION", "fp32")
    monkeypatch.setenv("KIGRAPH_WINOGRAD", "0")
    assert ki.Session(graph, backend="cupy").numerics == Numerics(False, "bf16")
    with ki.using_numerics(precision="tf32"):
        assert ki.Session(graph, backend="cupy").numerics == Numerics(False, "tf32")
        with ki.using_numerics(winograd=True):
            assert ki.Session(graph, backend="cupy").numerics == Numerics(True, "tf32")
            assert ki.Session(graph, "cupy", winograd=False, precision="fp32").numerics == Numerics(False, "fp32")
    assert ki.Session(graph, backend="cupy").numerics == Numerics(False, "bf16")
    monkeypatch.delenv("KIGRAPH_PRECISION")
    assert ki.Session(graph, backend="cupy").numerics == Numerics(False, "fp32")


def test_a_precision_that_the_backend_does_not_have_is_refused(
    graph: ki.Graph, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(SettingsError, match=r"backend numpy offers fp32, bf16, int8 only .*tensor cores"):
        ki.Session(graph, backend="numpy", precision="tf32")
    with pytest.raises(SettingsError, match=r"unknown precision 'fp8' \(from the argument\); known: fp32, tf32, bf16"):
        ki.Session(graph, backend="numpy", precision="fp8")
    with (
        pytest.raises(SettingsError, match=r"unknown precision 16 \(from using_numerics"),
        ki.using_numerics(precision=16),
    ):  # type: ignore[arg-type]
        pass
    with pytest.raises(SettingsError, match="winograd must be True or False, got 'no'"):
        ki.Session(graph, backend="numpy", winograd="no")  # type: ignore[arg-type]
    monkeypatch.setenv("KIGRAPH_CUPY_PRECISION", "bf16")  # concerns sessions on cupy only
    assert ki.Session(graph, backend="numpy").numerics.precision == "fp32"
    monkeypatch.setenv("KIGRAPH_PRECISION", "fp16")
    with pytest.raises(SettingsError, match=r"from KIGRAPH_PRECISION.*no backend has kernels that multiply in fp16"):
        ki.Session(graph, backend="numpy")


def test_what_was_measured_in_one_precision_says_nothing_of_another() -> None:
    query = conv_case("any", (1, 5, 5, 4), (3, 3, 8)).query()
    assert signature(query) == signature(replace(query, numerics=Numerics(winograd=False)))
    assert signature(query) != signature(replace(query, numerics=Numerics(precision="bf16")))


def test_winograd_is_switched_by_the_context(graph: ki.Graph) -> None:
    assert os.environ.get("KIGRAPH_WINOGRAD") is None
    with ki.using_numerics(winograd=False):
        session = ki.Session(graph, backend="numpy")
    assert not session.numerics.winograd
