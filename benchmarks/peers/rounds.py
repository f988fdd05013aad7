"""Warm times: contenders in turn, round after round, and what is made of them."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .contenders import contender
from .network import Network, difference
from .worker import Worker

__all__ = ["Setting", "measure", "ratios"]

#: Seconds between turns: the threads of some libraries spin for a while after a run.
_REST = 0.02


@dataclass(frozen=True, slots=True)
class Setting:
    """Threads and images at once."""

    threads: int
    batch: int

    def __str__(self) -> str:
        return f"{self.threads} thread{'s' if self.threads > 1 else ''}, batch {self.batch}"


def measure(
    network: Network,
    setting: Setting,
    names: Sequence[str],
    rounds: int,
    seconds: float,
    truth: tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]] | None,
    tick: Callable[[str], None],
) -> dict[str, Any]:
    """Times of one setting. A contender that fails is left out with its reason under "failed".

    tick: called before every turn with what comes.
    """
    workers: dict[str, Worker] = {}
    failed: dict[str, str] = {}
    try:
        for name in names:
            tick(f"{setting}: {name} gets ready")
            try:
                workers[name] = Worker(name, network.folder, setting.threads, setting.batch)
            except RuntimeError as error:
                failed[name] = str(error)
        differences = {}
        for name, worker in workers.items():
            if truth is not None:
                differences[name] = _difference(worker, network, setting.batch, truth)
        turns: dict[str, list[list[float]]] = {name: [] for name in workers}
        for number in range(rounds):
            for name, worker in workers.items():
                tick(f"{setting}: round {number + 1} of {rounds}, {name}")
                turns[name].append(worker.ask(do="run", seconds=seconds)["ms"])
                time.sleep(_REST)
        versions = {name: worker.version for name, worker in workers.items()}
    finally:
        for worker in workers.values():
            worker.close()
    result: dict[str, Any] = {"threads": setting.threads, "batch": setting.batch, "rounds": rounds, "failed": failed}
    medians = {name: [statistics.median(turn) for turn in all_] for name, all_ in turns.items()}
    result["ms"] = {name: statistics.median(m) for name, m in medians.items()}
    result["best_ms"] = {name: min(map(min, all_)) for name, all_ in turns.items()}
    result["ms_by_round"] = medians
    result["runs"] = {name: sum(map(len, all_)) for name, all_ in turns.items()}
    result["difference"] = differences
    result["versions"] = versions
    result["ratios"] = ratios(medians)
    return result


def ratios(medians: Mapping[str, Sequence[float]]) -> dict[str, dict[str, float]]:
    """kigraph over the fastest peer of the same round: the median over rounds, the least and the largest."""
    peers = [m for name, m in medians.items() if contender(name).peer]
    found: dict[str, dict[str, float]] = {}
    if peers:
        fastest = [min(times) for times in zip(*peers, strict=True)]
        for name, mine in medians.items():
            if not contender(name).peer:
                each = [a / b for a, b in zip(mine, fastest, strict=True)]
                found[name] = {"median": statistics.median(each), "low": min(each), "high": max(each)}
    return found


def _difference(
    worker: Worker, network: Network, batch: int, truth: tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]
) -> dict[str, Any]:
    file = Path(network.folder, f"{worker.name}.npz")
    worker.ask(do="outputs", file=str(file))
    with np.load(file) as got:
        which = np.arange(batch) % len(truth[0])
        return {
            "logits": difference(got["logits"], truth[0][which]),
            "probabilities": difference(got["probabilities"], truth[1][which]),
            "same_top1": bool((got["logits"].argmax(-1) == truth[0][which].argmax(-1)).all()),
        }
