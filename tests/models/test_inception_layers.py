"""Inception v3 as a table, and what its connections make of the channels and sizes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from kigraph.graph.models.inception_v3.layers import CONVS, FEATURES, Block, Conv, Pool, connect
from kigraph.kernels.inception_v3 import CONVOLUTIONS, POOLS


def test_the_table_has_the_published_size() -> None:
    assert len(CONVS) == 94
    assert len({s.conv.path for s in CONVS}) == len({s.conv.torchvision for s in CONVS}) == 94
    kernels = sum(int(np.prod(s.shape)) for s in CONVS)
    filters = sum(s.shape[3] for s in CONVS)
    # Keras' InceptionV3 states 23,851,784 parameters with 1000 classes: three numbers per filter besides the kernels.
    assert kernels + 3 * filters + 2048 * 1000 + 1000 == 23_851_784


def test_the_connected_network_has_the_layers_that_kernels_are_measured_with() -> None:
    """Input channels and image sizes that the connections give, in the order of the layers."""
    found: list[tuple[Any, ...]] = []

    def out(size: int, window: int, step: Conv | Pool) -> int:
        return -(-(size - (0 if step.padding == "SAME" else window - 1)) // step.stride)

    def conv(step: Conv, x: tuple[int, int]) -> tuple[int, int]:
        found.append((*x, step.filters, step.kernel, step.stride, step.padding))
        return step.filters, out(x[1], step.kernel[0], step)

    def join(block: Block, parts: Sequence[tuple[int, int]]) -> tuple[int, int]:
        (size,) = {size for _, size in parts}
        return sum(channels for channels, _ in parts), size

    end = connect((3, 299), conv, lambda step, x: (x[0], out(x[1], 3, step)), join)
    assert found == [(c.cin, c.size, c.cout, c.kernel, c.stride, c.padding) for c in CONVOLUTIONS]
    assert end == (FEATURES, POOLS[-1].size) == (2048, 8)
