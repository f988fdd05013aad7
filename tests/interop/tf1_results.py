"""Results of programs as plain data, and how two of them differ.

``python -m tests.interop.tf1_results PATH`` writes TensorFlow's results, the facts of tests/compat (x86-64 Linux, the
environment of `make interop`; scikit-learn for the digits, or its data in the folder that KIGRAPH_TEST_DIGITS names).
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from tests.interop.tf1_lessons import LESSONS
from tests.interop.tf1_programs import PROGRAMS, write_digits
from tests.interop.tf1_tutorials import TUTORIALS

__all__ = ["EVERY", "difference", "flat", "plain", "run"]


#: All programs, by name.
EVERY = {**PROGRAMS, **TUTORIALS, **LESSONS}


def flat(value: Any, place: str = "") -> Iterator[tuple[str, Any]]:
    """The leaves of nested results, each with its place."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from flat(item, f"{place}/{key}")
    elif isinstance(value, (list, tuple)):
        for i, item in enumerate(value):
            yield from flat(item, f"{place}[{i}]")
    else:
        yield place, value


def plain(value: Any) -> Any:
    """A leaf as JSON has it: a text, or element type, shape and numbers (floats with 7 digits)."""
    if isinstance(value, (str, bytes)):
        return value.decode() if isinstance(value, bytes) else value
    array = np.asarray(value)
    numbers = array.reshape(-1).tolist()
    if array.dtype == object:
        return [str(v) for v in numbers]
    return [
        array.dtype.name,
        list(array.shape),
        [float(f"{v:.7g}") for v in numbers] if array.dtype.kind == "f" else numbers,
    ]


def difference(found: Any, expected: Any) -> str | None:
    """Why a plain leaf is not the expected one; None if it is: texts and types equal, floats to 2e-4 of the largest."""
    if isinstance(expected, str) or isinstance(found, str) or len(expected) != 3 or found[:2] != expected[:2]:
        return None if found == expected else f"{str(found)[:200]} instead of {str(expected)[:200]}"
    a, b = np.asarray(found[2]), np.asarray(expected[2])
    scale = float(np.abs(b).max(initial=0.0)) if b.dtype.kind in "iuf" else 0.0
    same = (
        np.array_equal(a, b)
        if not expected[0].startswith("float")
        else np.allclose(a, b, rtol=2e-4, atol=2e-5 * max(scale, 1))
    )
    return None if same else f"{str(found)[:200]} instead of {str(expected)[:200]}"


def run(tf: Any, name: str) -> dict[str, Any]:
    """What a program computes with a module ``tf``, as plain leaves by place. ImportError where its data are missing."""
    tf.reset_default_graph()
    with tempfile.TemporaryDirectory() as folder:
        given = os.environ.get("KIGRAPH_TEST_DIGITS")
        if name == "digits_cnn" and given:
            Path(folder, "digits.npz").write_bytes(Path(given, "digits.npz").read_bytes())
        elif name == "digits_cnn":
            write_digits(Path(folder))
        return {place: plain(value) for place, value in flat(EVERY[name](tf, Path(folder)))}


def main(path: str) -> None:
    os.environ.update(TF_USE_LEGACY_KERAS="1", TF_ENABLE_ONEDNN_OPTS="0")
    import tensorflow.compat.v1 as tf

    tf.disable_v2_behavior()
    facts = {}
    for name in EVERY:
        try:
            facts[name] = run(tf, name)
        except ImportError as error:
            print(f"without {name}: {error}", file=sys.stderr)
    lines = [json.dumps(name) + ": " + json.dumps(result) for name, result in facts.items()]
    Path(path).write_text("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    main(sys.argv[1])
