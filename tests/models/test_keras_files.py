"""Small files that Keras 2 and Keras 3 wrote, with the outputs that they computed; they skip where these are not at hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kigraph.graph.opdefs.table import OPDEFS
from kigraph.graph.session import Session
from kigraph.opening import open_file

#: Whole models in both HDF5 forms, archives, weights with a config beside; several inputs, functions, attention.
FILES = (
    "mobilenetv3.keras", "mobilenetv3.keras2.h5", "multi_io.keras", "multi_io.keras2.h5", "various.keras", "mlp.h5", "vit.keras",
    "vit.keras2.h5", "tl_augment_sequential.keras", "tl_sequential.weights.h5", "tl_sigmoid.h5", "efficientnet.h5",
)  # fmt: skip
#: Ops that files above need beside those that all networks have.
NEEDS = {"various.keras": {"Elu", "Selu", "LeakyRelu"}, "mlp.h5": {"Elu", "Selu", "LeakyRelu"}}


def entry_of(shared: Path, name: str) -> Any:
    index = shared / "files" / "index.json"
    if not index.is_file():
        pytest.skip(f"no small model files beside the project: {index} is missing")
    return next(e for e in json.loads(index.read_text()) if e["file"] == f"keras/{name}")


@pytest.mark.parametrize("name", FILES)
def test_outputs_are_those_of_the_writer(shared: Path, name: str) -> None:
    if missing := NEEDS.get(name, set()) - OPDEFS.keys():
        pytest.skip(f"needs the ops {', '.join(sorted(missing))}")
    entry = entry_of(shared, name)
    graph = open_file(shared / "files" / entry["file"], strict=True).graph
    assert graph is not None
    with np.load(shared / "files" / entry["golden"]) as golden:
        feeds = {i["name"]: golden[f"input:{i['name']}"] for i in entry["inputs"]}
        wanted = {name: golden[f"output:{name}"] for name in entry["outputs"]}
    got = Session(graph, backend="numpy").run(list(wanted), feeds)
    for value, want in zip(got, wanted.values(), strict=True):
        assert value.shape == want.shape
        assert np.linalg.norm(value - want) <= entry["tolerance"] * np.linalg.norm(want)
