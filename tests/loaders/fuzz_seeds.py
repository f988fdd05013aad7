"""Small valid files of every family, for fuzz_all: family -> files. No library but NumPy and Pillow is needed."""

from __future__ import annotations

import base64
import io
import json
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import conftest as files
import export_files
import graph_files
import numpy as np
import onnx_files
import test_hdf5
import tflite_files
from test_fuzz import graphdef

from tests.loaders import bundle_files, saved_files

__all__ = ["FAMILIES", "HERE", "PACKERS", "make"]

FAMILIES = (
    "graphdef", "card", "safetensors", "torch", "torch-pickle", "torch-legacy", "keras-h5", "onnx", "keras", "keras-config", "checkpoint", "checkpoint-npy",
    "checkpoint-json", "savedmodel", "tf-metagraph", "tf-checkpoint", "tf-checkpoint-entries", "labels", "image", "archive", "archive-tar", "tflite",
    "torch-export", "torch-export-json", "torch-export-weights", "cardfile", "body",
)  # fmt: skip
#: Those that can be opened here: requests need the service's packages.
HERE = tuple(f for f in FAMILIES if f != "body" or (find_spec("starlette") and find_spec("python_multipart")))
ARRAYS = {"a": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.arange(4, dtype=np.int64)}
#: The smallest VGG: one convolution, one linear layer.
VGG = {
    "features.0.weight": np.ones((1, 1, 3, 3), np.float32), "features.0.bias": np.ones(1, np.float32),
    "classifier.0.weight": np.ones((2, 1), np.float32), "classifier.0.bias": np.ones(2, np.float32),
}  # fmt: skip
CARD = {
    "kigraph_card": 1, "name": "n", "title": "t", "input": "x:0", "output": "y:0", "labels": "imagenet-2012", "classes": ["a", "b"],
    "preprocessing": {"size": [8, 8], "mean": [1.0, 2.0, 3.0], "std": [1, 2, 3], "rule": "half_pixel", "channels": "RGB", "crop": 0.9},
}  # fmt: skip
EXPORTED = export_files.seed()
STORED = {str(i): array.tobytes() for i, array in enumerate(ARRAYS.values())}


def make(folder: Path) -> dict[str, list[bytes]]:
    tensors, storages = files.state_dict(ARRAYS)
    strided = {
        "s": files.strided("0", "float32", 6, 1, (2, 2), (2, 1)),
        "e": files.strided("0", "float32", 6, 0, (0,), (1,)),
    }
    counted = {k: (a.size, d) for (k, d), a in zip(storages.items(), ARRAYS.values(), strict=True)}
    header = b'{"a":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},"b":{"dtype":"BF16","shape":[4],"data_offsets":[24,32]}}'
    meta = {"version": 1, "epoch": 1, "generator": {"bit_generator": "PCG64"}, "history": [{"epoch": 1, "loss": 0.5}]}
    return {
        "graphdef": [graphdef(folder), *graph_files.seeds(folder / "seed.pb")],
        "card": [_card(folder)],
        "safetensors": [len(header).to_bytes(8, "little") + header + bytes(32), _safetensors(VGG)],
        "torch": [
            files.torch_zip(tensors, storages),
            files.torch_zip(strided, {"0": STORED["0"]}),
            files.torch_zip(*files.state_dict(VGG)),
        ],
        "torch-pickle": [files.pickled(tensors), files.pickled(strided | {"state": 1})],
        "torch-legacy": [files.torch_legacy(tensors, counted)],
        "keras-h5": _keras(folder),
        "onnx": _onnx(),
        "keras": [_keras_zip(config) for config in KERAS_CONFIGS],
        "keras-config": list(KERAS_CONFIGS),
        "checkpoint": [_npz({"v/w": _npy(ARRAYS["a"])}, json.dumps(meta).encode())],
        "checkpoint-npy": [_npy(ARRAYS["a"]), _npy(np.asfortranarray(ARRAYS["a"])), _npy(np.float64(3))],
        "checkpoint-json": [json.dumps(meta).encode()],
        **_tensorflow(folder),
        "labels": [
            b"tench\ngoldfish\ngreat white shark\n",
            b'{"0": ["n01", "tench"], "1": ["n02", "goldfish"]}',
            b'["a", "b"]',
        ],
        "image": _images(),
        "archive": [_tar("w:gz")],
        "archive-tar": [_tar("w")],
        "tflite": tflite_seeds(),
        "torch-export": [export_files.archive(*EXPORTED)],
        "torch-export-json": [json.dumps(EXPORTED[0]).encode()],
        "torch-export-weights": [json.dumps(EXPORTED[1]).encode()],
        "body": _bodies(),
        "cardfile": [json.dumps(CARD).encode()],
    }


def _safetensors(arrays: dict[str, np.ndarray[Any, Any]]) -> bytes:
    entries, at = {}, 0
    for name, array in arrays.items():
        entries[name] = {"dtype": "F32", "shape": list(array.shape), "data_offsets": [at, at := at + array.nbytes]}
    header = json.dumps(entries).encode()
    return len(header).to_bytes(8, "little") + header + b"".join(a.tobytes() for a in arrays.values())


def _tensorflow(folder: Path) -> dict[str, list[bytes]]:
    """What they say of other files is beside the case: its data, and the variables of a SavedModel."""
    entries: dict[bytes, bytes] = {}
    arrays = {**ARRAYS, **saved_files.KEYS, **saved_files.RESOURCES, "s": np.array([b"x", b"yz"], object)}
    index = bundle_files.bundle(folder / "case", arrays, parts={"a": (1, 1)}, entries=entries)
    bundle_files.bundle(folder / "variables" / "variables", arrays)
    models = [saved_files.reference_model(folder / "v1"), saved_files.resource_model(folder / "v2")]
    graph = bundle_files.meta_graph(saved_files.reference(), restore="save/restore_all")
    return {
        "savedmodel": [(model / "saved_model.pb").read_bytes() for model in models],
        "tf-metagraph": [bundle_files.packed(graph)],
        "tf-checkpoint": [
            bundle_files.old_checkpoint(arrays, parts={"a": (1, 1)}),
            index.read_bytes(),
            bundle_files.bundle(folder / "case", arrays, snappy=True).read_bytes(),
        ],
        "tf-checkpoint-entries": [bundle_files.block(sorted(entries.items()))],
    }


#: Parts that a checksum or a compression protects are mutated first and packed then.
PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "torch-pickle": lambda data: files.torch_zip(data, STORED),
    "keras-config": lambda data: _keras_zip(data),
    "checkpoint-npy": lambda data: _npz({"v/w": data}, b'{"version": 1}'),
    "checkpoint-json": lambda data: _npz({"v/w": _npy(ARRAYS["a"])}, data),
    "tf-checkpoint-entries": lambda data: bundle_files.one_block(data),
    "archive-tar": lambda data: zlib.compress(data, wbits=31),
    "torch-export-json": lambda data: export_files.archive(data, *EXPORTED[1:]),
    "torch-export-weights": lambda data: export_files.archive(EXPORTED[0], data, EXPORTED[2]),
}


def tflite_seeds() -> list[bytes]:
    """One of reals and one of integers; the first has metadata with a file of labels."""
    floats, integers = tflite_files.Lite(), tflite_files.Lite()
    one = {1: ("i32", 1), 2: ("i32", 1)}
    x = floats.tensor("x:0", (1, 4, 4, 2), signature=(-1, 4, 4, 2))
    y, z = floats.tensor("y", (1, 4, 4, 3)), floats.tensor("z", (1, 48))
    s, e, f = floats.tensor("s", (1, 2)), floats.tensor("e", (2, 48)), floats.tensor("f", (1, 2))
    floats.op(
        "CONV_2D",
        [x, floats.constant("w", np.ones((3, 3, 3, 2), np.float32)), floats.constant("b", np.ones(3, np.float32))],
        [y],
        one,
    )
    floats.op("RESHAPE", [y, floats.constant("to", np.array([-1, 48], np.int32))], [z])
    floats.op("DEQUANTIZE", [floats.constant("h", np.ones((2, 48), np.float16))], [e])
    floats.op("FULLY_CONNECTED", [z, e, -1], [s], {0: ("i8", 1)})
    floats.op("Mystery", [s], [f])
    names = ("max_detections", "max_classes_per_detection", "num_classes")
    options: dict[str, float] = dict.fromkeys(names, 1)
    reals = ("nms_score_threshold", "nms_iou_threshold", "y_scale", "x_scale", "h_scale", "w_scale")
    options |= dict.fromkeys(reals, 0.5)
    boxes, scores = (
        floats.constant("boxes", np.ones((1, 3, 4), np.float32)),
        floats.constant("scores", np.ones((1, 3, 2), np.float32)),
    )
    found = [floats.tensor("found", (1, 1)) for _ in range(4)]
    anchors = floats.constant("anchors", np.ones((3, 4), np.float32))
    floats.op("TFLite_Detection_PostProcess", [boxes, scores, anchors], found, custom=tflite_files.flex(options))
    floats.signature({"image": x}, {"scores": f})
    floats.entry("TFLITE_METADATA", tflite_files.metadata((1.0,), (2.0,), "labels.txt"))
    buffer = io.BytesIO(floats.bytes([x], [f]))
    with zipfile.ZipFile(buffer, "a") as archive:
        archive.writestr("labels.txt", "a\nb\n")
    grid: dict[str, Any] = {"kind": "int8", "scale": 0.5, "zero": 3}
    x, y, z = (integers.tensor(n, (1, 4, 4, 2), **grid) for n in "xyz")
    w = integers.tensor("w", (1, 3, 3, 2), "int8", scale=[0.5, 0.25], axis=3, data=bytes(18))
    four = integers.tensor("four", (4, 2), "int4", scale=0.5, data=bytes(4))
    sparse = tflite_files.Table({0: tflite_files.ints((0,)), 2: [tflite_files.Table({
        0: ("i8", 1), 2: ("u8", 1), 3: tflite_files.Table({0: tflite_files.ints((0, 1))}), 4: ("u8", 3),
        5: tflite_files.Table({0: np.array([1], np.uint8)})})]})  # fmt: skip
    thin = integers.tensor("thin", (2,), data=bytes(4), more={6: sparse})
    integers.op("DEPTHWISE_CONV_2D", [x, w, integers.constant("b", np.arange(2, dtype=np.int32))], [y], one)
    integers.op("AVERAGE_POOL_2D", [y], [z], {**one, 3: ("i32", 2), 4: ("i32", 2)})
    v, m = integers.tensor("v", (4, 2)), integers.tensor("m", (4, 2))
    integers.op("MUL", [four, thin], [v])
    integers.op("SOFTMAX", [v], [m], {0: ("f32", 1.0)})
    return [buffer.getvalue(), integers.bytes([x], [z, m]), tflite_files.loop()]


def _bodies() -> list[bytes]:
    """Content-Type, a line end, and the body."""
    image = base64.b64encode(_images()[0])
    form = b'--x\r\nContent-Disposition: form-data; name="image"; filename="a.png"\r\nContent-Type: image/png\r\n\r\nabc\r\n--x--\r\n'
    return [
        b"multipart/form-data; boundary=x\n" + form,
        b'application/json\n{"image": "data:image/png;base64,' + image * 20 + b'", "filename": "a.png"}',
        b'application/json\n{"filename": "a", "image": "' + image.translate(bytes.maketrans(b"+/", b"-_")) + b'"}',
        b"image/png\nabc",
        b'application/json\n{"images": [{"b64": "' + image + b'", "filename": "a"}, "QUJD"]}',
        b'application/json\n{"signature_name": "s", "instances": ['
        + b"[1.5, -2e3], " * 500
        + b'[0, 1]], "x": [{"b64": "QUJD"}, "t"]}',
        *_inferences(),
    ]


def _inferences() -> list[bytes]:
    """Requests of the Open Inference Protocol: as text, and with binary tensors behind the JSON part."""
    text = b'{"id": "1", "inputs": [{"name": "x", "shape": [2], "datatype": "FP32", "data": [1, 2.5]}], "outputs": [{"name": "y"}]}'
    head = (
        b'{"inputs": [{"name": "x", "shape": [2], "datatype": "FP32", "parameters": {"binary_data_size": 8}}, '
        b'{"name": "s", "shape": [2], "datatype": "BYTES", "parameters": {"binary_data_size": 12}}]}'
    )
    binary = bytes(8) + b"\x03\0\0\0abc\x01\0\0\0d"
    return [b"application/json\n" + text, b"application/json; inference=%d\n" % len(head) + head + binary]


def _npy(array: object) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.asarray(array))
    return buffer.getvalue()


def _npz(members: dict[str, bytes], meta: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in {"kigraph.json": _npy(np.frombuffer(meta, np.uint8)), **members}.items():
            archive.writestr(f"{name}.npy", data)
    return buffer.getvalue()


def _card(folder: Path) -> bytes:
    from kigraph.graph.builder import Graph
    from kigraph.graph.ir import Literal
    from kigraph.graph.writers.graphdef import save_graphdef
    from kigraph.weights.embedded import CARD_NODE, card_text

    graph = Graph()
    attrs = {"dtype": np.dtype(np.float32), "shape": (None, 8, 8, 3)}
    image = graph.create_op("Placeholder", (), attrs, "input").outputs[0]
    text = np.empty((), object)
    text[()] = card_text(
        input="input:0",
        output="out:0",
        size=(8, 8),
        mean=0.0,
        std=1.0,
        rule="keras_bilinear",
        classes=["a", "b"],
        title="t",
    ).encode()
    graph.create_op("Const", (), {"value": Literal.of(text)}, CARD_NODE)
    graph.create_op("Softmax", [image], {}, "out")
    save_graphdef(graph, folder / "card.pb")
    return (folder / "card.pb").read_bytes()


def _keras(folder: Path) -> list[bytes]:
    """One that is written down, and with h5py all forms that are read."""
    seeds = [zlib.decompress(base64.b85decode(test_hdf5.SMALL))]
    try:
        import h5py
    except ImportError:
        return seeds
    for version, storage in (
        ("earliest", {"chunks": (2, 2, 2)}),
        ("v108", {"shuffle": True}),
        ("latest", {"fletcher32": True}),
    ):
        path = folder / "seed.h5"
        with h5py.File(path, "w", libver=version) as file:
            file.attrs["layer_names"] = [f"layer_{i}" for i in range(10)]
            file.attrs["model_config"] = '{"class_name": "Sequential"}'
            for i in range(10):  # enough for a tree of names, and for stored attributes
                group = file.create_group(f"layer_{i}")
                group.attrs["weight_names"] = [f"kernel_{i}"]
                group.create_dataset(f"kernel_{i}", data=np.arange(24, dtype=np.float32).reshape(2, 3, 4), **storage)
                file["layer_0"].attrs[f"more {i}"] = "x"
        seeds.append(path.read_bytes())
    return seeds


def _onnx() -> list[bytes]:
    """A convolution with a shape subgraph, quantised ops, functions that call each other, and graphs inside of nodes."""
    made, node = onnx_files.model, onnx_files.node
    image = {"x": ("float32", ("n", 1, 4, 4))}
    inner = onnx_files.function("local", "Twice", ["a"], ["b"], [node("Add", ["a", "a"], ["b"])])
    outer = onnx_files.function(
        "local", "Call", ["a"], ["b"], [node("Twice", ["a"], ["m"], "local"), node("Twice", ["m"], ["b"], "local")]
    )
    nodes, state = [node("Add", ["s", "s"], ["t"]), node("Identity", ["c"], ["on"])], ("i", "c", "s")
    step = onnx_files.graph(nodes, dict.fromkeys(state, (None, None)), ["on", "t"])
    branch = onnx_files.graph([node("Neg", ["x"], ["b"])], {}, ["b"])
    return [
        made(
            [
                node("Conv", ["x", "w"], ["c"], pads=[1, 1, 1, 1]), node("Shape", ["c"], ["s"]),
                node("Gather", ["s", "i"], ["b"], axis=0), node("Unsqueeze", ["b"], ["u"], axes=[0]),
                node("Concat", ["u", "m"], ["t"], axis=0), node("Reshape", ["c", "t"], ["y"]),
            ], image, ["y"],
            {"w": np.ones((1, 1, 3, 3), np.float32), "i": np.int64(0), "m": np.array([-1])}, opset=11,
        ),
        made(
            [node("QuantizeLinear", ["x", "k", "z"], ["q"]), node("DequantizeLinear", ["q", "k", "z"], ["y"])],
            image, ["y"], {"k": np.float32(0.5), "z": np.uint8(3)},
        ),
        made([node("Call", ["x"], ["y"], "local")], image, ["y"], functions=[inner, outer]),
        made(
            [
                node("Loop", ["k", "", "x"], ["l"], body=step), node("ReduceMax", ["l"], ["h"], keepdims=0),
                node("Greater", ["h", "z"], ["c"]), node("If", ["c"], ["y"], then_branch=branch, else_branch=branch),
                node("LSTM", ["s", "w", "w"], ["r"], hidden_size=1),
            ], {**image, "s": ("float32", (2, 1, 1))}, ["y", "r"],
            {"k": np.int64(2), "z": np.float32(0), "w": np.ones((1, 4, 1), np.float32)},
        ),
    ]  # fmt: skip


def _functional(*layers: tuple[str, str, dict[str, object], list[object]]) -> bytes:
    """A Keras 3 model of (class, name, config, arguments) without weights; names among the arguments are connections."""
    specs = []
    for kind, name, config, args in layers:
        tensors = [
            {"class_name": "__keras_tensor__", "config": {"keras_history": [a, 0, 0]}} if isinstance(a, str) else a
            for a in args
        ]
        nodes = [{"args": tensors, "kwargs": {}}] if args else []
        specs.append({"class_name": kind, "name": name, "config": {"name": name, **config}, "inbound_nodes": nodes})
    config = {"name": "m", "layers": specs, "input_layers": ["x", 0, 0], "output_layers": [layers[-1][1], 0, 0]}
    return json.dumps({"class_name": "Functional", "config": config}).encode()


_X: tuple[str, str, dict[str, object], list[object]] = ("InputLayer", "x", {"batch_shape": [None, 8, 8, 3]}, [])
KERAS_CONFIGS = (
    _functional(
        _X, ("Rescaling", "r", {"scale": 0.5, "offset": [1.0, 2.0, 3.0]}, ["x"]),
        ("MaxPooling2D", "p", {"pool_size": [2, 2], "strides": None, "padding": "same"}, ["r"]),
        ("ZeroPadding2D", "z", {"padding": [[1, 0], [0, 1]]}, ["p"]), ("Resizing", "s", {"height": 4, "width": 6}, ["z"]),
        ("Reshape", "h", {"target_shape": [4, -1]}, ["s"]), ("Softmax", "o", {"axis": [-1]}, ["h"]),
    ),
    _functional(
        _X, ("Flatten", "f", {}, ["x"]), ("Multiply", "m", {}, ["f", 2.0]), ("Normalization", "n", {"mean": [1.0], "variance": [2.0]}, ["m"]),
        ("Activation", "a", {"activation": {"class_name": "ReLU", "config": {"max_value": 6.0}}}, ["n"]), ("Dropout", "d", {"rate": 0.5}, ["a"]),
    ),
)  # fmt: skip


def _keras_zip(config: bytes) -> bytes:
    """The config with an HDF5 file that has no layers of Keras 3, as its models need no weights."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("metadata.json", '{"keras_version": "3.15.1"}')
        archive.writestr("config.json", config)
        archive.writestr("model.weights.h5", zlib.decompress(base64.b85decode(test_hdf5.SMALL)))
    return buffer.getvalue()


def _images() -> list[bytes]:
    from PIL import Image

    pixels = Image.fromarray(np.random.default_rng(0).integers(0, 255, (12, 16, 3), np.uint8))
    seeds = []
    for kind in ("PNG", "JPEG", "BMP", "GIF", "WEBP"):
        buffer = io.BytesIO()
        pixels.save(buffer, kind)
        seeds.append(buffer.getvalue())
    return seeds


def _tar(mode: str) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode, format=tarfile.PAX_FORMAT) as tar:  # type: ignore[call-overload]
        for name, data in (("é" * 60, b"x"), ("./weights.bin", b"weights" * 50)):
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()
