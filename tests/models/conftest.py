"""The real models beside the project, where they are; tests that need them skip with a reason where they are not."""

from __future__ import annotations

import hashlib
import json
import lzma
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from kigraph.graph.loaders.weights import TensorInfo, WeightsFile
from kigraph.graph.models.inception_v3.layers import CONVS, NETWORK, Block, Conv, Pool, Step, connect
from kigraph.kernels.backends import get_backend

SHARED = Path(os.environ.get("KIGRAPH_SHARED") or Path(__file__).resolve().parents[3] / "shared")


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with real models, photographs and TensorFlow's outputs for them."""
    if not (SHARED / "models").is_dir():
        pytest.skip(f"no real models beside the project: {SHARED} is missing")
    return SHARED


@pytest.fixture(scope="session", params=["cython", "numba", "numpy", "cupy"])
def backend(request: pytest.FixtureRequest) -> str:
    """Every backend that this machine has."""
    name: str = request.param
    status = get_backend(name).status()
    if not status.available:
        pytest.skip(f"backend {name}: {status.detail}")
    return name


@pytest.fixture(scope="session")
def cache(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that is kept between runs, if pytest's cache is on."""
    kept = getattr(pytestconfig, "cache", None)
    return Path(kept.mkdir("kigraph-models")) if kept is not None else tmp_path_factory.mktemp("models")


@pytest.fixture(scope="session")
def flowers(shared: Path, cache: Path) -> Path:
    """The trained Inception v3 for five flowers, unpacked (87 MB)."""
    folder = shared / "models" / "inception_v3_flowers"
    wanted = json.loads((folder / "checksum.json").read_text())
    path = cache / "flowers.pb"
    if not path.exists() or path.stat().st_size != wanted["bytes"]:
        part = path.with_suffix(f".{os.getpid()}.part")
        with lzma.open(folder / "frozen.pb.xz") as packed, open(part, "wb") as file:
            while block := packed.read(1 << 22):
                file.write(block)
        assert _sha256(part) == wanted["sha256_of_frozen.pb"]
        os.replace(part, path)
    return path


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


@pytest.fixture(scope="session")
def golden(shared: Path) -> Iterator[Any]:
    """TensorFlow's outputs for the flower photographs."""
    with np.load(shared / "models" / "inception_v3_flowers" / "golden_tensorflow.npz") as arrays:
        yield dict(arrays)


# --- Keras models, in the JSON of Keras 2 and of Keras 3 -----------------------------------------------------------------

Array = np.ndarray[Any, Any]


class Layers:
    """Layers as (class, name, config, inputs), and the arrays of each."""

    def __init__(self, name: str = "model") -> None:
        self.name = name
        self.items: dict[str, dict[str, Any]] = {}
        self.arrays: dict[str, dict[str, Any]] = {}

    def add(
        self, kind: str, name: str, inputs: Sequence[Any], arrays: Mapping[str, Any] | None = None, **config: Any
    ) -> str:
        self.items[name] = {"kind": kind, "config": {"name": name, **config}, "inputs": list(inputs)}
        self.arrays[name] = {f"{name}/{k}": v for k, v in (arrays or {}).items()}
        return name

    def nest(self, inner: Layers, output: str, name: str, given: str) -> str:
        """Another model as one layer of this one."""
        self.items[name] = {"kind": inner, "config": {"name": name}, "inputs": [given], "output": output}
        self.arrays[name] = {k: v for arrays in inner.arrays.values() for k, v in arrays.items()}
        return name

    def config(self, output: str, keras: int) -> dict[str, Any]:
        start = next(n for n, i in self.items.items() if i["kind"] == "InputLayer")
        return {
            "class_name": "Functional",
            "config": {
                "name": self.name,
                "layers": [self._layer(name, item, keras) for name, item in self.items.items()],
                "input_layers": [start, 0, 0] if keras == 3 else [[start, 0, 0]],
                "output_layers": [output, 0, 0] if keras == 3 else [[output, 0, 0]],
            },
        }

    def _layer(self, name: str, item: dict[str, Any], keras: int) -> dict[str, Any]:
        config = dict(item["config"])
        if isinstance(item["kind"], Layers):
            spec = item["kind"].config(item["output"], keras)
        else:
            spec = {"class_name": item["kind"], "config": config}
            if item["kind"] == "InputLayer" and keras == 2:
                config["batch_input_shape"] = config.pop("batch_shape")
        spec |= {"name": name, "inbound_nodes": []}
        if keras == 3:
            spec |= {"module": "keras.layers", "registered_name": None}
        call, inputs = item.get("call", {}), item["inputs"]
        if not inputs:
            return spec
        if keras == 2:
            spec["inbound_nodes"] = [
                [[i, 1 if isinstance(self.items[i]["kind"], Layers) else 0, 0, call] for i in inputs]
            ]
        else:
            tensors: list[Any] = [
                {"class_name": "__keras_tensor__", "config": {"shape": [None], "dtype": "float32", "keras_history": [i, 0, 0]}}
                if isinstance(i, str) else i
                for i in inputs
            ]  # fmt: skip
            spec["inbound_nodes"] = [{"args": [tensors] if item["kind"] == "Concatenate" else tensors, "kwargs": call}]
        return spec

    def file(self, output: str, keras: int = 3, change: Callable[[Any], Any] | None = None) -> WeightsFile:
        config = self.config(output, keras)
        if change is not None:
            change(config)
        return arrays_file(self.arrays, model_config=json.dumps(config), keras_version=f"{keras}.15.0")


def arrays_file(groups: Mapping[str, Mapping[str, Any]], **metadata: Any) -> WeightsFile:
    """A file of arrays; a tuple stands for an array of that shape that is never read."""

    def never() -> Array:
        raise AssertionError("read")

    tensors = {
        name: TensorInfo(np.dtype(np.float32), value, "float32", never, name)
        if isinstance(value, tuple)
        else TensorInfo(np.dtype(np.float32), value.shape, "float32", lambda value=value: value, name)
        for arrays in groups.values()
        for name, value in arrays.items()
    }
    layers = {group: tuple(arrays) for group, arrays in groups.items()}
    return WeightsFile("m.h5", "keras-h5", tensors, {"layers": layers, **metadata})


def inception(layers: Layers, start: str, network: Sequence[Step] = NETWORK, first: int = 0, pool: str = "avg") -> str:
    """Adds the layers of keras.applications' InceptionV3 after ``start``; the name of the last concatenation."""
    counts: dict[str, int] = {}
    shapes = {s.conv.path: s.shape for s in CONVS}

    def numbered(base: str) -> str:
        n = counts[base] = counts.get(base, first - 1) + 1
        return f"{base}_{n}" if n else base

    def conv(step: Conv, x: str) -> str:
        n = (step.filters,)
        x = layers.add(
            "Conv2D", numbered("conv2d"), [x], {"kernel": shapes[step.path]}, filters=step.filters, kernel_size=list(step.kernel),
            strides=[step.stride] * 2, padding=step.padding.lower(), data_format="channels_last", dilation_rate=[1, 1], groups=1,
            activation="linear", use_bias=False,
        )  # fmt: skip
        x = layers.add(
            "BatchNormalization", numbered("batch_normalization"), [x],
            {"beta": n, "moving_mean": n, "moving_variance": n}, axis=[3], epsilon=0.001, center=True, scale=False,
        )  # fmt: skip
        return layers.add("Activation", numbered("activation"), [x], activation="relu")

    def window(step: Pool, x: str) -> str:
        kind = pool if step.kind == "last" else step.kind
        name, base = ("AveragePooling2D", "average_pooling2d") if kind == "avg" else ("MaxPooling2D", "max_pooling2d")
        sizes = {"pool_size": [3, 3], "strides": [step.stride] * 2, "padding": step.padding.lower()}
        return layers.add(name, numbered(base), [x], data_format="channels_last", **sizes)

    def join(step: Block, parts: Sequence[str]) -> str:
        if len(parts) == 6:  # 1x3 and 3x1 side by side are concatenated first
            a, b, c, d, e, f = parts
            parts = [
                a,
                *(layers.add("Concatenate", numbered("concatenate"), pair, axis=3) for pair in ([b, c], [d, e])),
                f,
            ]
        return layers.add("Concatenate", f"mixed{int(step.path.partition('_')[2] or 0)}", parts, axis=3)

    return connect(start, conv, window, join, network)


def model(
    head: Callable[[Layers, str], str],
    front: Callable[[Layers, str], str] = lambda net, x: x,
    *,
    nested: bool = False,
    network: Sequence[Step] = NETWORK,
    shape: Sequence[int | None] = (None, 150, 150, 3),
    first: int = 0,
) -> tuple[Layers, str]:
    """Image, front, Inception v3, head; the name of the output."""
    net = Layers()
    x = front(net, net.add("InputLayer", "input_1", [], batch_shape=list(shape)))
    if nested:
        base = Layers("inception_v3")
        end = inception(base, base.add("InputLayer", "input_2", [], batch_shape=list(shape)), network, first)
        x = net.nest(base, end, "inception_v3", x)
    else:
        x = inception(net, x, network, first)
    return net, head(net, x)


@pytest.fixture(scope="session")
def keras_models() -> SimpleNamespace:
    """Writers of Keras models with Inception v3 in them."""
    return SimpleNamespace(Layers=Layers, inception=inception, model=model, arrays_file=arrays_file)
