"""A name that a graph lacks is answered with what the graph has, in one short line, wherever the name is given."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import kigraph as ki
from kigraph.graph.hints import ends_text, shown

ENDS = "inputs: input_images:0; outputs: deep/scope/out:0, steps:0"


@pytest.fixture
def graph() -> ki.Graph:
    graph = ki.Graph()
    with graph.as_default():
        x = ki.placeholder(ki.float32, [2], name="input_images")
        first, _ = ki.split(ki.multiply(x, 2.0, name="Mul"), 2, 0, name="parts")
        ki.identity(first, name="deep/scope/out")
        ki.no_op(name="nothing")
        ki.variable(np.zeros(2, np.float32), name="steps")
    return graph


def _fetch(graph: ki.Graph, name: Any) -> None:
    ki.Session(graph, backend="numpy").run([name])


def _feed(graph: ki.Graph, name: Any) -> None:
    ki.Session(graph, backend="numpy").run("Mul:0", {name: [1.0, 2.0]})


def _plan(graph: ki.Graph, name: Any) -> None:
    ki.Session(graph, backend="numpy").plan(name)


def _tensor(graph: ki.Graph, name: Any) -> None:
    graph.get_tensor_by_name(name)


def _operation(graph: ki.Graph, name: Any) -> None:
    graph.get_operation_by_name(name)


WAYS = {_fetch: ki.FetchError, _feed: ki.FeedError, _plan: ki.FetchError, _tensor: KeyError, _operation: KeyError}


def _message(way: Callable[[ki.Graph, Any], None], graph: ki.Graph, name: Any) -> str:
    with pytest.raises(WAYS[way]) as caught:
        way(graph, name)
    assert isinstance(caught.value, ki.KigraphError)
    text = str(caught.value)
    assert "\n" not in text
    assert len(text) < 900
    return text


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__.strip("_"))
@pytest.mark.parametrize(
    "name", ["input", "Placeholder:0", "Placeholder", "softmax", "", ":0", "x" * 9999, "a\nb", "nothing_"]
)
def test_the_answer_has_the_inputs_and_outputs(way: Any, name: str, graph: ki.Graph) -> None:
    assert ENDS in _message(way, graph, name)


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__.strip("_"))
@pytest.mark.parametrize(
    "name", [5, 1.5, None, b"Mul", ("Mul",), object(), np.float32(1)], ids=lambda n: type(n).__name__
)
def test_what_is_no_text(way: Any, name: Any, graph: ki.Graph) -> None:
    if name == ("Mul",) and way in (_fetch, _plan):
        pytest.skip("a tuple of fetches is allowed")
    assert ENDS in _message(way, graph, name)


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__.strip("_"))
@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("import/Mul", "without the prefix 'import/' there is 'Mul:0'"),
        ("import/Mul:0", "without the prefix 'import/' there is 'Mul:0'"),
        ("a/b/deep/scope/out", "without the prefix 'a/b/' there is 'deep/scope/out:0'"),
        ("out", "inside of scopes there is deep/scope/out"),
        ("scope/out", "inside of scopes there is deep/scope/out"),
        ("mul", "in other case there is Mul"),
        ("input_image", "similar: input_images"),
        ("^Mul", "similar: Mul"),
    ],
)
def test_the_name_that_was_meant(way: Any, name: str, hint: str, graph: ki.Graph) -> None:
    message = _message(way, graph, name)
    assert hint in message
    assert ENDS in message


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("Mul:3", "has 1 outputs (':0'); there is no 'Mul:3'"),
        ("parts:2", "has 2 outputs (':0' to ':1'); there is no 'parts:2'"),
        ("nothing:0", "has 0 outputs; there is no 'nothing:0'"),
        ("Mul:999999999", "there is no 'Mul:999999999'"),
        ("Mul:x", "expected 'operation:index'"),
        ("Mul:", "expected 'operation:index'"),
        ("Mul:-1", "expected 'operation:index'"),
        ("Mul:0:0", "expected 'operation:index'"),
        ("Mul: 0", "expected 'operation:index'"),
        (f"Mul:{'9' * 5000}", "expected 'operation:index'"),
    ],
)
def test_an_index_that_is_none(name: str, text: str, graph: ki.Graph) -> None:
    for way in (_fetch, _feed, _plan, _tensor):
        message = _message(way, graph, name)
        assert text in message
        assert ENDS in message
    assert "is the name of a tensor; its operation is" in _message(_operation, graph, name)


def test_tensors_of_another_graph(graph: ki.Graph) -> None:
    with ki.Graph().as_default():
        same, other = ki.placeholder(ki.float32, [2], name="Mul"), ki.placeholder(ki.float32, [2], name="other")
    for way in (_fetch, _feed):
        assert "which has one of that name: pass the name, 'Mul:0'" in _message(way, graph, same)
        assert f"of this session's graph, but of another ({ENDS})" in _message(way, graph, other)
    assert "has 0 outputs" in _message(_feed, graph, graph.operation("nothing"))


def test_variables(graph: ki.Graph) -> None:
    session = ki.Session(graph, backend="numpy")
    with pytest.raises(ki.FetchError, match="variable_value: 'Mul' is not a variable; variables of this graph: steps"):
        session.variable_value("Mul")
    with pytest.raises(ki.FetchError, match=r"variable_value: the graph has no operation 'step'; similar: steps"):
        session.variable_value("step")
    with pytest.raises(ki.FeedError, match="set_variables: 'Mul' is not a variable"):
        session.set_variables({"Mul": 1})


def test_a_message_stays_short_in_a_large_graph() -> None:
    graph = ki.Graph()
    with graph.as_default():
        for i in range(6000):
            ki.placeholder(ki.float32, [], name=f"{'very/' * 30}long{i}")
    for way in (_fetch, _plan, _tensor, _operation):
        message = _message(way, graph, "import/q")
        assert "and 5,995 more" in message
    assert f"'{'very/' * 30}"[:60] in _message(_tensor, graph, f"import/{'very/' * 30}long3")


def test_an_empty_graph() -> None:
    assert "the graph is empty" in _message(_tensor, ki.Graph(), "x")
    assert ends_text(ki.Graph().freeze()) == "inputs: none; outputs: none"


def test_a_graph_that_decodes_its_image(graph: ki.Graph) -> None:
    graph = ki.Graph()
    with graph.as_default():
        contents = ki.constant(b"", name="DecodeJpeg/contents")
        ki.softmax(
            ki.reshape(ki.cast(ki.decode_jpeg(contents, name="DecodeJpeg"), ki.float32), [1, -1]), name="softmax"
        )
    message = _message(_fetch, graph, "import/softmax:0")
    assert "inputs: DecodeJpeg/contents:0; outputs: softmax:0" in message
    assert "there is 'softmax:0'" in message


def test_membership_asks_for_text_only(graph: ki.Graph) -> None:
    assert "Mul" in graph
    for other in (None, 3, ["Mul"], {}):
        assert other not in graph


def test_shown_is_one_short_line() -> None:
    assert shown("a") == "'a'"
    assert len(shown("a" * 10**6)) == 80
    assert "\n" not in shown(np.arange(3000).reshape(30, 100))
