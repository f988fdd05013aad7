"""What a classifier answers: the labels of one image, or why there are none."""

from __future__ import annotations

from typing import Any

from .errors import KigraphError
from .kernels.records import dataclass
from .notebook import prediction_html, prediction_text
from .vision.labels import Label

__all__ = ["Classified", "Prediction"]


@dataclass(frozen=True, slots=True)
class Prediction:
    """The answer for one image: labels with probabilities, best first. ``source`` is the image's name."""

    source: str
    labels: tuple[Label, ...]

    def __str__(self) -> str:
        return "\n".join([f"{self.source}:", *(f"  {label}" for label in self.labels)])

    def __repr__(self) -> str:
        return f"<Prediction {prediction_text(self.source, self.labels)}>"

    def _repr_html_(self) -> str:
        return prediction_html(self.source, self.labels)

    def __iter__(self) -> Any:
        return iter(self.labels)

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> Label:
        return self.labels[index]

    def to_json(self) -> dict[str, Any]:
        """Plain data for ``json.dumps``; {"filename", "labels": [{"label", "probability", ...}]}."""
        return {"filename": self.source, "labels": [label.to_json() for label in self.labels]}


@dataclass(frozen=True, slots=True)
class Classified:
    """The answer for one image of many: its ``prediction``, or the ``error`` that says why there is none."""

    source: str
    prediction: Prediction | None
    error: KigraphError | None
