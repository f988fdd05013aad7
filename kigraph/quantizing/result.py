"""What a run gives: the file, how well it agrees with the float network, and what each layer costs."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

__all__ = ["Layer", "Quantized", "Value"]


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer with weights. ``loss``: dB of signal to quantisation noise at the scores, if this layer alone has integers.

    ``kept``: '' for a layer of integers, else why it is float: 'asked' or 'agreement'.
    """

    name: str
    op: str
    weights: int
    loss: float
    kept: str = ""


@dataclass(frozen=True, slots=True)
class Value:
    """Values with one scale: real value = (integer - ``zero``) * ``step``, chosen by ``method``; ``losses``: dB of each method."""

    names: tuple[str, ...]
    method: str
    step: float
    zero: int
    losses: dict[str, float]


@dataclass(frozen=True, slots=True)
class Quantized:
    """``path``: the new file. ``size``, ``source_size``: bytes of the two files.

    ``same`` of ``held`` photographs, which no range was measured on, have the same first label as the float network; ``right``,
    ``right_float``: how many of ``named`` whose folder has the name of a label have that label. ``loss``: dB at the scores of all
    layers together, on the held-out photographs. ``corrected``: whether biases make up for rounded weights.
    """

    path: Path
    source: str
    size: int
    source_size: int
    calibrated: int
    held: int
    same: int
    asked: float
    loss: float
    layers: tuple[Layer, ...]
    values: tuple[Value, ...]
    choice: str
    corrected: bool
    named: int = 0
    right: int = 0
    right_float: int = 0
    page: Path | None = None
    unreadable: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = field(default=())

    @property
    def agreement(self) -> float:
        """Share of the held-out photographs with the same first label."""
        return self.same / self.held

    @property
    def kept(self) -> tuple[Layer, ...]:
        """The layers that stay float."""
        return tuple(layer for layer in self.layers if layer.kept)

    def worst(self, count: int = 10) -> list[Layer]:
        """The layers that cost most, the worst first."""
        return sorted(self.layers, key=lambda layer: layer.loss)[:count]

    def to_json(self) -> dict[str, Any]:
        """Plain data for ``json.dumps``."""
        return {
            "file": str(self.path), "source": self.source, "size": self.size, "source_size": self.source_size,
            "photographs": {"calibrated": self.calibrated, "held_out": self.held, "same_first_label": self.same},
            "agreement": self.agreement, "agreement_asked": self.asked, "loss_db": self.loss,
            "accuracy": {"photographs": self.named, "right": self.right, "right_float": self.right_float} if self.named else None,
            "ranges": self.choice, "bias_corrected": self.corrected,
            "layers": [
                {"name": x.name, "op": x.op, "weights": x.weights, "loss_db": x.loss, "float": x.kept or None} for x in self.layers
            ],
            "values": [
                {"names": list(v.names), "method": v.method, "scale": v.step, "zero_point": v.zero, "losses_db": v.losses}
                for v in self.values
            ],
            "report": None if self.page is None else str(self.page),
            "unreadable": [{"file": path, "reason": reason} for path, reason in self.unreadable], "notes": list(self.notes),
        }  # fmt: skip
