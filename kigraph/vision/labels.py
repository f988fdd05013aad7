"""Label sets: which output of a network means what.

=================  ========  ============================================================================
name               outputs   used by
=================  ========  ============================================================================
imagenet-1000      1000      torchvision, Keras: class 0 is the tench
imagenet-1001      1001      TensorFlow slim, MobileNet: output 0 is "background", then as above
imagenet-2015      1008      the Inception v3 graph of 2015: own order of nodes, 8 outputs are not used
=================  ========  ============================================================================
"""

from __future__ import annotations

import json
import os
import re
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import LabelError
from ..kernels.atomic_files import open_regular
from ..kernels.records import dataclass

__all__ = ["LABEL_SETS", "Label", "LabelSet", "clean_label", "label_set", "numbered", "read_label_file"]

LABEL_SETS = ("imagenet-1000", "imagenet-1001", "imagenet-2015")

_MAX_FILE_BYTES = 4 * 2**20
_NUMBERED = re.compile(r"^([0-9]{1,9})\s*[:\t]\s*(.*)$")
#: Not str.splitlines, which also ends a line at characters that a name may have, such as U+0085 and U+2028.
_LINE_END = re.compile(r"\r\n|\n|\r")


@dataclass(frozen=True, slots=True)
class Label:
    """One answer: the class's name, its probability, the number of the output, and its WordNet identifier if known."""

    label: str
    probability: float
    index: int
    synset: str | None = None

    def __str__(self) -> str:
        return f"{self.probability:7.2%}  {self.label}"

    def to_json(self) -> dict[str, Any]:
        """Plain data for ``json.dumps``."""
        return {"label": self.label, "probability": self.probability, "index": self.index, "synset": self.synset}


@dataclass(frozen=True, slots=True)
class LabelSet:
    """Names of a network's outputs, in order; ``synsets`` is empty or as long as ``names``."""

    name: str
    names: tuple[str, ...]
    synsets: tuple[str | None, ...] = ()

    def __len__(self) -> int:
        return len(self.names)

    def top(self, probabilities: np.ndarray[Any, Any], k: int) -> tuple[Label, ...]:
        """The ``k`` most probable labels, best first; equal probabilities in order of their outputs."""
        if probabilities.shape != (len(self.names),):
            raise LabelError(
                f"label set {self.name!r} has {len(self.names)} names, the model's output has shape {probabilities.shape}"
            )
        order = np.argsort(-probabilities, kind="stable")[:k]
        return tuple(
            Label(self.names[i], float(probabilities[i]), i, self.synsets[i] if self.synsets else None)
            for i in order.tolist()
        )


@cache
def label_set(name: str) -> LabelSet:
    """One of LABEL_SETS."""
    if name not in LABEL_SETS:
        raise LabelError(
            f"unknown label set {name[:80]!r}; known: {', '.join(LABEL_SETS)}, or the path of a label file"
        )
    classes = _imagenet()
    if name == "imagenet-1000":
        return LabelSet(name, tuple(c[2] for c in classes), tuple(c[0] for c in classes))
    if name == "imagenet-1001":
        return LabelSet(name, ("background", *(c[2] for c in classes)), (None, *(c[0] for c in classes)))
    names = [f"(unused output {i})" for i in range(1008)]
    synsets: list[str | None] = [None] * 1008
    for synset, node, text in classes:
        names[node], synsets[node] = text, synset
    return LabelSet(name, tuple(names), tuple(synsets))


def numbered(count: int) -> LabelSet:
    """Stand-in for a model whose labels are not known: "class 0", "class 1", ..."""
    return LabelSet("numbered", tuple(f"class {i}" for i in range(count)))


def read_label_file(path: str | os.PathLike[str]) -> LabelSet:
    """Reads a label file: one name per line, "12:name" or "12 name" lines in order, a JSON list, or Keras' JSON class index.

    Raises LabelError for a missing, empty, too large or undecodable file and for numbers out of order.
    """
    name = os.fspath(path)
    try:
        with open_regular(name) as file:
            data = file.read(_MAX_FILE_BYTES + 1)
    except OSError as error:
        raise LabelError(f"label file {name[:200] or repr(name)}: cannot be read: {error.strerror or error}") from None
    if len(data) > _MAX_FILE_BYTES:
        raise LabelError(f"label file {name}: larger than {_MAX_FILE_BYTES:,} bytes, the limit")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise LabelError(f"label file {name}: not UTF-8 text: {error.reason} at byte {error.start}") from None
    if text.lstrip().startswith(("[", "{")):
        names, synsets = _from_json(text, name)
    else:
        names, synsets = _from_lines(text, name), []
    names = [clean_label(n) for n in names]
    if not any(names):
        raise LabelError(f"label file {name}: no labels in it")
    return LabelSet(Path(name).name, tuple(names), tuple(synsets))


def _imagenet() -> list[tuple[str, int, str]]:
    with open(Path(__file__).parent.parent / "data" / "imagenet.json", encoding="utf-8") as file:
        return [(synset, node, text) for synset, node, text in json.load(file)["classes"]]


def _from_lines(text: str, file: str) -> list[str]:
    lines = [line.strip() for line in _LINE_END.split(text)]
    while lines and not lines[-1]:
        lines.pop()
    spaced = [line.partition(" ") for line in lines]
    if spaced and all(number == str(i) and name for i, (number, _, name) in enumerate(spaced)):
        return [name for _, _, name in spaced]  # Teachable Machine's: "0 cat", "1 dog"
    matches = [_NUMBERED.match(line) for line in lines]
    if not all(matches):
        return lines
    for position, match in enumerate(matches):
        if match is not None and int(match[1]) != position:
            raise LabelError(f"label file {file}: line {position + 1} has number {match[1]}, expected {position}")
    return [match[2] for match in matches if match is not None]


def _from_json(text: str, file: str) -> tuple[list[str], list[str | None]]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise LabelError(f"label file {file}: not valid JSON: {error}") from None
    if isinstance(value, dict):
        if set(value) != {str(i) for i in range(len(value))}:
            raise LabelError(f'label file {file}: the keys of the JSON object must be "0" to "{len(value) - 1}"')
        value = [value[str(i)] for i in range(len(value))]
    names: list[str] = []
    synsets: list[str | None] = []
    for position, item in enumerate(value):
        if isinstance(item, str):
            names.append(item)
        elif isinstance(item, list) and len(item) == 2 and all(isinstance(part, str) for part in item):
            synsets.append(item[0])
            names.append(item[1].replace("_", " "))
        else:
            raise LabelError(f"label file {file}: entry {position} is neither a name nor a pair [synset, name]")
    if len(synsets) not in (0, len(names)):
        raise LabelError(f"label file {file}: some entries have a synset and some have not")
    return names, synsets


def clean_label(text: str) -> str:
    """A label is shown on terminals and web pages: no control characters."""
    return "".join(c for c in text if c.isprintable()).strip()
