"""Weights whose network the user states: by name, with what no array tells, or as a function of layers."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import kigraph as ki
from kigraph.cli import main
from kigraph.graph.models.torch import ACTIVATIONS, Net
from tests.models.test_torch_networks import vit
from tests.models.torch_nets import Array, Arrays, Dict, Layers, distance

save_file = pytest.importorskip("safetensors.numpy", reason="needs safetensors (extra dev)").save_file

ACT: dict[str, Callable[[Array], Array]] = {
    "relu": lambda x: np.maximum(x, 0),
    "silu": lambda x: x / (1 + np.exp(-x)),
    "hardswish": lambda x: x * np.clip(x + 3, 0, 6) / 6,
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "hardsigmoid": lambda x: np.clip(x + 3, 0, 6) / 6,
}
#: (window, expanded width or 0, width, squeezed, fused) of the one block of each stage.
B0 = (
    (3, 0, 4, True),
    (3, 8, 4, True),
    (5, 8, 5, True),
    (3, 10, 6, True),
    (5, 12, 6, True),
    (5, 12, 7, True),
    (3, 14, 7, True),
)
LARGE = ((3, 0, 6, False), (3, 8, 6, False), (5, 8, 5, True), (3, 10, 5, False), (3, 10, 5, True), (5, 10, 6, True), (1, 0, 9, False))  # fmt: skip


def mobile(rows: Any, late: bool) -> Arrays:
    """A narrow network with timm's names."""
    d = Dict(3)
    d.conv("conv_stem", 6, 3, 3)
    d.norm("bn1", 6)
    width = 6
    for stage, (window, wide, out, squeezed) in enumerate(rows):
        name = f"blocks.{stage}.0"
        deep = wide or width
        if window == 1:
            d.conv(f"{name}.conv", out, width, 1)
            d.norm(f"{name}.bn1", out)
            width = out
            continue
        if wide:
            d.conv(f"{name}.conv_pw", wide, width, 1)
            d.norm(f"{name}.bn1", wide)
        d.conv(f"{name}.conv_dw", deep, 1, window)
        d.norm(f"{name}.bn{1 + bool(wide)}", deep)
        if squeezed:
            d.conv(f"{name}.se.conv_reduce", 2, deep, 1, True)
            d.conv(f"{name}.se.conv_expand", deep, 2, 1, True)
        d.conv(f"{name}.conv_pwl" if wide else f"{name}.conv_pw", out, deep, 1)
        d.norm(f"{name}.bn{2 + bool(wide)}", out)
        width = out
    d.conv("conv_head", 11, width, 1, late)
    if not late:
        d.norm("bn2", 11)
    d.linear("classifier", 5, 11)
    return d.arrays


def same(layers: Layers, x: Array, name: str, stride: int, groups: int, padded: bool) -> Array:
    """The convolution, padded on both sides alike, or as TensorFlow does: what is odd comes last."""
    window = layers.arrays[f"{name}.weight"].shape[2]
    if not padded:
        return layers.conv(x, name, stride, window // 2, groups)
    pads = [max((-(-n // stride) - 1) * stride + window - n, 0) for n in x.shape[2:]]
    return layers.conv(np.pad(x, ((0, 0), (0, 0), *((p // 2, p - p // 2) for p in pads))), name, stride, 0, groups)


def expected(arrays: Arrays, rows: Any, x: Array, padded: bool, late: bool) -> Array:
    layers = Layers(arrays, 1e-3 if padded else 1e-5)
    main_act, squeeze, gate = ("hardswish", "relu", "hardsigmoid") if late else ("silu", "silu", "sigmoid")
    y = ACT[main_act](layers.norm(same(layers, x, "conv_stem", 2, 1, padded), "bn1"))
    for stage, (window, wide, out, squeezed) in enumerate(rows):
        name, stride = f"blocks.{stage}.0", (1, 2, 2, 2, 1, 2, 1)[stage]
        act = ACT["relu" if late and stage < 3 else main_act]
        z = y
        if window == 1:
            y = act(layers.norm(layers.conv(y, f"{name}.conv"), f"{name}.bn1"))
            continue
        if wide:
            z = act(layers.norm(layers.conv(z, f"{name}.conv_pw"), f"{name}.bn1"))
        z = same(layers, z, f"{name}.conv_dw", stride, z.shape[1], padded)
        z = act(layers.norm(z, f"{name}.bn{1 + bool(wide)}"))
        if squeezed:
            s = ACT[squeeze](layers.conv(z.mean((2, 3), keepdims=True), f"{name}.se.conv_reduce"))
            z = z * ACT[gate](layers.conv(s, f"{name}.se.conv_expand"))
        z = layers.norm(layers.conv(z, f"{name}.conv_pwl" if wide else f"{name}.conv_pw"), f"{name}.bn{2 + bool(wide)}")
        y = z + y if stride == 1 and y.shape[1] == out else z
    if late:
        y = ACT[main_act](layers.conv(y.mean((2, 3), keepdims=True), "conv_head"))[:, :, 0, 0]
    else:
        y = ACT[main_act](layers.norm(layers.conv(y, "conv_head"), "bn2")).mean((2, 3))
    return layers.linear(y, "classifier")


def saved(folder: Path, arrays: Arrays) -> Path:
    path = folder / "w.safetensors"
    save_file({n: np.array(a, order="C") for n, a in arrays.items()}, path)
    return path


def computed(path: Path, x: Array, architecture: Any) -> Array:
    model = ki.load(path, backend="cython", architecture=architecture)
    return np.asarray(model.session.run("output", {"input": np.ascontiguousarray(x.transpose(0, 2, 3, 1))}))


@pytest.mark.parametrize("size", [(37, 42), (64, 33)])
@pytest.mark.parametrize(
    ("name", "rows", "late"),
    [("efficientnet_b0", B0, False), ("mobilenetv3_large_100", LARGE, True)],
)
@pytest.mark.parametrize("padded", [False, True])
def test_timm_names_say_how_it_pads(
    name: str, rows: Any, late: bool, padded: bool, size: tuple[int, int], tmp_path: Path
) -> None:
    arrays = mobile(rows, late)
    x = np.random.default_rng().normal(0, 1, (2, 3, *size)).astype(np.float32)
    stated = f"timm/{'tf_' * padded}{name}"
    want = expected(arrays, rows, x, padded, late)
    assert distance(computed(saved(tmp_path, arrays), x, stated), want) < 1e-5
    other = expected(arrays, rows, x, not padded, late)
    assert distance(other, want) > 1e-4


def test_a_config_beside_the_file_says_the_name(tmp_path: Path) -> None:
    arrays = mobile(B0, False)
    path = saved(tmp_path, arrays)
    with pytest.raises(ki.LoadError, match=r"several networks.*architecture='timm/tf_efficientnet_b0'"):
        ki.load(path)
    config = {"architecture": "tf_efficientnet_b0", "num_classes": 5, "pretrained_cfg": {"mean": [0.5] * 3, "std": [0.5] * 3, "input_size": [3, 64, 64], "crop_pct": 0.9}}  # fmt: skip
    (tmp_path / "config.json").write_text(json.dumps(config))
    x = np.random.default_rng().normal(0, 1, (1, 3, 50, 50)).astype(np.float32)
    assert distance(computed(path, x, None), expected(arrays, B0, x, True, False)) < 1e-5
    card = ki.load(path).card
    assert card is not None
    assert card.preprocessing.size == (64, 64)


@pytest.mark.parametrize(
    ("stated", "said"),
    [
        ("timm/mixnet_s", "those of 'mixnet_s'"),
        ("timm/efficientnet_b0_gn", "the network 'efficientnet_b0_gn'"),
        ("tf_mobilenetv3_small_100", "7 stages of blocks; expected 6"),
        ("resnet50", "found those of EfficientNet, MobileNet or MNASNet of timm"),
        ("inception_v3", "those of another network"),
        ("efficientnet_b0 heads=3", "found heads=; expected options of"),
    ],
)
def test_a_wrong_name_is_refused(stated: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(ki.LoadError, match=said):
        ki.load(saved(tmp_path, mobile(B0, False)), architecture=stated)


@pytest.mark.parametrize("stated", ["", "heads=2", "vit heads", "vit heads=", "vit heads=x", "vit heads=0", "vit heads=3,3",
                                    "vit heads=5", "vit heads=2 heads=4", "vit strides=1", "vit_base_patch16_clip_quickgelu_224"])  # fmt: skip
def test_wrong_options_are_refused(stated: str, tmp_path: Path) -> None:
    with pytest.raises(ki.LoadError):
        ki.load(saved(tmp_path, vit("timm")), architecture=stated)


def test_a_file_with_its_network_takes_no_name(tmp_path: Path) -> None:
    with ki.Graph().as_default() as graph:
        ki.identity(ki.placeholder(ki.float32, [None, 3], name="x"), name="y")
    ki.save_graph(graph, tmp_path / "m.pb")
    with pytest.raises(ki.LoadError, match="it has its network in it"):
        ki.load(tmp_path / "m.pb", architecture="resnet50")


def small(net: Net) -> ki.Tensor:
    net.images = {"size": 20}
    x = net.conv_norm(net.input("a.weight"), "a", "n", "relu", 2)
    return net.linear(ACTIVATIONS["hardswish"](net.mean(x)), "head")


def test_a_function_of_layers(tmp_path: Path) -> None:
    d = Dict(5)
    d.conv("a", 4, 3, 3)
    d.norm("n", 4)
    d.linear("head", 3, 4)
    layers, x = Layers(d.arrays), d.image(2, 3, 20, 20)
    want = layers.linear(
        ACT["hardswish"](ACT["relu"](layers.norm(layers.conv(x, "a", 2, 1), "n")).mean((2, 3))), "head"
    )
    path = saved(tmp_path, d.arrays)
    with pytest.raises(ki.LoadError, match=r"architecture=function"):
        ki.load(path)
    assert distance(computed(path, x, small), want) < 1e-5
    report = ki.convert(path, tmp_path / "m.onnx", architecture=small)
    assert report.ok
    d.linear("more", 1, 1)
    with pytest.raises(ki.LoadError, match=r"no layer of the network takes: 'more.bias'"):
        ki.load(saved(tmp_path, d.arrays), architecture=small)


def test_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = str(saved(tmp_path, mobile(B0, False)))
    assert main(["inspect", path]) == 0
    assert "architecture=" in capsys.readouterr().out
    assert main(["inspect", path, "--architecture", "timm/tf_efficientnet_b0"]) == 0
    assert "problem" not in capsys.readouterr().out
    assert main(["convert", path, "-o", str(tmp_path / "m.onnx"), "--architecture", "timm/tf_efficientnet_b0"]) == 0
    assert main(["convert", path, "-o", str(tmp_path / "n.onnx"), "--architecture", "timm/vgg16"]) == 2


@pytest.mark.parametrize(("name", "stated"), [("mobilenetv2", "mobilenet_v2 strides=1,2,1,2"), ("vit", "vit heads=2")])
@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
def test_files_of_the_collection(name: str, stated: str, suffix: str, shared: Path) -> None:
    index = {e["file"]: e for e in json.loads((shared / "files" / "index.json").read_text())}
    entry = index[f"torch/{name}.{suffix}"]
    values = np.load(shared / "files" / entry["golden"])
    x = values[f"input:{entry['inputs'][0]['name']}"]
    want = next(values[key] for key in values if key.startswith("output:"))
    assert distance(computed(shared / "files" / entry["file"], x, stated), want) < 1e-5
