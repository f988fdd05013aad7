"""Damaged files of every family: LoadError or a load that can be read, in bounded time, never anything else."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kigraph.graph.builder import Graph
from kigraph.graph.errors import LoadError
from kigraph.graph.ir import Literal
from kigraph.graph.loaders import LoadLimits, load
from kigraph.graph.writers.graphdef import save_graphdef
from kigraph.opening import open_file

#: Small, so that what slips through cannot take much memory either.
LIMITS = LoadLimits(max_bytes=1 << 22, max_tensors=200, max_nodes=500)
FUZZ = settings(
    max_examples=150, deadline=2000, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


def graphdef(folder: Path) -> bytes:
    graph = Graph()
    image = graph.create_op("Placeholder", (), {"dtype": np.dtype(np.float32), "shape": (None, 8, 8, 3)}, "x").outputs[
        0
    ]
    kernel = np.random.default_rng(0).standard_normal((3, 3, 3, 4)).astype(np.float32)
    w = graph.create_op("Const", (), {"value": Literal.of(kernel)}, "w").outputs[0]
    attrs = {"strides": (1, 2, 2, 1), "padding": "SAME", "data_format": "NHWC", "dilations": (1, 1, 1, 1)}
    y = graph.create_op("Conv2D", [image, w], attrs, "conv").outputs[0]
    shape = graph.create_op("Const", (), {"value": Literal.of(np.array([-1, 64], np.int32))}, "shape").outputs[0]
    y = graph.create_op("Reshape", [y, shape], {}, "flat").outputs[0]
    text = np.empty((), object)
    text[()] = b"some bytes"
    s = graph.create_op("Const", (), {"value": Literal.of(text)}, "s")
    y = graph.create_op("Softmax", [y], {}, "softmax", [s]).outputs[0]
    graph.create_op("Mystery", [y], {"shapes": (None, (1, None)), "f": (1.5,)}, "m")
    save_graphdef(graph, folder / "seed.pb")
    return (folder / "seed.pb").read_bytes()


def seeds(folder: Path, torch_files: SimpleNamespace) -> dict[str, bytes]:
    arrays = {"a": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.arange(4, dtype=np.int64)}
    tensors, storages = torch_files.state_dict(arrays)
    counted = {k: (a.size, d) for (k, d), a in zip(storages.items(), arrays.values(), strict=True)}
    header = b'{"a":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},"b":{"dtype":"I64","shape":[4],"data_offsets":[24,56]}}'
    return {
        "graphdef": graphdef(folder),
        "safetensors": len(header).to_bytes(8, "little") + header + b"".join(storages.values()),
        "torch": torch_files.zip(tensors, storages),
        "torch-legacy": torch_files.legacy(tensors, counted),
    }


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory, torch_files: SimpleNamespace) -> dict[str, bytes]:
    return seeds(tmp_path_factory.mktemp("seeds"), torch_files)


def survive(path: Path) -> bool:
    """Loads the file and reads everything in it; True if it loaded. Anything but LoadError fails the test."""
    start = time.perf_counter()
    try:
        loaded = load(path, LIMITS)
        if loaded.weights is not None:
            for name in loaded.weights:
                loaded.weights.read(name)
        else:
            assert loaded.graph is not None
            for op in loaded.graph.operations:
                value = op.attrs.get("value")
                if isinstance(value, Literal):
                    value.array()
    except LoadError:
        return False
    finally:
        assert time.perf_counter() - start < 2
    return True


@pytest.mark.parametrize("family", ["graphdef", "safetensors", "torch", "torch-legacy"])
def test_seeds_are_valid(corpus: dict[str, bytes], family: str, write: Callable[..., Path]) -> None:
    assert survive(write(corpus[family]))


@pytest.mark.parametrize("family", ["graphdef", "safetensors", "torch", "torch-legacy"])
@FUZZ
@given(
    edits=st.lists(
        st.tuples(st.sampled_from(["set", "drop", "copy"]), st.integers(0, 1 << 16), st.integers(0, 255)),
        min_size=1,
        max_size=5,
    )
)
def test_mutations(corpus: dict[str, bytes], family: str, edits: list[tuple[str, int, int]], tmp_path: Path) -> None:
    data = bytearray(corpus[family])
    for kind, where, value in edits:
        at = where % max(len(data), 1)
        if kind == "set" and data:
            data[at] = value
        elif kind == "drop":
            del data[at : at + value]
        else:
            data[at:at] = data[at : at + value]
    path = tmp_path / "mutated"
    path.write_bytes(bytes(data))
    survive(path)


@pytest.mark.parametrize("family", ["graphdef", "safetensors", "torch", "torch-legacy"])
def test_every_truncation(corpus: dict[str, bytes], family: str, write: Callable[..., Path]) -> None:
    data = corpus[family]
    loaded = sum(survive(write(data[:size])) for size in range(len(data)))
    # A GraphDef cut between two nodes is a shorter GraphDef; nothing marks its end. The others know their length.
    assert loaded == 0 if family != "graphdef" else loaded < 12


@pytest.mark.parametrize("family", ["graphdef", "safetensors", "torch", "torch-legacy"])
def test_every_byte_replaced(corpus: dict[str, bytes], family: str, write: Callable[..., Path]) -> None:
    data = corpus[family]
    rng = random.Random(0)
    for at in range(len(data)):
        changed = bytearray(data)
        changed[at] = rng.choice([0, 1, 0x7F, 0x80, 0xFF, changed[at] ^ (1 << rng.randrange(8))])
        survive(write(bytes(changed)))


@given(data=st.binary(max_size=300))
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_random_bytes(data: bytes, write: Callable[..., Path]) -> None:
    for prefix in (b"", b"\x0a", b"\x80\x02", b"PK\x03\x04", b"\x08\x01"):
        survive(write(prefix + data))


@pytest.mark.parametrize("family", ["safetensors", "torch"])
def test_weights_of_no_known_network_say_so(corpus: dict[str, bytes], family: str, write: Callable[..., Path]) -> None:
    with pytest.raises(
        LoadError, match=r"the arrays a, b, \.\.\. are those of no built-in network; known: Inception v3"
    ):
        open_file(write(corpus[family]), strict=True)


def test_all_families_in_a_process_of_their_own(tmp_path: Path) -> None:
    """A crash or a hang must be seen as one. Minutes of it: python tests/loaders/fuzz_all.py SECONDS."""
    import os
    import subprocess
    import sys

    import kigraph

    script = Path(__file__).with_name("fuzz_all.py")
    done = subprocess.run(
        [sys.executable, str(script), "15", "--seed", "0", "--keep", str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
        env=os.environ | {"PYTHONPATH": str(Path(kigraph.__file__).parent.parent)},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 findings" in done.stdout
