"""The networks that are built from state dicts of torchvision and timm, and by which arrays each is known."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

from ....kernels.errors import KigraphError
from ... import ops
from ...builder import Graph, Tensor
from ...errors import LoadError
from ...formats.limits import load_error
from ...loaders.weights import WeightsFile
from ...signatures import SERVING_DEFAULT, Signature
from .arrays import EXPORT, Arrays, bare_names
from .convnext import build_convnext
from .densenet import build_densenet
from .efficientnet import build_efficientnet
from .googlenet import build_googlenet
from .inception_v4 import build_inception_resnet_v2, build_inception_v4
from .mnasnet import build_mnasnet
from .mobilenet import build_mobilenet_v2, build_mobilenet_v3
from .net import IMAGENET, Net
from .regnet import build_regnet, build_regnet_timm
from .resnet import build_resnet
from .shufflenet import build_shufflenet
from .squeezenet import build_squeezenet
from .swin import build_swin
from .timm_mobile import build_timm_mobile
from .vgg import build_alexnet, build_vgg
from .vit import build_vit_timm, build_vit_torchvision

__all__ = ["NETWORKS", "OTHERS", "TITLES", "Architecture", "Network", "build_torch", "fits_torch", "is_ambiguous"]

#: Parts of names of networks that have a filter or an activation of their own, and the same arrays as others.
OTHERS = ("blur", "netaa", "nextaa", "quickgelu")
#: What a user says of weights: the network's name with options, or a function that builds it.
Architecture: TypeAlias = "str | Callable[[Net], Tensor]"


@dataclass(frozen=True, slots=True)
class Network:
    """known: the file has all of these arrays. names: whose names they are. eps, layer_eps: of the norms, in the family.

    said: how its names begin in torchvision and timm, without '_'; default: ``name`` without spaces.
    """

    name: str
    names: str
    known: tuple[str, ...]
    build: Callable[[Net], Tensor]
    eps: float = 1e-5
    layer_eps: float = 1e-6
    said: tuple[str, ...] = ()

    def called(self, name: str) -> bool:
        """Whether a network of that name is of this family."""
        plain = re.sub(r"[^a-z0-9]", "", name.lower())
        return plain.startswith(self.said or (re.sub(r"[^a-z0-9]", "", self.name.lower()),))


#: The first one that fits is built.
NETWORKS: tuple[Network, ...] = (
    Network(
        "ResNet",
        "torchvision or timm",
        ("layer1.0.conv1.weight", "fc.weight"),
        build_resnet,
        said=("resnet", "resnext", "wideresnet", "seresnet", "seresnext", "tvresnet", "gluonresne"),
    ),
    Network("DenseNet", "torchvision or timm", ("features.conv0.weight", "features.norm5.weight"), build_densenet),
    Network(
        "GoogLeNet", "torchvision", ("conv1.conv.weight", "inception3a.branch1.conv.weight"), build_googlenet, 1e-3
    ),
    Network("SqueezeNet", "torchvision", ("features.0.weight", "features.3.squeeze.weight"), build_squeezenet),
    Network("ShuffleNet v2", "torchvision", ("conv1.0.weight", "stage2.0.branch1.0.weight"), build_shufflenet),
    Network("MobileNet v2", "torchvision", ("features.0.0.weight", "features.1.conv.0.0.weight"), build_mobilenet_v2),
    Network(
        "MobileNet v3", "torchvision", ("features.0.0.weight", "features.1.block.0.0.weight"), build_mobilenet_v3, 1e-3
    ),
    Network("MNASNet", "torchvision", ("layers.0.weight", "layers.8.0.layers.0.weight"), build_mnasnet),
    Network(
        "EfficientNet", "torchvision", ("features.0.0.weight", "features.1.0.block.0.0.weight"), build_efficientnet
    ),
    Network("RegNet", "torchvision", ("stem.0.weight", "trunk_output.block1.block1-0.f.a.0.weight"), build_regnet),
    Network("RegNet", "timm", ("stem.conv.weight", "s1.b1.conv1.conv.weight"), build_regnet_timm),
    Network("ConvNeXt", "torchvision", ("features.0.0.weight", "features.1.0.layer_scale"), build_convnext),
    Network("ConvNeXt", "timm", ("stem.0.weight", "stages.0.blocks.0.conv_dw.weight"), build_convnext),
    Network("ConvNeXt", "its authors", ("downsample_layers.0.0.weight", "stages.0.0.dwconv.weight"), build_convnext),
    Network(
        "Swin",
        "torchvision",
        ("features.0.0.weight", "features.1.0.attn.relative_position_bias_table"),
        build_swin,
        layer_eps=1e-5,
    ),
    Network(
        "AlexNet", "torchvision", ("features.0.weight", "features.10.weight", "classifier.1.weight"), build_alexnet
    ),
    Network("VGG", "torchvision", ("features.0.weight", "classifier.0.weight"), build_vgg),
    Network("VGG", "timm", ("features.0.weight", "pre_logits.fc1.weight"), build_vgg),
    Network("ViT", "torchvision", ("conv_proj.weight", "encoder.pos_embedding"), build_vit_torchvision),
    Network(
        "ViT",
        "timm",
        ("patch_embed.proj.weight", "blocks.0.attn.qkv.weight", "pos_embed"),
        build_vit_timm,
        said=("vit", "deit"),
    ),
    Network(
        "Inception v4",
        "timm",
        ("features.0.conv.weight", "features.3.conv.conv.weight", "last_linear.weight"),
        build_inception_v4,
        1e-3,
    ),
    Network(
        "Inception-ResNet v2",
        "timm",
        ("conv2d_1a.conv.weight", "mixed_5b.branch0.conv.weight", "classif.weight"),
        build_inception_resnet_v2,
        1e-3,
        said=("inceptionresnetv2", "ensadvinceptionresnetv2"),
    ),
    Network(
        "EfficientNet, MobileNet or MNASNet of timm",
        "timm, with the network's name",
        ("conv_stem.weight", "bn1.weight", "blocks.0.0.bn1.weight", "conv_head.weight"),
        build_timm_mobile,
        said=("efficientnet", "tf", "tinynet", "mobilenet", "mnasnet", "semnasnet", "spnasnet", "fbnet"),
    ),
)


#: What ``NETWORKS`` can build, in words.
TITLES = ", ".join(dict.fromkeys(network.name for network in NETWORKS))


def _network_of(bare: WeightsFile) -> Network | None:
    return next((n for n in NETWORKS if all(name in bare.tensors for name in n.known)), None)


def fits_torch(file: WeightsFile) -> bool:
    """Whether the file has the arrays that one of the networks is known by."""
    return _network_of(bare_names(file)) is not None


def is_ambiguous(file: WeightsFile) -> bool:
    """Whether the arrays are those of networks that only their names tell apart."""
    network = _network_of(bare_names(file))
    return network is not None and network.build is build_timm_mobile


def _stated(file: WeightsFile, text: str) -> tuple[str, dict[str, str]]:
    """'timm/vit_tiny.tag heads=4' as ('vit_tiny', {'heads': '4'})."""
    name, *rest = text.split() or [""]
    name = name.removeprefix("timm/").removeprefix("torchvision/").partition(".")[0]
    pairs = [part.partition("=") for part in rest]
    options = {key: value for key, _, value in pairs}
    if not name or "=" in name or len(options) != len(pairs) or not all(k and v for k, v in options.items()):
        raise load_error(
            file.file,
            "architecture",
            repr(text[:80]),
            "a name, then NAME=VALUE pairs: 'vit heads=4'",
            f"Known: {TITLES}.",
        )
    return name, options


def _chosen(bare: WeightsFile, name: str) -> Network:
    """The network that the file has the arrays of, which has to be the one that the user says."""
    network = _network_of(bare)
    if network is None:
        raise load_error(bare.file, "the arrays", "those of none of the networks", TITLES, f"{EXPORT}.")
    if any(part in name for part in OTHERS):
        raise load_error(
            bare.file, "architecture", f"'{name[:60]}'",
            f"a plain {network.name}: this one computes something else with the same arrays", f"{EXPORT}.",
        )  # fmt: skip
    if name and not network.called(name):
        raise load_error(
            bare.file, "the arrays", f"those of {network.name}", f"those of '{name[:60]}', as it is said to be",
            "Leave architecture= out, or give the right name.",
        )  # fmt: skip
    return network


def build_torch(file: WeightsFile, architecture: Architecture | None = None) -> Graph:
    """The network with a file's weights: 'input' (batch, height, width, channels) float32 to 'output', the logits.

    architecture: what the user says of it. A name as timm or torchvision has it, with what no array tells ('vit heads=4',
    'mobilenet_v2 strides=1,2,1'), or a function that gets a ``Net`` and returns the output.
    ``metadata['images']``: what the family's examples do with images. LoadError for what is missing, does not fit, or is
    left over.
    """
    bare = bare_names(file)
    if architecture is None or isinstance(architecture, str):
        name, options = ("", dict[str, str]()) if architecture is None else _stated(file, architecture)
        network = _chosen(bare, name)
    else:
        name, options = "", {}
        network = Network(getattr(architecture, "__name__", "a network"), "the user", (), architecture)
    graph = Graph()
    net = Net(Arrays(bare, network.name), network.eps, network.layer_eps)
    net.says, net.options = name, options
    try:
        with graph.as_default():
            ops.identity(network.build(net), name="output")
    except LoadError:
        raise
    except KigraphError as e:
        raise load_error(file.file, network.name, str(e), "layers that fit each other", f"{EXPORT}.") from None
    net.arrays.finish()
    if net.options:
        shown = ", ".join(f"{key[:40]}=" for key in list(net.options)[:4])
        raise load_error(
            file.file,
            "architecture",
            shown,
            f"options of {network.name} only",
            "ViT takes heads=, MobileNet v2 strides=.",
        )
    mean, std = IMAGENET
    images: dict[str, Any] = {"mean": mean, "std": std, "interpolation": "bilinear", **net.images}
    model = name if network.build is build_timm_mobile else network.name
    graph.metadata.update(family="torch", file_family=file.family, model=model, images=images)
    graph.metadata.update(output="output:0", scores="logits")
    if "part" in file.metadata:
        graph.metadata["part"] = file.metadata["part"]  # of a checkpoint: 'state_dict', 'model', ...
    graph.aliases.update(input="input:0", output="output:0")
    graph.signatures[SERVING_DEFAULT] = Signature({"input": "input:0"}, {"output": "output:0"})
    return graph
