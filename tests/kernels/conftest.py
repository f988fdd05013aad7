"""What kernel tests share: calling one contract on given arrays."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from kigraph.kernels.contracts.base import Contract
from kigraph.kernels.kernel import NoConstants, Query
from kigraph.kernels.registry import select
from kigraph.kernels.tensor import TensorType

NDArray = np.ndarray[Any, Any]
Call = Callable[..., list[NDArray]]


def call_kernel(
    contract: Contract[Any], inputs: Sequence[Any], params: Any = None, *, backend: str = "numpy", threads: int = 1
) -> list[NDArray]:
    """The outputs of the preferred kernel of a backend (or of the host family) for the given arrays."""
    arrays = [np.asarray(x) for x in inputs]
    params = contract.params() if params is None else params
    types = tuple(TensorType(a.dtype, a.shape) for a in arrays)
    query = Query(contract, types, contract.check(types, params), params, threads=threads)
    kernel = select(query, [backend]).kernel
    if kernel.evaluate is not None:
        return list(kernel.evaluate(arrays, params))
    assert kernel.prepare is not None
    outputs = [np.zeros(t.dims, t.dtype) for t in query.outputs]
    prepared = kernel.prepare(query, NoConstants())
    prepared.bind(arrays, outputs, np.zeros(prepared.workspace_bytes, np.uint8))()
    return outputs


@pytest.fixture
def call() -> Call:
    return call_kernel
