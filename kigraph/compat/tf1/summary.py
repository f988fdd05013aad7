"""tf.summary: tensors that hold what TensorBoard shows, written by tensorboardX where it is installed."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np

from ...errors import KigraphError
from .building import apply, convert, one
from .graph import Graph, Tensor, get_default_graph
from .parts import stack

__all__ = ["FileWriter", "histogram", "image", "merge", "merge_all", "scalar"]

_KEY = "summaries"


def _summary(kind: str) -> Callable[..., Tensor]:
    def function(
        name: str,
        value: Any = None,
        max_outputs: int = 3,
        collections: Any = None,
        family: str | None = None,
        **other: Any,
    ) -> Tensor:
        value = other.pop("tensor", other.pop("values", value))
        if other:
            raise ValueError(f"summary.{kind}: unknown arguments {', '.join(other)}")
        graph = get_default_graph()
        value = convert(value)
        with graph.name_scope(name) as scope:
            tag = scope.rstrip("/")
            head = convert(json.dumps([kind, tag, max_outputs]), name="tags")
            made = one(apply("KiSummary", scope, {"tags": head, "values": value}))
        for key in collections or [_KEY]:
            graph.add_to_collection(key, made)
        return made

    function.__doc__ = f"A string tensor that holds a {kind} for FileWriter.add_summary, in the collection 'summaries'."
    return function


scalar, histogram, image = _summary("scalar"), _summary("histogram"), _summary("image")


def merge(inputs: Any, collections: Any = None, name: str | None = None) -> Tensor:
    """Several summaries as one tensor."""
    with get_default_graph().name_scope(name or "Merge"):
        return stack(list(inputs))


def merge_all(key: Any = _KEY, scope: str | None = None, name: str | None = None) -> Tensor | None:
    """All summaries of the default graph as one tensor; None if there are none."""
    found = get_default_graph().get_collection(key, scope)
    return merge(found, name=name) if found else None


class FileWriter:
    """Writes summaries into an event file in a folder. Needs the package tensorboardX."""

    def __init__(
        self, logdir: Any, graph: Any = None, max_queue: int = 10, flush_secs: int = 120, **other: Any
    ) -> None:
        try:
            from tensorboardX import SummaryWriter
        except ImportError:
            raise KigraphError(
                "tf.summary.FileWriter needs tensorboardX; remedy: pip install 'kigraph[tensorboard]'"
            ) from None
        if other:
            raise ValueError(f"FileWriter: unknown arguments {', '.join(other)}")
        self._writer = SummaryWriter(str(logdir), max_queue=max_queue, flush_secs=flush_secs)
        if graph is not None:
            self.add_graph(graph)

    def add_summary(self, summary: Any, global_step: Any = None) -> None:
        """Writes what a run gave of a summary."""
        step = None if global_step is None else int(global_step)
        for text in np.asarray(summary, object).reshape(-1):
            (kind, tag, most), value = _read(text)
            if kind == "scalar":
                self._writer.add_scalar(tag, float(value), step)
            elif kind == "histogram":
                self._writer.add_histogram(tag, value, step)
            else:
                for i, picture in enumerate(value[:most]):
                    self._writer.add_image(f"{tag}/image/{i}", picture, step, dataformats="HWC")

    def add_graph(self, graph: Any, global_step: Any = None) -> None:
        """Writes a graph, for TensorBoard's picture of it."""
        from tensorboardX.proto.event_pb2 import Event

        made = graph.as_graph_def() if isinstance(graph, Graph) else graph
        step = None if global_step is None else int(global_step)
        self._writer.file_writer.add_event(Event(graph_def=made.SerializeToString()), step)

    def flush(self) -> None:
        self._writer.flush()

    def close(self) -> None:
        self._writer.close()

    def __enter__(self) -> FileWriter:
        return self

    def __exit__(self, *exc: Any) -> None:
        self.close()


def _read(text: bytes) -> tuple[list[Any], np.ndarray[Any, Any]]:
    head, _, rest = text.partition(b"\n")
    kind, tag, most, dtype, shape = json.loads(head)
    return [kind, tag, most], np.frombuffer(rest, dtype).reshape(shape)
