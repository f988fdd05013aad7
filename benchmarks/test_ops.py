"""The other ops at the shapes of Inception v3 (and of MobileNet v1 for depthwise convolution); square matrix products."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from kigraph.kernels.conformance import Case, cases_of, tensor
from kigraph.kernels.conformance.cases import pool2d
from kigraph.kernels.conformance.cases.conv2d import conv_case
from kigraph.kernels.conformance.cases.matmul import matmul_case
from kigraph.kernels.conformance.values import normal
from kigraph.kernels.contracts import CONTRACTS, elementwise
from kigraph.kernels.contracts.conv2d import DEPTHWISE_CONV2D
from kigraph.kernels.inception_v3 import POOLS

from .support import time_case

#: conv2d has its own file; these are measured here at sizes of their own.
_APART = {"conv2d", "depthwise_conv2d", "max_pool2d", "avg_pool2d"}


def _cases() -> Iterator[Case]:
    for n in (128, 256, 512, 1024):
        yield matmul_case(f"square-{n}", n, n, n, constant=True)
    for n in (512, 1024):
        yield matmul_case(f"square-{n}-fed", n, n, n)
    for m, k, n in (
        (1, 1024, 1024),
        (4, 1024, 1024),
        (8, 512, 512),
        (1024, 1024, 1),
        (512, 8, 512),
        (512, 512, 8),
        (16, 16, 16),
    ):
        yield matmul_case(f"{m}x{k}x{n}-fed", m, k, n)
    for channels, size in ((32, 112), (128, 56), (512, 14)):
        yield conv_case(
            f"mobilenet-{channels}x{size}", (1, size, size, channels), (3, 3, 1), contract=DEPTHWISE_CONV2D, padding="SAME",
            activation="relu6",
        )  # fmt: skip
    seen: set[tuple[object, ...]] = set()
    for layer in POOLS:
        if layer[1:] not in seen:
            seen.add(layer[1:])
            yield pool2d.inception_case(layer)
    for contract in CONTRACTS:
        if contract.hot and contract.name not in _APART:
            yield from (case for case in cases_of(contract) if "inception" in case.tags)
    yield Case(elementwise.ADD, "million", (tensor((1000, 1000), normal), tensor((1000, 1000), normal)))
    yield Case(elementwise.EXP, "million", (tensor((1000, 1000), normal),))


@pytest.mark.parametrize("case", list(_cases()), ids=str)
def test_op(benchmark: Any, case: Case, backend: str, precision: str, threads: int) -> None:
    time_case(benchmark, case, backend, threads, precision=precision)
