"""kigraph.graph.loaders: weight files of other people's programs, read without trusting them.

    __init__.py      load(path): Loaded
    family.py        the table of families: how each is recognised, and which function reads it
    graphdef.py      TensorFlow frozen GraphDef to a Graph
    weights.py       WeightsFile: named arrays, read one at a time
    safetensors.py   torch_pickle.py   npz.py   keras_h5.py   keras_config.py: the network in a Keras file, as data

What a file looks like inside is in ../formats. A model is data: nothing here runs code from a file, opens another file, or
allocates what a file merely declares. Whatever a file contains, the only exception is LoadError.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ..formats.limits import LoadLimits
from .family import Family, sniff

if TYPE_CHECKING:
    from ..builder import Graph
    from ..formats.source import Source
    from .weights import WeightsFile

__all__ = ["Family", "LoadLimits", "Loaded", "load", "sniff"]


@dataclass(frozen=True, slots=True)
class Loaded:
    """A file that was read: a ``graph`` that runs as it is, or ``weights`` for a built-in model.

    ``inputs`` and ``outputs``: the names that the file's own signature has, else tensors that look like the model's (graphs
    only).
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
        """SHA-256 of the file in hex; read when first needed."""
        assert self._source is not None
        return self._source.sha256

    @property
    def remembered_sha256(self) -> str:
        """The same, from the cache folder if it was computed for this very file before."""
        assert self._source is not None
        return self._source.remembered_sha256


def load(path: str | os.PathLike[str], limits: LoadLimits | None = None) -> Loaded:
    """Reads a model or weights file; its family is recognised by its content, not by its name.

    Weights stay in the file until they are used: replace the file by renaming, never by writing into it.
    Raises LoadError for what is damaged, hostile, over the limits, or of a family that is not read (yet).
    """
    from ..formats.limits import Budget
    from ..formats.source import Source
    from ..hints import guess_inputs, guess_outputs
    from ..signatures import SERVING_DEFAULT
    from .weights import WeightsFile

    family = sniff(path, limits)
    source = Source(path)
    found = family.read(source, Budget(source.name, source.size, limits))
    if isinstance(found, WeightsFile):
        return Loaded(source.name, family, source.size, weights=found, _source=source)
    called = found.signatures.get(SERVING_DEFAULT)
    if called is not None:
        inputs, outputs = tuple(called.inputs), tuple(called.outputs)
    else:
        frozen = found.freeze()
        inputs, outputs = guess_inputs(frozen), guess_outputs(frozen)
    return Loaded(source.name, family, source.size, found, inputs=inputs, outputs=outputs, _source=source)
