"""kigraph.graph.loaders: weight files of other people's programs, read without trusting them.

    __init__.py      load(path): Loaded
    family.py        the table of families: how each is recognised, and which function reads it
    graphdef.py      TensorFlow frozen GraphDef to a Graph
    tensorflow/      SavedModel folders and checkpoints of TensorFlow
    tflite/          TensorFlow Lite to a Graph
    onnx             ONNX models to a Graph
    weights.py       WeightsFile: named arrays, read one at a time
    safetensors.py   torch_pickle.py   npz.py
    keras_h5.py   keras_zip.py   keras_config.py: the config beside a Keras file without one

What a file looks like inside is in ../formats. A model is data: nothing here runs code from a file, opens another file
than those that a model is made of (regular, in its own folder), or allocates what a file merely declares. Whatever a file
contains, the only exception is LoadError.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import field
from typing import TYPE_CHECKING

from ...kernels.records import dataclass
from ..formats.limits import LoadLimits
from .family import Family, file_of, sniff

if TYPE_CHECKING:
    from ..builder import Graph
    from ..formats.source import Source
    from .weights import WeightsFile

__all__ = ["Family", "LoadLimits", "Loaded", "digest_of_files", "load", "sniff"]


@dataclass(frozen=True, slots=True)
class Loaded:
    """A file that was read: a ``graph`` that runs as it is, or ``weights`` for a built-in model.

    ``path``: as it was given; ``size``: bytes of the file, or of all files that the model is made of.
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
    _files: tuple[Source, ...] = field(default=(), repr=False)

    @property
    def sha256(self) -> str:
        """SHA-256 of the file in hex; read when first needed. Of several files: see ``digest_of_files``."""
        return digest_of_files(self._files, lambda source: source.sha256)

    @property
    def remembered_sha256(self) -> str:
        """The same, from the cache folder if it was computed for these very files before."""
        return digest_of_files(self._files, lambda source: source.remembered_sha256)


def digest_of_files(files: Sequence[Source], digest: Callable[[Source], str]) -> str:
    """The digest of the only file; of several the SHA-256 of what ``sha256sum`` prints of them.

    They are in the order of their names, which are relative to the folder of the first one:
    ``sha256sum saved_model.pb variables/variables.data-00000-of-00001 variables/variables.index | sha256sum``.
    """
    if len(files) == 1:
        return digest(files[0])
    from hashlib import sha256  # late: it loads OpenSSL, 3 MB and 2 ms

    folder = files[0].path.parent
    named = sorted((file.path.relative_to(folder).as_posix(), file) for file in files)
    return sha256("".join(f"{digest(file)}  {name}\n" for name, file in named).encode()).hexdigest()


def load(path: str | os.PathLike[str], limits: LoadLimits | None = None) -> Loaded:
    """Reads a model or weights file, or a folder that is one model; the family is recognised by the content, not by the name.

    Weights stay in the file until they are used: replace the file by renaming, never by writing into it.
    Raises LoadError for what is damaged, hostile, over the limits, or of a family that is not read (yet).
    """
    from ..collecting import uncollected
    from ..formats.limits import Budget
    from ..formats.source import Source
    from ..hints import guess_inputs, guess_outputs
    from ..signatures import SERVING_DEFAULT
    from .weights import WeightsFile

    family = sniff(path, limits)
    source = Source(file_of(path))
    with uncollected():
        found = family.read(source, Budget(source.name, source.size, limits))
    files = (source, *found.metadata.get("companions", ()))
    size = sum(file.size for file in files)
    if isinstance(found, WeightsFile):
        return Loaded(os.fspath(path), family, size, weights=found, _files=files)
    called = found.signatures.get(SERVING_DEFAULT)
    if called is not None:
        inputs, outputs = tuple(called.inputs), tuple(called.outputs)
    else:
        frozen = found.freeze()
        inputs, outputs = guess_inputs(frozen), guess_outputs(frozen)
    return Loaded(os.fspath(path), family, size, found, inputs=inputs, outputs=outputs, _files=files)
