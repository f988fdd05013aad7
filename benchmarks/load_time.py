"""From a model file to a prepared session, next to reading the file's bytes and packing its weights by themselves.

    python -m benchmarks.load_time model.pb saved_model_folder model.onnx ...       # a row per model
    python -m benchmarks.load_time --runs 10 --json model.pb

Each figure is measured in a process of its own, several times in turn, on one thread and without the caches of packed weights;
the median counts. ``read``: all bytes of the model's files into memory. ``pack``: the packing functions of its kernels on
arrays that are in memory. ``load``: ki.load, then what a session does once, before its first answer: passes, choice of
kernels, reading, packing; imports are made before. ``ratio``: load / (read + pack). ``peak``: what a new process needs at
most until its first answer is there, beyond what the imports take, as a multiple of the size of the files.
CPU time is user and system time, for busy machines; wall time is for idle ones.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import kigraph as ki

__all__ = ["main", "measured"]

_READ_BLOCK = 1 << 20


def files_of(model: Path) -> list[Path]:
    """The files of a model: those of a folder; else the file, and beside an ONNX model those of its external data."""
    if model.is_dir():
        return sorted(p for p in model.rglob("*") if p.is_file())
    beside = model.suffix == ".onnx" and len(list(model.parent.iterdir())) <= 3
    return sorted(p for p in model.parent.iterdir() if p.suffix in (".onnx", ".data")) if beside else [model]


def _timed(work: Callable[[], Any]) -> tuple[float, float]:
    """Seconds of CPU time and of wall time."""
    cpu, wall = time.process_time(), time.perf_counter()
    work()
    return time.process_time() - cpu, time.perf_counter() - wall


def _read(model: Path) -> None:
    for path in files_of(model):
        size = path.stat().st_size
        data = memoryview(bytearray(size))
        descriptor = os.open(path, os.O_RDONLY)
        try:
            done = 0
            while done < size:
                done += os.readv(descriptor, [data[done : done + _READ_BLOCK]])
        finally:
            os.close(descriptor)


def _answer(model: ki.Classifier, images: np.ndarray[Any, Any]) -> None:
    card = model.require_card()
    model.session.run(card.output, {card.input: images})


def _images(model: ki.Classifier) -> np.ndarray[Any, Any]:
    return np.zeros((model.fixed_batch or 1, *model.image_shape), np.float32)


def _load(path: Path) -> tuple[float, float]:
    """Without imports and without the time of a run: both are known from a first round."""
    model = ki.load(path, threads=1)
    images = _images(model)
    _answer(model, images)
    run = min(_timed(partial(_answer, model, images)) for _ in range(3))
    model.session.close()
    del model
    cpu, wall = _timed(lambda: _answer(ki.load(path, threads=1), images))
    return cpu - run[0], wall - run[1]


def _pack(path: Path) -> tuple[float, float]:
    """The sum over all arrays that kernels pack."""
    from kigraph.graph.packed.store import ConstantStore

    packings: list[tuple[Callable[[Any], Any], Any]] = []
    plain = ConstantStore.packed

    def noted(self: Any, kernel: Any, layout: str, literal: Any, pack: Callable[[Any], Any]) -> Any:
        packings.append((pack, literal))
        return plain(self, kernel, layout, literal, pack)

    ConstantStore.packed = noted  # type: ignore[method-assign]
    model = ki.load(path, threads=1)
    _answer(model, _images(model))
    cpu = wall = 0.0
    made = []  # all are kept, as a session does: memory that is given back and taken anew costs less
    for pack, literal in packings:
        array = literal.array()
        times = _timed(lambda: made.append(pack(array)))  # noqa: B023 - it is called at once
        cpu, wall = cpu + times[0], wall + times[1]
    return cpu, wall


def _memory(field: str) -> int:
    with open("/proc/self/status", encoding="ascii") as file:
        return next(int(line.split()[1]) << 10 for line in file if line.startswith(field))


def _peak(path: Path) -> tuple[float, float]:
    """Bytes: the rise above what the process had before the model, and all."""
    import kigraph.classifier
    import kigraph.graph.session  # noqa: F401

    before = _memory("VmRSS")
    model = ki.load(path, threads=1)
    _answer(model, _images(model))
    return float(_memory("VmHWM") - before), float(_memory("VmHWM"))


_PARTS: dict[str, Callable[[Path], tuple[float, float]]] = {
    "read": lambda path: _timed(lambda: _read(path)),
    "pack": _pack,
    "load": _load,
    "peak": _peak,
}


def _in_a_process(part: str, path: Path) -> tuple[float, float]:
    environment = os.environ | {"KIGRAPH_PACKED_CACHE": "off", "KIGRAPH_TUNE": "off"}
    command = [sys.executable, "-m", "benchmarks.load_time", "--part", part, str(path)]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    cpu, wall = json.loads(done.stdout)
    return cpu, wall


def measured(path: Path, runs: int) -> dict[str, Any]:
    """One row: seconds and bytes."""
    found: dict[str, list[tuple[float, float]]] = {part: [] for part in _PARTS}
    for _ in range(runs):
        for part, times in found.items():
            times.append(_in_a_process(part, path))
    middle = {part: [statistics.median(column) for column in zip(*t, strict=True)] for part, t in found.items()}
    size = sum(p.stat().st_size for p in files_of(path))
    row: dict[str, Any] = {"model": str(path), "bytes": size}
    for at, clock in enumerate(("cpu", "wall")):
        row |= {f"{part}_{clock}_s": middle[part][at] for part in ("read", "pack", "load")}
        row[f"ratio_{clock}"] = middle["load"][at] / (middle["read"][at] + middle["pack"][at])
    return row | {"peak_bytes": middle["peak"][0], "process_bytes": middle["peak"][1], "peak": middle["peak"][0] / size}


def main(arguments: Sequence[str] | None = None) -> None:
    """The command; prints a table, or one JSON document."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.load_time", description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="+", type=Path, help="model files, or folders of SavedModels")
    parser.add_argument("--runs", type=int, default=5, help="processes per figure (default: 5)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--part", choices=sorted(_PARTS), help=argparse.SUPPRESS)
    args = parser.parse_args(arguments)
    if args.part:
        print(json.dumps(_PARTS[args.part](args.models[0])))
        return
    rows = []
    if not args.json:
        print(
            f"{'model':32} {'MB':>6}  {'read':>13} {'pack':>13} {'load':>13}  {'ratio':>11}  peak / size   (CPU | wall)"
        )
    for path in args.models:
        row = measured(path, args.runs)
        rows.append(row)
        if not args.json:
            times = " ".join(f"{row[f'{p}_cpu_s']:6.3f}|{row[f'{p}_wall_s']:6.3f}" for p in ("read", "pack", "load"))
            ratios = f"{row['ratio_cpu']:5.2f}|{row['ratio_wall']:5.2f}"
            print(f"{path.name:32} {row['bytes'] / 1e6:6.1f}  {times}  {ratios}  {row['peak']:.2f}", flush=True)
    if args.json:
        print(json.dumps(rows, indent=2))


if __name__ == "__main__":
    main()
