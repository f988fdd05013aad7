"""What a process imports and allocates until its first answer, by counts: load time and cold starts come from there."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import kigraph as ki
from kigraph.kernels.backends import can_load, get_backend

ROOT = Path(ki.__file__).resolve().parents[1]
#: What nothing on the way from a frozen graph to an answer needs. tempfile, OpenSSL: until something is written.
HEAVY = {
    "_hashlib", "asyncio", "cupy", "email", "h5py", "http.client", "importlib.metadata", "llvmlite", "ml_dtypes", "numba",
    "numpy.ma", "PIL", "pandas", "rich", "scipy", "socket", "ssl", "tempfile", "unittest", "xml", "zipfile",
}  # fmt: skip
#: Parts of kigraph for other work: training, serving, drawing, writing, and the other families of files.
OTHER = (
    "kigraph.train", "kigraph.serve", "kigraph.verify", "kigraph.cli", "kigraph.graph.draw", "kigraph.graph.gradients",
    "kigraph.graph.writers", "kigraph.graph.models", "kigraph.graph.ops", "kigraph.graph.loaders.onnx",
    "kigraph.graph.loaders.tflite", "kigraph.graph.loaders.torch_export", "kigraph.graph.formats.hdf5",
    "kigraph.graph.formats.flatbuffers", "kigraph.kernels.cupy", "kigraph.kernels.numba", "kigraph.kernels.conformance",
)  # fmt: skip

MEASURE = """
import dataclasses, json, sys
import numpy as np
made, plain = [], dataclasses._process_class
def counted(cls, *more):
    if cls.__module__.startswith("kigraph") and cls.__bases__ != (object,) or "." in cls.__qualname__ or cls.__doc__ != cls.__name__:
        made.append(f"{cls.__module__}.{cls.__name__}")
    return plain(cls, *more)
dataclasses._process_class = counted
def memory(field):
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) << 10 for line in file if line.startswith(field))
import kigraph as ki
import kigraph.classifier, kigraph.graph.session
before = memory("VmRSS")
model = ki.load(sys.argv[1], threads=1)
loaded = sorted(sys.modules)
x = np.zeros(tuple(d or 1 for d in model.graph.tensor("x:0").shape), np.float32)
y = model.session.run("y:0", {"x:0": x})
print(json.dumps({"loaded": loaded, "run": sorted(sys.modules), "made": made, "rise": memory("VmHWM") - before}))
"""


def network(folder: Path, blocks: int, channels: int) -> Path:
    """Convolutions by 1x1 and 3x3 filters, pooling, and ops outside the hot set; as a frozen graph."""
    rng = np.random.default_rng(0)
    with ki.Graph().as_default() as graph:
        x = ki.placeholder("float32", (1, 8, 8, channels), name="x")
        y = x
        for _ in range(blocks):
            weights = rng.standard_normal((1, 1, channels, channels), np.float32) / np.float32(np.sqrt(channels))
            y = ki.relu(ki.bias_add(ki.conv2d(y, weights, padding="SAME"), np.ones(channels, np.float32)))
        small = rng.standard_normal((3, 3, channels, 8), np.float32)
        y = ki.avg_pool(ki.conv2d(y, small, padding="SAME"), 2, 2, "SAME")
        y = ki.transpose(ki.pad(y, [[0, 0], [1, 1], [1, 1], [0, 0]]), [0, 2, 1, 3])  # kernels of the host family
        ki.softmax(ki.reshape(y, [1, -1]), name="y")
        return ki.save_graph(graph, folder / "network.pb")


def measured(model: Path, folder: Path, **settings: str) -> dict[str, Any]:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("KIGRAPH_BACKEND")}
    environment |= {"KIGRAPH_CACHE_DIR": str(folder / "cache"), "PYTHONPATH": str(ROOT), **settings}
    command = [sys.executable, "-c", MEASURE, str(model)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    if not sys.platform.startswith("linux"):
        pytest.skip("memory is read from /proc")
    if not get_backend("cython").status().available:
        pytest.skip("the C kernels are not built")
    folder = tmp_path_factory.mktemp("start")
    return measured(network(folder, 2, 64), folder, KIGRAPH_PACKED_CACHE="off", KIGRAPH_TUNE="off")


@pytest.mark.parametrize("when", ["loaded", "run"])
def test_nothing_heavy_is_imported(start: dict[str, Any], when: str) -> None:
    unwanted = HEAVY - ({"cupy", "ml_dtypes"} if can_load(get_backend("cupy").driver) else set())
    assert not unwanted & set(start[when])
    assert [m for m in start[when] if m.startswith(OTHER) and "kernels.cupy" not in m] == []


@pytest.mark.parametrize(("when", "most"), [("loaded", 246), ("run", 287)])
def test_the_number_of_modules_is_bounded(start: dict[str, Any], when: str, most: int) -> None:
    """208 and 238 when this was written, 234 and 274 with bf16 and quantised layers, 245 and 286 with chains and direct calls, of 780 in all."""
    ours = [m for m in start[when] if m.startswith("kigraph")]
    assert 100 < len(ours) <= most, len(ours)


def test_records_are_the_cheap_ones(start: dict[str, Any]) -> None:
    """dataclasses.dataclass takes 0.4 ms per record; kigraph.kernels.records takes 0.08."""
    ours = [name for name in start["made"] if name.startswith("kigraph")]
    assert len(ours) <= 8, f"use kigraph.kernels.records.dataclass for these: {ours}"


def test_weights_are_in_memory_once(tmp_path: Path) -> None:
    """60 MB of weights: packed, one filter as it is read, and modules. A second copy would be twice the file."""
    if not sys.platform.startswith("linux") or not get_backend("cython").status().available:
        pytest.skip("memory is read from /proc, of the C kernels")
    model = network(tmp_path, 14, 1024)
    size = model.stat().st_size
    for cache in ("off", "on", "on"):  # the second time with the file that the first one wrote
        rise = measured(model, tmp_path, KIGRAPH_PACKED_CACHE=cache, KIGRAPH_TUNE="off")["rise"]
        assert 0.9 < rise / size < 1.5, (cache, rise / size)
