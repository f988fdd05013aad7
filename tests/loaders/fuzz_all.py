"""Mutates small files of every family and opens them: python tests/loaders/fuzz_all.py SECONDS [--family NAME ...]

The openers run in a child process with limits on memory and CPU time per file; the parent notes what killed it and
starts another one. Findings: an exception that is not ours, more than LIMIT_SECONDS of CPU for one file, a crash, a hang.
Each is printed once with its traceback, and its file is kept. Exit code 1 if there are any.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import random
import re
import resource
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
sys.path.append(str(Path(__file__).parents[2]))  # behind an installed kigraph
import fuzz_seeds

from kigraph.graph.ir import Literal
from kigraph.graph.loaders import LoadLimits
from kigraph.kernels.errors import KigraphError

#: Small, so that what slips through cannot take much memory either.
LIMITS = LoadLimits(max_bytes=1 << 22, max_tensors=200, max_nodes=500)
LIMIT_SECONDS = 2.0
#: CPU seconds after which a child is killed: a loop in C does not see Python's signals.
HANG_SECONDS = 10
MEMORY = 2 << 30


# --- opening --------------------------------------------------------------------------------------------------------


def open_model(path: Path) -> None:
    """Opens, finds the card, reads everything."""
    from kigraph.opening import open_file
    from kigraph.weights.cards import find_card

    opened = open_file(path, LIMITS)
    for name in opened.weights or ():
        opened.weights.read(name)  # type: ignore[union-attr]
        str(name).encode()
    if opened.graph is not None:
        for op in opened.graph.operations:
            value = op.attrs.get("value")
            if isinstance(value, Literal):
                value.array()
        find_card(opened.graph, family=opened.naming if hasattr(opened, "naming") else None)


def open_checkpoint(path: Path) -> None:
    from kigraph.train.checkpoint import load_checkpoint

    load_checkpoint(path, LIMITS)


def open_labels(path: Path) -> None:
    from kigraph.vision.labels import read_label_file

    read_label_file(path)


def open_image(path: Path) -> None:
    from kigraph.vision.decode import decode_image, read_image

    decode_image(read_image(path), max_pixels=1 << 20)


def open_archive(path: Path) -> None:
    from kigraph.weights.archive import extract_member

    extract_member(path, "weights.bin", path.with_suffix(".out"))


def inspect(path: Path) -> None:
    """The command, with all that it works out; it may end with an error of ours, never with another one."""
    from kigraph.cli import main

    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out), contextlib.suppress(SystemExit):
        main(["inspect", str(path)])


OPENERS: dict[str, Callable[[Path], None]] = {
    "checkpoint": open_checkpoint, "labels": open_labels, "image": open_image, "archive": open_archive,
}  # fmt: skip


# --- mutating -------------------------------------------------------------------------------------------------------

_BYTES = (0, 1, 2, 0x7F, 0x80, 0xFE, 0xFF)
_NUMBERS = (0, 1, 2, 255, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 1 << 40, (1 << 63) - 1, 1 << 63, (1 << 64) - 1)
_TEXTS = (
    b"9" * 30, b"9" * 5000, b"-1", b"1e999", b"NaN", b"null", b"[" * 3000, b"{}", b'"\\ud800"', b"\xff\xfe", b"../x", b"\0",
    b"true", b"1.5", b'{"a":1,"a":2}',
)  # fmt: skip


def mutate(data: bytes, rng: random.Random, others: list[bytes]) -> bytes:
    """One to six edits."""
    out = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 3, 6))):
        size = len(out)
        at = rng.randrange(size + 1)
        kind = rng.randrange(11)
        if kind == 0 and size:
            out[at % size] ^= 1 << rng.randrange(8)
        elif kind == 1 and size:
            out[at % size] = rng.choice((*_BYTES, rng.randrange(256)))
        elif kind == 2:  # another length, count or address
            width = rng.choice((2, 4, 8))
            value = rng.choice((*_NUMBERS, size, size - 1, rng.randrange(size + 1)))
            at -= at % rng.choice((1, width))
            out[at : at + width] = (value & (1 << 8 * width) - 1).to_bytes(width, "little")
        elif kind == 3:  # an address of another place: shared parts and cycles
            start = rng.randrange(size + 1) & ~7
            out[at & ~7 : (at & ~7) + 8] = out[start : start + 8]
        elif kind == 4:
            del out[at : at + rng.choice((1, 4, 8, 64))]
        elif kind == 5:
            out[at:at] = out[at : at + rng.choice((1, 8, 64, 512))]
        elif kind == 6:
            start, count = rng.randrange(size + 1), rng.choice((8, 24, 64, 256))
            out[at : at + count] = out[start : start + count]
        elif kind == 7 and rng.random() < 0.3:
            del out[at:]
        elif kind == 8:
            numbers = list(re.finditer(rb"[0-9]+|[a-z]{3,}", out))
            if numbers:
                found = rng.choice(numbers)
                out[found.start() : found.end()] = rng.choice(_TEXTS)
        elif kind == 9 and rng.random() < 0.2:
            other = rng.choice(others)
            start = rng.randrange(len(other) + 1)
            out[at:] = other[start:]
        elif kind == 10 and rng.random() < 0.05:
            out[at:at] = bytes(out[at : at + 16]) * rng.choice((100, 2000))
    return bytes(out)


# --- the child ------------------------------------------------------------------------------------------------------


def child(folder: Path, seconds: float, seed: int, families: list[str]) -> None:
    from kigraph.graph.formats.hdf5 import blocks

    seeds = fuzz_seeds.make(folder)
    verify = blocks.Block.verify
    for family, files in seeds.items():  # what is not damaged opens
        for data in files if family in families else []:
            run_one(folder / "case", family, fuzz_seeds.PACKERS.get(family, bytes)(data))
    usage = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY + usage, MEMORY + usage))
    rng = random.Random(seed)
    counts = dict.fromkeys(families, 0)
    end = time.monotonic() + seconds
    slowest = 0.0
    while time.monotonic() < end:
        family = rng.choice(families)
        data = rng.choice(seeds[family])
        changed = fuzz_seeds.PACKERS.get(family, bytes)(mutate(data, rng, seeds[family]))
        # Half of the time checksums are not looked at, so that what they protect is reached.
        blocks.Block.verify = verify if rng.random() < 0.5 else _take_off  # type: ignore[method-assign]
        path = folder / "case"
        (folder / "family").write_text(family)
        start = time.process_time()
        signal.setitimer(signal.ITIMER_PROF, HANG_SECONDS)
        try:
            run_one(path, family, changed)
            if rng.random() < 0.02 and family.split("-")[0] not in OPENERS:
                inspect(path)
        except KigraphError:
            pass
        except BaseException as error:
            report(family, changed, f"{type(error).__name__}: {str(error)[:200]}", traceback.format_exc())
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
        spent = time.process_time() - start
        slowest = max(slowest, spent)
        if spent > LIMIT_SECONDS:
            report(family, changed, "slow", f"{spent:.1f} s of CPU for {len(changed)} bytes")
        counts[family] += 1
    print(json.dumps({"counts": counts, "slowest": slowest}), flush=True)


def run_one(path: Path, family: str, data: bytes) -> None:
    path.write_bytes(data)
    OPENERS.get(family.split("-")[0], open_model)(path)


def _take_off(block: Any) -> None:
    block.data = block.data[:-4]


def report(family: str, data: bytes, what: str, text: str) -> None:
    print(json.dumps({"family": family, "what": what, "text": text, "data": data.hex()}), flush=True)


# --- the parent -----------------------------------------------------------------------------------------------------


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("seconds", type=float)
    parser.add_argument("--family", nargs="*", choices=fuzz_seeds.FAMILIES, default=list(fuzz_seeds.FAMILIES))
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--keep", type=Path, default=Path(tempfile.gettempdir()) / "kigraph-fuzz")
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        child(options.child, options.seconds, options.seed, options.family)
        return 0
    end = time.monotonic() + options.seconds
    counts: dict[str, int] = {}
    findings: dict[str, dict[str, Any]] = {}
    slowest, rounds = 0.0, 0
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as name:
        while (left := end - time.monotonic()) > 0:
            command = [
                sys.executable,
                __file__,
                str(min(left, 60)),
                "--child",
                name,
                "--seed",
                str(options.seed + rounds),
            ]
            with subprocess.Popen(
                [*command, "--family", *options.family], stdout=subprocess.PIPE, text=True
            ) as process:
                try:
                    output, _ = process.communicate(timeout=left + 120)
                except subprocess.TimeoutExpired:
                    process.kill()
                    output, _ = process.communicate()
            rounds += 1
            for line in output.splitlines():
                entry = json.loads(line)
                if "counts" in entry:
                    slowest = max(slowest, entry["slowest"])
                    for family, count in entry["counts"].items():
                        counts[family] = counts.get(family, 0) + count
                else:
                    places = re.findall(r'File "[^"]*/([^"/]+)", line (\d+)', entry["text"])
                    findings.setdefault(f"{entry['family']} {entry['what'][:60]} {places[-1:]}", entry)
            if process.returncode:
                case = Path(name) / "case"
                data = case.read_bytes() if case.exists() else b""
                family = (Path(name) / "family").read_text() if (Path(name) / "family").exists() else "?"
                what = f"the process ended with {process.returncode}" + " (hang)" * (
                    process.returncode == -signal.SIGPROF
                )
                findings.setdefault(
                    f"{family} {what}", {"family": family, "what": what, "text": "", "data": data.hex()}
                )
                if rounds > 50 or family == "?":  # the seeds themselves do not open
                    break
    for i, entry in enumerate(findings.values()):
        options.keep.mkdir(parents=True, exist_ok=True)
        file = options.keep / f"{entry['family']}-{options.seed}-{i}"
        file.write_bytes(bytes.fromhex(entry["data"]))
        print(f"\n{entry['family']}: {entry['what']}\n{entry['text']}\nfile: {file}")
    print(
        f"{sum(counts.values())} files, slowest {slowest:.2f} s, {len(findings)} findings, seed {options.seed}: {counts}"
    )
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
