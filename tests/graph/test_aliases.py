"""Names that a file has for tensors: fed, fetched, named in errors."""

from __future__ import annotations

import numpy as np
import pytest

import kigraph as ki


@pytest.fixture
def graph():
    g = ki.Graph()
    with g.as_default():
        x = ki.placeholder(np.float32, [2], name="x")
        y = ki.multiply(x, 2.0, name="y")
        ki.add(y, 1.0, name="z")
    g.aliases.update({"input/é": "x:0", "out:3": "z:0", "x": "y:0"})
    return g


def test_an_alias_is_fed_and_fetched_whatever_it_looks_like(graph):
    session = ki.Session(graph)
    assert session.run("out:3", {"input/é": [1, 2]}).tolist() == [3, 5]
    assert session.run(["out:3", "z:0"], {"x:0": [1, 2]})[0].tolist() == [3, 5]


def test_an_alias_goes_before_the_graphs_own_name(graph):
    session = ki.Session(graph)
    assert session.run("x", {"x:0": [1, 2]}).tolist() == [2, 4]
    assert session.run("out:3", {"x": [1, 2]}).tolist() == [2, 3]


def test_an_error_offers_aliases(graph):
    with pytest.raises(ki.FetchError, match="input/é"):
        ki.Session(graph).run("input/e")
