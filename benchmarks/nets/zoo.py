"""The networks: how each is built, and its files, which are made once and kept in the cache folder."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..peers.network import Network, copied, read_network, store, truth_of
from ..peers.quantised import ROOT, cache_folder, digest
from . import separable, states
from .seeded import State

__all__ = ["NETWORKS", "Known", "graph_of", "linked", "network_files", "truth"]

#: Different images: a larger batch repeats them.
IMAGES = 2
#: What the weights and the files depend on.
_SOURCES = (
    "benchmarks/nets/seeded.py", "benchmarks/nets/separable.py", "benchmarks/nets/states.py", "graph/models/torch/*.py",
    "graph/writers/*.py",
)  # fmt: skip
#: Files of earlier sources that nobody has used for so long are removed.
_STALE = 2 * 24 * 3600.0


@dataclass(frozen=True, slots=True)
class Known:
    """state: makes a state dict for kigraph's builder of torchvision's network; layers: gives the logits, in a default graph."""

    name: str
    title: str
    size: int
    state: Callable[[], State] | None = None
    layers: Callable[[], Any] | None = None


NETWORKS: dict[str, Known] = {
    known.name: known
    for known in (
        Known("vgg-16", "VGG-16", 224, states.vgg_16),
        Known("resnet-50", "ResNet-50", 224, states.resnet_50),
        Known("densenet-121", "DenseNet-121", 224, states.densenet_121),
        Known("mobilenet-v1", "MobileNet v1", 224, layers=separable.mobilenet_v1),
        Known("mobilenet-v2", "MobileNet v2", 224, states.mobilenet_v2),
        Known("mobilenet-v3-small", "MobileNet v3 small", 224, states.mobilenet_v3_small),
        Known("mobilenet-v3-large", "MobileNet v3 large", 224, states.mobilenet_v3_large),
        Known("efficientnet-b0", "EfficientNet-B0", 224, states.efficientnet_b0),
        Known("nasnet-mobile", "NASNet mobile", 224, layers=separable.nasnet_mobile),
        Known("xception", "Xception", 299, layers=separable.xception),
        Known("convnext-tiny", "ConvNeXt-tiny", 224, states.convnext_tiny),
        Known("vit-b-16", "ViT-B/16", 224, states.vit_b_16),
    )
}


def graph_of(known: Known) -> Any:
    """The graph: "input:0" float32 (images, size, size, 3) to "logits:0" and "probabilities:0" (images, 1000)."""
    import kigraph as ki
    from kigraph.graph.models.torch import build_torch

    if known.state is not None:
        built = build_torch(known.state().file())
        graph = copied(built, "input:0", "output:0", shape=(None, known.size, known.size, 3))
        with graph.as_default():
            logits = ki.identity(graph.tensor("output:0"), name="logits")
    else:
        assert known.layers is not None
        graph = ki.Graph()
        with graph.as_default():
            logits = ki.identity(known.layers(), name="logits")
    with graph.as_default():
        ki.softmax(logits, name="probabilities")
    return graph


def _stamp() -> str:
    files = [path for pattern in _SOURCES for path in sorted(ROOT.glob(pattern))]
    return digest(*files)


def network_files(known: Known) -> Network:
    """The network's files in the cache folder, made now if they are not there."""
    from kigraph.graph.writers.onnx import save_onnx
    from kigraph.saving import save_graph

    parent = cache_folder() / "nets"
    parent.mkdir(exist_ok=True)
    folder = parent / f"{known.name}-{_stamp()}"
    if not (folder / "network.json").exists():
        _remove_stale(parent, known.name)
        made = Path(tempfile.mkdtemp(prefix=f"{known.name}-", suffix=".part", dir=parent))
        graph = graph_of(known)
        save_graph(graph, made / "model.pb")
        save_onnx(graph, made / "model.onnx", ["logits:0", "probabilities:0"], ["input:0"])
        np.save(made / "images.npy", _images(known.size))
        shutil.rmtree(folder, ignore_errors=True)
        made.replace(folder)
        found = Network(
            str(folder),
            str(folder / "model.pb"),
            f"{known.title}, seeded weights",
            "input:0",
            "logits:0",
            "probabilities:0",
        )
        store(found)
    os.utime(folder)
    return read_network(str(folder))


def _images(size: int) -> Any:
    """Squares of one colour and noise, from -1 to 1, float32 (IMAGES, size, size, 3)."""
    rng = np.random.default_rng(20151202)
    squares = (
        rng.uniform(-0.8, 0.8, (IMAGES, 8, 8, 3)).repeat(-(-size // 8), 1).repeat(-(-size // 8), 2)[:, :size, :size]
    )
    return (squares + rng.uniform(-0.2, 0.2, squares.shape)).astype(np.float32)


def _remove_stale(parent: Path, name: str) -> None:
    for old in parent.glob(f"{name}-*"):
        if time.time() - old.stat().st_mtime > _STALE:
            shutil.rmtree(old, ignore_errors=True)


def truth(network: Network, tick: Callable[[str], None] = lambda what: None) -> tuple[Any, Any]:
    """Logits and probabilities of all images in float64, kept beside the network's files."""
    path = Path(network.folder, "truth.npz")
    if not path.exists():
        logits, probabilities = truth_of(network, tick)
        part = Path(network.folder, f"truth-{os.getpid()}.npz")
        np.savez(part, logits=logits, probabilities=probabilities)
        part.replace(path)
    with np.load(path) as found:
        return found["logits"], found["probabilities"]


def linked(network: Network, folder: Path) -> Network:
    """The same files seen from a folder of this run, where workers may write."""
    folder.mkdir(exist_ok=True)
    for name in ("model.onnx", "images.npy"):
        (folder / name).symlink_to(Path(network.folder, name))
    return store(replace(network, folder=str(folder)))
