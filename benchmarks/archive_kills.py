"""Two thousand photographs, twenty of them damaged, classified locally, in shards and on Ray, and killed again and again.

    python -m benchmarks.archive_kills [--photos FOLDER] [--weights FILE] [--images 2000] [--kills 10] [--modes local shards ray]

Each mode is started, killed with SIGKILL at a random instant (Ray: in turn the whole run and one of its workers), and started
again with --resume, until it was killed so often; then it runs to its end. It must have a row for every image, none twice, and
the same rows as a run that nobody killed. Exit status 1 if not. The photographs are copies in a temporary folder.
"""

from __future__ import annotations

import argparse
import csv
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

__all__ = ["main"]

ROOT = Path(__file__).resolve().parents[1]
SHARED = Path(os.environ.get("KIGRAPH_SHARED") or ROOT.parent / "shared")
MODES = ("local", "shards", "ray")
_SHARDS = 3
#: Seconds without a new row, or until the end, after which a run is taken for hung.
_HUNG = 300.0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--photos", type=Path, default=SHARED / "photos" / "flowers")
    parser.add_argument("--weights", default=str(SHARED / "models" / "mobilenet_v1_0.25_224" / "frozen_graph.pb"))
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--damaged", type=int, default=20)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--modes", nargs="+", choices=MODES, default=MODES)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        archive = Path(folder) / "archive"
        make_archive(archive, args.photos, args.images, args.damaged)
        whole = Path(folder) / "whole.csv"
        finish(command(archive, whole, args.weights))
        expected = rows(whole)
        errors = sum(row["status"] == "error" for row in expected)
        print(f"whole: {len(expected)} rows, {errors} errors", flush=True)
        good = (len(expected), errors) == (args.images, args.damaged)
        for mode in args.modes:
            good &= run_mode(mode, archive, Path(folder), args.weights, args.kills, expected)
    return 0 if good else 1


def make_archive(archive: Path, photos: Path, images: int, damaged: int) -> None:
    """Copies under new names in nested folders; of the damaged ones half are cut off, half are noise."""
    sources = sorted(p for p in photos.rglob("*.jpg"))
    wrong = set(random.sample(range(images), damaged))
    for number in range(images):
        target = archive.joinpath(*str(number // 20), f"photograph {number}.jpg")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(sources[number % len(sources)], target)
        if number in wrong:
            data = target.read_bytes()
            target.write_bytes(data[: len(data) // 4] if number % 2 else os.urandom(2000))


def command(archive: Path, out: Path, weights: str, *more: str) -> list[str]:
    """The command line that is given again and again."""
    options = ["--resume", "--top", "3", "--weights", weights, "--output", str(out), *more]
    return [sys.executable, "-m", "kigraph", "classify", str(archive), *options]


def run_mode(mode: str, archive: Path, folder: Path, weights: str, kills: int, expected: list[dict[str, str]]) -> bool:
    """Whether a mode has the expected rows after so many kills."""
    shards = range(1, _SHARDS + 1) if mode == "shards" else (1,)
    found: list[dict[str, str]] = []
    killed = 0
    for shard in shards:
        out = folder / f"{mode}-{shard}.csv"
        more = ["--shard", f"{shard}/{_SHARDS}"] if mode == "shards" else []
        more += ["--engine", "ray", "--actors", "2"] if mode == "ray" else []
        wanted = kills // len(shards) + (shard <= kills % len(shards))
        share = len(expected) // len(shards)
        for number in range(wanted):
            killed += kill_once(command(archive, out, weights, *more), out, share // (wanted + 1), mode, number)
        finish(command(archive, out, weights, *more))
        found += rows(out)
    paths = [row["path"] for row in found]
    same = sorted(map(_without_shard, found)) == sorted(map(_without_shard, expected))
    once = len(set(paths)) == len(paths) == len(expected)
    print(
        f"{mode}: killed {killed} times, {len(paths)} rows, {len(set(paths))} images, the same rows: {same}", flush=True
    )
    return same and once and killed == kills


def _without_shard(row: dict[str, str]) -> list[tuple[str, str]]:
    return sorted((name, value) for name, value in row.items() if name != "shard")


def kill_once(line: list[str], out: Path, more: int, mode: str, number: int) -> int:
    """Starts it, lets it write some of ``more`` rows, and kills it, or one of Ray's workers, after which it goes on for as long."""
    before = _lines(out)
    process = subprocess.Popen(line, cwd=ROOT, stderr=subprocess.DEVNULL, start_new_session=True)
    try:
        killed = _wait(process, out, before + random.randint(1, max(1, more // 2)))
        time.sleep(random.random() / 20)
        if killed and mode == "ray" and number % 2:
            workers = _workers(process.pid)
            killed = bool(workers)
            for worker in workers[:1]:
                os.kill(worker, signal.SIGKILL)
            _wait(process, out, before + max(2, more // 2))
        return int(killed)
    finally:
        _kill_tree(process)


def _wait(process: subprocess.Popen[bytes], out: Path, lines: int) -> bool:
    """Until the file has that many lines; False if the process ended before."""
    end = time.monotonic() + _HUNG
    while process.poll() is None:
        if _lines(out) >= lines:
            return True
        if time.monotonic() > end:
            raise SystemExit(f"{out.name}: no row for {_HUNG:g} s")
        time.sleep(0.002)
    return False


def _lines(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.exists() else 0


def _children(parent: int) -> list[int]:
    """All processes below one."""
    table: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                above = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except (OSError, IndexError, ValueError):
                continue
            table.setdefault(above, []).append(int(entry.name))
    found, waiting = [], [parent]
    while waiting:
        below = table.get(waiting.pop(), [])
        found += below
        waiting += below
    return found


def _workers(parent: int) -> list[int]:
    """Ray's workers of ours that have a model, in random order."""
    found = []
    for number in _children(parent):
        try:
            if Path(f"/proc/{number}/cmdline").read_bytes().startswith(b"ray::_Worker"):
                found.append(number)
        except OSError:
            continue
    return random.sample(found, len(found))


def _kill_tree(process: subprocess.Popen[bytes]) -> None:
    """The process first, so that nothing is tidied up; then what it started, which would only burden the machine."""
    children = _children(process.pid)
    process.kill()
    process.wait()
    for child in children:
        try:
            os.kill(child, signal.SIGKILL)
        except ProcessLookupError:
            continue


def finish(line: list[str]) -> None:
    """Runs it to its end; the exit status is 1, as some photographs are damaged, or 0."""
    done = subprocess.run(line, cwd=ROOT, stderr=subprocess.PIPE, check=False)
    if done.returncode not in (0, 1):
        raise SystemExit(done.stderr.decode("utf-8", "replace"))


def rows(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV file."""
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


if __name__ == "__main__":
    sys.exit(main())
