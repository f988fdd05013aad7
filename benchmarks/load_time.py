"""From a model file to a prepared session, next to reading the file's bytes and packing its weights by themselves.

    python -m benchmarks.load_time model.pb saved_model_folder model.onnx ...       # a row per model
    python -m benchmarks.load_time --runs 10 --json model.pb
    python -m benchmarks.load_time --precisions fp32,bf16,int8 --int8 int8.onnx model.pb   packed MB, peak MB, first answer

Three parts are measured in turn in one process, on one thread and without the caches of packed weights; what imports and
first calls cost is paid before, memory is given back after each part, and each process begins with another part. ``read``: all
bytes of the model's files into memory. ``pack``: the packing functions of its kernels on arrays that are in memory. ``load``:
ki.load, then what a session does once, before its first answer: passes, choice of kernels, reading, packing.
``ratio``: load / (read + pack) of one process, each the least of its turns: the speed of a shared machine changes within
seconds, so parts of different processes cannot be compared. The table has the median over the processes, and their least and
largest ratio. ``peak``: what a new process needs at most until its first answer is there, beyond what the imports take, as a
multiple of the size of the files. CPU time is user and system time, for busy machines; wall time is for idle ones.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import kigraph as ki

__all__ = ["main", "measured", "summary"]

_READ_BLOCK = 1 << 20
PARTS = ("read", "pack", "load")
#: How often a process measures each part, and how many processes measure the peak.
_TURNS, _PEAKS = 3, 2


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


def _give_back() -> None:
    """What one part has used goes back to the system, so that the next one faults its own pages in."""
    gc.collect()
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None).malloc_trim(0)


def _packings(path: Path) -> list[tuple[Callable[[Any], Any], Any]]:
    """What kernels pack when a model is loaded: the packing function and the constant."""
    from kigraph.graph.packed.store import ConstantStore

    found: list[tuple[Callable[[Any], Any], Any]] = []
    plain = ConstantStore.packed

    def noted(self: Any, kernel: Any, layout: str, literal: Any, pack: Callable[[Any], Any]) -> Any:
        found.append((pack, literal))
        return plain(self, kernel, layout, literal, pack)

    ConstantStore.packed = noted  # type: ignore[method-assign]
    try:
        model = ki.load(path, threads=1)
        _answer(model, _images(model))
    finally:
        ConstantStore.packed = plain  # type: ignore[method-assign]
    return found


def _pack(packings: Sequence[tuple[Callable[[Any], Any], Any]]) -> tuple[float, float]:
    """The sum over all arrays that kernels pack."""
    cpu = wall = 0.0
    made = []  # all are kept, as a session does: memory that is given back and taken anew costs less
    for pack, literal in packings:
        array = literal.array()
        times = _timed(lambda: made.append(pack(array)))  # noqa: B023 - it is called at once
        cpu, wall = cpu + times[0], wall + times[1]
    return cpu, wall


def _load(path: Path, images: np.ndarray[Any, Any]) -> tuple[float, float]:
    """Without the time of a run."""
    made: list[ki.Classifier] = []

    def first_answer() -> None:
        made.append(ki.load(path, threads=1))
        _answer(made[0], images)

    cpu, wall = _timed(first_answer)
    runs = [_timed(partial(_answer, made[0], images)) for _ in range(3)]
    made[0].session.close()
    return cpu - min(r[0] for r in runs), wall - min(r[1] for r in runs)


def _times(path: Path, begin: int) -> dict[str, tuple[float, float]]:
    """The least times of each part in this process; part number ``begin`` is the first of each turn."""
    packings = _packings(path)  # imports, and what a process computes once
    model = ki.load(path, threads=1)
    images = _images(model)
    del model
    parts: dict[str, Callable[[], tuple[float, float]]] = {
        "read": lambda: _timed(lambda: _read(path)),
        "pack": lambda: _pack(packings),
        "load": lambda: _load(path, images),
    }
    names = [PARTS[(begin + k) % len(PARTS)] for k in range(len(PARTS))]
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in names}
    for _ in range(_TURNS):
        for name in names:
            _give_back()
            found[name].append(parts[name]())
    return {name: (min(t[0] for t in times), min(t[1] for t in times)) for name, times in found.items()}


def _memory(field: str) -> int:
    with open("/proc/self/status", encoding="ascii") as file:
        return next(int(line.split()[1]) << 10 for line in file if line.startswith(field))


def _peak(path: Path) -> dict[str, int]:
    """Bytes: the rise above what the process had before the model, and all."""
    import kigraph.classifier
    import kigraph.graph.session  # noqa: F401

    before = _memory("VmRSS")
    model = ki.load(path, threads=1)
    _answer(model, _images(model))
    return {"peak_bytes": _memory("VmHWM") - before, "process_bytes": _memory("VmHWM")}


def _in_a_process(path: Path, part: str) -> dict[str, Any]:
    environment = os.environ | {"KIGRAPH_PACKED_CACHE": "off", "KIGRAPH_TUNE": "off"}
    command = [sys.executable, "-m", "benchmarks.load_time", "--part", part, str(path)]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def summary(processes: Sequence[Mapping[str, Sequence[float]]]) -> dict[str, Any]:
    """From the (CPU, wall) seconds of the parts, per process: medians of parts and of ratios, and the ratios' range."""
    row: dict[str, Any] = {}
    for at, clock in enumerate(("cpu", "wall")):
        row |= {f"{part}_{clock}_s": statistics.median(p[part][at] for p in processes) for part in PARTS}
        ratios = [p["load"][at] / (p["read"][at] + p["pack"][at]) for p in processes]
        row[f"ratio_{clock}"] = statistics.median(ratios)
        row[f"ratio_{clock}_range"] = [min(ratios), max(ratios)]
    return row


def measured(path: Path, runs: int) -> dict[str, Any]:
    """One row: seconds and bytes."""
    times = [_in_a_process(path, str(k % len(PARTS))) for k in range(runs)]
    peaks = [_in_a_process(path, "peak") for _ in range(_PEAKS)]
    row: dict[str, Any] = {"model": str(path), "bytes": sum(p.stat().st_size for p in files_of(path))}
    row |= summary(times) | {key: statistics.median(p[key] for p in peaks) for key in peaks[0]}
    return row | {"peak": row["peak_bytes"] / row["bytes"]}


def _precisions(text: str) -> list[str]:
    unknown = [name for name in text.split(",") if name not in ("fp32", "bf16", "int8")]
    if unknown:
        raise argparse.ArgumentTypeError(f"unknown: {', '.join(unknown)}; known: fp32, bf16, int8")
    return list(dict.fromkeys(text.split(",")))


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; prints a table, or one JSON document. Gives the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.load_time", description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="+", type=Path, help="model files, or folders of SavedModels")
    parser.add_argument("--runs", type=int, default=5, help="processes per model (default: 5)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument(
        "--precisions",
        type=_precisions,
        metavar="NAME,...",
        help="of fp32, bf16, int8: packed MB, peak MB and "
        "seconds to the first answer in each, instead of the parts (benchmarks/load_precisions.py)",
    )
    parser.add_argument(
        "--int8", type=Path, metavar="FILE", help="the quantised file for int8, as kigraph quantize writes it"
    )
    parser.add_argument("--backend", default="cython", help="for --precisions (default: cython)")
    parser.add_argument("--part", help=argparse.SUPPRESS)
    args = parser.parse_args(arguments)
    if args.part:
        path = args.models[0]
        print(json.dumps(_peak(path) if args.part == "peak" else _times(path, int(args.part))))
        return 0
    if args.precisions:
        from .load_precisions import main as of_precisions

        return of_precisions(args.models, args.int8, args.precisions, args.backend, args.runs, args.json)
    rows = []
    if not args.json:
        titles = "".join(f"{part:>14}" for part in PARTS)
        print(f"{'model':24} {'MB':>6}{titles}   ratio (least to largest)              peak / size   (CPU | wall)")
    for path in args.models:
        row = measured(path, args.runs)
        rows.append(row)
        if not args.json:
            times = " ".join(f"{row[f'{p}_cpu_s']:6.3f}|{row[f'{p}_wall_s']:6.3f}" for p in PARTS)
            ratios = " | ".join(
                f"{row[f'ratio_{c}']:.2f} ({row[f'ratio_{c}_range'][0]:.2f} to {row[f'ratio_{c}_range'][1]:.2f})"
                for c in ("cpu", "wall")
            )
            print(f"{path.name:24} {row['bytes'] / 1e6:6.1f} {times}   {ratios}   {row['peak']:.2f}", flush=True)
    if args.json:
        print(json.dumps(rows, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
