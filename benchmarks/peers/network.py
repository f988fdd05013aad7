"""The network that everybody runs: one graph, written as a GraphDef for kigraph and as ONNX for its peers, with the images
and the truth, which is the same network with the same weights in float64. Quantised files of it: quantised.py."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

__all__ = [
    "IMAGES",
    "Network",
    "copied",
    "difference",
    "prepared",
    "read_network",
    "store",
    "truth_of",
    "write_network",
]

Array = np.ndarray[Any, Any]

#: Different images of noise that the settings with a larger batch take from; all answers are compared with float64.
IMAGES = 8
Tick = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Network:
    """Files in ``folder``: model.onnx, images.npy and, unless ``model`` names another file, model.pb.

    int8, tflite: the quantised network as an ONNX file with QuantizeLinear and DequantizeLinear nodes, and as a TFLite file;
    '' where there is none. photographs: whether the images are preprocessed photographs; else they are noise.
    source: the file that ``write_network`` was given, which knows how photographs are preprocessed.
    """

    folder: str
    model: str
    title: str
    input: str
    logits: str
    probabilities: str
    int8: str = ""
    tflite: str = ""
    photographs: bool = False
    source: str = ""

    @property
    def onnx(self) -> str:
        return f"{self.folder}/model.onnx"

    def images(self, batch: int, start: int = 0) -> Array:
        """So many preprocessed images from number ``start`` on, float32 (batch, 299, 299, 3); after the last the first again."""
        images: Array = np.load(f"{self.folder}/images.npy", mmap_mode="r")
        return np.ascontiguousarray(images[np.arange(start, start + batch) % len(images)])

    @property
    def count(self) -> int:
        """How many different images there are."""
        return len(np.load(f"{self.folder}/images.npy", mmap_mode="r"))


def write_network(folder: Path, model: Path | None = None, photographs: Sequence[Path] = ()) -> Network:
    """Writes the files.

    model: a trained Inception v3 of any format that kigraph loads; default: seeded weights. A graph that states a batch of
    one is written as one that takes any.
    photographs: files that become the images, as the model's card says; default: noise.
    """
    import kigraph as ki
    from kigraph.graph.models.inception_v3.build import build
    from kigraph.graph.models.inception_v3.weights import seeded_weights
    from kigraph.graph.writers.onnx import save_onnx
    from kigraph.saving import save_graph

    if model is None:
        graph, title = build(seeded_weights()), "Inception v3, seeded weights"
        input_, probabilities = "input:0", "predictions:0"
        path = save_graph(graph, folder / "model.pb")
        images = _noise((299, 299, 3))
    else:
        loaded = ki.load(model, backend="numpy")
        card = loaded.require_card()
        graph, title, path = loaded.graph, f"{card.title} ({model.name})", model.resolve()
        input_, probabilities = card.input, card.output
        images = _prepared(loaded, photographs) if photographs else _noise(loaded.image_shape)
        if loaded.fixed_batch == 1:
            graph = copied(graph, input_, probabilities, shape=(None, *graph.tensor(input_).shape[1:]))
            path = save_graph(graph, folder / "model.pb")
    logits = _logits(graph, probabilities)
    save_onnx(graph, folder / "model.onnx", [logits, probabilities], [input_])
    np.save(folder / "images.npy", images)
    return store(
        Network(
            str(folder), str(path), title, input_, logits, probabilities, "", "", bool(photographs), str(model or "")
        )
    )


def _noise(shape: tuple[int, ...]) -> Array:
    return np.random.default_rng(20151202).uniform(-1, 1, (IMAGES, *shape)).astype(np.float32)


def prepared(model: Path, photographs: Sequence[Path]) -> Array:
    """Photographs as a trained model takes them: float32 (photographs, height, width, 3)."""
    import kigraph as ki

    return _prepared(ki.load(model, backend="numpy"), photographs)


def _prepared(model: Any, photographs: Sequence[Path]) -> Array:
    """The photographs as what the card's input takes: by the graph itself where that decodes, else as the card says."""
    card = model.require_card()
    if card.encoded is None:
        return np.concatenate([model.prepare([path]) for path in photographs])
    rows = [model.session.run(card.input, {card.encoded: path.read_bytes()}) for path in photographs]
    return np.concatenate(rows)


def store(network: Network, **changes: Any) -> Network:
    """Writes the record for other processes; ``changes``: fields that become known later."""
    network = replace(network, **changes)
    Path(network.folder, "network.json").write_text(json.dumps(asdict(network)))
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


def truth_of(network: Network, tick: Tick = lambda what: None) -> tuple[Array, Array]:
    """Logits and probabilities of all images: the graph with every float32 made float64, on the reference backend."""
    import kigraph as ki
    from kigraph.opening import open_file

    graph = open_file(network.model, strict=True).graph
    assert graph is not None
    shape = graph.tensor(network.input).shape or (None,)
    copy = copied(graph, network.input, network.probabilities, shape=shape, wide=True)
    session, rows = ki.Session(copy, backend="numpy"), []
    for number in range(network.count):
        tick(f"the truth in float64: image {number + 1} of {network.count}")
        image = network.images(1, number).astype("f8")
        rows.append(session.run([network.logits, network.probabilities], {network.input: image}))
    return np.concatenate([r[0] for r in rows]), np.concatenate([r[1] for r in rows])


def copied(graph: Any, input_: str, output: str, *, shape: tuple[int | None, ...], wide: bool = False) -> Any:
    """A copy of what lies between two tensors; the first becomes a placeholder.

    shape: of that placeholder; if it takes any number of images, shapes that begin with one image do, too.
    wide: float32 becomes float64.
    """
    import kigraph as ki
    from kigraph.graph.ir import Literal

    single, double = np.dtype(np.float32), np.dtype(np.float64)
    start = graph.tensor(input_)
    shapes = {op.inputs[1].op.name for op in graph.operations if op.type == "Reshape"} if shape[0] is None else set()

    def changed(op: Any, value: Any) -> Any:
        if isinstance(value, Literal) and wide and value.dtype == single:
            return Literal.of(value.array().astype(double))
        if isinstance(value, Literal) and op.name in shapes:
            dims = value.array().copy()
            if dims.ndim == 1 and len(dims) > 1 and dims[0] == 1 and (dims > 0).all():
                dims[0] = -1
            return Literal.of(dims)
        return double if wide and isinstance(value, np.dtype) and value == single else value

    copy = ki.Graph()
    attributes = {"dtype": changed(start.op, start.dtype), "shape": tuple(shape)}
    made: dict[Any, Any] = {
        start: copy.create_op("Placeholder", (), attributes, start.op.name, exact_name=True).outputs[0]
    }
    needed, waiting = set(), [graph.tensor(output).op]
    while waiting:
        op = waiting.pop()
        if op.name not in needed and op.name != start.op.name:
            needed.add(op.name)
            waiting += [t.op for t in op.inputs]
    for op in graph.operations:
        if op.name not in needed:
            continue
        attrs = {name: changed(op, value) for name, value in op.attrs.items()}
        done = copy.create_op(op.type, [made[t] for t in op.inputs], attrs, op.name, exact_name=True)
        made.update(zip(op.outputs, done.outputs, strict=True))
    return copy


def difference(got: Array, want: Array) -> float:
    """Relative L2: the length of the difference over the length of the truth, the worst image."""
    gap = np.linalg.norm(got.astype("f8") - want, axis=-1)
    return float(np.max(gap / np.linalg.norm(want, axis=-1)))
