"""Exported programs (.pt2) that are damaged or hostile: LoadError, before anything is allocated or looped over."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import kigraph as ki
from kigraph.graph.errors import LoadError
from kigraph.graph.loaders import LoadLimits, load
from tests.loaders import export_files
from tests.loaders.export_files import archive, call, meta, program

Change = Callable[[dict[str, Any], dict[str, Any]], None]


def saved(path: Path, change: Change | None = None) -> Path:
    model, config, arrays = export_files.seed()
    model, config = json.loads(json.dumps([model, config]))
    if change is not None:
        change(model, config)
    path.write_bytes(archive(model, config, arrays))
    return path


def nodes_of(model: dict[str, Any]) -> list[Any]:
    found: list[Any] = model["graph_module"]["graph"]["nodes"]
    return found


def test_the_seed_loads_and_runs(tmp_path: Path) -> None:
    loaded = load(saved(tmp_path / "m.pt2"))
    assert loaded.inputs == ("x",)
    assert loaded.graph is not None
    assert not [op.type for op in loaded.graph.operations if op.type.startswith("aten")]
    with ki.Session(loaded.graph, backend="numpy") as session:
        y, padded = session.run(["output", "output_1"], {"x": np.ones((2, 3, 8, 8), np.float32)})
    np.testing.assert_allclose(y, np.full((2, 5), 0.2), rtol=1e-6)
    assert padded.shape == (2, 4, 3, 3)


def one_call(target: str, shape: tuple[int, ...], outputs: str | list[str] = "y", **arguments: Any) -> Change:
    """The program becomes one call on an input of this shape."""

    def change(model: dict[str, Any], config: dict[str, Any]) -> None:
        names = [outputs] if isinstance(outputs, str) else outputs
        made = program([call(target, outputs, **arguments)], {"x": meta(shape)}, names, {})
        model.clear()
        model.update(made)

    return change


def test_pieces_and_constants_are_counted_before_they_are_made(tmp_path: Path) -> None:
    huge = 1 << 40
    cases = {
        "unbind.int": one_call("unbind.int", (huge, 2), ["y", "z"], self="x", dim=0),
        "split.Tensor": one_call("split.Tensor", (huge, 2), ["y", "z"], self="x", split_size=1, dim=0),
        "chunk.default": one_call("chunk.default", (huge, 2), ["y", "z"], self="x", chunks=huge, dim=0),
        "adaptive_avg_pool2d.default": one_call(
            "adaptive_avg_pool2d.default", (1, 1, huge, 3), self="x", output_size=[huge - 1, 3]
        ),
        "adaptive zero": one_call("adaptive_avg_pool2d.default", (1, 1, 9, 9), self="x", output_size=[0, 3]),
        "batch_norm.default": one_call(
            "batch_norm.default", (huge,), input="x", running_mean="x", running_var="x", training=False
        ),
    }
    for what, change in cases.items():
        start = time.process_time()
        with pytest.raises(LoadError, match=r"m\.pt2: node 0"):
            load(saved(tmp_path / "m.pt2", change))
        assert time.process_time() - start < 2, what


def set_meta(name: str, **values: Any) -> Change:
    return lambda _, config: config["config"][name]["tensor_meta"].update(values)


def ints(*values: int) -> list[dict[str, int]]:
    return [{"as_int": v} for v in values]


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (set_meta("conv.bias", sizes=ints(1 << 40)), "declared"),
        (set_meta("conv.bias", sizes=ints(1 << 61, 1 << 61), strides=ints(0, 0)), "elements"),
        (set_meta("conv.bias", sizes=ints(-4)), "sizes from 0"),
        (set_meta("conv.bias", sizes=[{"as_int": True}]), "sizes from 0"),
        (set_meta("conv.bias", sizes=ints(*[1] * 40)), "sizes from 0"),
        (set_meta("conv.bias", strides=ints(1 << 50)), "bytes"),
        (set_meta("conv.bias", strides=[]), "strides"),
        (set_meta("conv.bias", storage_offset={"as_int": 1}), "bytes"),
        (set_meta("conv.bias", storage_offset="x"), "storage_offset"),
        (set_meta("conv.bias", dtype=9), "element type"),
        (lambda _, c: c["config"]["conv.bias"].update(use_pickle=True), "raw member"),
        (lambda _, c: c["config"]["conv.bias"].update(path_name="../../../etc/passwd"), "no member"),
        (lambda _, c: c["config"].pop("conv.bias"), "no array"),
        (lambda m, _: nodes_of(m).append(nodes_of(m)[0]), "second value of that name"),
        (lambda m, _: nodes_of(m).insert(0, nodes_of(m)[-1]), "the name of an earlier value"),
        (lambda m, _: nodes_of(m)[0].update(inputs=[{"name": "input", "arg": {"as_graph": {}}}]), "of kind"),
        (lambda m, _: nodes_of(m)[-1]["inputs"][1].update(arg={"as_string": "x"}), "dim"),
        (lambda m, _: nodes_of(m)[7].update(inputs=[]), "argument self"),
        (lambda m, _: m["graph_module"].pop("signature"), "signature"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_named(tmp_path: Path, change: Change, match: str) -> None:
    with pytest.raises(LoadError, match=rf"m\.pt2: .*{match}"):
        load(saved(tmp_path / "m.pt2", change))


def test_strides_of_axes_of_one_element_do_not_matter(tmp_path: Path) -> None:
    """They are never stepped over, and may be beyond what addresses reach."""
    change = set_meta("conv.bias", sizes=ints(1, 4), strides=ints((1 << 62) - 1, 1))
    path = saved(tmp_path / "m.pt2", change)
    loaded = load(path)
    assert loaded.graph is not None
    value = loaded.graph.tensor("b").op.attrs["value"]
    np.testing.assert_array_equal(value.array(), np.ones((1, 4), np.float32))


@pytest.mark.parametrize(
    "target", ["os.system", "torch.ops.aten.__import__.default", "subprocess.run", "x" * 5000, "\x1b[2J"]
)
def test_unknown_calls_stay_names(tmp_path: Path, target: str) -> None:
    path = saved(tmp_path / "m.pt2", lambda m, _: nodes_of(m)[2].update(target=target))
    loaded = load(path)
    assert loaded.graph is not None
    with pytest.raises(ki.KigraphError), ki.Session(loaded.graph, backend="numpy") as session:
        session.run("output", {"x": np.ones((2, 3, 8, 8), np.float32)})


def test_json_is_bounded(tmp_path: Path) -> None:
    limits = LoadLimits(max_nodes=500)

    def deep(model: dict[str, Any], config: dict[str, Any]) -> None:
        value: Any = []
        for _ in range(200):
            value = [value]
        model["more"] = value

    def long(model: dict[str, Any], config: dict[str, Any]) -> None:
        model["more"] = [0] * 30_000

    with pytest.raises(LoadError, match="max_depth"):
        load(saved(tmp_path / "m.pt2", deep), limits)
    with pytest.raises(LoadError, match="max_nodes"):
        load(saved(tmp_path / "m.pt2", long), limits)
    many = [call("relu.default", f"r{i}", self="x") for i in range(600)]
    with pytest.raises(LoadError, match=r"max_nodes"):
        load(saved(tmp_path / "m.pt2", lambda m, _: nodes_of(m).extend(many)), limits)
