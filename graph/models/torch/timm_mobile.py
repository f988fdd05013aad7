"""EfficientNet v1 and v2, MobileNet v2 and v3, MNASNet and their relatives with timm's names.

A file of these does not say which one it is: those that TensorFlow trained ('tf_...') pad on other sides and have another
epsilon, and the activation is in no array. So they are built by name only. Sizes, windows, and which blocks squeeze come from
the arrays.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from ... import ops
from ...builder import Tensor
from .net import ACTIVATIONS, Net

__all__ = ["MOBILE_NAMES", "build_timm_mobile"]


@dataclass(frozen=True, slots=True)
class _Rule:
    """What no array says. strides: of the first block of each stage; plain: stages, from the first, with ReLU instead of ``act``.

    late: the last convolution follows the pool (MobileNet v3). bare: the first stage adds nothing to what it gets.
    """

    strides: tuple[int, ...]
    act: str = "silu"
    squeeze: str = "silu"
    gate: str = "sigmoid"
    plain: int = 0
    late: bool = False
    bare: bool = False


_SEVEN = (1, 2, 2, 2, 1, 2, 1)
_V3 = _Rule(_SEVEN, "hardswish", "relu", "hardsigmoid", 3, late=True)
_RELU = _Rule(_SEVEN, "relu", "relu")
#: Names, without 'tf_' -> rule.
_RULES: tuple[tuple[str, _Rule], ...] = (
    (r"efficientnet_b[0-8]|tinynet_[a-e]", _Rule(_SEVEN)),
    (r"efficientnet_lite[0-4]", _Rule(_SEVEN, "relu6")),
    (r"efficientnet_(es|em|el)", _Rule((1, 2, 2, 2, 1, 2), "relu", bare=True)),
    (r"efficientnetv2_(s|b[0-3]|rw_[stm])", _Rule((1, 2, 2, 2, 1, 2))),
    (r"efficientnetv2_(m|l|xl)", _Rule(_SEVEN)),
    (r"mobilenetv2_(035|050|075|100|110d|120d|140)", _Rule(_SEVEN, "relu6")),
    (r"mobilenetv3_large_(075|100)", _V3),
    (r"mobilenetv3_small_(050|075|100)", replace(_V3, strides=(2, 2, 2, 1, 2, 1), plain=2)),
    (r"mobilenetv3_large_minimal_100", replace(_V3, act="relu")),
    (r"mobilenetv3_small_minimal_100", replace(_V3, strides=(2, 2, 2, 1, 2, 1), act="relu")),
    (r"(semnasnet|mnasnet)_(050|075|100|140)|spnasnet_100|fbnetc_100", _RELU),
)  # fmt: skip
#: For messages.
MOBILE_NAMES = (
    "efficientnet_b0 to b8, efficientnet_lite0 to lite4, efficientnet_es, em, el, efficientnetv2_s, m, l, xl, tinynet_a to e, mobilenetv2_100, "
    "mobilenetv3_large_100, mobilenetv3_small_100, mnasnet_100, semnasnet_100, spnasnet_100, fbnetc_100, of other widths, too, and those "
    "that pad as TensorFlow does: tf_efficientnet_b0, tf_efficientnetv2_b0, tf_mobilenetv3_large_100, ..."
)
#: Size of the images that the weights were trained for, where it is not 224; of timm's releases.
_SIZES = {
    "efficientnet_b1": 240, "efficientnet_b2": 256, "efficientnet_b3": 288, "efficientnet_b4": 320, "efficientnet_b5": 448,
    "efficientnet_b6": 528, "efficientnet_b7": 600, "efficientnet_b8": 672, "efficientnet_em": 240, "efficientnet_el": 300,
    "efficientnet_lite1": 240, "efficientnet_lite2": 260, "efficientnet_lite3": 300, "efficientnet_lite4": 380,
    "efficientnetv2_s": 288, "efficientnetv2_m": 320, "efficientnetv2_l": 384, "efficientnetv2_xl": 384,
    "efficientnetv2_rw_s": 288, "efficientnetv2_rw_m": 320, "tf_efficientnet_b2": 260, "tf_efficientnet_b3": 300,
    "tf_efficientnet_b4": 380, "tf_efficientnet_b5": 456, "tf_efficientnetv2_b0": 192, "tf_efficientnetv2_b1": 192,
    "tf_efficientnetv2_b2": 208, "tf_efficientnetv2_b3": 240, "tf_efficientnetv2_s": 300, "tf_efficientnetv2_m": 384,
    "tinynet_a": 192, "tinynet_b": 188, "tinynet_c": 184, "tinynet_d": 152, "tinynet_e": 106,
}  # fmt: skip
#: Releases whose pixels are from -1 to 1; the others have ImageNet's mean and deviation.
_HALF = re.compile(r"tf_(mobilenetv3_.*|efficientnet_(lite.|es|em|el|b8)|efficientnetv2_(b3|s|m|l|xl))")


def build_timm_mobile(net: Net) -> Tensor:
    """Images of any size to logits; LoadError where ``net.says`` is no name that is known."""
    name = net.says
    padded = name.startswith("tf_")
    bare = name.removeprefix("tf_")
    rule = next((r for pattern, r in _RULES if re.fullmatch(pattern, bare)), None)
    if rule is None:
        found = (
            f"the network '{name[:60]}'"
            if name
            else "arrays that several networks have, which pad or round differently"
        )
        raise net.arrays.error(
            net.arrays.network, found, f"its name: {MOBILE_NAMES}",
            "Say which one: ki.load(path, architecture='timm/tf_efficientnet_b0'), --architecture on the command line, or timm's "
            "config.json beside the file.",
        )  # fmt: skip
    net.eps, net.same = (1e-3 if padded else 1e-5), padded
    size = _SIZES.get(name, _SIZES.get(bare, 224))
    net.images = {"size": size, "resize": round(size / 0.875), "interpolation": "bicubic"}
    if _HALF.fullmatch(name):
        net.images |= {"mean": (0.5,) * 3, "std": (0.5,) * 3}
    stages = net.arrays.count("blocks.")
    if stages != len(rule.strides):
        raise net.arrays.error(name, f"{stages} stages of blocks", f"{len(rule.strides)}")
    x = net.conv_norm(net.input("conv_stem.weight"), "conv_stem", "bn1", rule.act, 2)
    for stage, first in enumerate(rule.strides):
        act = "relu" if stage < rule.plain else rule.act
        for block in range(max(net.arrays.count(f"blocks.{stage}."), 1)):
            y = _block(net, x, f"blocks.{stage}.{block}", first if block == 0 else 1, act, rule)
            same = (block > 0 or first == 1) and net.channels(x) == net.channels(y)
            x = ops.add(y, x) if same and not (rule.bare and stage == 0) else y
    if rule.late:
        x = ACTIVATIONS[rule.act](net.linear(net.mean(x), "conv_head"))
    else:
        x = net.mean(net.conv_norm(x, "conv_head", "bn2", rule.act))
    return net.linear(x, "classifier")


def _block(net: Net, x: Tensor, name: str, stride: int, act: str, rule: _Rule) -> Tensor:
    """One block, of the kind that its arrays are of: expanded, fused (v2), depthwise first, or one convolution."""
    if f"{name}.conv_dw.weight" in net:
        expanded = f"{name}.conv_pwl.weight" in net
        y = net.conv_norm(x, f"{name}.conv_pw", f"{name}.bn1", act) if expanded else x
        y = net.conv_norm(y, f"{name}.conv_dw", f"{name}.bn{1 + expanded}", act, stride, grouped=True)
        y = _squeezed(net, y, name, rule)
        last = "conv_pwl" if expanded else "conv_pw"
        y = net.conv_norm(y, f"{name}.{last}", f"{name}.bn{2 + expanded}", "none")
    elif f"{name}.conv_exp.weight" in net:
        y = net.conv_norm(x, f"{name}.conv_exp", f"{name}.bn1", act, stride)
        y = _squeezed(net, y, name, rule)
        y = net.conv_norm(y, f"{name}.conv_pwl", f"{name}.bn2", "none")
    else:
        y = net.conv_norm(x, f"{name}.conv", f"{name}.bn1", act, stride)
    return y


def _squeezed(net: Net, y: Tensor, name: str, rule: _Rule) -> Tensor:
    if f"{name}.se.conv_reduce.weight" not in net:
        return y
    return net.squeeze(y, f"{name}.se.conv_reduce", f"{name}.se.conv_expand", rule.squeeze, rule.gate)
