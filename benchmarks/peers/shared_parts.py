"""What the commands share: progress, the head of a result, the network with its files, the truth from the cache folder."""

from __future__ import annotations

import argparse
import contextlib
import datetime
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from ..peak import peak_gflops, read_gbytes
from .contenders import contender, wants_int8

__all__ = [
    "ROOT",
    "about_here",
    "existing_file",
    "left",
    "names_of",
    "numbers",
    "prepare",
    "progress",
    "settings_of",
    "truth_in_cache",
]

ROOT = Path(__file__).resolve().parents[2]


def existing_file(text: str) -> Path:
    """An argument that names a file."""
    if not Path(text).is_file():
        raise argparse.ArgumentTypeError(f"{text!r} is no file")
    return Path(text)


def numbers(text: str) -> list[int]:
    """An argument like 1,2."""
    if not all(part.isdecimal() and int(part) > 0 for part in text.split(",")):
        raise argparse.ArgumentTypeError(f"expected whole numbers such as 1,2, got {text!r}")
    return [int(part) for part in text.split(",")]


def names_of(known: Sequence[str]) -> Callable[[str], list[str]]:
    """Reads an argument like a,b: known names, in the order of ``known``."""

    def parse(text: str) -> list[str]:
        unknown = [part for part in text.split(",") if part not in known]
        if unknown:
            raise argparse.ArgumentTypeError(f"unknown: {', '.join(unknown)}; known: {', '.join(known)}")
        return [name for name in known if name in text.split(",")]

    return parse


def settings_of(args: argparse.Namespace) -> list[tuple[int, int]]:
    """(threads, images at once), from the arguments threads, batch and quick."""
    from kigraph.kernels.settings import available_cpus

    cpus = available_cpus()
    threads = args.threads or ([1] if args.quick else sorted({1, min(2, cpus), cpus}))
    batches = args.batch or ([1] if args.quick else [1, 8])
    return [(t, b) for t in threads for b in batches]


@contextlib.contextmanager
def progress(total: int) -> Iterator[Callable[[str], None]]:
    """A bar on standard error that moves with every call; lines of text where that is no terminal."""
    if not sys.stderr.isatty():
        last = ""

        def tell(what: str) -> None:
            nonlocal last
            head = what.partition(":")[0].partition(" of ")[0]
            if head != last:
                print(head, file=sys.stderr, flush=True)
            last = head

        yield tell
        return
    from kigraph.progress import Bar

    with Bar("", total) as bar:
        bar.update(0)
        yield lambda what: bar.update(what=what)


def about_here(threads: Sequence[int]) -> dict[str, Any]:
    """The machine, the commit and the date, for the head of a result."""
    from kigraph.machine import describe

    def git(*arguments: str) -> str:
        done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
        return done.stdout.strip()

    machine = describe().to_json()
    machine["peak_gflops"] = {str(n): peak_gflops(n) for n in threads}
    machine["read_gbytes_per_s"] = {str(n): read_gbytes(n) for n in threads}
    changed = "+changes" if git("status", "--porcelain", "--untracked-files=no") else ""
    return {
        "date": datetime.date.today().isoformat(),
        "commit": (git("rev-parse", "--short", "HEAD") or "unknown") + changed,
        "machine": machine,
    }


def left(names: Sequence[str], missing: dict[str, str]) -> list[str]:
    """The names without the missing ones, which are told on standard error; SystemExit if nobody is left."""
    for name in names:
        if name in missing:
            print(f"left out: {contender(name).title}: {missing[name]}", file=sys.stderr)
    names = [name for name in names if name not in missing]
    if not names:
        raise SystemExit("nobody is left to be measured")
    return names


def prepare(
    args: argparse.Namespace, folder: Path, names: Sequence[str], tick: Callable[[str], None]
) -> tuple[Any, str]:
    """The network with its quantised files, and why the ONNX one is missing, or ''.

    args: model, photographs, images (how many photographs), int8, tflite, as the commands parse them.
    """
    from .. import flowers
    from .network import write_network
    from .quantised import CALIBRATION, add_quantised

    own = None if args.model else flowers.trained()
    model = args.model or own
    images = flowers.photographs(args.photographs, args.images) if args.photographs or own else []
    if images and model is None:
        raise SystemExit("--photographs needs a trained network; remedy: --model FILE")
    tick("the network as GraphDef and ONNX")
    network = write_network(folder, model, images)
    tick("the quantised files")
    tflite = args.tflite or (flowers.int8_tflite() if own else None)
    return add_quantised(
        network, wanted=wants_int8(names), file=args.int8, tflite=tflite,
        calibration=flowers.calibration(CALIBRATION) if own else images,
    )  # fmt: skip


def truth_in_cache(network: Any, tick: Callable[[str], None]) -> Any:
    """Logits and probabilities in float64, from the cache folder or computed now: 0.5 s per image."""
    import numpy as np

    from .network import truth_of
    from .quantised import cache_folder, digest

    path = cache_folder() / f"truth-{digest(Path(network.model), Path(network.folder, 'images.npy'))}.npz"
    if not path.exists():
        logits, probabilities = truth_of(network, tick)
        part = Path(network.folder, path.name)
        np.savez(part, logits=logits, probabilities=probabilities)
        shutil.copy(part, path.with_suffix(".part"))
        path.with_suffix(".part").replace(path)
    with np.load(path) as found:
        return found["logits"], found["probabilities"]
