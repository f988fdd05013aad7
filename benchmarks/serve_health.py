"""How long a health check takes beside many connections: python -m benchmarks.serve_health MODEL IMAGE

MODEL: a network as for ``kigraph serve --weights``; IMAGE: a photograph. Each load runs in processes of its own for some seconds:
clients that hang up in a loop, 1,000 clients that send a byte each second, ten times as many requests as are answered on new
connections and on kept ones. The table shows the milliseconds of /livez and /readyz, each on a new connection, and of the load
itself the answers by status.
"""

from __future__ import annotations

import argparse
import contextlib
import multiprocessing
import os
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

__all__ = ["main"]


def _hang_up(port: int, request: bytes, end: float, index: int) -> Counter[str]:
    seen: Counter[str] = Counter()
    while time.monotonic() < end:
        try:
            with socket.create_connection(("127.0.0.1", port), 5) as one:
                one.sendall(request)
            seen["hung up"] += 1
        except OSError as error:
            seen[type(error).__name__] += 1
            time.sleep(0.01)
    return seen


def _new(port: int, request: bytes, end: float, index: int) -> Counter[str]:
    seen: Counter[str] = Counter()
    while time.monotonic() < end:
        try:
            with socket.create_connection(("127.0.0.1", port), 20) as one:
                one.sendall(request)
                seen[one.recv(65536)[9:12].decode() or "closed"] += 1
        except OSError as error:
            seen[type(error).__name__] += 1
    return seen


def _kept(port: int, request: bytes, end: float, index: int) -> Counter[str]:
    seen: Counter[str] = Counter()
    while time.monotonic() < end:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 20) as one:
            while time.monotonic() < end:
                one.sendall(request)
                answer = one.recv(65536)
                seen[answer[9:12].decode() or "closed"] += 1
                if not answer:
                    break
    return seen


def _slow(port: int, request: bytes, end: float, index: int) -> Counter[str]:
    held: list[tuple[socket.socket, int]] = []
    for _ in range(250):
        with contextlib.suppress(OSError):
            held.append((socket.create_connection(("127.0.0.1", port), 5), 0))
    seen: Counter[str] = Counter(connected=len(held))
    while time.monotonic() < end:
        for i, (one, sent) in enumerate(held):
            try:
                one.send(request[sent : sent + 1])
                held[i] = one, sent + 1
            except OSError:
                seen["closed"] += 1
                with contextlib.suppress(OSError):
                    held[i] = socket.create_connection(("127.0.0.1", port), 5), 0
        time.sleep(1.0)
    return seen


def _load(kind: str, threads: int, port: int, request: bytes, seconds: float, results: Any) -> None:
    seen: list[Counter[str]] = []
    end = time.monotonic() + seconds
    run = {"hang up": _hang_up, "slow": _slow, "new": _new, "kept": _kept}[kind]
    work = [threading.Thread(target=lambda i=i: seen.append(run(port, request, end, i))) for i in range(threads)]
    for thread in work:
        thread.start()
    for thread in work:
        thread.join()
    results.put(sum(seen, Counter()))


def _probe(port: int, seconds: float) -> list[float]:
    """Milliseconds of the checks; 60,000 for one that failed."""
    times, end, turn = [], time.monotonic() + seconds, 0
    while time.monotonic() < end:
        start, turn = time.monotonic(), turn + 1
        try:
            with socket.create_connection(("127.0.0.1", port), 30) as one:
                path = b"/readyz" if turn % 2 else b"/livez"
                one.sendall(b"GET %b HTTP/1.1\r\nHost: localhost\r\n\r\n" % path)
                good = one.recv(65536).startswith(b"HTTP/1.1 200")
        except OSError:
            good = False
        times.append((time.monotonic() - start) * 1000 if good else 60_000.0)
        time.sleep(0.02)
    return sorted(times)


@contextlib.contextmanager
def _service(model: str) -> Iterator[int]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "kigraph", "serve", "--weights", model, "--no-download", "--port", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=dict(os.environ))
    try:
        while not any(t < 60_000 for t in _probe(port, 0.05)):
            if process.poll() is not None:
                raise SystemExit(f"the service ended: {' '.join(command)}")
        yield port
    finally:
        process.terminate()
        process.wait(60)


def main() -> None:
    """Prints a line for each load."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("image", type=Path)
    parser.add_argument("--seconds", type=float, default=8.0, help="of each load (default: 8)")
    options = parser.parse_args()
    data = options.image.read_bytes()
    request = b"POST /v1/classify HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/jpeg\r\n"
    request += b"Content-Length: %d\r\n\r\n" % len(data) + data
    # Processes and threads of each; more processes than CPUs measure the machine's scheduler.
    loads = {"none": (0, 0), "hang up": (1, 3), "slow": (1, 4), "new": (1, 100), "kept": (1, 100)}
    print(f"{'load':10s} {'checks':>6s} {'median':>8s} {'p99':>8s} {'longest':>8s} ms")
    with _service(options.model) as port:
        for kind, (processes, threads) in loads.items():
            results: Any = multiprocessing.Queue()
            running = [
                multiprocessing.Process(target=_load, args=(kind, threads, port, request, options.seconds, results))
                for _ in range(processes)
            ]
            for one in running:
                one.start()
            time.sleep(2.0 if running else 0.0)
            times = _probe(port, options.seconds - 3)
            seen: Counter[str] = sum((results.get(timeout=90) for _ in running), Counter())
            for one in running:
                one.join()
            shown = f"{times[len(times) // 2]:8.1f} {times[int(len(times) * 0.99)]:8.1f} {times[-1]:8.1f}"
            print(f"{kind:10s} {len(times):6d} {shown}    {dict(seen)}", flush=True)


if __name__ == "__main__":
    main()
