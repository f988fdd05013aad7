"""Networks that are built from state dicts of torchvision and timm, against the same layers in NumPy, float64."""

from __future__ import annotations

import numpy as np
import pytest

from kigraph.graph.models import graph_of_weights
from tests.models.torch_nets import Array, Arrays, Dict, Layers, adaptive_mean, distance, file_of, max_pool, run


def relu(x: Array) -> Array:
    return np.maximum(x, 0)


def resnet(bottleneck: bool, groups: int = 1, classes: int = 7, channels: int = 3) -> Arrays:
    d, width, taken = Dict(), 8, 8
    d.conv("conv1", width, channels, 7)
    d.norm("bn1", width)
    for stage in range(1, 5):
        for block in range(2 if stage == 2 else 1):
            name, inner, out = f"layer{stage}.{block}", 4 * stage, 8 * stage
            sizes = [(inner, taken, 1), (inner, inner // groups, 3), (out, inner, 1)] if bottleneck else [
                (out, taken, 3), (out, out, 3)]  # fmt: skip
            for i, size in enumerate(sizes, 1):
                d.conv(f"{name}.conv{i}", *size)
                d.norm(f"{name}.bn{i}", size[0])
            if block == 0 and (stage > 1 or bottleneck):
                d.conv(f"{name}.downsample.0", out, taken, 1)
                d.norm(f"{name}.downsample.1", out)
            taken = out
    d.linear("fc", classes, taken)
    return d.arrays


def resnet_reference(arrays: Arrays, x: Array, bottleneck: bool, groups: int = 1) -> Array:
    n = Layers(arrays)
    x = max_pool(relu(n.norm(n.conv(x, "conv1", 2, 3), "bn1")), 3, 2, 1)
    for stage in range(1, 5):
        for block in range(2 if stage == 2 else 1):
            name, stride = f"layer{stage}.{block}", 2 if stage > 1 and block == 0 else 1
            if bottleneck:
                y = relu(n.norm(n.conv(x, f"{name}.conv1"), f"{name}.bn1"))
                y = relu(n.norm(n.conv(y, f"{name}.conv2", stride, 1, groups), f"{name}.bn2"))
                y = n.norm(n.conv(y, f"{name}.conv3"), f"{name}.bn3")
            else:
                y = relu(n.norm(n.conv(x, f"{name}.conv1", stride, 1), f"{name}.bn1"))
                y = n.norm(n.conv(y, f"{name}.conv2", 1, 1), f"{name}.bn2")
            if f"{name}.downsample.0.weight" in arrays:
                x = n.norm(n.conv(x, f"{name}.downsample.0", stride), f"{name}.downsample.1")
            x = relu(x + y)
    return n.linear(x.mean((2, 3)), "fc")


@pytest.mark.parametrize(("bottleneck", "groups"), [(False, 1), (True, 1), (True, 2)])
@pytest.mark.parametrize("size", [(33, 47), (64, 64)])
def test_resnet_of_any_image_size(bottleneck: bool, groups: int, size: tuple[int, int]) -> None:
    arrays = resnet(bottleneck, groups)
    x = Dict(1).image(3, 3, *size)
    assert distance(run(arrays, x), resnet_reference(arrays, x, bottleneck, groups)) < 1e-6


def test_resnet_of_grey_images() -> None:
    arrays = resnet(False, channels=1)
    x = Dict(1).image(1, 1, 40, 40)
    assert distance(run(arrays, x), resnet_reference(arrays, x, False)) < 1e-6


@pytest.mark.parametrize(("dtype", "bound"), [(np.float16, 1e-6), (np.float64, 1e-6)])
def test_weights_of_another_element_type(dtype: type, bound: float) -> None:
    arrays = {n: a.astype(dtype) if a.dtype.kind == "f" else a for n, a in resnet(False).items()}
    x = Dict(1).image(1, 3, 40, 40)
    assert distance(run(arrays, x), resnet_reference(arrays, x, False)) < bound


@pytest.mark.parametrize("prefix", ["module.", "model.", "_orig_mod.module.", "model._orig_mod."])
def test_prefixes_of_all_names_are_no_part_of_them(prefix: str) -> None:
    arrays = resnet(False)
    x = Dict(1).image(1, 3, 40, 40)
    assert np.array_equal(run({prefix + n: a for n, a in arrays.items()}, x), run(arrays, x))


def vgg(normed: bool, side: int) -> Arrays:
    d, at, taken = Dict(), 0, 3
    for width, pooled in ((6, True), (8, False), (10, True)):
        d.conv(f"features.{at}", width, taken, 3, bias=True)
        if normed:
            d.norm(f"features.{at + 1}", width)
        at, taken = at + 2 + normed + pooled, width
    d.linear("classifier.0", 12, taken * side * side)
    d.linear("classifier.3", 11, 12)
    d.linear("classifier.6", 5, 11)
    return d.arrays


@pytest.mark.parametrize("normed", [False, True])
@pytest.mark.parametrize(("side", "size"), [(1, (8, 8)), (2, (8, 8)), (3, (29, 18)), (7, (9, 40))])
def test_vgg_pools_to_the_square_that_its_classifier_takes(normed: bool, side: int, size: tuple[int, int]) -> None:
    """Also to more rows than there are."""
    arrays = vgg(normed, side)
    x = Dict(1).image(2, 3, *size)
    n, at, y = Layers(arrays), 0, x.astype(np.float64)
    for pooled in (True, False, True):
        y = n.conv(y, f"features.{at}", 1, 1)
        y = relu(n.norm(y, f"features.{at + 1}") if normed else y)
        y = max_pool(y, 2, 2) if pooled else y
        at += 2 + normed + pooled
    y = n.linear(adaptive_mean(y, side).reshape(2, -1), "classifier.0")
    want = n.linear(relu(n.linear(relu(y), "classifier.3")), "classifier.6")
    assert distance(run(arrays, x), want) < 1e-6


def vit(names: str, width: int = 192) -> Arrays:
    d = Dict()
    timm = names == "timm"
    d.conv("patch_embed.proj" if timm else "conv_proj", width, 3, 4, bias=True)
    d.add("pos_embed" if timm else "encoder.pos_embedding", 1, 10, width)
    d.add("cls_token" if timm else "class_token", 1, 1, width)
    for block in range(2):
        name = f"blocks.{block}" if timm else f"encoder.layers.encoder_layer_{block}"
        for norm in ("norm1", "norm2") if timm else ("ln_1", "ln_2"):
            d.layer_norm(f"{name}.{norm}", width)
        qkv = f"{name}.attn.qkv." if timm else f"{name}.self_attention.in_proj_"
        d.add(f"{qkv}weight", 3 * width, width)
        d.add(f"{qkv}bias", 3 * width)
        d.linear(f"{name}.attn.proj" if timm else f"{name}.self_attention.out_proj", width, width)
        d.linear(f"{name}.mlp.fc1" if timm else f"{name}.mlp.0", 20, width)
        d.linear(f"{name}.mlp.fc2" if timm else f"{name}.mlp.3", width, 20)
    d.layer_norm("norm" if timm else "encoder.ln", width)
    d.linear("head" if timm else "heads.head", 5, width)
    return d.arrays


def vit_reference(arrays: Arrays, x: Array, heads: int) -> Array:
    """timm's names."""
    from math import erf

    n = Layers(arrays)
    y = n.conv(x, "patch_embed.proj", 4)
    batch, width = y.shape[:2]
    y = y.reshape(batch, width, -1).transpose(0, 2, 1)
    y = np.concatenate([np.repeat(n.arrays["cls_token"], batch, 0), y], 1) + n.arrays["pos_embed"]
    for block in range(2):
        name = f"blocks.{block}"
        qkv = n.linear(n.layer_norm(y, f"{name}.norm1"), f"{name}.attn.qkv")
        q, k, v = qkv.reshape(batch, -1, 3, heads, width // heads).transpose(2, 0, 3, 1, 4)
        scores = np.exp(q @ k.swapaxes(-1, -2) / np.sqrt(width // heads))
        z = (scores / scores.sum(-1, keepdims=True)) @ v
        y = y + n.linear(z.transpose(0, 2, 1, 3).reshape(batch, -1, width), f"{name}.attn.proj")
        z = n.linear(n.layer_norm(y, f"{name}.norm2"), f"{name}.mlp.fc1")
        y = y + n.linear(z * 0.5 * (1 + np.vectorize(erf)(z / np.sqrt(2))), f"{name}.mlp.fc2")
    return n.linear(n.layer_norm(y, "norm")[:, 0], "head")


def test_vision_transformers_of_both_namings_agree_with_the_reference() -> None:
    x = Dict(1).image(2, 3, 12, 12)
    want = vit_reference(vit("timm"), x, 3)
    assert distance(run(vit("timm"), x), want) < 1e-5
    # The arrays are made in the same order, so they are the same under other names.
    assert distance(run(vit("torchvision"), x), want) < 1e-5


def test_a_graph_says_how_it_is_called_and_what_its_images_are() -> None:
    graph = graph_of_weights(file_of(resnet(False)))
    assert graph.tensor("input").shape == (None, None, None, 3)
    assert graph.tensor("output").shape == (None, 7)
    assert dict(graph.signatures["serving_default"].inputs) == {"input": "input:0"}
    assert (graph.metadata["family"], graph.metadata["model"]) == ("torch", "ResNet")
    assert graph.metadata["images"]["mean"] == (0.485, 0.456, 0.406)
    assert graph_of_weights(file_of(vit("timm"))).tensor("input").shape == (None, 12, 12, 3)
