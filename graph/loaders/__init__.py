"""kigraph.graph.loaders: weight files of other people's programs, read without trusting them.

    __init__.py      sniff(path): which family; load(path): Loaded
    limits.py        LoadLimits, and the Budget that every loader spends from
    source.py        the file: opened once, read by position; digests.py: SHA-256 of files, remembered
    graphdef.py      TensorFlow frozen GraphDef to a Graph; graphdef_write.py writes one
    tfproto.py       TensorFlow's messages as records; tensorproto.py: constants
    wire.py          Protocol Buffers' wire format (wire_numbers.py); wire_write.py writes it
    weights.py       WeightsFile: named arrays, read one at a time
    safetensors.py   torch_pickle.py (archive.py, pickle_symbols.py)   npz.py   keras_h5.py (hdf5/)

A model is data: nothing here runs code from a file, opens another file, or allocates what a file merely declares.
Whatever a file contains, the only exception is LoadError.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ..errors import LoadError
from .limits import LoadLimits
from .sniffing import Family, sniff

if TYPE_CHECKING:
    from ..builder import Graph
    from .limits import Budget
    from .source import Source
    from .weights import WeightsFile

__all__ = ["Family", "LoadLimits", "Loaded", "load", "load_graph", "sniff"]


@dataclass(frozen=True, slots=True)
class Loaded:
    """A file that was read: a ``graph`` that runs as it is, or ``weights`` for a built-in model.

    ``inputs`` and ``outputs``: tensors that look like the model's (graphs only).
    """

    path: str
    family: Family
    size: int
    graph: Graph | None = None
    weights: WeightsFile | None = None
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    _source: Source | None = field(default=None, repr=False)

    @property
    def sha256(self) -> str:
        """SHA-256 of the file in hex; read when first asked for."""
        assert self._source is not None
        return self._source.sha256

    @property
    def remembered_sha256(self) -> str:
        """The same, from the cache folder if this very file was worked out before."""
        assert self._source is not None
        return self._source.remembered_sha256


def load(path: str | os.PathLike[str], limits: LoadLimits | None = None) -> Loaded:
    """Reads a model or weights file; its family is told by its content, not by its name.

    Weights stay in the file until they are used: replace the file by renaming, never by writing into it.
    Raises LoadError for what is damaged, hostile, over the limits, or of a family that is not read (yet).
    """
    from .limits import Budget
    from .source import Source

    family = sniff(path, limits)
    source = Source(path)
    budget = Budget(source.name, source.size, limits)
    if family is Family.GRAPHDEF:
        from .graphdef import guess_inputs, guess_outputs, read_graphdef

        graph = read_graphdef(source, budget)
        return Loaded(
            source.name,
            family,
            source.size,
            graph,
            inputs=guess_inputs(graph),
            outputs=guess_outputs(graph),
            _source=source,
        )
    return Loaded(source.name, family, source.size, weights=_weights(family, source, budget), _source=source)


def load_graph(path: str | os.PathLike[str], limits: LoadLimits | None = None) -> Graph:
    """A graph that runs: the file's own, or the built-in Inception v3 with the file's weights.

    ``graph.metadata['family']`` is 'graphdef', or whose names the weights have: 'torchvision', 'keras', 'kigraph'.
    """
    loaded = load(path, limits)
    if loaded.graph is not None:
        return loaded.graph
    from ..models import graph_of_weights

    assert loaded.weights is not None
    return graph_of_weights(loaded.weights)


def _weights(family: Family, source: Source, budget: Budget) -> WeightsFile:
    if family is Family.SAFETENSORS:
        from .safetensors import read_safetensors

        return read_safetensors(source, budget)
    if family is Family.KERAS_H5:
        from .keras_h5 import read_keras_h5

        return read_keras_h5(source, budget)
    if family is Family.TORCH_LEGACY:
        from .torch_pickle import read_torch_legacy

        return read_torch_legacy(source, budget)
    if family is Family.TORCH_ZIP:
        from .archive import Archive
        from .torch_pickle import read_torch_zip

        return read_torch_zip(source, Archive(source, budget), budget)
    raise LoadError(f"{source.name}: family {family.value} is recognised but not read")
