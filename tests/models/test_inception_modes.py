"""Inception v3 in every mode of the cython backend: with and without fewer multiplications, on every instruction set, and the
same bits for an image whatever its batch and the number of threads."""

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
from kigraph.graph.models.inception_v3.build import build
from kigraph.graph.models.inception_v3.weights import seeded_weights
from kigraph.graph.session import Session
from kigraph.opening import open_file

core = pytest.importorskip("kigraph.kernels.cython.core")

RESULT, CONTENTS = "final_result:0", "DecodeJpeg/contents:0"

#: Prints the probabilities of the photographs named on the command line.
ANSWERS = f"""
import json, sys
from kigraph.opening import open_file
from kigraph.graph.session import Session
session = Session(open_file(sys.argv[1], strict=True).graph, backend="cython")
print(json.dumps([session.run({RESULT!r}, {{{CONTENTS!r}: open(p, "rb").read()}})[0].tolist() for p in sys.argv[2:]]))
"""


def some_photos(shared: Path, golden: Any, count: int) -> list[tuple[int, Path]]:
    files = golden["files"]
    picked = range(0, len(files), max(1, len(files) // count))
    return [(i, shared / "photos" / "flowers" / str(files[i])) for i in picked][:count]


def test_direct_convolutions_label_as_tensorflow(shared: Path, flowers: Path, golden: Any) -> None:
    session = Session(open_file(flowers, strict=True).graph, backend="cython", winograd=False)
    for i, path in some_photos(shared, golden, 40):
        (got,) = session.run(RESULT, {CONTENTS: path.read_bytes()})
        assert got.argmax() == golden["probabilities"][i].argmax()
        assert np.abs(got - golden["probabilities"][i]).max() <= 1e-5


@pytest.mark.parametrize("winograd", ["0", "1"])
@pytest.mark.parametrize("isa", [name for name in core.ISAS if name != core.ISA_IN_USE])
def test_other_instruction_sets_label_as_tensorflow(
    shared: Path, flowers: Path, golden: Any, isa: str, winograd: str
) -> None:
    sample = some_photos(shared, golden, 4 if isa == "portable" else 12)
    done = subprocess.run(
        [sys.executable, "-c", ANSWERS, str(flowers), *(str(path) for _, path in sample)],
        env={**os.environ, "KIGRAPH_ISA": isa, "KIGRAPH_WINOGRAD": winograd},
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    for (i, _), got in zip(sample, json.loads(done.stdout), strict=True):
        assert np.argmax(got) == golden["probabilities"][i].argmax()
        assert np.abs(got - golden["probabilities"][i]).max() <= 1e-4


@pytest.fixture(scope="module")
def seeded() -> ki.Graph:
    """The network with 1,000 classes and a free batch; weights drawn from a seed."""
    return build(seeded_weights())


def test_explain_names_the_algorithm(seeded: ki.Graph) -> None:
    feed = {"input:0": np.zeros((1, 299, 299, 3), np.float32)}
    default = Session(seeded, backend="cython").plan("predictions:0", feed).explain()
    assert {name for name in ("winograd_4x4_3x3", "cook_toom_6_7") if f"f32_conv2d_{name}" not in default} == set()
    direct = Session(seeded, backend="cython", winograd=False).plan("predictions:0", feed).explain()
    assert "winograd" not in direct
    assert "cook_toom" not in direct


@pytest.mark.parametrize("winograd", [True, False])
def test_an_image_has_the_same_bits_in_any_batch_and_on_any_threads(
    seeded: ki.Graph, winograd: bool, seed: int
) -> None:
    images = np.random.default_rng(seed).uniform(-1, 1, (3, 299, 299, 3)).astype(np.float32)

    def run(batch: Any, threads: int) -> bytes:
        session = Session(seeded, backend="cython", threads=threads, winograd=winograd)
        result: np.ndarray[Any, Any] = session.run("predictions:0", {"input:0": batch})
        return result.tobytes()

    alone = b"".join(run(images[i : i + 1], 1) for i in range(3))
    for threads in (1, 2, 3):
        assert run(images, threads) == alone
    assert b"".join(run(images[i : i + 1], 2) for i in range(3)) == alone
