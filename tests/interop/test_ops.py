"""Every op type next to the real TensorFlow: random shapes, element types and attributes, right ones and wrong ones.

An answer must be TensorFlow's; a refusal must be an error of kigraph's own. What TensorFlow refuses must be refused,
but for the ops in WIDER. KIGRAPH_TEST_SEED chooses other cases.
"""

from __future__ import annotations

import zlib
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from kigraph.kernels.backends import get_backend

from .generate import GENERATORS as VALUES
from .generate_layout import GENERATORS as LAYOUT
from .generate_more import GENERATORS as MORE
from .generate_spatial import GENERATORS as SPATIAL
from .oracle import by_kigraph, by_tensorflow, difference, graph_def

pytest.importorskip("tensorflow")

GENERATORS = {**VALUES, **LAYOUT, **MORE, **SPATIAL}
CASES = 24
#: Where kigraph answers and TensorFlow does not, because its kernels lack a type or insist on more than they need.
WIDER = {
    "BiasAdd": "a vector with a bias",
    "BiasAddV1": "a vector with a bias",
    "QuantizeAndDequantizeV2": "a given range for every index of an axis",
    "QuantizeAndDequantizeV4": "a given range for every index of an axis",
    "Range": "nothing between start and limit",
    "Snapshot": "strings",
    "SplitV": "one part whose size is to be computed",
    "StringJoin": "broadcasting",
    "UnravelIndex": "no indices",
    **dict.fromkeys(
        ["_FusedConv2D", "_FusedDepthwiseConv2dNative", "_FusedMatMul"],
        "what its own remapper would not fuse on this CPU",
    ),
}


@pytest.mark.parametrize("op", GENERATORS)
def test_an_op_gives_what_tensorflow_gives(op: str, seed: int, tmp_path: Path) -> None:
    rng = np.random.default_rng([seed, zlib.crc32(op.encode())])
    backends = [b for b in ("numpy", "cython", "numba") if get_backend(b).status().available]
    path, wrong, count = tmp_path / "op.pb", [], Counter[str]()
    for _ in range(CASES):
        case = GENERATORS[op](op, rng)
        data = graph_def(case)
        path.write_bytes(data)
        want = by_tensorflow(case, data)
        count["without a kernel"] += isinstance(want, str) and "Missing 0-th output" in want
        for backend in backends:
            got = by_kigraph(case, path, backend)
            if isinstance(got, str):
                count["refused"] += 1
            elif isinstance(want, str):
                if op not in WIDER:
                    wrong.append(f"{backend}: {case}: TensorFlow refuses ({want}), kigraph gives {got}")
            else:
                count["answered"] += 1
                if found := difference(got, want, case.loose):
                    wrong.append(f"{backend}: {case}: {found}")
    if count["without a kernel"] and not count["answered"]:
        pytest.skip(f"TensorFlow has no kernel of {op} without oneDNN")
    assert not wrong, f"{len(wrong)} wrong\n" + "\n".join(wrong[:5])
    assert count["answered"], count
