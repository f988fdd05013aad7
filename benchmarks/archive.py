"""JPEG files to labels: images/s next to what the network alone does, and next to ONNX Runtime with simplejpeg.

    python -m benchmarks.archive --weights flowers.pb --photos FOLDER [--images 400] [--rounds 5] [--threads 2] [--json FILE]

Files are read, decoded, resized and classified, in turn with the network alone on images that are ready, in the better of two
ways: one run on all threads, or runs side by side on one thread each. ONNX Runtime, if it is installed, runs the same network
(written by kigraph) from the same files, decoded by simplejpeg in threads, in the better of the same two ways. Reported are the
medians, processor time for each image, and the costs of a million images. Run it on an otherwise idle machine.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import kigraph as ki
from kigraph.kernels.settings import resolve_threads
from kigraph.many import BATCH
from kigraph.vision.pipeline import decoded, in_order

__all__ = ["main"]

#: At least so much of the network's own speed, and so many times the speed of ONNX Runtime.
SHARE, RATIO = 0.95, 1.7


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--weights", required=True)
    parser.add_argument(
        "--photos", type=Path, required=True, help="folder of JPEG files, used in turn until there are enough"
    )
    parser.add_argument("--images", type=int, default=400)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=resolve_threads())
    parser.add_argument("--dollars", type=float, default=0.04, help="price of a CPU for an hour (default: 0.04)")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    found = sorted(str(p) for p in args.photos.rglob("*.jp*g"))
    paths = (found * (args.images // len(found) + 1))[: args.images]
    with tempfile.TemporaryDirectory() as folder:
        contenders = _contenders(args.weights, paths, args.threads, Path(folder))
        times: dict[str, list[tuple[float, float]]] = {name: [] for name in contenders}
        for run in contenders.values():
            run()  # compiled, and the files in the memory of the system
        for _ in range(args.rounds):
            for name, run in contenders.items():
                start, cpu = time.perf_counter(), time.process_time()
                run()
                times[name].append((time.perf_counter() - start, time.process_time() - cpu))
    return _report(times, args)


def _contenders(weights: str, paths: list[str], threads: int, folder: Path) -> dict[str, Callable[[], object]]:
    """Name -> what runs all images once. The network is one that takes pixels: a graph that decodes is written without that."""
    network = folder / "network.onnx"
    ki.save(ki.load(weights), network)
    model = ki.load(network, threads=threads)
    card, batch = model.require_card(), model.fixed_batch or BATCH
    ready = [model.prepare([path]) for path in paths[: 4 * batch]]
    batches = [np.concatenate(ready[at : at + batch]) for at in range(0, len(ready), batch)]
    batches = (batches * (len(paths) // len(ready) + 1))[: len(paths) // batch]
    narrow = model.session.with_threads(1)

    def wide_network() -> None:
        for images in batches:
            model.session.run(card.output, {card.input: images})

    def narrow_network() -> None:
        for _ in in_order(
            batches, lambda b: narrow.run(card.output, {card.input: b}), workers=threads, ahead=2 * threads
        ):
            pass

    contenders: dict[str, Callable[[], object]] = {
        "files": lambda: list(model.classify_many(paths)),
        "network, one run": wide_network,
        "network, side by side": narrow_network,
    }
    if importlib.util.find_spec("onnxruntime"):
        contenders |= _onnxruntime(network, model, paths, threads, batch)
    return contenders


def _onnxruntime(
    network: Path, model: ki.Classifier, paths: list[str], threads: int, batch: int
) -> dict[str, Callable[[], object]]:
    import onnxruntime
    import simplejpeg

    card = model.require_card()

    def prepare(path: str) -> np.ndarray[Any, Any]:
        with open(path, "rb") as file:
            pixels = simplejpeg.decode_jpeg(file.read())
        return card.arrange(card.preprocessing(pixels)[None], np.dtype(np.float32))

    def session(width: int) -> Any:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = width
        return onnxruntime.InferenceSession(str(network), options, providers=["CPUExecutionProvider"])

    def run(runtime: Any, lanes: int) -> None:
        name = runtime.get_inputs()[0].name
        items = decoded(paths, prepare, workers=threads, ahead=batch * (lanes + 1) + threads)

        def chunks() -> Any:
            chunk = []
            for item in items:
                chunk.append(item.image)
                if len(chunk) == batch:
                    yield np.concatenate(chunk)
                    chunk = []
            if chunk:
                yield np.concatenate(chunk)

        for scores in in_order(chunks(), lambda b: runtime.run(None, {name: b})[0], workers=lanes, ahead=lanes + 1):
            np.argsort(-scores, axis=1)[:, :5]

    wide, narrow = session(threads), session(1)
    return {
        "onnxruntime, one run": lambda: run(wide, 1),
        "onnxruntime, side by side": lambda: run(narrow, threads),
    }


def _report(times: dict[str, list[tuple[float, float]]], args: argparse.Namespace) -> int:
    speed = {name: args.images / statistics.median(wall for wall, _ in runs) for name, runs in times.items()}
    cpu = {name: statistics.median(used for _, used in runs) / args.images * 1e3 for name, runs in times.items()}
    for name in times:
        print(f"{name:28} {speed[name]:9.2f} images/s {cpu[name]:9.2f} ms of processor time an image")
    own = max(speed[name] for name in speed if name.startswith("network"))
    share = speed["files"] / own
    used = min(cpu[name] for name in cpu if name.startswith("network")) / cpu["files"]
    result: dict[str, Any] = {"images_per_second": speed, "cpu_ms": cpu, "share": share, "share_by_cpu": used}
    print(f"share of the network's own speed: {share:.1%} (wanted {SHARE:.0%}); by processor time {used:.1%}")
    good = share >= SHARE
    others = [speed[name] for name in speed if name.startswith("onnxruntime")]
    if others:
        result["times_onnxruntime"] = speed["files"] / max(others)
        print(f"times ONNX Runtime with simplejpeg: {result['times_onnxruntime']:.2f} (wanted {RATIO})")
        good &= result["times_onnxruntime"] >= RATIO
    hours = 1e6 / speed["files"] / 3600
    result |= {"hours_per_million": hours, "cpu_hours_per_million": hours * args.threads, "cpus": os.cpu_count()}
    print(
        f"a million images: {hours:.2f} h on {args.threads} threads, {hours * args.threads * args.dollars:.2f} dollars"
    )
    if args.json:
        args.json.write_text(json.dumps(result, indent=2) + "\n")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
