"""config.json beside a weights file, as timm and Hugging Face write it: how images were prepared for these weights."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from ..errors import LoadError
from ..kernels.atomic_files import open_regular
from ..kernels.records import dataclass

__all__ = ["TimmConfig", "named_in_config", "read_timm_config"]

_MAX_BYTES, _LARGEST = 4 << 20, sys.float_info.max
#: Network -> how its names begin in timm's releases.
_ARCHITECTURES: dict[str, tuple[str, ...]] = {
    "Inception v3": ("inception_v3", "tf_inception_v3", "gluon_inception_v3", "adv_inception_v3"),
    "ResNet": (
        "resnet",
        "resnext",
        "wide_resnet",
        "seresnet",
        "seresnext",
        "tv_resnet",
        "gluon_resnet",
        "gluon_resnext",
    ),
    "VGG": ("vgg",),
    "DenseNet": ("densenet",),
    "RegNet": ("regnetx", "regnety"),
    "ConvNeXt": ("convnext",),
    "ViT": ("vit_", "deit"),
    "Inception v4": ("inception_v4",),
    "Inception-ResNet v2": ("inception_resnet_v2",),
}


@dataclass(frozen=True, slots=True)
class TimmConfig:
    """``mean`` and ``std`` of pixels from 0 to 1; ``size`` (height, width); ``labels`` in order, or empty."""

    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    size: tuple[int, int]
    crop: float
    interpolation: str
    classes: int | None
    labels: tuple[str, ...]
    tag: str


def read_timm_config(weights: Path, network: str = "Inception v3") -> TimmConfig | None:
    """The config of such a network beside the file, or None if there is none. LoadError if it cannot be used."""
    path = weights.parent / "config.json"
    config = _config_at(path, network)
    if config is None:
        return None
    inner = config.get("pretrained_cfg")
    values = {**config, **(inner if isinstance(inner, dict) else {})}
    size = values.get("input_size", [3, 299, 299])
    if not isinstance(size, list) or len(size) != 3 or any(type(n) is not int or not 0 < n < 1 << 15 for n in size):
        raise _error(path, "input_size", size, "[3, height, width]")
    labels = values.get("label_names") or []
    if not isinstance(labels, list) or not all(isinstance(n, str) for n in labels):
        raise _error(path, "label_names", labels, "a list of names")
    classes = config.get("num_classes", values.get("num_classes"))
    if classes is not None and type(classes) is not int:
        raise _error(path, "num_classes", classes, "a number")
    crop = values.get("crop_pct", 0.875)
    if isinstance(crop, bool) or not isinstance(crop, (int, float)) or not 0 < crop <= 1:
        raise _error(path, "crop_pct", crop, "a number up to 1")
    mean, std = (_three(path, values, key) for key in ("mean", "std"))
    if min(std) <= 0:
        raise _error(path, "std", list(std), "numbers above 0")
    return TimmConfig(
        mean, std, (size[1], size[2]), float(crop), str(values.get("interpolation", "bilinear"))[:40], classes,
        tuple(labels), str(values.get("tag", ""))[:80],
    )  # fmt: skip


def named_in_config(weights: Path) -> str | None:
    """The network's name in the config beside the file, or None."""
    found = _content(weights.parent / "config.json").get("architecture")
    return (
        found if isinstance(found, str) and 0 < len(found) < 100 and found.isprintable() and " " not in found else None
    )


def _content(path: Path) -> dict[str, Any]:
    """What is in the file; nothing if it is not there or something else."""
    try:
        with open_regular(path) as file:
            data = file.read(_MAX_BYTES + 1)
    except OSError:
        return {}
    if len(data) > _MAX_BYTES:
        return {}  # belongs to something else
    try:
        config = json.loads(data)
    except (ValueError, RecursionError):
        return {}
    return config if isinstance(config, dict) else {}


def _config_at(path: Path, network: str) -> dict[str, Any] | None:
    """The content of the file, if it describes such a network."""
    config = _content(path)
    named = config.get("architecture")
    # a network of its own name ('tf_efficientnet_b0') has its own config
    if not isinstance(named, str) or not named.startswith(_ARCHITECTURES.get(network, (network,))):
        return None
    from ..graph.models.torch import OTHERS

    if any(part in named for part in OTHERS):
        expected = (
            f"a plain {network}: this one computes something else with the same arrays; export it with torch.export"
        )
        raise _error(path, "architecture", named, expected)
    return dict(config)


def _three(path: Path, values: dict[str, Any], key: str) -> tuple[float, float, float]:
    found = values.get(key)
    numbers = found if isinstance(found, list) else []
    good = [float(v) for v in numbers if isinstance(v, (int, float)) and not isinstance(v, bool) and abs(v) <= _LARGEST]
    if len(good) != 3 or len(numbers) != 3:
        raise _error(path, key, found, "three numbers, for pixels from 0 to 1")
    return (good[0], good[1], good[2])


def _error(path: Path, key: str, found: object, expected: str) -> LoadError:
    return LoadError(
        f"{path}: {key}: found {str(found)[:80]}; expected {expected}. It is read because it is beside the weights; "
        "correct it, or move the weights elsewhere"
    )
