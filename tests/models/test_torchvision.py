"""Small networks of torchvision and timm themselves, with random weights and statistics, where these libraries are."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from tests.models.torch_nets import distance, run

torch = pytest.importorskip("torch")
models = pytest.importorskip("torchvision.models")


def _torchvision(name: str, **options: Any) -> Any:
    return getattr(models, name)(weights=None, **options)


def _timm(name: str, **options: Any) -> Any:
    return pytest.importorskip("timm").create_model(name, **options)


def _densenet() -> Any:
    return models.DenseNet(growth_rate=4, block_config=(2, 3), num_init_features=8, num_classes=5)


def _shufflenet() -> Any:
    return models.ShuffleNetV2([2, 1, 2], [8, 16, 32, 64, 48], num_classes=5)


def _convnext() -> Any:
    from torchvision.models.convnext import CNBlockConfig

    stages = [CNBlockConfig(w, 2 * w, 2) for w in (8, 16, 32)] + [CNBlockConfig(64, None, 1)]
    return models.ConvNeXt(stages, num_classes=5)


def _vit() -> Any:
    return models.VisionTransformer(48, 8, 2, 3, 192, 64, num_classes=5)


def _swin() -> Any:
    return models.SwinTransformer([4, 4], 16, [2, 2, 2], [2, 4, 8], [3, 3], num_classes=5)


NETWORKS: dict[str, tuple[Callable[[], Any], int]] = {
    "resnet18": (partial(_torchvision, "resnet18", num_classes=9), 65),
    "resnext": (partial(_torchvision, "resnext50_32x4d"), 48),
    "alexnet": (partial(_torchvision, "alexnet", num_classes=3), 97),
    "vgg11_bn": (partial(_torchvision, "vgg11_bn", num_classes=3), 40),
    "densenet": (_densenet, 50),
    "googlenet": (partial(_torchvision, "googlenet", aux_logits=True, init_weights=True), 75),
    "squeezenet1_0": (partial(_torchvision, "squeezenet1_0"), 70),
    "squeezenet1_1": (partial(_torchvision, "squeezenet1_1"), 61),
    "shufflenet": (_shufflenet, 45),
    "mobilenet_v2": (partial(_torchvision, "mobilenet_v2", width_mult=0.25), 45),
    "mobilenet_v3_large": (partial(_torchvision, "mobilenet_v3_large", width_mult=0.25), 45),
    "mobilenet_v3_small": (partial(_torchvision, "mobilenet_v3_small", width_mult=0.25), 45),
    "mnasnet": (partial(_torchvision, "mnasnet0_5"), 45),
    "efficientnet_b0": (partial(_torchvision, "efficientnet_b0"), 45),
    "regnet_x": (partial(_torchvision, "regnet_x_400mf"), 45),
    "regnet_y": (partial(_torchvision, "regnet_y_400mf"), 45),
    "convnext": (_convnext, 70),
    "vit": (_vit, 48),
    "swin": (_swin, 48),
    "timm resnet26d": (partial(_timm, "resnet26d"), 45),
    "timm seresnet": (partial(_timm, "seresnet50"), 45),
    "timm regnety": (partial(_timm, "regnety_004"), 45),
    "timm convnext": (partial(_timm, "convnext_atto"), 70),
    "timm vit": (partial(_timm, "vit_tiny_patch16_224", img_size=64, depth=2), 64),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_the_library_itself_agrees(name: str) -> None:
    make, size = NETWORKS[name]
    torch.manual_seed(3)
    model = make().eval()
    with torch.no_grad():
        for key, value in model.state_dict().items():
            if key.endswith("running_var"):
                value.uniform_(0.5, 1.5)
            elif key.endswith("running_mean") or (value.is_floating_point() and (value.dim() < 2 or not value.any())):
                value.add_(torch.randn(value.shape) * 0.1)
        x = torch.randn(2, 3, size, size + (0 if "vit" in name or name == "swin" else 6))
        want = model(x).numpy()
    arrays = {key: value.numpy() for key, value in model.state_dict().items()}
    assert distance(run(arrays, x.numpy()), want) < 1e-5
