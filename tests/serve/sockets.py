"""Raw sockets to a service, and services of their own."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import time

POST, HOST = b"POST /v1/classify HTTP/1.1", b"Host: localhost"


def request(*headers: bytes, line: bytes = POST, host: bytes = HOST, body: bytes = b"", end: bytes = b"\r\n") -> bytes:
    return end.join((line, *((host,) if host else ()), *headers, b"", body))


def talk(port: int, data: bytes, seconds: float = 10.0) -> bytes:
    """All that the service says until it closes; what is sent may be more than it wants to read."""
    with socket.create_connection(("127.0.0.1", port), timeout=seconds) as connection:
        connection.sendall(data)
        answer = b""
        while piece := connection.recv(65536):
            answer += piece
        return answer


def started(script: str, *arguments: str) -> tuple[subprocess.Popen[bytes], int]:
    """A process that prints its port and listens there."""
    process = subprocess.Popen(
        [sys.executable, "-c", script, *arguments], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    assert process.stdout is not None
    port = int(process.stdout.readline())
    for _ in range(200):  # it has bound the port and listens when the canary is through
        with contextlib.suppress(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port)).close()
            break
        time.sleep(0.05)
    return process, port
