"""The weights card: how to use one set of weights for classification."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from ..kernels.records import dataclass
from ..kernels.tensor import is_int
from ..vision.normalize import Preprocessing

__all__ = ["LABELS_BESIDE", "LABELS_INSIDE", "Card"]

#: Value of Card.labels: the names are in a file beside the weights, or given by the caller.
LABELS_BESIDE = "file"
#: Value of Card.labels: the names are in the graph's own card.
LABELS_INSIDE = "inside"
_LABELS_IN_WORDS = {LABELS_BESIDE: "in a file beside the weights, or given", LABELS_INSIDE: "in the graph"}


@dataclass(frozen=True, slots=True)
class Card:
    """How to use one set of weights for classification.

    ``input`` takes preprocessed images (batch, height, width, 3) float32, with ``layout`` NCHW (batch, 3, height, width). A
    graph that decodes JPEG itself has
    ``encoded`` (a string scalar: the file) and ``pixels`` (uint8, any size); what it does after that is described, not
    done, by ``preprocessing``. ``output`` has one row of ``scores`` per image: 'probabilities'; 'logits', which a softmax makes
    probabilities; 'sigmoid', one probability for each class by itself (a single one is that of the second of two classes);
    'values', which are no scores. ``note``: what is not known and was assumed. ``classes``: the names, where the card has them.
    ``quantization``: (scale, zero) of an output of integers, whose scores are (output - zero) * scale.
    """

    name: str
    title: str
    input: str
    output: str
    preprocessing: Preprocessing
    labels: str
    scores: Literal["probabilities", "logits", "sigmoid", "values"] = "probabilities"
    encoded: str | None = None
    pixels: str | None = None
    note: str = ""
    layout: Literal["NHWC", "NCHW"] = "NHWC"
    classes: tuple[str, ...] = ()
    quantization: tuple[float, float] | None = None

    @property
    def tensors(self) -> tuple[str, ...]:
        """Every tensor of the graph that the card names."""
        return tuple(t for t in (self.encoded, self.pixels, self.input, self.output) if t is not None)

    def arrange(self, batch: np.ndarray[Any, Any], dtype: np.dtype[Any]) -> np.ndarray[Any, Any]:
        """Preprocessed images (batch, height, width, channels) in the layout and element type that ``input`` takes.

        Integers are rounded to the nearest, and clipped to what the type holds.
        """
        if self.layout == "NCHW":
            batch = np.ascontiguousarray(batch.transpose(0, 3, 1, 2))
        if is_int(dtype):
            limits = np.iinfo(dtype)
            rounded: np.ndarray[Any, Any] = np.clip(np.rint(batch), limits.min, limits.max).astype(dtype)
            return rounded
        return batch

    def to_json(self) -> dict[str, Any]:
        """Plain data for ``json.dumps``."""
        p = self.preprocessing
        return {
            "name": self.name,
            "title": self.title,
            "input": self.input,
            "output": self.output,
            "encoded": self.encoded,
            "pixels": self.pixels,
            "layout": self.layout,
            "scores": self.scores,
            "labels": self.labels,
            "quantization": None if self.quantization is None else list(self.quantization),
            "classes": list(self.classes),
            "note": self.note,
            "preprocessing": {
                "size": list(p.size),
                "rule": p.rule,
                "crop": p.crop,
                "channels": p.channels,
                "mean": list(p.normalization.mean),
                "std": list(p.normalization.std),
                "where": "in the graph" if self.encoded else "before the graph",
            },
        }

    def __str__(self) -> str:
        entrance = f"{self.encoded} (JPEG file), {self.pixels} (pixels)" if self.encoded else self.input
        where = "in the graph" if self.encoded else "before the graph"
        layout = "" if self.layout == "NHWC" else f", {self.layout}"
        return (
            f"{self.name}: {self.title}\n"
            f"  input          {entrance}{layout}\n"
            f"  preprocessing  {self.preprocessing}, {where}\n"
            f"  output         {self.output} ({self.scores})\n"
            f"  labels         {_LABELS_IN_WORDS.get(self.labels, self.labels)}"
            + (f"\n  note           {self.note}" if self.note else "")
        )
