"""The suite in other precisions than float32: which case stands for an op, which network is run, and why one is skipped."""

from __future__ import annotations

import functools
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kigraph.kernels.backends import get_backend
from kigraph.kernels.conformance import Case
from kigraph.kernels.numerics import Numerics
from kigraph.kernels.registry import kernels_of

__all__ = ["PRECISIONS", "in_precision", "int8_network", "require", "suffix"]

#: tf32 is one of the cupy backend.
PRECISIONS = ("fp32", "tf32", "bf16", "int8")
#: Calibration photographs of the int8 network, and the share of answers that quantising must keep: speed is measured here.
_PHOTOGRAPHS, _AGREEMENT = 40, 0.5


def suffix(precision: str) -> str:
    """What the name of a case has behind it: nothing in fp32, the names that results have always had."""
    return "" if precision == "fp32" else f" {precision}"


def require(backend: str, precision: str) -> None:
    """Skips the benchmark where the backend does not multiply in this precision."""
    offered = get_backend(backend).precisions()
    if precision not in ("fp32", "int8") and precision not in offered:
        pytest.skip(f"{backend} multiplies in {', '.join(offered)} only, not in {precision}")


def in_precision(case: Case, backend: str, precision: str) -> Case:
    """The case in a session of that precision; in int8 the quantised op at the same shapes. Skips it where there is none."""
    if precision == "fp32":
        return case
    require(backend, precision)
    if precision == "int8":
        return _quantised(case)
    if not any(kernel.precision == precision for kernel in kernels_of(backend, case.contract)):
        pytest.skip(f"{backend} has no kernel of {case.contract.name} in {precision}: its time is that of fp32")
    return replace(case, numerics=Numerics(precision=precision))


def _quantised(case: Case) -> Case:
    try:
        from kigraph.kernels.conformance.cases.quantized import qconv_case, qmatmul_case, qpool_case
        from kigraph.kernels.contracts.quantized import QDEPTHWISE
    except ImportError:
        pytest.skip("this version of kigraph has no quantised ops")
    # After a ReLU: uint8 from the zero point 0 on.
    u8 = np.dtype(np.uint8)
    usual: dict[str, Any] = {"dtype": u8, "x_zero": 0, "y_zero": 0, "low": 0, "high": 255}
    name, p, types = case.contract.name, case.params, [i.type for i in case.inputs]
    if name in ("conv2d", "depthwise_conv2d"):
        kh, kw, _, out = types[1].dims
        more: dict[str, Any] = {"contract": QDEPTHWISE} if name == "depthwise_conv2d" else {}
        windows = {"strides": p.strides, "padding": p.padding, "dilations": p.dilations}
        return qconv_case(case.id, types[0].dims, (kh, kw, out), threads=case.threads, **usual, **windows, **more)
    if name == "matmul" and case.inputs[1].constant and len(types[1].dims) == 2 == len(types[0].dims):
        (m, k), n = types[0].dims, types[1].dims[1]
        return qmatmul_case(case.id, m, k, n, threads=case.threads, **usual)
    if name == "avg_pool2d":
        window, padding = {"strides": p.strides, "padding": p.padding}, p.window
        return qpool_case(case.id, types[0].dims, padding, threads=case.threads, **usual, **window)
    if name == "max_pool2d":
        from kigraph.kernels.conformance.cases.quantized import any_bits

        return replace(
            case, inputs=tuple(replace(i, type=replace(i.type, dtype=u8), values=any_bits) for i in case.inputs)
        )
    return pytest.skip(f"{case} has no quantised form")


@functools.cache
def int8_network() -> tuple[Any, str, str, str]:
    """Inception v3 in int8: graph, input, logits and probabilities. The file is made once and kept in the cache folder.

    kigraph quantises the trained network with photographs of flowers where KIGRAPH_SHARED has them; else
    onnxruntime.quantization the seeded one. Skips the benchmark where neither can be done.
    """
    from kigraph.opening import open_file

    graph = open_file(_int8_file(), strict=True).graph
    assert graph is not None
    called = graph.signatures["serving_default"]
    (input_,), outputs = called.inputs.values(), list(called.outputs.values())
    return graph, input_, outputs[0], outputs[-1]


def _int8_file() -> Path:
    import importlib.util
    import tempfile

    import kigraph as ki

    from . import flowers
    from .peers.network import write_network
    from .peers.quantised import NEEDED, add_quantised, cache_folder, digest

    trained, photographs = flowers.trained(), flowers.calibration(_PHOTOGRAPHS)
    if hasattr(ki, "quantize") and trained and photographs:
        path = cache_folder() / f"kigraph-int8-{digest(trained, *photographs, ki.__version__.encode())}.onnx"
        if not path.exists():
            with tempfile.TemporaryDirectory(dir=path.parent) as folder:
                made = Path(folder, "made.onnx")
                ki.quantize(trained, made, photographs, limit=_PHOTOGRAPHS, agreement=_AGREEMENT)
                made.replace(path)
        return path
    if all(importlib.util.find_spec(name) for name in NEEDED):
        with tempfile.TemporaryDirectory(prefix="kigraph-int8-") as folder:
            network, problem = add_quantised(write_network(Path(folder)), wanted=True, file=None, tflite=None)
            if not problem:
                return Path(network.int8)
            pytest.skip(f"the int8 network could not be made: {problem}")
    return pytest.skip(
        "an int8 network is made with kigraph's photographs (KIGRAPH_SHARED) or with onnxruntime.quantization, and neither "
        "is here; remedy: pip install 'kigraph[peers]'"
    )
