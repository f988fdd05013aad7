"""ConvNeXt has three namings of the same arrays."""

from __future__ import annotations

import re

import numpy as np
import pytest

from kigraph.graph.errors import LoadError
from tests.models.torch_nets import Arrays, Dict, distance, run

DEPTHS = (2, 2, 6, 2)
#: timm's name -> that of its authors.
AUTHORS = (
    (r"stem\.", "downsample_layers.0."), (r"stages\.(\d)\.downsample\.", r"downsample_layers.\1."), (r"\.blocks\.", "."),
    (r"conv_dw", "dwconv"), (r"mlp\.fc", "pwconv"), (r"head\.norm", "norm"), (r"head\.fc", "head"),
)  # fmt: skip


def convnext(depths: tuple[int, ...] = DEPTHS) -> Arrays:
    d = Dict()
    d.conv("stem.0", 4, 3, 4, bias=True)
    d.layer_norm("stem.1", 4)
    for stage, depth in enumerate(depths):
        width = 4 + 2 * stage
        if stage:
            d.layer_norm(f"stages.{stage}.downsample.0", width - 2)
            d.conv(f"stages.{stage}.downsample.1", width, width - 2, 2, bias=True)
        for block in range(depth):
            name = f"stages.{stage}.blocks.{block}"
            d.conv(f"{name}.conv_dw", width, 1, 7, bias=True)
            d.layer_norm(f"{name}.norm", width)
            d.linear(f"{name}.mlp.fc1", 12, width)
            d.linear(f"{name}.mlp.fc2", width, 12)
            d.add(f"{name}.gamma", width)
    d.layer_norm("head.norm", 10)
    d.linear("head.fc", 5, 10)
    return d.arrays


def authors(name: str) -> str:
    for pattern, replacement in AUTHORS:
        name = re.sub(pattern, replacement, name)
    return name


def torchvision(name: str) -> str:
    name = re.sub(r"stem\.", "features.0.", name)
    name = re.sub(r"stages\.(\d)\.downsample\.", lambda m: f"features.{2 * int(m[1])}.", name)
    name = re.sub(r"stages\.(\d)\.blocks\.(\d)\.", lambda m: f"features.{2 * int(m[1]) + 1}.{m[2]}.", name)
    for old, new in (("conv_dw", "block.0"), ("norm", "block.2"), ("mlp.fc1", "block.3"), ("mlp.fc2", "block.5")):
        name = name if name.startswith("head") else name.replace(old, new)
    return name.replace("gamma", "layer_scale").replace("head.norm", "classifier.0").replace("head.fc", "classifier.2")


def test_the_three_namings_are_one_network() -> None:
    arrays, x = convnext(), Dict(1).image(2, 3, 64, 75)
    want = run(arrays, x)
    assert distance(run({authors(n): a for n, a in arrays.items()}, x), want) < 1e-6
    there = {torchvision(n): a[:, None, None] if n.endswith("gamma") else a for n, a in arrays.items()}
    assert distance(run(there, x), want) < 1e-6
    changed = run({n: a * 2 if n == "stages.2.blocks.5.gamma" else a for n, a in arrays.items()}, x)
    assert np.abs(changed - want).max() > 1e-6


def test_sequences_whose_activation_is_unknown_are_refused() -> None:
    with pytest.raises(LoadError, match=r"stages of \(1, 2, 4, 2\) blocks: timm has others"):
        run(convnext((1, 2, 4, 2)), Dict(1).image(1, 3, 32, 32))
