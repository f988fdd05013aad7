"""Who takes part: kigraph in several modes and precisions, and its peers. Each is a record that says how a process of it is
started and in what it multiplies; ratios are to the fastest peer of the same precision."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from . import runtimes
from .network import Network
from .quantised import NEEDED
from .runtimes import Ready

__all__ = ["CONTENDERS", "PRECISIONS", "Contender", "Ready", "absent", "contender", "missing_files", "wants_int8"]

Array = np.ndarray[Any, Any]

PRECISIONS = ("fp32", "bf16", "int8")
#: What a processor must have for bfloat16 to be more than emulated.
_BF16 = ("avx512_bf16", "amx_bf16", "bf16")


@dataclass(frozen=True, slots=True)
class Contender:
    """``module``: what has to be installed. ``environment``: of its process. ``setting``: a variable that kigraph must know.
    ``file``: the field of the network that names its file, where it runs a quantised one."""

    name: str
    title: str
    make: Callable[[Network, int, Array], Ready]
    module: str
    peer: bool = False
    environment: Mapping[str, str] = field(default_factory=dict)
    backend: str = ""
    setting: str = ""
    instruction_set: str = ""
    precision: str = "fp32"
    file: str = ""


CONTENDERS: tuple[Contender, ...] = (
    Contender("kigraph", "kigraph", runtimes.kigraph, "kigraph", backend="cython"),
    Contender(
        "direct", "kigraph, direct convolution only", runtimes.kigraph, "kigraph", backend="cython",
        environment={"KIGRAPH_WINOGRAD": "0"}, setting="KIGRAPH_WINOGRAD",
    ),
    Contender(
        "avx2", "kigraph, AVX2 forced", runtimes.kigraph, "kigraph", backend="cython", environment={"KIGRAPH_ISA": "avx2"},
        instruction_set="avx2",
    ),
    Contender("numba", "kigraph, numba backend", runtimes.kigraph, "numba", backend="numba"),
    Contender("onnxruntime", "ONNX Runtime", runtimes.onnxruntime, "onnxruntime", peer=True),
    Contender("openvino", "OpenVINO (f32)", runtimes.openvino, "openvino", peer=True),
    Contender(
        "kigraph-bf16", "kigraph, bf16", runtimes.kigraph, "kigraph", backend="cython", precision="bf16",
        environment={"KIGRAPH_PRECISION": "bf16"}, setting="KIGRAPH_PRECISION",
    ),
    Contender("openvino-bf16", "OpenVINO (bf16)", runtimes.openvino_bf16, "openvino", peer=True, precision="bf16"),
    Contender("torch-bf16", "PyTorch (bf16, channels last)", runtimes.torch_bf16, "torch", peer=True, precision="bf16"),
    Contender(
        "kigraph-int8", "kigraph, int8", runtimes.kigraph_int8, "kigraph", backend="cython", precision="int8", file="int8"
    ),
    Contender(
        "onnxruntime-int8", "ONNX Runtime (int8)", runtimes.onnxruntime_int8, "onnxruntime", peer=True, precision="int8",
        file="int8",
    ),
    Contender(
        "openvino-int8", "OpenVINO (int8)", runtimes.openvino_int8, "openvino", peer=True, precision="int8", file="int8"
    ),
    Contender(
        "tflite-int8", "TFLite (int8)", runtimes.tflite_int8, "ai_edge_litert", peer=True, precision="int8", file="tflite"
    ),
)  # fmt: skip


def contender(name: str) -> Contender:
    """The record of a name."""
    return next(c for c in CONTENDERS if c.name == name)


def wants_int8(names: Sequence[str]) -> bool:
    """Whether one of them runs the quantised ONNX file."""
    return any(contender(name).file == "int8" for name in names)


def absent(wanted: Sequence[str] = (), *, int8_given: bool = False) -> dict[str, str]:
    """Which contenders cannot take part here -> why, with the remedy. ``wanted``: only these are looked at.

    int8_given: the quantised ONNX file need not be made.
    """
    found: dict[str, str] = {}
    for one in CONTENDERS:
        if wanted and one.name not in wanted:
            continue
        reason = _reason(one, int8_given)
        if reason:
            found[one.name] = reason
    return found


def _reason(one: Contender, int8_given: bool) -> str:
    from kigraph.kernels.settings import SETTINGS

    if importlib.util.find_spec(one.module) is None:
        if one.module == "torch":
            return "not installed here; remedy: pip install torch"
        return f"not installed here; remedy: pip install 'kigraph[{'numba' if one.module == 'numba' else 'peers'}]'"
    if one.setting and one.setting not in {setting.name for setting in SETTINGS}:
        return f"this version of kigraph has no {one.setting}"
    if one.instruction_set and one.instruction_set not in _usable_sets():
        return f"this processor has no {one.instruction_set}"
    if one.precision == "bf16":
        return _no_bf16(one)
    if one.file == "int8" and not int8_given:
        lacking = [name for name in NEEDED if importlib.util.find_spec(name) is None]
        if lacking:
            return f"the quantised file is made with {' and '.join(lacking)}, not installed here; remedy: pip install 'kigraph[peers]'"
    return ""


def _no_bf16(one: Contender) -> str:
    from kigraph.kernels.backends import get_backend
    from kigraph.machine import cpu_flags

    if not set(_BF16) & set(cpu_flags()):
        return "this processor has no bf16"
    offered = get_backend(one.backend).precisions() if one.backend else ("bf16",)
    if "bf16" not in offered:
        return f"the {one.backend} backend of this version of kigraph multiplies in {', '.join(offered)} only"
    return ""


def missing_files(network: Network, names: Sequence[str], problem: str) -> dict[str, str]:
    """Which of the contenders have no quantised file to run -> why. problem: what went wrong when the ONNX file was made."""
    reasons = {
        "int8": problem or "there is no quantised ONNX file",
        "tflite": "there is no TFLite file of this network; remedy: --tflite FILE",
    }
    files = {name: contender(name).file for name in names}
    return {name: reasons[file] for name, file in files.items() if file and not getattr(network, file)}


def _usable_sets() -> tuple[str, ...]:
    from kigraph.kernels.cython.core import ISAS

    return tuple(ISAS)
