"""Mutates files towards code that was not reached yet, with atheris: python tests/loaders/fuzz_guided.py SECONDS [--family NAME ...]

Each family gets its share of the time in a process of its own: libFuzzer with the mutations of fuzz_mutate beside its own,
and with limits on memory and on the time of one file. A finding is an exception that is not ours, a crash, a hang, or too
much memory; its file is kept. Exit code 1 if there are any, 0 with a note where atheris is not installed (extra ``fuzz``).
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import random
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
sys.path.append(str(Path(__file__).parents[2]))  # behind an installed kigraph

#: Of one file; megabytes of the process.
TIMEOUT, MEMORY = 10, 3000
#: Decoders in C, where the coverage of Python says nothing.
_LEFT_OUT = ("image", "archive", "archive-tar")


def child(folder: Path, family: str, options: list[str]) -> None:
    import atheris

    with atheris.instrument_imports(include=["kigraph.graph.formats", "kigraph.graph.loaders", "kigraph.graph.models",
                                             "kigraph.opening", "kigraph.serve.bodies", "kigraph.vision.labels",
                                             "kigraph.weights", "kigraph.train.checkpoint"]):  # fmt: skip
        import fuzz_mutate
        import fuzz_open
        import fuzz_seeds

        from kigraph.kernels.errors import KigraphError

        pack, path = fuzz_seeds.PACKERS.get(family, bytes), folder / "case"
        opener = fuzz_open.OPENERS.get(family.split("-")[0], fuzz_open.open_model)
        seeds = fuzz_seeds.make(folder)[family]
        corpus = folder / "corpus"
        corpus.mkdir(exist_ok=True)
        for number, seed in enumerate(seeds):  # what is imported when first used is imported, and instrumented, here
            (corpus / str(number)).write_bytes(seed)
            path.write_bytes(pack(seed))
            opener(path)

    def one(data: bytes) -> None:
        path.write_bytes(pack(data))
        with contextlib.suppress(KigraphError):
            opener(path)

    def mutator(data: bytes, most: int, seed: int) -> bytes:
        rng = random.Random(seed)
        changed = fuzz_mutate.mutate(data, rng, seeds) if rng.random() < 0.5 else atheris.Mutate(data, most)
        return bytes(changed[:most])

    guided: Any = atheris
    guided.Setup([sys.argv[0], *options, str(corpus)], one, custom_mutator=mutator)
    guided.Fuzz()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("seconds", type=float)
    parser.add_argument("--family", nargs="*", default=None)
    parser.add_argument("--keep", type=Path, default=Path(tempfile.gettempdir()) / "kigraph-fuzz")
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    options, more = parser.parse_known_args()
    if importlib.util.find_spec("atheris") is None:
        print("atheris is not installed (pip install 'kigraph[fuzz]'): nothing is guided by coverage")
        return 0
    if options.child:
        child(options.child, options.family[0], more)
        return 0
    import fuzz_seeds

    families = options.family or [f for f in fuzz_seeds.HERE if f not in _LEFT_OUT]
    options.keep.mkdir(parents=True, exist_ok=True)
    memory, failed = Path("/dev/shm"), []
    for family in families:
        with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
            done = subprocess.run(
                [
                    sys.executable, __file__, "0", "--child", folder, "--family", family,
                    f"-max_total_time={max(1, int(options.seconds / len(families)))}", f"-timeout={TIMEOUT}", f"-rss_limit_mb={MEMORY}",
                    f"-artifact_prefix={options.keep}/{family}-", "-max_len=65536",
                ],
                capture_output=True, text=True, errors="replace", check=False,
            )  # fmt: skip
        runs = [line for line in done.stderr.splitlines() if line.startswith("Done ")]
        print(f"{family}: {runs[-1] if runs else 'ended'}, exit status {done.returncode}", flush=True)
        if done.returncode:
            failed.append(family)
            print(done.stdout[-4000:], done.stderr[-4000:])
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
