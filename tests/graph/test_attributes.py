"""The table of attributes: what TensorFlow says of its ops, and that every op has a row."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import kigraph as ki
from kigraph.graph import ops
from kigraph.graph.builder import Graph
from kigraph.graph.errors import GraphError, UnsupportedOpError
from kigraph.graph.opdefs import OPDEFS
from kigraph.graph.opdefs.attributes import REQUIRED

FACTS: dict[str, dict[str, list[Any]]] = json.loads(
    (Path(__file__).parents[1] / "interop" / "tensorflow_ops.json").read_text()
)
TENSORFLOWS = sorted(op for op in OPDEFS if not op.startswith("Ki"))


def _plain(value: Any) -> Any:
    if isinstance(value, np.dtype):
        return value.name
    return list(value) if isinstance(value, tuple) else value


@pytest.mark.parametrize("op", TENSORFLOWS)
def test_every_op_has_the_attributes_that_tensorflow_gives_it(op: str) -> None:
    known = {name: a for name, a in OPDEFS[op].attributes.items() if not a.own}
    assert set(known) == set(FACTS[op])
    for name, (kind, *rest) in FACTS[op].items():
        rule = known[name]
        assert rule.kind == kind, name
        if len(rest) == 1 or (len(rest) == 2 and rest[0] is not None):
            assert _plain(rule.default) == rest[0], name
        elif not rest:
            assert rule.default is REQUIRED, name
        if rule.allowed and len(rest) == 2:
            assert {_plain(a) for a in rule.allowed} <= set(rest[1]), name


def test_own_attributes_are_not_tensorflows() -> None:
    for op in TENSORFLOWS:
        assert not {n for n, a in OPDEFS[op].attributes.items() if a.own} & set(FACTS[op])


def test_types_that_repeat_an_input_point_at_one() -> None:
    for op, definition in OPDEFS.items():
        most = definition.arity[1]
        for name, rule in definition.attributes.items():
            assert rule.of is None or rule.kind == "type", (op, name)
            assert rule.of is None or most is None or rule.of < most, (op, name)


def test_building_refuses_what_an_op_does_not_have(graph: Graph) -> None:
    x = ops.constant(np.ones((2, 3), np.float32))
    with pytest.raises(UnsupportedOpError, match=r"attribute alpha = 0\.2 is not known"):
        graph.create_op("Relu", [x], {"alpha": 0.2})
    with pytest.raises(GraphError, match="attribute T is int32, but input 0 is float32"):
        graph.create_op("Relu", [x], {"T": np.dtype(np.int32)})
    graph.create_op("Relu", [x], {"T": np.dtype(np.float32), "_hint": object()})


@pytest.mark.parametrize(
    ("op", "inputs", "attrs", "found"),
    [
        ("ConcatV2", ["x", "x", "none"], {"N": 2}, "the axis must be one integer, got 0"),
        ("Split", ["two", "x"], {"num_split": 2}, "the axis must be one integer, got 2"),
        ("TopKV2", ["x", "none"], {}, "k must be one integer, got 0"),
        ("Range", ["yes", "yes", "yes"], {}, "takes integers or floats"),
        ("Range", ["nan", "one", "one"], {}, "must be finite"),
        ("PadV2", ["x", "pads", "ones"], {}, "the value must be a scalar"),
        ("Squeeze", ["x"], {"squeeze_dims": 5}, "must be a list of integers, got 5"),
        ("Placeholder", [], {"dtype": np.dtype(np.float32), "shape": "ab"}, "must be a tuple of sizes"),
        ("EncodePng", ["pixels"], {"compression": 99}, "compression = 99 is not supported"),
        ("Cast", ["x"], {"DstT": np.dtype(np.complex64), "Truncate": True}, "Truncate = True to complex"),
        ("StringJoin", ["text"], {"separator": "\ud800"}, "half a surrogate pair"),
        ("LRN", ["image"], {"depth_radius": -1}, "depth_radius is -1; expected 0 to 2147483646"),
        ("LRN", ["image"], {"depth_radius": 2**31 - 1}, "depth_radius is 2147483647; expected 0 to 2147483646"),
        ("LRNGrad", ["image"] * 3, {"depth_radius": -1}, "LRNGrad '.*depth_radius is -1"),
        ("LRN", ["image"], {"depth_radius": 1.0}, "depth_radius must be an integer, got 1.0"),
        ("LRN", ["image"], {"depth_radius": 2**64}, "depth_radius must be an integer of 64 bits"),
        ("LRN", ["image"], {"bias": True}, "bias must be a number, got True"),
        ("LRN", ["image"], {"bias": 10**400}, "LRN 'LRN': attribute bias must be a number that a float holds"),
        ("LRN", ["x"], {}, r"must have 4 axes, got shape \(2, 2\)"),
        ("LRNGrad", ["image", "image", "x"], {}, r"y \(NHWC\) must have 4 axes"),
        ("Neg", ["x"], {5: 1}, "names of attributes must be str"),
    ],
    ids=lambda value: value if isinstance(value, str) and value.isalnum() else "",
)
def test_what_is_wrong_is_said_in_words_of_ours(op: str, inputs: list[str], attrs: dict[Any, Any], found: str) -> None:
    values: dict[str, Any] = {
        "x": np.ones((2, 2), np.float32), "none": np.zeros(0, np.int32), "two": np.zeros(2, np.int32), "yes": np.True_,
        "nan": np.float32("nan"), "one": np.float32(1), "pads": np.ones((2, 2), np.int32), "ones": np.ones(2, np.float32),
        "pixels": np.zeros((2, 2, 3), np.uint8), "text": np.array(b"a", object),
        "image": np.ones((1, 2, 2, 3), np.float32),
    }  # fmt: skip
    with ki.Graph().as_default() as graph:
        tensors = [ki.constant(values[name]) for name in inputs]

        def build_and_run() -> None:
            made = graph.create_op(op, tensors, attrs, num_outputs=1)
            ki.Session(graph, backend="numpy").run(made.outputs[0])

        with pytest.raises(ki.KigraphError, match=found):
            build_and_run()


def test_integers_of_64_bits_pad_as_they_are() -> None:
    value = 2**53 + 1
    with ki.Graph().as_default() as graph:
        x = ki.constant(np.array([value], np.int64))
        y = graph.create_op("PadV2", [x, ki.constant([[1, 1]]), ki.constant(np.int64(-value))]).outputs[0]
    assert ki.Session(graph, backend="numpy").run(y).tolist() == [-value, value, -value]
