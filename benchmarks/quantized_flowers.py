"""The int8 Inception v3 for flowers next to TensorFlow Lite's own results, photograph by photograph.

    python -m benchmarks.quantized_flowers [--backend NAME] [--photographs N]

Reads the folder that KIGRAPH_SHARED names, or ../shared beside the checkout. Prints how many classes are the same, the share
of results within one step of 1/256, and of equal ones; exit status 1 below 100 % of the classes or 99.9 % of the results.
"""

from __future__ import annotations

import argparse
import lzma
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

import kigraph as ki

__all__ = ["compare", "shared"]

Array = np.ndarray[Any, Any]
_SIZE, _STEPS = 299, 256
_LEAST = 0.999


def shared() -> Path:
    """The folder with the photographs and models."""
    return Path(os.environ.get("KIGRAPH_SHARED", Path(__file__).resolve().parents[2] / "shared"))


def _pixels(paths: list[Path]) -> Iterator[Array]:
    """Photographs as the model takes them: TensorFlow's decoding and resizing, then whole numbers of 1/128."""
    graph = ki.Graph()
    with graph.as_default():
        data = ki.placeholder("string", ())
        image = ki.expand_dims(ki.cast(ki.decode_jpeg(data, channels=3), "float32"), 0)
        image = ki.multiply(ki.subtract(ki.resize_bilinear(image, [_SIZE, _SIZE]), 128.0), 1 / 128)
    with ki.Session(graph) as session:
        for path in paths:
            found = session.run(image, {data: path.read_bytes()})
            yield np.clip(np.rint(np.asarray(found) * 128), -128, 127).astype(np.int8)


def compare(backend: str | None = None, count: int | None = None) -> tuple[Array, Array]:
    """Results in steps: kigraph's and TensorFlow Lite's, (photographs, classes); ``count`` of them, spread over all."""
    root = shared() / "models" / "inception_v3_flowers_int8"
    with np.load(root / "golden_tflite.npz") as golden:
        names, wanted = [str(n) for n in golden["files"]], np.rint(golden["probabilities"] * _STEPS).astype(np.int64)
    chosen = np.linspace(0, len(names) - 1, count or len(names)).astype(int)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "flowers.tflite"
        path.write_bytes(lzma.decompress((root / "int8.tflite.xz").read_bytes()))
        graph = ki.load(path).graph
        (output,) = graph.signatures["serving_default"].outputs.values()
        (given,) = graph.signatures["serving_default"].inputs.values()
        with ki.Session(graph, backend) as session:
            found = [
                session.run(output, {given: x})
                for x in _pixels([shared() / "photos" / "flowers" / names[i] for i in chosen])
            ]
    return np.concatenate(found).astype(np.int64) + _STEPS // 2, wanted[chosen]


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backend", help="numpy, cython, numba or cupy; default: the best one")
    parser.add_argument("--photographs", type=int, help="how many of the 120; default: all")
    options = parser.parse_args()
    found, wanted = compare(options.backend, options.photographs)
    classes = (found.argmax(1) == wanted.argmax(1)).mean()
    near, equal = (np.abs(found - wanted) <= 1).mean(), (found == wanted).mean()
    print(f"photographs           {len(found):6}")
    print(f"the same class        {classes:8.2%}")
    print(f"within one step       {near:8.2%}")
    print(f"equal                 {equal:8.2%}")
    return 0 if classes == 1 and near >= _LEAST else 1


if __name__ == "__main__":
    sys.exit(main())
