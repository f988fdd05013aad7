"""Python's cycle collector rests while a model is read and compiled, and is as it was afterwards."""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import kigraph as ki
from kigraph.graph.collecting import uncollected
from kigraph.graph.formats.limits import Budget
from kigraph.graph.loaders import load
from kigraph.graph.passes import PASSES


@pytest.fixture(autouse=True)
def collector() -> Iterator[None]:
    was_on = gc.isenabled()
    gc.enable()
    yield
    if not was_on:
        gc.disable()


def test_blocks_may_be_nested_and_end_with_errors() -> None:
    with uncollected():
        with pytest.raises(KeyError), uncollected():
            raise KeyError
        assert not gc.isenabled()
    assert gc.isenabled()


def test_what_was_off_stays_off() -> None:
    gc.disable()
    with uncollected():
        pass
    assert not gc.isenabled()


def test_the_last_of_several_threads_turns_it_on() -> None:
    inside, leave = threading.Event(), threading.Event()

    def other() -> None:
        with uncollected():
            inside.set()
            leave.wait(10)

    thread = threading.Thread(target=other)
    with uncollected():
        thread.start()
        assert inside.wait(10)
    assert not gc.isenabled()
    leave.set()
    thread.join(10)
    assert gc.isenabled()


def test_reading_and_compiling(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, bool] = {}
    with ki.Graph().as_default() as graph:
        ki.relu(ki.placeholder("float32", (2,), name="x"), name="y")
        path = ki.save_graph(graph, tmp_path / "small.pb")
    plain = Budget.nodes

    def noted(self: Any, *more: Any) -> Any:
        seen["read"] = gc.isenabled()
        return plain(self, *more)

    monkeypatch.setattr(Budget, "nodes", noted)
    loaded = load(path).graph
    name, function = PASSES[0]

    def watched(graph: Any) -> Any:
        seen["compiled"] = gc.isenabled()
        return function(graph)

    monkeypatch.setattr("kigraph.graph.passes.PASSES", ((name, watched), *PASSES[1:]))
    with ki.Session(loaded) as session:
        assert session.run("y:0", {"x:0": np.array([-1, 2], np.float32)}).tolist() == [0, 2]
    assert seen == {"read": False, "compiled": False}
    assert gc.isenabled()
