"""What users feed: which tensor a key means, and the value as an array that fits it."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..kernels.contracts.base import merge_shapes, shape_text
from ..kernels.errors import KigraphError, ShapeError
from .builder import Graph, Operation, Tensor
from .errors import FeedError, GraphError
from .fetches import stranger
from .ir import UNKNOWN, Port
from .values import as_array

__all__ = ["feed_value", "port_of"]

Value = np.ndarray[Any, Any]


def port_of(graph: Graph, key: Any, where: str = "feed_dict", error: type[KigraphError] = FeedError) -> Port:
    """The port that a key of a feed_dict means: a tensor, an operation (its first output) or a name of one."""
    try:
        if isinstance(key, str):
            return graph.tensor(key).port
        if isinstance(key, Operation):
            key = key.outputs[0] if key.outputs else key
        if isinstance(key, Tensor) and key.graph is graph:
            return key.port
    except GraphError as missing:
        raise error(f"{where}: {missing}") from None
    raise error(f"{where}: {stranger(graph, key, 'a tensor')}")


def feed_value(graph: Graph, port: Port, value: Any) -> Value:
    """The value as an array of the port's dtype whose shape fits; the array itself where it is dense and of that dtype."""
    tensor = graph.tensor(str(port))
    what = f"the value fed to '{port}'"
    try:
        array = as_array(value, None if tensor.dtype == UNKNOWN else tensor.dtype, what)
        merge_shapes(what, tensor.shape, array.shape)
    except ShapeError:
        raise FeedError(
            f"{what} has shape {shape_text(array.shape)}, expected {shape_text(tensor.shape)} ({tensor.op.type})"
        ) from None
    except GraphError as error:
        raise FeedError(str(error)) from None
    return array
