"""Vision Transformer (arXiv 2010.11929) and DeiT (arXiv 2012.12877), with torchvision's or timm's names.

The patch size is that of the first convolution, the image size follows from the position embedding. How many heads share
the width no array says: it is known for the widths that are published.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isqrt

from ... import ops
from ...builder import Tensor
from .arrays import EXPORT
from .net import ACTIVATIONS, Net

__all__ = ["build_vit_timm", "build_vit_torchvision"]

#: Width -> heads: Ti, S, M, B, L, H.
_HEADS = {192: 3, 384: 6, 512: 8, 768: 12, 1024: 16, 1280: 16}


@dataclass(frozen=True, slots=True)
class _Names:
    """The names of one block's arrays, after its own."""

    norm1: str
    qkv: str
    qkv_dot: str
    proj: str
    norm2: str
    fc1: str
    fc2: str


_TIMM = _Names("norm1", "attn.qkv", ".", "attn.proj", "norm2", "mlp.fc1", "mlp.fc2")
_TORCHVISION = _Names("ln_1", "self_attention.in_proj", "_", "self_attention.out_proj", "ln_2", "mlp.0", "mlp.3")
_TORCHVISION_OLD = _Names(
    "ln_1", "self_attention.in_proj", "_", "self_attention.out_proj", "ln_2", "mlp.linear_1", "mlp.linear_2"
)


def build_vit_torchvision(net: Net) -> Tensor:
    """torchvision's names; the image size is that of the position embedding."""
    x, width, count = _patches(net, "conv_proj", "encoder.pos_embedding", classes=True)
    x = _with_class(net, x, "class_token", width)
    x = ops.add(x, net.parameter("encoder.pos_embedding", (1, count + 1, width)))
    for block in range(net.arrays.count("encoder.layers.encoder_layer_")):
        name = f"encoder.layers.encoder_layer_{block}"
        old = f"{name}.mlp.linear_1.weight" in net
        x = _block(net, x, name, _TORCHVISION_OLD if old else _TORCHVISION, (count + 1, width))
    x = net.layer_norm(x, "encoder.ln")[:, 0]
    if "heads.pre_logits.weight" in net:
        x = ACTIVATIONS["tanh"](net.linear(x, "heads.pre_logits"))
    return net.linear(x, "heads.head")


def build_vit_timm(net: Net) -> Tensor:
    """timm's names, also DeiT with its second head and DeiT III."""
    has_class = "cls_token" in net
    x, width, count = _patches(net, "patch_embed.proj", "pos_embed", classes=has_class)
    distilled = "dist_token" in net
    if not distilled and "blocks.0.ls1.gamma" not in net:  # DeiT takes ImageNet's mean, the others pixels from -1 to 1
        net.images |= {"mean": (0.5,) * 3, "std": (0.5,) * 3}
    tokens = count + has_class + distilled
    positions = net.arrays.shape("pos_embed", 3)[1]
    if positions == count:  # DeiT III: the positions are those of the patches alone
        x = ops.add(x, net.parameter("pos_embed", (1, count, width)))
    if distilled:
        x = _with_class(net, x, "dist_token", width)
    if has_class:
        x = _with_class(net, x, "cls_token", width)
    if positions != count:
        x = ops.add(x, net.parameter("pos_embed", (1, tokens, width)))
    for block in range(net.arrays.count("blocks.")):
        x = _block(net, x, f"blocks.{block}", _TIMM, (tokens, width))
    if distilled:
        x = net.layer_norm(x, "norm")
        heads = (net.linear(x[:, 0], "head"), net.linear(x[:, 1], "head_dist"))
        return ops.multiply(ops.add(*heads), 0.5)
    if "fc_norm.weight" in net:  # the mean of the patches, then the norm
        patches = x[:, 1:] if has_class else x
        return net.linear(net.layer_norm(ops.reduce_mean(patches, [1]), "fc_norm"), "head")
    if not has_class:
        raise net.arrays.error(
            "the head", "no 'cls_token' and no 'fc_norm'", "one of them: else the pooling is unknown"
        )
    return net.linear(net.layer_norm(x, "norm")[:, 0], "head")


def _patches(net: Net, proj: str, positions: str, *, classes: bool) -> tuple[Tensor, int, int]:
    """The patches of the image (batch, count, width), the width, the count."""
    width, _, patch, across = net.arrays.shape(f"{proj}.weight", 4)
    length = net.arrays.shape(positions, 3)[1]
    extra = (0, 1, 2) if classes else (0,)
    side = next((isqrt(length - n) for n in extra if length > n and isqrt(length - n) ** 2 == length - n), 0)
    if not side or patch != across:
        found = f"{length} positions of patches of {patch}x{across}"
        raise net.arrays.error(f"array '{positions}'", found, "a square of square patches")
    net.images = {"size": side * patch, "resize": side * patch * 256 // 224}
    x = net.conv(net.input(f"{proj}.weight", side * patch), proj, patch, 0)
    return ops.reshape(x, [-1, side * side, width]), width, side * side


def _with_class(net: Net, x: Tensor, name: str, width: int) -> Tensor:
    token = net.parameter(name, (1, 1, width))
    sizes = ops.stack([ops.shape(x)[0], 1, width])
    return ops.concat([ops.broadcast_to(token, sizes), x], 1)


def _block(net: Net, x: Tensor, name: str, names: _Names, size: tuple[int, int]) -> Tensor:
    y = _attention(net, net.layer_norm(x, f"{name}.{names.norm1}"), name, names, size)
    x = ops.add(x, _scaled(net, y, f"{name}.ls1.gamma"))
    y = net.linear(net.layer_norm(x, f"{name}.{names.norm2}"), f"{name}.{names.fc1}")
    y = net.linear(ACTIVATIONS["gelu"](y), f"{name}.{names.fc2}")
    return ops.add(x, _scaled(net, y, f"{name}.ls2.gamma"))


def _scaled(net: Net, x: Tensor, name: str) -> Tensor:
    return ops.multiply(x, net.vector(name, net.channels(x))) if "blocks.0.ls1.gamma" in net else x


def _attention(net: Net, x: Tensor, name: str, names: _Names, size: tuple[int, int]) -> Tensor:
    count, width = size
    heads = _heads(net, width)
    qkv = _qkv(net, x, f"{name}.{names.qkv}{names.qkv_dot}", width)
    parts = ops.transpose(ops.reshape(qkv, [-1, count, 3, heads, width // heads]), [2, 0, 3, 1, 4])
    q, k, v = (parts[i] for i in range(3))
    scores = ops.matmul(ops.multiply(q, (width // heads) ** -0.5), k, transpose_b=True)
    y = ops.transpose(ops.matmul(ops.softmax(scores), v), [0, 2, 1, 3])
    return net.linear(ops.reshape(y, [-1, count, width]), f"{name}.{names.proj}")


def _qkv(net: Net, x: Tensor, name: str, width: int) -> Tensor:
    kernel = net.constant(f"{name}weight", net.arrays.literal(f"{name}weight", (3 * width, width), (1, 0)))
    y = ops.matmul(ops.reshape(x, [-1, width]), kernel)
    # timm has networks without; the first block tells for all
    biased = "encoder.pos_embedding" in net or "blocks.0.attn.qkv.bias" in net
    return ops.bias_add(y, net.vector(f"{name}bias", 3 * width)) if biased else y


def _heads(net: Net, width: int) -> int:
    """How many heads share the width: as the user says, else as published."""
    if net.heads is None and (given := net.option("heads", "one number")) is not None:
        if len(given) != 1 or width % given[0]:
            raise net.arrays.error(f"heads={given}", f"a width of {width}", "one number that divides it")
        net.heads = given[0]
    if net.heads is not None:
        return net.heads
    if width not in _HEADS:
        known = ", ".join(f"{w} ({h} heads)" for w, h in _HEADS.items())
        raise net.arrays.error(
            net.arrays.network, f"width {width}, and no array says how many heads share it", f"one of {known}",
            f"Say it: ki.load(path, architecture='vit heads=N'), or --architecture 'vit heads=N'. {EXPORT}.",
        )  # fmt: skip
    return _HEADS[width]
