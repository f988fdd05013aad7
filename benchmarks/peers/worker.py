"""The process of one contender.

``python -m benchmarks.peers.worker serve NAME FOLDER THREADS BATCH`` makes the contender ready and then obeys lines of JSON
on its standard input; ``... once ...`` gives the first result and ends: a cold start; ``layers``: layers.py. Answers are lines of JSON. Whatever the
libraries print goes to standard error.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

__all__ = ["Worker", "environment_of", "spawn"]

ROOT = Path(__file__).resolve().parents[2]
#: Settings that would turn one contender into another.
_CLEARED = ("KIGRAPH_BACKEND", "KIGRAPH_ISA", "KIGRAPH_NUM_THREADS", "KIGRAPH_PRECISION", "KIGRAPH_WINOGRAD")


def environment_of(name: str, threads: int) -> dict[str, str]:
    """The environment of a contender's process."""
    from .contenders import contender

    one = contender(name)
    kept = {k: v for k, v in os.environ.items() if k not in _CLEARED}
    own = dict(one.environment)
    if one.backend:
        own["KIGRAPH_BACKEND"] = one.backend
    # Pools that the libraries might start besides the one that is asked for.
    pools = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), str(threads))
    return kept | pools | own


def spawn(mode: str, name: str, folder: str, threads: int, batch: int) -> subprocess.Popen[str]:
    """Starts the process."""
    command = [sys.executable, "-m", "benchmarks.peers.worker", mode, name, folder, str(threads), str(batch)]
    return subprocess.Popen(
        command, cwd=ROOT, env=environment_of(name, threads), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


class Worker:
    """A contender in its process, seen from outside. Made ready when ``version`` is set by ``wait``."""

    def __init__(self, name: str, folder: str, threads: int, batch: int, mode: str = "serve") -> None:
        self.name = name
        self.process = spawn(mode, name, folder, threads, batch)
        answer = self._answer()
        self.version, self.note = str(answer["version"]), str(answer.get("note", ""))

    def ask(self, **order: Any) -> dict[str, Any]:
        """Sends an order, waits for the answer."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(order) + "\n")
        self.process.stdin.flush()
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"the process of {self.name} ended with {self.process.wait()} before it answered")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def close(self) -> None:
        """Ends the process."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()


def _turn(run: Any, seconds: float, batch: int, least: int = 3) -> list[float]:
    """Milliseconds per image of each run of a turn. The first is left out: it wakes threads and finds others' caches."""
    run()
    times: list[float] = []
    end = time.perf_counter() + seconds
    while len(times) < least or time.perf_counter() < end:
        start = time.perf_counter()
        run()
        times.append((time.perf_counter() - start) * 1e3 / batch)
    return times


def _write_outputs(ready: Any, network: Any, batch: int, count: int, file: str) -> None:
    """Logits and probabilities of the first ``count`` images, ``batch`` at a time, as an .npz file."""
    import numpy as np

    # Copies: some libraries give views of memory that the next run writes to.
    rows = [[np.array(a) for a in ready.outputs(network.images(batch, start))] for start in range(0, count, batch)]
    logits, probabilities = (np.concatenate(part)[:count] for part in zip(*rows, strict=True))
    np.savez(file, logits=logits, probabilities=probabilities)


def _peak_bytes() -> int:
    """The most memory that this process has had. Not ru_maxrss, which begins with what the parent had."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError("/proc/self/status has no VmHWM")


def main(arguments: list[str]) -> None:
    mode, name, folder, threads, batch = arguments[0], arguments[1], arguments[2], int(arguments[3]), int(arguments[4])
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    def say(**answer: Any) -> None:
        answers.write(json.dumps(answer) + "\n")
        answers.flush()

    if mode == "layers":
        from .layers import serve_layers

        return serve_layers(name, folder, threads, sys.stdin, say)
    from .contenders import contender
    from .network import read_network

    network = read_network(folder)
    ready = contender(name).make(network, threads, network.images(batch))
    ready.run()
    say(version=ready.version, note=ready.note, peak_bytes=_peak_bytes())
    if mode == "once":
        return None
    ready.run()
    for line in sys.stdin:
        order = json.loads(line)
        if order["do"] == "run":
            say(ms=_turn(ready.run, order["seconds"], batch, order.get("least", 3)))
        elif order["do"] == "profile":
            say(**(ready.profile() if ready.profile else {}))
        else:
            _write_outputs(ready, network, batch, order["count"], order["file"])
            say(done=True)
    return None


if __name__ == "__main__":
    main(sys.argv[1:])
