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

__all__ = ["Setting", "answers", "errors", "is_rival", "measure", "ratios"]

Array = np.ndarray[Any, Any]

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
    truth: tuple[Array, Array] | None,
    tick: Callable[[str], None],
    *,
    accuracy: bool = True,
    tolerance: float | None = None,
    least: int = 3,
) -> dict[str, Any]:
    """Times of one setting. A contender that fails is left out with its reason under "failed".

    tick: called before every turn with what comes. accuracy: whether the answers for all images are compared with the truth,
    not only those of one batch. tolerance: a contender whose logits are further from the truth, relative L2 of the worst image,
    fails, too. least: runs of a turn, however long they take.
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
        count = max(network.count, setting.batch) if accuracy else setting.batch
        differences, logits = _compared(workers, failed, network, setting, truth, count, tolerance, tick)
        turns: dict[str, list[list[float]]] = {name: [] for name in workers}
        for number in range(rounds):
            for name, worker in workers.items():
                tick(f"{setting}: round {number + 1} of {rounds}, {name}")
                turns[name].append(worker.ask(do="run", seconds=seconds, least=least)["ms"])
                time.sleep(_REST)
        profiles = {name: worker.ask(do="profile") for name, worker in workers.items() if name == "kigraph"}
        versions = {name: worker.version for name, worker in workers.items()}
        notes = {name: worker.note for name, worker in workers.items() if worker.note}
    finally:
        for worker in workers.values():
            worker.close()
    result: dict[str, Any] = {"threads": setting.threads, "batch": setting.batch, "rounds": rounds, "failed": failed}
    result |= _figures(turns)
    result["difference"] = differences
    result["accuracy"] = {n: errors(y, truth[0]) for n, y in logits.items()} if truth is not None and accuracy else {}
    result["versions"] = versions
    result["notes"] = notes
    result["profiles"] = {name: found for name, found in profiles.items() if found}
    return result


def _figures(turns: Mapping[str, Sequence[Sequence[float]]]) -> dict[str, Any]:
    """Medians, least times and ratios of the times of each contender's runs, by round."""
    medians = {name: [statistics.median(turn) for turn in all_] for name, all_ in turns.items()}
    return {
        "ms": {name: statistics.median(m) for name, m in medians.items()},
        "best_ms": {name: min(map(min, all_)) for name, all_ in turns.items()},
        "ms_by_round": medians,
        "runs": {name: sum(map(len, all_)) for name, all_ in turns.items()},
        "ratios": ratios(medians),
    }


def _compared(
    workers: dict[str, Worker],
    failed: dict[str, str],
    network: Network,
    setting: Setting,
    truth: tuple[Array, Array] | None,
    count: int,
    tolerance: float | None,
    tick: Callable[[str], None],
) -> tuple[dict[str, Any], dict[str, Array]]:
    """How far the answers of each are from the truth, and its logits of ``count`` images. Who fails goes from workers to failed."""
    differences: dict[str, Any] = {}
    found: dict[str, Array] = {}
    for name in list(workers) if truth is not None else ():
        assert truth is not None
        tick(f"{setting}: {name} answers for {count} images")
        try:
            logits, probabilities = answers(workers[name], network, count)
            differences[name] = _difference(logits, probabilities, truth, setting.batch)
            gap = differences[name]["logits"]
            if tolerance is not None and not gap <= tolerance:  # not a number is wrong, too
                off = f"{gap:.1e} from float64 (relative L2 of the logits)"
                raise RuntimeError(f"wrong answer: {off}, at most {tolerance:.0e} expected")
        except RuntimeError as error:
            failed[name] = str(error)
            workers.pop(name).close()
            continue
        found[name] = logits
    return differences, found


def ratios(medians: Mapping[str, Sequence[float]]) -> dict[str, dict[str, float]]:
    """kigraph over the fastest peer of the same precision and round: the median over rounds, the least and the largest."""
    found: dict[str, dict[str, float]] = {}
    for name, mine in medians.items():
        one = contender(name)
        peers = [m for other, m in medians.items() if is_rival(other, one.precision)]
        if peers and not one.peer:
            fastest = [min(times) for times in zip(*peers, strict=True)]
            each = [a / b for a, b in zip(mine, fastest, strict=True)]
            found[name] = {"median": statistics.median(each), "low": min(each), "high": max(each)}
    return found


def is_rival(name: str, precision: str) -> bool:
    """Whether it is a peer that multiplies in this precision."""
    return contender(name).peer and contender(name).precision == precision


def answers(worker: Worker, network: Network, count: int) -> tuple[Array, Array]:
    """A contender's logits and probabilities of the first images (images, classes)."""
    file = Path(network.folder, f"{worker.name}.npz")
    worker.ask(do="outputs", file=str(file), count=count)
    with np.load(file) as got:
        return got["logits"], got["probabilities"]


def centred(logits: Array) -> Array:
    """Less the mean of each image."""
    return logits - logits.mean(-1, keepdims=True)


def errors(logits: Array, truth: Array) -> dict[str, Any]:
    """Errors of logits (images, classes) in their own unit, the truth's spread beside them, and how often the first class is
    the truth's. Ties go to the lower class on both sides. Each image's logits count from their mean, which no softmax sees."""
    truth = centred(truth[np.arange(len(logits)) % len(truth)])
    gap = centred(logits.astype("f8")) - truth
    return {
        "images": len(logits),
        "largest": float(np.abs(gap).max()),
        "rms": float(np.sqrt((gap * gap).mean())),
        "logits_rms": float(np.sqrt((truth * truth).mean())),
        "same_top1": int((logits.argmax(-1) == truth.argmax(-1)).sum()),
    }


def _difference(logits: Array, probabilities: Array, truth: tuple[Array, Array], batch: int) -> dict[str, Any]:
    """Of one batch, the worst image: relative L2; and whether every first class is the truth's."""
    which = np.arange(batch) % len(truth[0])
    return {
        "logits": difference(centred(logits[:batch]), centred(truth[0][which])),
        "probabilities": difference(probabilities[:batch], truth[1][which]),
        "same_top1": bool((logits[:batch].argmax(-1) == truth[0][which].argmax(-1)).all()),
    }
