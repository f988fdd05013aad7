"""Metrics per epoch: a table, a CSV file, a picture."""

from __future__ import annotations

import csv
import io
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import KigraphError
from ..kernels.atomic_files import replacing

__all__ = ["History"]


@dataclass(slots=True)
class History:
    """One row of metrics per epoch, e.g. {"epoch": 1, "loss": 0.7, "accuracy": 0.6, "val_loss": ...}."""

    rows: list[dict[str, float]] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, metric: str) -> list[float]:
        """A metric's values, epoch by epoch."""
        return [row[metric] for row in self.rows if metric in row]

    @property
    def metrics(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(name for row in self.rows for name in row if name != "epoch"))

    def save_csv(self, path: str | os.PathLike[str]) -> Path:
        """Writes one line per epoch."""
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, ["epoch", *self.metrics])
        writer.writeheader()
        writer.writerows(self.rows)
        return _written(path, text.getvalue().encode())

    def save_picture(self, path: str | os.PathLike[str], title: str = "") -> Path:
        """Draws loss, the other metrics and a scheduled rate over the epochs (needs matplotlib: pip install 'kigraph[plot]')."""
        try:
            from matplotlib.figure import Figure
        except ImportError:
            raise KigraphError("drawing needs matplotlib; remedy: pip install 'kigraph[plot]'") from None
        losses = [m for m in self.metrics if m.endswith("loss")]
        rates = [m for m in self.metrics if m == "learning_rate"]
        others = [m for m in self.metrics if m not in (*losses, *rates)]
        panels = [losses, *(names for names in (others, rates) if names)]
        figure = Figure(figsize=(5 * len(panels), 3.6), layout="constrained")
        axes: Any = figure.subplots(1, len(panels), squeeze=False)[0]
        for panel, names in zip(axes, panels, strict=True):
            for name in names:
                points = [(row["epoch"], row[name]) for row in self.rows if name in row]
                panel.plot(*zip(*points, strict=True), "--" if name.startswith("val_") else "-", label=name)
            panel.set_xlabel("epoch")
            panel.xaxis.get_major_locator().set_params(integer=True)
            panel.grid(alpha=0.3)
            panel.legend()
        figure.suptitle(title)
        suffix = Path(path).suffix.lstrip(".").lower() or "png"
        known = figure.canvas.get_supported_filetypes()
        if suffix not in known:
            raise KigraphError(
                f"{os.fspath(path)}: a picture cannot be written as '.{suffix}'; known: {', '.join(sorted(known))}"
            )
        picture = io.BytesIO()
        figure.savefig(picture, dpi=120, format=suffix)
        return _written(path, picture.getvalue())


def _written(path: str | os.PathLike[str], data: bytes) -> Path:
    """Writes a file at once, or not at all."""
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    with replacing(target, shared=True) as file:
        file.write(data)
    return target
