"""What op definitions and contracts remember: equal uses are inferred once, and nothing that differs is taken for equal."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import kigraph as ki
from kigraph.graph.errors import GraphError
from kigraph.graph.opdefs import OPDEFS, NeedsValue, Site
from kigraph.kernels.contracts import CONTRACTS
from kigraph.kernels.errors import KigraphError, ShapeError
from kigraph.kernels.tensor import Params, TensorType

F32, I32 = np.dtype("float32"), np.dtype("int32")


def counted(op: str) -> tuple[Any, list[Site]]:
    """A fresh definition of an op, and the uses that it was asked to lower."""
    seen: list[Site] = []
    plain = OPDEFS[op]

    def lower(site: Site) -> Any:
        seen.append(site)
        return plain.lower(site)

    return replace(plain, lower=lower), seen


def test_equal_uses_are_inferred_once_whatever_their_names() -> None:
    definition, seen = counted("Add")
    types = (TensorType(F32, (None, 3)), TensorType(F32, (3,)))
    for name in ("a", "b"):
        found = definition.types(Site(name, "Add", {"T": F32}, types))
        assert found == (TensorType(F32, (None, 3)),)
    assert len(seen) == 1
    other = (TensorType(F32, (4, 1)), types[1])
    assert definition.types(Site("c", "Add", {"T": F32}, other)) == (TensorType(F32, (4, 3)),)
    assert len(seen) == 2


def test_an_error_is_not_remembered_and_names_its_node() -> None:
    definition, _ = counted("Add")
    types = (TensorType(F32, (2,)), TensorType(F32, (3,)))
    for name in ("first", "second"):
        with pytest.raises(ShapeError, match=f"'{name}'.*\\(2,\\) and \\(3,\\) do not broadcast: 2 against 3"):
            definition.types(Site(name, "Add", {"T": F32}, types))


@pytest.mark.parametrize("first", [True, False])
def test_an_attribute_of_another_kind_is_another_one(first: bool) -> None:
    """What is right is not remembered for what is wrong, in whichever order they come."""
    definition, _ = counted("MatMul")
    types = (TensorType(F32, (2, 3)), TensorType(F32, (3, 4)))
    values = [True, "yes"] if first else ["yes", True]
    for value in values:
        site = Site("m", "MatMul", {"transpose_a": False, "transpose_b": False, "T": F32}, types)
        assert definition.types(site) == (TensorType(F32, (2, 4)),)
        wrong = Site("m", "MatMul", {"transpose_b": value, "T": F32}, types)
        with pytest.raises(GraphError if value == "yes" else KigraphError):
            definition.types(wrong)


def test_what_depends_on_a_value_is_asked_each_time() -> None:
    definition, _ = counted("Reshape")
    types = (TensorType(F32, (6,)), TensorType(I32, (2,)))
    for shape in ((2, 3), (3, 2), (6, 1)):
        value = np.array(shape, I32)
        site = Site("r", "Reshape", {"T": F32}, types, [None, value].__getitem__)
        assert definition.types(site) == (TensorType(F32, shape),)
        assert definition.lowered(site).params.shape == shape
    unknown = Site("r", "Reshape", {"T": F32}, types)
    with pytest.raises(NeedsValue):
        definition.lowered(unknown)


def test_a_contract_tells_parameters_and_types_apart() -> None:
    add = next(c for c in CONTRACTS if c.name == "add")
    a, b = TensorType(F32, (2, 1)), TensorType(F32, (3,))
    assert add.check((a, b), Params()) == add.check([a, b], Params()) == (TensorType(F32, (2, 3)),)
    with pytest.raises(TypeError, match="parameters of class"):
        add.check((a, b), None)
    with pytest.raises(ShapeError):
        add.check((TensorType(F32, (2,)), b), Params())


def test_many_different_uses_take_bounded_memory() -> None:
    definition, _ = counted("Relu")
    for n in range(3000):
        assert definition.types(Site("r", "Relu", {"T": F32}, (TensorType(F32, (n,)),))) == (TensorType(F32, (n,)),)
    assert len(definition._known) <= 1024


def test_results_of_a_graph_that_repeats_its_ops() -> None:
    rng = np.random.default_rng()
    x = rng.standard_normal((3, 4)).astype(np.float32)
    with ki.Graph().as_default() as graph:
        y = ki.placeholder("float32", (None, 4), name="x")
        expected = x.astype(np.float64)
        for _ in range(4):
            scale = rng.uniform(0.5, 1.5, 4).astype(np.float32)
            y = ki.multiply(y, ki.rsqrt(ki.constant(scale) + np.float32(0.5)))
            expected = expected / np.sqrt(scale.astype(np.float64) + 0.5)
    with ki.Session(graph) as session:
        np.testing.assert_allclose(session.run(y, {"x:0": x}), expected, rtol=1e-5)


@pytest.mark.parametrize("slopes", [(0.0, -0.0), (-0.0, 0.0)])
def test_zeros_of_both_signs_are_two_attributes(slopes: tuple[float, float]) -> None:
    for slope in slopes:
        with ki.Graph().as_default():
            y = ki.leaky_relu(ki.constant(np.array([-2.0], np.float32)), alpha=slope)
            with ki.Session() as session:
                found = np.asarray(session.run(y))
        np.testing.assert_array_equal(np.signbit(found), np.signbit(np.float32(-2.0) * np.float32(slope)))
