"""The metadata of a model into the graph's: how images are normalised, labels of the classes."""

from __future__ import annotations

from ...builder import Graph
from ...errors import LoadError
from ...formats.archive import Archive
from ...formats.flatbuffers.tflite import ModelDef
from ...formats.flatbuffers.tflite_metadata import METADATA, TensorMetadata, read_metadata
from ...formats.limits import Budget
from ...formats.source import Source

__all__ = ["describe"]

_LONGEST_FILE = 1 << 22


def describe(graph: Graph, model: ModelDef, source: Source, budget: Budget) -> None:
    """``normalization``: name of an input -> (mean, std). ``labels``: a line for each class. ``problem``: why they are missing.

    Nothing is computed from them, so damaged metadata leave the model loadable.
    """
    span = model.metadata.get(METADATA)
    if span is None:
        return
    main = model.subgraphs[0]
    try:
        inputs, outputs = read_metadata(source, budget, span)
        found = {}
        for index, said in zip(main.inputs, inputs, strict=False):
            if said.mean and said.std:
                found[main.tensors[index].name] = (said.mean, said.std)
        if found:
            graph.metadata["normalization"] = found
        labels = _labels(outputs, source, budget)
        if labels:
            graph.metadata["labels"] = labels
    except LoadError as error:
        graph.metadata["problem"] = str(error)


def _labels(outputs: list[TensorMetadata], source: Source, budget: Budget) -> tuple[str, ...]:
    """Of the first output that has some; without a locale if there is a choice."""
    files = [file for said in outputs for file in said.labels]
    if not files:
        return ()
    wanted = min(files, key=lambda file: bool(file.locale))
    text = Archive(source, budget).read(wanted.name, _LONGEST_FILE)
    try:
        lines = text.decode().splitlines()
    except UnicodeDecodeError:
        raise budget.error(
            f"member {wanted.name[:80]!r}", "bytes that are not UTF-8", "a line for each label"
        ) from None
    budget.item("the labels", 0, len(lines))
    return tuple(line.strip() for line in lines)
