"""A file that another library wrote, loaded by kigraph and compared with what that library computes."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import kigraph as ki

__all__ = ["Value", "agrees", "distance", "litert", "randomize"]

Value = np.ndarray[Any, Any]
# Read when TensorFlow is imported: its plain kernels, no GPU, no log of both.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")


def distance(found: Any, expected: Any) -> float:
    """Relative L2 distance; infinite for another shape or what is not finite."""
    a, b = np.asarray(found), np.asarray(expected)
    if a.shape != b.shape:
        return np.inf
    a, b = a.astype(np.float64), b.astype(np.float64)
    return float(np.linalg.norm(a - b) / max(float(np.linalg.norm(b)), 1e-30)) if np.isfinite(a).all() else np.inf


def agrees(
    path: Path,
    feeds: Sequence[Value] | Mapping[str, Value],
    expected: Sequence[Any] | Mapping[str, Any],
    tolerance: float = 1e-5,
    signature: str = "serving_default",
) -> ki.Classifier:
    """Asserts that the file computes what is expected, by the file's names or in its order; returns the model."""
    model = ki.load(path)
    call = model.signatures[signature]
    given = dict(feeds) if isinstance(feeds, Mapping) else dict(zip(call.inputs, feeds, strict=True))
    found = call(given)
    wanted = dict(expected) if isinstance(expected, Mapping) else dict(zip(found, expected, strict=True))
    assert set(found) == set(wanted)
    for name, value in wanted.items():
        result, value = found[name], np.asarray(value)
        assert result.shape == value.shape, name
        if value.dtype.kind in "OSU":
            assert [bytes(v) for v in result.ravel()] == [bytes(v) for v in value.ravel()], name
            continue
        assert result.dtype == value.dtype, name
        assert distance(result, value) <= tolerance, name
    return model


def randomize(model: Any, seed: int) -> None:
    """Gives every weight of a Keras model values as training leaves them, batch norm statistics too."""
    rng = np.random.default_rng(seed)
    for weight in model.weights:
        name = (getattr(weight, "path", None) or weight.name).split("/")[-1].split(":")[0]
        shape = tuple(weight.shape)
        if not str(getattr(weight.dtype, "name", weight.dtype)).startswith("float"):
            continue
        if name in ("mean", "variance", "count"):  # of Normalization, which adapt() has set
            continue
        if "gamma" in name or "scale" in name:
            value = rng.uniform(0.6, 1.4, shape)
        elif "variance" in name:
            value = rng.uniform(0.4, 1.6, shape)
        elif "mean" in name or "beta" in name or "bias" in name:
            value = rng.normal(0, 0.2, shape)
        else:
            fan = int(np.prod(shape[:-1])) if len(shape) > 1 and "embedding" not in name else 1
            value = rng.normal(0, (1.5 / max(fan, 1)) ** 0.5, shape)
        weight.assign(value.astype(np.float32))


def litert(path: Path, feeds: Mapping[str, Value]) -> dict[str, Value]:
    """The outputs of a .tflite file by Google's runtime, by the names of its signature."""
    from ai_edge_litert.interpreter import Interpreter

    found = Interpreter(str(path)).get_signature_runner()(**feeds)
    return {name: np.asarray(value) for name, value in found.items()}
