"""Mutates small files of every family and opens them: python tests/loaders/fuzz_all.py SECONDS [--family NAME ...]

The openers run in a child process with limits on memory and CPU time per file; the parent notes what killed it and
starts another one. Findings: an exception that is not ours, more than LIMIT_SECONDS of CPU for one file, a crash, a hang, a file opened
elsewhere, a foreign import. Each is printed once with its traceback, and its file is kept. Exit code 1 if there are any.
"""

from __future__ import annotations

import argparse
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
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
sys.path.append(str(Path(__file__).parents[2]))  # behind an installed kigraph
import fuzz_mutate
import fuzz_open
import fuzz_seeds

from kigraph.kernels.errors import KigraphError

LIMIT_SECONDS = 2.0
#: CPU seconds after which a child is killed: a loop in C does not see Python's signals.
HANG_SECONDS = 10
MEMORY = 2 << 30
#: Files of a corpus: by suffix, and the bytes above which a file is left out.
_SUFFIXES = (".pb", ".h5", ".keras", ".onnx", ".tflite", ".pt2", ".pth", ".pt", ".safetensors")
_LARGEST = 400_000


# --- the child ------------------------------------------------------------------------------------------------------


def child(folder: Path, seconds: float, seed: int, families: list[str], corpus: Path | None) -> None:
    from kigraph.graph.formats.hdf5 import blocks

    seeds = fuzz_seeds.make(folder)
    if corpus is not None:
        seeds["corpus"] = [
            f.read_bytes() for f in sorted(corpus.rglob("*")) if f.suffix in _SUFFIXES and f.stat().st_size < _LARGEST
        ]
        families = ["corpus"]
    verify = blocks.Block.verify
    for family, files in seeds.items():  # what is not damaged opens
        for data in files if family in families and family != "corpus" else []:
            run_one(folder / "case", family, fuzz_seeds.PACKERS.get(family, bytes)(data))
    usage = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY + usage, MEMORY + usage))
    rng = random.Random(seed)
    counts = dict.fromkeys(families, 0)
    (folder / "case").write_bytes(seeds["graphdef"][0])
    fuzz_open.inspect(folder / "case")  # imports what the commands need
    seen = fuzz_open.watch(folder)
    end = time.monotonic() + seconds
    slowest = 0.0
    while time.monotonic() < end:
        family = rng.choice(families)
        data = rng.choice(seeds[family])
        changed = fuzz_seeds.PACKERS.get(family, bytes)(fuzz_mutate.mutate(data, rng, seeds[family]))
        # Half of the time checksums are not looked at, so that what they protect is reached.
        blocks.Block.verify = verify if rng.random() < 0.5 else _take_off  # type: ignore[method-assign]
        path = folder / "case"
        (folder / "family").write_text(family)
        start = time.process_time()
        signal.setitimer(signal.ITIMER_PROF, HANG_SECONDS)
        try:
            run_one(path, family, changed)
            if rng.random() < 0.02 and family.split("-")[0] not in fuzz_open.OPENERS:
                fuzz_open.inspect(path)
        except KigraphError:
            pass
        except BaseException as error:
            report(family, changed, f"{type(error).__name__}: {str(error)[:200]}", traceback.format_exc())
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
        spent = time.process_time() - start
        if seen:
            report(family, changed, seen[0], "\n".join(seen))
            seen.clear()
        slowest = max(slowest, spent)
        if spent > LIMIT_SECONDS:
            report(family, changed, "slow", f"{spent:.1f} s of CPU for {len(changed)} bytes")
        counts[family] += 1
    print(json.dumps({"counts": counts, "slowest": slowest}), flush=True)


def run_one(path: Path, family: str, data: bytes) -> None:
    path.write_bytes(data)
    fuzz_open.OPENERS.get(family.split("-")[0], fuzz_open.open_model)(path)


def _take_off(block: Any) -> None:
    block.data = block.data[:-4]


def report(family: str, data: bytes, what: str, text: str) -> None:
    print(json.dumps({"family": family, "what": what, "text": text, "data": data.hex()}), flush=True)


# --- the parent -----------------------------------------------------------------------------------------------------


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("seconds", type=float)
    parser.add_argument("--family", nargs="*", choices=fuzz_seeds.FAMILIES, default=list(fuzz_seeds.HERE))
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--keep", type=Path, default=Path(tempfile.gettempdir()) / "kigraph-fuzz")
    parser.add_argument("--corpus", type=Path, help="a folder of models, which are used instead of the small files")
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        child(options.child, options.seconds, options.seed, options.family, options.corpus)
        return 0
    corpus = [] if options.corpus is None else ["--corpus", str(options.corpus)]
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
                [*command, *corpus, "--family", *options.family], stdout=subprocess.PIPE, text=True
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
