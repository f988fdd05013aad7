"""How each contender is made ready inside its own process: kigraph, ONNX Runtime, OpenVINO, TFLite, PyTorch."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from .network import Network

__all__ = [
    "Ready",
    "kigraph",
    "kigraph_int8",
    "onnxruntime",
    "onnxruntime_int8",
    "openvino",
    "openvino_bf16",
    "openvino_int8",
    "tflite_int8",
    "torch_bf16",
]

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, slots=True)
class Ready:
    """A network that is loaded. ``run`` computes the probabilities of the images that it was made for; ``outputs`` the logits
    and probabilities of as many others. ``note``: what a reader of the times has to know. ``profile``: where its time goes."""

    run: Callable[[], Any]
    outputs: Callable[[Array], tuple[Array, Array]]
    version: str
    note: str = ""
    profile: Callable[[], dict[str, Any]] | None = None


def kigraph(network: Network, threads: int, images: Array) -> Ready:
    """The network's own file in the precision that the environment says."""
    return _kigraph(network, network.model, network.input, network.logits, network.probabilities, threads, images)


def kigraph_int8(network: Network, threads: int, images: Array) -> Ready:
    """The quantised ONNX file."""
    return _kigraph(network, network.int8, "", "", "", threads, images)


def _kigraph(
    network: Network, file: str, input_: str, logits: str, probabilities: str, threads: int, images: Array
) -> Ready:
    import kigraph as ki
    from kigraph.opening import open_file

    graph = open_file(file, strict=True).graph
    assert graph is not None
    if not input_:
        called = graph.signatures["serving_default"]
        (input_,), found = called.inputs.values(), list(called.outputs.values())
        logits, probabilities = found[0], found[-1]
    session = ki.Session(graph, backend=os.environ["KIGRAPH_BACKEND"], threads=threads)
    wanted = [logits, probabilities]
    # An image at a time where the graph itself states a batch of one.
    fixed = len(images) if (graph.tensor(input_).shape or (None,))[0] is None else 1
    feeds = [{input_: images[i : i + fixed]} for i in range(0, len(images), fixed)]

    def outputs(others: Array) -> tuple[Array, Array]:
        rows = [session.run(wanted, {input_: others[i : i + fixed]}) for i in range(0, len(others), fixed)]
        return _logits_first(
            np.concatenate([r[0] for r in rows]), np.concatenate([r[1] for r in rows]), logits == probabilities
        )

    def run() -> None:
        for one in feeds:
            session.run(probabilities, one)

    precision = "int8" if file == network.int8 else session.numerics.precision
    note = _note(session.plan(probabilities, feeds[0]).kernel_steps(), precision)
    return Ready(
        run, outputs, ki.__version__, note, lambda: _where(session.profile(probabilities, feeds[0], runs=3, warm_up=0))
    )


def _where(profile: Any) -> dict[str, Any]:
    """Milliseconds of a run by op, the stages and steps of its plan, and the slowest steps with their kernels."""
    ops: dict[str, float] = {}
    for step in profile.steps:
        ops[step.op] = ops.get(step.op, 0.0) + step.seconds * 1e3
    slow = [
        {"node": s.node, "op": s.op, "kernel": s.kernel, "ms": s.seconds * 1e3, "gflops": s.gflops, "gbytes": s.gbytes,
         "outputs": list(s.outputs)}
        for s in profile.slowest(12)
    ]  # fmt: skip
    return {
        "ms": profile.seconds * 1e3,
        "ops": dict(sorted(ops.items(), key=lambda item: -item[1])),
        "outside": profile.outside * 1e3,
        "stages": len(profile.plan.parts),
        "steps": len(profile.steps),
        "slowest": slow,
    }


def _logits_first(logits: Array, probabilities: Array, alone: bool) -> tuple[Array, Array]:
    """Of a file that gives probabilities ``alone``, logits are their logarithms: the same but for a constant of an image."""
    return (np.log(np.maximum(probabilities, np.finfo(np.float32).tiny)) if alone else logits), probabilities


def _note(steps: list[Any], precision: str) -> str:
    """How many convolutions and matrix products run in ``precision``; '' for fp32."""
    named = [(str(step.query.contract.name), step.kernel.precision) for step in steps]
    products = [(name, own) for name, own in named if any(part in name for part in ("conv2d", "matmul", "sibling"))]
    if precision == "fp32":
        return ""
    if precision == "int8":
        found = sum(name.startswith("quantized_") for name, _ in products)
    else:
        found = sum(own == precision for _, own in products)
    rest = "" if found == len(products) else ", the rest in fp32"
    return f"{found} of {len(products)} kernels of convolutions and matrix products in {precision}{rest}"


def onnxruntime(network: Network, threads: int, images: Array) -> Ready:
    """float32."""
    return _onnxruntime(network.onnx, threads, images)


def onnxruntime_int8(network: Network, threads: int, images: Array) -> Ready:
    """The quantised ONNX file."""
    return _onnxruntime(network.int8, threads, images)


def _onnxruntime(file: str, threads: int, images: Array) -> Ready:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 3
    # The batch is known, as it is to kigraph and OpenVINO: what follows from it is computed once.
    options.add_free_dimension_override_by_name("d0", len(images))
    session = ort.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    name = session.get_inputs()[0].name
    feed = {name: images}
    return Ready(
        lambda: session.run(names[-1:], feed),
        lambda others: _logits_first(*session.run([names[0], names[-1]], {name: others}), len(names) == 1),
        ort.__version__,
    )


def openvino(network: Network, threads: int, images: Array) -> Ready:
    """float32."""
    return _openvino(network, network.onnx, "f32", threads, images)


def openvino_bf16(network: Network, threads: int, images: Array) -> Ready:
    """bfloat16, its own choice on a processor that has it."""
    return _openvino(network, network.onnx, "bf16", threads, images)


def openvino_int8(network: Network, threads: int, images: Array) -> Ready:
    """The quantised ONNX file; what is not quantised in it in the precision of its own choice."""
    return _openvino(network, network.int8, "", threads, images)


def _openvino(network: Network, file: str, precision: str, threads: int, images: Array) -> Ready:
    import openvino as ov

    core = ov.Core()
    # A cold start with warm caches: OpenVINO's own cache of compiled models, as kigraph has its one of packed weights.
    core.set_property({"CACHE_DIR": f"{network.folder}/openvino"})
    model = core.read_model(file)
    model.reshape(list(images.shape))
    hints: dict[str, Any] = {"INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY"}
    if precision:
        hints["INFERENCE_PRECISION_HINT"] = precision
    compiled = core.compile_model(model, "CPU", hints)
    request = compiled.create_infer_request()
    name = compiled.input(0)

    def outputs(others: Array) -> tuple[Array, Array]:
        found = request.infer({name: others})
        rows = [np.array(found[output]) for output in compiled.outputs]
        return _logits_first(rows[0], rows[-1], len(rows) == 1)

    version = str(ov.__version__).split("-")[0]
    return Ready(lambda: request.infer({name: images}, share_inputs=True), outputs, version)


def tflite_int8(network: Network, threads: int, images: Array) -> Ready:
    """The TFLite file: int8 in and out. Its logits are what its softmax reads, times their scale."""
    import ai_edge_litert
    from ai_edge_litert.interpreter import Interpreter

    def interpreter(keep: bool) -> Any:
        made = Interpreter(network.tflite, num_threads=threads, experimental_preserve_all_tensors=keep)
        made.resize_tensor_input(made.get_input_details()[0]["index"], images.shape)
        made.allocate_tensors()
        return made

    timed = interpreter(False)
    entry, end = timed.get_input_details()[0], timed.get_output_details()[0]
    scale, zero = entry["quantization"]
    limits = np.iinfo(entry["dtype"])

    def integers(values: Array) -> Array:
        return np.clip(np.rint(values / scale) + zero, limits.min, limits.max).astype(entry["dtype"])

    fed = integers(images)

    def run() -> None:
        timed.set_tensor(entry["index"], fed)
        timed.invoke()
        timed.get_tensor(end["index"])

    kept: list[Any] = []

    def outputs(others: Array) -> tuple[Array, Array]:
        kept[:] = kept or [interpreter(True)]
        kept[0].set_tensor(entry["index"], integers(others))
        kept[0].invoke()
        softmax = next(op for op in kept[0]._get_ops_details() if op["op_name"] == "SOFTMAX")
        real = {t["index"]: t for t in kept[0].get_tensor_details()}
        found = []
        for index in (softmax["inputs"][0], end["index"]):
            step, none = real[index]["quantization"]
            found.append((kept[0].get_tensor(index).astype(np.float32) - none) * np.float32(step))
        return found[0], found[1]

    return Ready(run, outputs, str(getattr(ai_edge_litert, "__version__", "")) or _version("ai-edge-litert"))


def _version(package: str) -> str:
    from importlib.metadata import version

    return version(package)


def torch_bf16(network: Network, threads: int, images: Array) -> Ready:
    """bfloat16 weights and activations, channels last, batch norms folded."""
    import torch

    from .torch_network import network_of

    torch.set_num_threads(threads)
    call = network_of(network.onnx, torch.bfloat16)
    fed = torch.from_numpy(images).to(torch.bfloat16)

    def run() -> None:
        with torch.inference_mode():
            call(fed)

    def outputs(others: Array) -> tuple[Array, Array]:
        with torch.inference_mode():
            logits, probabilities = call(torch.from_numpy(others).to(torch.bfloat16))
        return logits.float().numpy(), probabilities.float().numpy()

    return Ready(run, outputs, str(torch.__version__).split("+")[0])
