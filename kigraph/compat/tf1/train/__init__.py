"""tf.train: optimizers.py, schedules.py (learning rates, step counter, moving averages), saver.py (checkpoints)."""

from __future__ import annotations

__all__: list[str] = []
