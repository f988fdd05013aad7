"""Inception v3 in PyTorch from kigraph's own table of layers: the function of ``kigraph.graph.models.inception_v3.build``.

Layers are those that torchvision's network has: convolution without bias, batch normalisation, ReLU; average pools
divide by the pixels that exist. Imports PyTorch.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from kigraph.graph.ir import Literal
from kigraph.graph.models.inception_v3.build import Options
from kigraph.graph.models.inception_v3.layers import CONVS, FEATURES, NETWORK, Block, Conv, Pool, Step
from kigraph.graph.models.inception_v3.weights import ConvWeights, InceptionWeights, seeded_weights

from .record import Recorder, Scalar
from .reference import LOGITS, Reference
from .torch_common import PREPARED

__all__ = ["BOUNDS", "Truth", "build", "error", "from_images", "seeded"]

NDArray = np.ndarray[Any, Any]
#: Largest difference of a logit, as a share of the largest.
BOUNDS = {"fp32": 1e-4, "tf32": 2e-2, "bf16": 6e-2}
#: Smallest difference; with less, TF32 was not used.
LEAST = {"fp32": 0.0, "tf32": 3e-5, "bf16": 0.0}

_SHAPES = {sized.conv.path: sized.shape for sized in CONVS}


class _Branches(nn.Module):
    """Branches side by side, concatenated along the channels."""

    def __init__(self, branches: Sequence[nn.Module]) -> None:
        super().__init__()
        self.branches = nn.ModuleList(branches)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([branch(x) for branch in self.branches], 1)


def build(weights: InceptionWeights, options: Options | None = None) -> nn.Module:
    """The network in eval mode, float32, on the CPU: (batch, 3, 299, 299) in [-1, 1] to logits (batch, classes)."""
    options = options or Options()
    classifier = nn.Linear(FEATURES, weights.classes)
    _fill(classifier.weight, weights.kernel, (1, 0))
    _fill(classifier.bias, weights.bias)
    network = nn.Sequential(*_modules(NETWORK, weights, options), nn.AdaptiveAvgPool2d(1), nn.Flatten(1), classifier)
    return network.eval().requires_grad_(False)


def seeded() -> nn.Module:
    """The network with the seeded weights that every part uses."""
    return build(seeded_weights())


def _modules(steps: Sequence[Step], weights: InceptionWeights, options: Options) -> list[nn.Module]:
    made: list[nn.Module] = []
    for step in steps:
        if isinstance(step, Conv):
            made += _conv(step, weights.convs[step.path], options.epsilon)
        elif isinstance(step, Pool):
            made.append(_pool(step, options))
        else:
            made.append(_branches(step, weights, options))
    return made


def _branches(block: Block, weights: InceptionWeights, options: Options) -> nn.Module:
    return _Branches([nn.Sequential(*_modules(branch, weights, options)) for branch in block.branches])


def _padding(kernel: tuple[int, int], stride: int, padding: str) -> tuple[int, int]:
    """SAME is symmetric with stride 1 and odd kernels, and the network has no other."""
    if padding == "VALID":
        return 0, 0
    if stride != 1 or kernel[0] % 2 == 0 or kernel[1] % 2 == 0:
        raise ValueError(
            f"SAME with stride {stride} and kernel {kernel} is not symmetric; expected stride 1 and odd sizes"
        )
    return kernel[0] // 2, kernel[1] // 2


def _conv(step: Conv, weights: ConvWeights, epsilon: float) -> list[nn.Module]:
    _, _, inputs, filters = _SHAPES[step.path]
    padding = _padding(step.kernel, step.stride, step.padding)
    conv = nn.Conv2d(inputs, filters, step.kernel, step.stride, padding, bias=False)
    norm = nn.BatchNorm2d(filters, eps=epsilon)
    _fill(conv.weight, weights.kernel, (3, 2, 0, 1))
    _fill(norm.bias, weights.beta)
    _fill(norm.running_mean, weights.mean)
    _fill(norm.running_var, weights.variance)
    if weights.gamma is not None:
        _fill(norm.weight, weights.gamma)
    return [conv, norm, nn.ReLU(inplace=True)]


def _pool(step: Pool, options: Options) -> nn.Module:
    kind = options.last_pool if step.kind == "last" else step.kind
    padding = _padding((3, 3), step.stride, step.padding)
    if kind == "max":
        return nn.MaxPool2d(3, step.stride, padding)
    return nn.AvgPool2d(3, step.stride, padding, count_include_pad=options.count_padding)


def _fill(target: torch.Tensor | None, literal: Literal, axes: tuple[int, ...] | None = None) -> None:
    assert target is not None
    value = literal.array() if axes is None else literal.array().transpose(axes)
    with torch.no_grad():
        target.copy_(torch.from_numpy(np.array(value, np.float32, order="C")))


def from_images(images: NDArray) -> torch.Tensor:
    """Images (batch, height, width, 3) as (batch, 3, height, width) over the same memory: channels last."""
    return torch.from_numpy(images).permute(0, 3, 1, 2)


def error(got: NDArray, want: NDArray) -> float:
    """Largest difference of the images that both have, as a share of the largest logit."""
    count = min(len(got), len(want))
    return float(np.abs(got[:count] - want[:count]).max() / np.abs(want[:count]).max())


class Truth:
    """Logits of the first images: PyTorch's own in true float32, and the stored float64 ones, where they are."""

    def __init__(self, fp32: NDArray, path: Path = PREPARED / "reference.npz") -> None:
        stored = Reference.load(path)
        self.by_name: dict[str, NDArray | None] = {
            "fp32": fp32.astype(np.float64),
            "reference": None if stored is None else stored.layers[LOGITS].elements,
        }

    def check(self, out: Recorder, logits: torch.Tensor, precision: str, **more: Scalar) -> None:
        """A line for each truth: how far logits (batch, classes) of the first images are off. NaN is wrong."""
        got = logits.detach().float().cpu().numpy().astype(np.float64)
        least, bound = LEAST[precision], BOUNDS[precision]
        for name, want in self.by_name.items():
            what = f"error against {name}"
            if want is None:
                out.line(what, None, precision=precision, skipped="no .gpu/reference.npz of this commit", **more)
                continue
            off = error(got, want)
            out.line(what, off, ok=least <= off <= bound, precision=precision, least=least, bound=bound, **more)
