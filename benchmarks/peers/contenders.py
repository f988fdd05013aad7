"""Who takes part: kigraph in several modes, and its peers. Each is a record that says how a process of it is started, and a
function that makes it ready inside that process."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .network import Network

__all__ = ["CONTENDERS", "Contender", "Ready", "absent", "contender"]

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, slots=True)
class Ready:
    """A network that is loaded: ``run`` computes the probabilities, ``outputs`` logits and probabilities."""

    run: Callable[[], Any]
    outputs: Callable[[], tuple[Array, Array]]
    version: str


@dataclass(frozen=True, slots=True)
class Contender:
    """``module``: what has to be installed. ``environment``: of its process. ``setting``: a variable that kigraph must know."""

    name: str
    title: str
    make: Callable[[Network, int, Array], Ready]
    module: str
    peer: bool = False
    environment: Mapping[str, str] = field(default_factory=dict)
    backend: str = ""
    setting: str = ""
    instruction_set: str = ""


def _kigraph(network: Network, threads: int, images: Array) -> Ready:
    import os

    import kigraph as ki
    from kigraph.opening import open_file

    graph = open_file(network.model, strict=True).graph
    assert graph is not None
    session = ki.Session(graph, backend=os.environ["KIGRAPH_BACKEND"], threads=threads)
    feed, wanted = {network.input: images}, [network.logits, network.probabilities]
    # An image at a time where the graph itself states a batch of one.
    fixed = len(images) if (graph.tensor(network.input).shape or (None,))[0] is None else 1
    if fixed == len(images):
        return Ready(
            lambda: session.run(network.probabilities, feed), lambda: tuple(session.run(wanted, feed)), ki.__version__
        )
    feeds = [{network.input: images[i : i + 1]} for i in range(len(images))]

    def outputs() -> tuple[Array, Array]:
        rows = [session.run(wanted, one) for one in feeds]
        return np.concatenate([r[0] for r in rows]), np.concatenate([r[1] for r in rows])

    return Ready(lambda: [session.run(network.probabilities, one) for one in feeds], outputs, ki.__version__)


def _onnxruntime(network: Network, threads: int, images: Array) -> Ready:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 3
    session = ort.InferenceSession(network.onnx, options, providers=["CPUExecutionProvider"])
    logits, probabilities = (output.name for output in session.get_outputs())
    feed = {session.get_inputs()[0].name: images}
    return Ready(
        lambda: session.run([probabilities], feed),
        lambda: tuple(session.run([logits, probabilities], feed)),
        ort.__version__,
    )


def _openvino(network: Network, threads: int, images: Array) -> Ready:
    import openvino as ov

    core = ov.Core()
    # A cold start with warm caches: OpenVINO's own cache of compiled models, as kigraph has its one of packed weights.
    core.set_property({"CACHE_DIR": f"{network.folder}/openvino"})
    model = core.read_model(network.onnx)
    model.reshape(list(images.shape))
    hints = {"INFERENCE_NUM_THREADS": threads, "INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
    compiled = core.compile_model(model, "CPU", hints)
    request = compiled.create_infer_request()
    name = compiled.input(0)

    def outputs() -> tuple[Array, Array]:
        found = request.infer({name: images})
        return found[compiled.output(0)], found[compiled.output(1)]

    return Ready(lambda: request.infer({name: images}, share_inputs=True), outputs, ov.__version__.split("-")[0])


CONTENDERS: tuple[Contender, ...] = (
    Contender("kigraph", "kigraph", _kigraph, "kigraph", backend="cython"),
    Contender(
        "direct", "kigraph, direct convolution only", _kigraph, "kigraph", backend="cython",
        environment={"KIGRAPH_WINOGRAD": "0"}, setting="KIGRAPH_WINOGRAD",
    ),
    Contender(
        "avx2", "kigraph, AVX2 forced", _kigraph, "kigraph", backend="cython", environment={"KIGRAPH_ISA": "avx2"},
        instruction_set="avx2",
    ),
    Contender("numba", "kigraph, numba backend", _kigraph, "numba", backend="numba"),
    Contender("onnxruntime", "ONNX Runtime", _onnxruntime, "onnxruntime", peer=True),
    Contender("openvino", "OpenVINO (f32)", _openvino, "openvino", peer=True),
)  # fmt: skip


def contender(name: str) -> Contender:
    """The record of a name."""
    return next(c for c in CONTENDERS if c.name == name)


def absent(wanted: Sequence[str] = ()) -> dict[str, str]:
    """Which contenders cannot take part here -> why, with the remedy. ``wanted``: only these are looked at."""
    from kigraph.kernels.settings import SETTINGS

    known = {setting.name for setting in SETTINGS}
    found: dict[str, str] = {}
    for one in CONTENDERS:
        if wanted and one.name not in wanted:
            continue
        if importlib.util.find_spec(one.module) is None:
            extra = "numba" if one.module == "numba" else "peers"
            found[one.name] = f"not installed here; remedy: pip install 'kigraph[{extra}]'"
        elif one.setting and one.setting not in known:
            found[one.name] = f"this version of kigraph has no {one.setting}"
        elif one.instruction_set and one.instruction_set not in _usable_sets():
            found[one.name] = f"this processor has no {one.instruction_set}"
    return found


def _usable_sets() -> tuple[str, ...]:
    from kigraph.kernels.cython.core import ISAS

    return tuple(ISAS)
