"""The network that everybody runs: one graph, written as a GraphDef for kigraph and as ONNX for its peers, with the images
and the truth, which is the same network with the same weights in float64."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["Network", "difference", "read_network", "truth_of", "write_network"]

Array = np.ndarray[Any, Any]

#: Different images that the settings with a larger batch take from; all answers are compared with float64.
IMAGES = 8


@dataclass(frozen=True, slots=True)
class Network:
    """Files in ``folder``: model.onnx, images.npy and, unless ``model`` names another file, model.pb."""

    folder: str
    model: str
    title: str
    input: str
    logits: str
    probabilities: str

    @property
    def onnx(self) -> str:
        return f"{self.folder}/model.onnx"

    def images(self, batch: int) -> Array:
        """So many preprocessed images, float32 (batch, 299, 299, 3)."""
        images: Array = np.load(f"{self.folder}/images.npy", mmap_mode="r")
        return np.ascontiguousarray(images[np.arange(batch) % len(images)])


def write_network(folder: Path, model: Path | None = None) -> Network:
    """Writes the files. ``model``: a trained Inception v3 of any format that kigraph loads; default: seeded weights."""
    import kigraph as ki
    from kigraph.graph.models.inception_v3.build import build
    from kigraph.graph.models.inception_v3.weights import seeded_weights
    from kigraph.graph.writers.onnx import save_onnx
    from kigraph.saving import save_graph

    if model is None:
        graph, title = build(seeded_weights()), "Inception v3, seeded weights"
        input_, probabilities = "input:0", "predictions:0"
        save_graph(graph, folder / "model.pb")
        path = folder / "model.pb"
    else:
        loaded = ki.load(model, backend="numpy")
        card = loaded.require_card()
        graph, title, path = loaded.graph, f"{card.title} ({model.name})", model.resolve()
        input_, probabilities = card.input, card.output
    logits = _logits(graph, probabilities)
    save_onnx(graph, folder / "model.onnx", [logits, probabilities], [input_])
    shape = graph.tensor(input_).shape or ()
    size = (shape[1] or 299, shape[2] or 299) if len(shape) == 4 else (299, 299)
    images = np.random.default_rng(20151202).uniform(-1, 1, (IMAGES, *size, 3)).astype(np.float32)
    np.save(folder / "images.npy", images)
    network = Network(str(folder), str(path), title, input_, logits, probabilities)
    (folder / "network.json").write_text(json.dumps(asdict(network)))
    return network


def read_network(folder: str) -> Network:
    """What ``write_network`` wrote."""
    return Network(**json.loads(Path(folder, "network.json").read_text()))


def _logits(graph: Any, probabilities: str) -> str:
    """What the last softmax reads; the output itself where the graph ends without one."""
    op = graph.tensor(probabilities).op
    while op.type in ("Identity", "Reshape"):
        op = op.inputs[0].op
    return str(op.inputs[0].name) if op.type == "Softmax" else probabilities


def truth_of(network: Network) -> tuple[Array, Array]:
    """Logits and probabilities of all images: the graph with every float32 made float64, on the reference backend."""
    import kigraph as ki
    from kigraph.opening import open_file

    graph = open_file(network.model, strict=True).graph
    assert graph is not None
    session = ki.Session(_in_float64(graph, network.input, network.probabilities), backend="numpy")
    rows = [
        session.run(
            [network.logits, network.probabilities], {network.input: network.images(IMAGES)[i : i + 1].astype("f8")}
        )
        for i in range(IMAGES)
    ]
    return np.concatenate([r[0] for r in rows]), np.concatenate([r[1] for r in rows])


def _in_float64(graph: Any, input_: str, output: str) -> Any:
    """A copy of what lies between two tensors; the first becomes a placeholder, and float32 becomes float64."""
    import kigraph as ki
    from kigraph.graph.ir import Literal

    single, double = np.dtype(np.float32), np.dtype(np.float64)

    def widen(value: Any) -> Any:
        if isinstance(value, Literal) and value.dtype == single:
            return Literal.of(value.array().astype(double))
        return double if isinstance(value, np.dtype) and value == single else value

    copy = ki.Graph()
    start = graph.tensor(input_)
    made: dict[Any, Any] = {
        start: copy.create_op("Placeholder", (), {"dtype": double, "shape": start.shape}, start.op.name, exact_name=True).outputs[0]
    }  # fmt: skip
    needed, waiting = set(), [graph.tensor(output).op]
    while waiting:
        op = waiting.pop()
        if op.name not in needed and op.name != start.op.name:
            needed.add(op.name)
            waiting += [t.op for t in op.inputs]
    for op in graph.operations:
        if op.name not in needed:
            continue
        attrs = {name: widen(value) for name, value in op.attrs.items()}
        done = copy.create_op(op.type, [made[t] for t in op.inputs], attrs, op.name, exact_name=True)
        made.update(zip(op.outputs, done.outputs, strict=True))
    return copy


def difference(got: Array, want: Array) -> float:
    """Relative L2: the length of the difference over the length of the truth, the worst image."""
    gap = np.linalg.norm(got.astype("f8") - want, axis=-1)
    return float(np.max(gap / np.linalg.norm(want, axis=-1)))
