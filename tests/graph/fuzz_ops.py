"""Calls the public ops with hostile arguments on every backend: only results or errors of kigraph may come back.

Run as a program: ``python tests/graph/fuzz_ops.py COUNT [SEED] [BACKEND,...]``. Children do the work under limits of memory
and processor time. A foreign exception, a crash, a call that takes SECONDS, or results whose types differ between the
backends is printed with the op and its arguments, and makes the exit status 1. One line per kind of finding.
"""

from __future__ import annotations

import json
import math
import random
import resource
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from fuzz_arguments import Maker, arguments  # a program finds what lies beside it

import kigraph as ki
from kigraph.graph import ops

__all__ = ["findings"]

#: Processor seconds of one call, address space and processor seconds of a child.
SECONDS, MEMORY, CHILD_SECONDS = 5, 4 << 30, 170
#: Ops without a result to fetch, or that make state, or that take any number of tensors; those that take texts and images get
#: none that decode.
SKIPPED = frozenset({"einsum", "group", "no_op", "assign", "assign_add", "assign_sub", "variable"})


def text(value: Any) -> str:
    """An argument as a finding prints it."""
    if isinstance(value, ki.Tensor):
        return f"<{value.op.type} {value.dtype}{value.shape}>"
    if isinstance(value, np.ndarray):
        return f"array({value.dtype}{value.shape})"
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(text, value))}]"
    return repr(value)


def outputs_of(made: Any) -> list[Any]:
    return [t for t in (made if isinstance(made, (list, tuple)) else [made]) if isinstance(t, ki.Tensor)]


def fetches_of(op: str, given: dict[str, Any], maker: Maker, graph: ki.Graph) -> list[Any]:
    """The outputs of the call, at times with the gradients of one of them."""
    fetches = outputs_of(getattr(ops, op)(**given))
    floats = [t for t in maker.feeds if "float" in str(maker.feeds[t].dtype)]
    if floats and len(fetches) == 1 and maker.rng.random() < 0.3:
        tensors = [graph.get_tensor_by_name(name) for name in floats]
        fetches += [g for g in ki.gradients(fetches[0], tensors) if g is not None]
    return fetches


def ran(graph: ki.Graph, fetches: list[Any], feeds: dict[str, Any], backend: str, found: dict[str, Any]) -> str:
    """Runs on one backend and keeps what came out, None for an error of ours; any other error in words."""
    try:
        with ki.Session(graph, backend=backend, threads=1) as session:
            results = session.run(fetches, feeds)
        found[backend] = [(r.dtype, np.shape(r)) if hasattr(r, "dtype") else (type(r), None) for r in results]
    except ki.KigraphError as error:
        if "no kernel" not in str(error):
            found[backend] = None
    except Exception as error:
        return f"{type(error).__name__}: {str(error)[:80]}"
    return ""


def one(op: str, seed: int, backends: list[str], note: Callable[[str], None]) -> Iterator[str]:
    """Findings of one call; ``note`` gets what is about to run."""
    with ki.Graph().as_default() as graph:
        maker = Maker(random.Random(f"{op} {seed}"))
        start, call = time.process_time(), op
        try:
            given = arguments(op, maker)
            call = f"{op}({', '.join(f'{k}={text(v)}' for k, v in given.items())})"
            note(call)
            fetches = fetches_of(op, given, maker, graph)
        except ki.KigraphError:
            return
        except Exception as error:
            yield f"{op}: building: {type(error).__name__}: {str(error)[:80]} | {call}"
            return
        if len(fetches) > 100:
            return
        found: dict[str, Any] = {}
        for backend in backends:
            note(f"{backend}: {call} feeds { ({k: text(v) for k, v in maker.feeds.items()}) }")
            begin = time.process_time()
            if problem := ran(graph, fetches, maker.feeds, backend, found):
                yield f"{op}: {backend}: {problem} | {call}"
            # Numba compiles what it meets first; a large result takes its time (tile: 41 ns an element measured, texts: 1.3 us).
            made = [(t, s) for t, s in found.get(backend) or () if s is not None]
            elements = sum(math.prod(shape) * (30 if getattr(kind, "kind", "O") == "O" else 1) for kind, shape in made)
            if time.process_time() - begin > SECONDS * (3 if backend == "numba" else 1) + elements * 1e-7:
                yield f"{op}: {backend}: took {time.process_time() - begin:.1f} s | {call}"
        if len({str(v) for v in found.values()}) > 1:
            yield f"{op}: backends differ: {found} | {call}"
        if not backends and time.process_time() - start > SECONDS:
            yield f"{op}: building took {time.process_time() - start:.1f} s | {call}"


def child(first: int, count: int, seed: int, backends: list[str], log: str) -> None:
    """Runs calls ``first`` to ``count`` and writes notes and findings as lines of JSON."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CPU, (CHILD_SECONDS, CHILD_SECONDS + 5))
    warnings.simplefilter("ignore")
    names = sorted(n for n in ops.__all__ if n not in SKIPPED and n != "getitem")
    with Path(log).open("w", buffering=1) as file:
        for number in range(first, count):

            def note(what: str, number: int = number) -> None:
                file.write(json.dumps({"at": number, "doing": what}) + "\n")

            # Numba's first call of a kernel compiles it: one call in four meets it.
            used = [b for b in backends if b != "numba" or number % 4 == 0]
            for finding in one(names[number % len(names)], seed + number, used, note):
                file.write(json.dumps({"at": number, "finding": finding}) + "\n")
        file.write(json.dumps({"at": count, "done": True}) + "\n")


def findings(count: int, seed: int, backends: list[str]) -> list[str]:
    """What ``count`` calls found, one per kind; crashes too."""
    found: dict[str, str] = {}
    first = 0
    while first < count:
        with tempfile.NamedTemporaryFile(suffix=".jsonl") as log:
            arguments = [str(first), str(count), str(seed), ",".join(backends), log.name]
            process = subprocess.run(
                [sys.executable, __file__, "--child", *arguments], capture_output=True, text=True, check=False
            )
            lines = [json.loads(line) for line in Path(log.name).read_text().splitlines() if line.endswith("}")]
        for line in lines:
            if "finding" in line:
                kind = line["finding"].partition("|")[0]
                found.setdefault("".join(c for c in kind if not c.isdigit()), f"[{line['at']}] {line['finding']}")
        last = lines[-1] if lines else {"at": first, "doing": "the start"}
        if "done" in last:
            break
        doing = next((line["doing"] for line in reversed(lines) if "doing" in line), "the start")
        found.setdefault(
            f"died {doing[:20]}", f"[{last['at']}] died with {process.returncode}: {doing} {process.stderr[-300:]}"
        )
        first = last["at"] + 1
    return list(found.values())


def main() -> int:
    if sys.argv[1] == "--child":
        first, count, seed, backends, log = sys.argv[2:]
        child(int(first), int(count), int(seed), backends.split(","), log)
        return 0
    count, seed = int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 0
    backends = sys.argv[3].split(",") if len(sys.argv) > 3 else ["numpy", "cython", "numba"]
    found = findings(count, seed, backends)
    print(*found, sep="\n")
    print(f"{count} calls, seed {seed}: {len(found)} kinds of findings")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
