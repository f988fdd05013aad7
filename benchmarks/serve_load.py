"""The HTTP service under 1, 4 and 10 times the load that it can take: ``python -m benchmarks.serve_load``.

Starts the service itself, pinned to one core, and sends images from another: first in a closed loop, which measures the
capacity, then at a fixed rate whatever the answers are (an open loop, as the outside world is). Prints for each rate the
goodput (labels per second), its share of the capacity, refusals, 504s and latencies; before them the processor time that the
service spends on a refusal, and the rate of the library itself on the same core, which the service is to reach to 95 %. The last
rate lasts a minute (``--overload``). Ends with 1 if what was promised does not hold: an accepted image lost or answered after its
time, or memory that grows.

Others may use the machine, so the same is also told by processor time, which they change less: images per second of processor
time of the library, of the service at saturation, and of the service under each load.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections import Counter, deque
from pathlib import Path

ROOT = Path(__file__).parents[1]
#: Connections that the client opens at most; an arrival that finds none free is counted as a client that gave up.
CONNECTIONS = 700


class Connection(asyncio.Protocol):
    """A kept-alive connection that sends one request at a time."""

    def __init__(self, load: Load) -> None:
        self.load, self.buffer, self.start = load, b"", 0.0
        self.transport: asyncio.Transport | None = None
        self.busy = True

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        transport.write(self.load.request)

    def send(self, due: float) -> None:
        """One request whose time was ``due``."""
        self.start, self.busy = due, True
        if self.transport is not None:
            self.transport.write(self.load.request)

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        head, found, body = self.buffer.partition(b"\r\n\r\n")
        length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
        if found and len(body) >= int(length):
            self.buffer, self.busy = b"", False
            self.load.answered(self, int(head[9:12]), b"connection: close" in head.lower())

    def connection_lost(self, exc: Exception | None) -> None:
        self.load.lost(self)


class Load:
    """Requests to a service and what became of them."""

    def __init__(self, port: int, image: bytes, timeout: float | None) -> None:
        limit = f"X-Request-Timeout: {timeout}\r\n" if timeout else ""
        head = f"POST /v1/classify HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/jpeg\r\n{limit}Content-Length: {len(image)}"
        self.port, self.request = port, head.encode() + b"\r\n\r\n" + image
        self.free: deque[Connection] = deque()
        self.open = 0
        self.answers: list[tuple[float, float, int]] = []
        self.closed_loop = False
        self.outcomes: Counter[str] = Counter()

    def answered(self, connection: Connection, status: int, closes: bool) -> None:
        now = time.monotonic()
        self.answers.append((now, now - connection.start, status))
        if closes:
            return
        if self.closed_loop:
            connection.send(now)
        else:
            self.free.append(connection)

    def lost(self, connection: Connection) -> None:
        self.open -= 1
        if connection.busy:
            self.outcomes["connection lost"] += 1
        elif connection in self.free:
            self.free.remove(connection)

    async def connect(self, due: float) -> None:
        self.open += 1
        connection = Connection(self)
        connection.start = due
        try:
            await asyncio.get_running_loop().create_connection(lambda: connection, "127.0.0.1", self.port)
        except OSError as error:
            self.open -= 1
            self.outcomes[type(error).__name__] += 1

    async def in_a_closed_loop(self, connections: int, seconds: float, pid: int = 0) -> tuple[float, float]:
        """Images per second that so many clients get, each sending the next when it has the answer, and per second of processor
        time of the process. From one answer to another, so that images which are on their way at both ends cancel out."""
        self.closed_loop = True
        for _ in range(connections):
            await self.connect(time.monotonic())
        await asyncio.sleep(seconds / 4)
        before, used = await self._next_answer(), processor_seconds(pid) if pid else 0.0
        await asyncio.sleep(seconds)
        after, used = await self._next_answer(), (processor_seconds(pid) if pid else 0.0) - used
        done = sum(a[2] == 200 for a in self.answers[before:after])
        rate = done / (self.answers[after - 1][0] - self.answers[before - 1][0])
        self.closed_loop = False
        await asyncio.sleep(0.5)
        return rate, done / used if used else 0.0

    async def _next_answer(self) -> int:
        """Waits for an answer; how many there are with it."""
        count = len(self.answers)
        while len(self.answers) == count:
            await asyncio.sleep(0.0005)
        return len(self.answers)

    async def in_an_open_loop(
        self, rate: float, seconds: float, pid: int
    ) -> tuple[float, float, list[tuple[float, float, int]]]:
        """Labels per second at so many arrivals per second, and per second of processor time; all answers (when, latency, status)."""
        self.answers, self.outcomes = [], Counter()
        start, count = time.monotonic(), 0
        tasks: set[asyncio.Task[None]] = set()
        begin, used = 0.0, 0.0
        while (now := time.monotonic()) - start < seconds:
            if not begin and now - start > seconds / 4:  # the first quarter fills the queue
                begin, used = now, processor_seconds(pid)
            while start + count / rate <= now:
                due = start + count / rate
                count += 1
                if self.free:
                    self.free.popleft().send(due)
                elif self.open < CONNECTIONS:
                    task = asyncio.create_task(self.connect(due))
                    tasks.add(task)
                    task.add_done_callback(tasks.discard)
                else:
                    self.outcomes["no free connection"] += 1
            await asyncio.sleep(max(start + count / rate - time.monotonic(), 0))
        end, used = time.monotonic(), processor_seconds(pid) - used
        for _ in range(200):  # what was accepted is still to come
            if self.open == len(self.free):
                break
            await asyncio.sleep(0.1)
        # What is answered after the last arrival found the queue full.
        good = sum(a[2] == 200 and begin <= a[0] < end for a in self.answers)
        return good / (end - begin), good / used, self.answers


def processor_seconds(pid: int) -> float:
    """Processor time of the service, all threads."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def percentile(values: list[float], share: float) -> str:
    """Milliseconds."""
    return f"{1000 * sorted(values)[int(share * (len(values) - 1))]:.1f}" if values else "-"


def memory(pid: int) -> tuple[float, float]:
    """Resident MiB of a process, now and at most."""
    lines = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":" in line)
    return int(lines["VmRSS"].split()[0]) / 1024, int(lines["VmHWM"].split()[0]) / 1024


_LIBRARY = """
import sys, time
import kigraph as ki
from kigraph.weights import resolve_weights
model = ki.load(resolve_weights(sys.argv[1], allow_download=False).path, threads=1)
images, seconds = [open(sys.argv[2], "rb").read()] * 8, float(sys.argv[3])
for part in (seconds / 4, seconds):
    start, used, count = time.monotonic(), time.process_time(), 0
    while time.monotonic() - start < part:
        model.classify(images)
        count += len(images)
print(count / (time.monotonic() - start), count / (time.process_time() - used))
"""


def library_rate(weights: str, image: str, seconds: float, core: int) -> tuple[float, float]:
    """Images per second of ``Classifier.classify`` with lists of 8, on a core, and per second of processor time."""
    command = [sys.executable, "-c", _LIBRARY, weights, image, str(seconds)]
    done = subprocess.run(
        command, cwd=ROOT, check=True, capture_output=True, text=True, timeout=60 + 4 * seconds,
        preexec_fn=lambda: os.sched_setaffinity(0, {core}),
    )  # fmt: skip
    rate, each = map(float, done.stdout.split())
    return rate, each


async def measure(
    name: str,
    process: subprocess.Popen[bytes],
    port: int,
    image: bytes,
    args: argparse.Namespace,
    own: tuple[float, float],
) -> list[str]:
    """Prints one table; what was promised and does not hold."""
    wrong: list[str] = []
    load = Load(port, image, args.timeout)
    before, best = await load.in_a_closed_loop(8, args.seconds, process.pid)
    print(
        f"\n{name}: {before:.1f} images/s in a closed loop of 8, {before / own[0]:.1%} of the library's own {own[0]:.1f}; "
        f"by processor time {best:.1f}, {best / own[1]:.1%} of {own[1]:.1f}"
    )
    resident = memory(process.pid)[0]
    # Nothing can be answered in a microsecond, so every request is refused.
    hopeless = Load(port, image, 1e-6)
    start = processor_seconds(process.pid)
    await hopeless.in_a_closed_loop(1, args.seconds / 4)
    used = processor_seconds(process.pid) - start
    print(
        f"a refusal takes {1000 * used / len(hopeless.answers):.2f} ms of the service's core ({len(hopeless.answers)} measured)"
    )
    print(
        "| load | sent/s | goodput/s | of capacity | by processor time | refused | 504 | other | accepted p50, p99 ms | refused p50, p99 ms |"
    )
    print("| ---: | ---: | ---: | ---: | ---: | ---: | ---: | --- | ---: | ---: |")
    for factor in args.factors:
        seconds = max(args.seconds, args.overload) if factor == max(args.factors) else args.seconds
        good, each, answers = await load.in_an_open_loop(factor * before, seconds, process.pid)
        # Others may use the machine: the capacity is that of the time before and after.
        after, _ = await Load(port, image, None).in_a_closed_loop(4, args.seconds / 2)
        capacity, before = (before + after) / 2, after
        by = Counter(status for _, _, status in answers)
        refused = by[429] + by[503]
        other = {str(s): n for s, n in by.items() if s not in (200, 429, 503, 504)} | load.outcomes
        accepted = [t for _, t, s in answers if s == 200]
        turned = [t for _, t, s in answers if s in (429, 503)]
        print(
            f"| {factor:g}x | {len(answers) / seconds:.0f} | {good:.1f} | {good / capacity:.0%} of {capacity:.1f} | {each / best:.0%} | {refused} | {by[504]} | "
            f"{json.dumps(other) if other else '-'} | {percentile(accepted, 0.5)}, {percentile(accepted, 0.99)} | "
            f"{percentile(turned, 0.5)}, {percentile(turned, 0.99)} |",
            flush=True,
        )
        bound = args.timeout or 15.0
        if accepted and sorted(accepted)[int(0.99 * (len(accepted) - 1))] > bound:
            wrong.append(f"{factor:g}x: the 99th percentile of the accepted is above {bound:g} s")
        # What finds no free connection was never sent.
        other.pop("no free connection", None)
        if by[504] or other:
            wrong.append(f"{factor:g}x: {by[504]} accepted images answered 504, and {other}")
    now, most = memory(process.pid)
    print(f"memory: {resident:.0f} MiB before the load, {now:.0f} MiB after, {most:.0f} MiB at most")
    if now > 1.5 * resident + 64:
        wrong.append(f"memory grew from {resident:.0f} to {now:.0f} MiB")
    return wrong


def run(name: str, weights: str | None, args: argparse.Namespace, core: int) -> list[str]:
    """One service, from its start to its end, on a core; what was promised and does not hold."""
    own = library_rate(weights or "demo", args.image, args.seconds, core)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        sys.executable,
        "-m",
        "kigraph",
        "serve",
        "--port",
        str(port),
        "--threads",
        "1",
        "--no-download",
        "--queue",
        str(args.queue),
    ]
    command += ["--weights", weights or "demo"]
    env = {k: v for k, v in os.environ.items() if k != "KIGRAPH_WEIGHTS"}
    process = subprocess.Popen(
        command, env=env, cwd=ROOT, stderr=subprocess.DEVNULL, preexec_fn=lambda: os.sched_setaffinity(0, {core})
    )
    try:
        for _ in range(600):
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5).close()
                break
            except OSError:
                if process.poll() is not None:
                    raise SystemExit(f"the service ended with {process.returncode}") from None
                time.sleep(0.1)
        wrong = asyncio.run(measure(name, process, port, Path(args.image).read_bytes(), args, own))
        process.send_signal(signal.SIGTERM)
        if process.wait(30) != 0:
            raise SystemExit(f"the service ended with {process.returncode}")
        return [f"{name}: {line}" for line in wrong]
    finally:
        process.kill()
        process.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--weights", default=os.environ.get("KIGRAPH_WEIGHTS"), help="also this model (default: KIGRAPH_WEIGHTS)"
    )
    parser.add_argument("--only", action="store_true", help="leave out the small model that comes with kigraph")
    parser.add_argument("--image", default=str(ROOT / "kigraph" / "data" / "apple.png"))
    parser.add_argument("--seconds", type=float, default=8.0, help="of each rate")
    parser.add_argument("--overload", type=float, default=60.0, help="seconds of the highest rate")
    parser.add_argument("--factors", type=lambda t: [float(x) for x in t.split(",")], default=[1.0, 4.0, 10.0])
    parser.add_argument("--queue", type=int, default=64)
    parser.add_argument("--timeout", type=float, help="X-Request-Timeout of every request")
    args = parser.parse_args()
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cores[-1]})
    wrong = []
    if not args.only:
        wrong += run("the model that comes with kigraph", None, args, cores[0])
    if args.weights:
        wrong += run(Path(args.weights).name, args.weights, args, cores[0])
    print(f"\nservice on core {cores[0]}, client on core {cores[-1]}")
    if wrong:
        raise SystemExit("\n".join(wrong))


if __name__ == "__main__":
    main()
