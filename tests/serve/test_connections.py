"""Connections as they are, over raw sockets: ambiguous requests, silent and slow clients, too many of them."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from .conftest import serving
from .sockets import POST, request, started, talk


def _length(value: bytes) -> bytes:
    return request(b"Content-Length: " + value, body=b"xxxxx")


def _coded(value: bytes, **more: bytes) -> bytes:
    return request(b"Transfer-Encoding: " + value, body=b"0\r\n\r\n", **more)


def _chunks(body: bytes) -> bytes:
    return request(b"Transfer-Encoding: chunked", body=body)


LAST = b"\r\nx\r\n0\r\n\r\n"
#: What two parsers may read as two different requests, or what is no request at all.
REFUSED = {
    "length and coding": request(b"Content-Length: 5", b"Transfer-Encoding: chunked", body=b"0\r\n\r\n"),
    "coding and length": request(b"Transfer-Encoding: chunked", b"Content-Length: 5", body=b"0\r\n\r\n"),
    "two lengths": request(b"Content-Length: 1", b"Content-Length: 2", body=b"xx"),
    "one length twice": request(b"Content-Length: 1", b"content-length: 1", body=b"x"),
    **{f"length {v!r}": _length(v) for v in (b"5,5", b"+5", b"-5", b"0x5", b"1_0", b"5.0", b"5 5", b"", b"\xd9\xa5", b"9" * 30)},
    **{f"coding {v!r}": _coded(v) for v in (b"xchunked", b"gzip, chunked", b"identity", b"chunked, chunked", b"\x0bchunked", b"")},
    "coding twice": request(b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked", body=b"0\r\n\r\n"),
    "coding in HTTP/1.0": _coded(b"chunked", line=POST[:-1] + b"0"),
    "line feeds": request(b"Content-Length: 0", end=b"\n"),
    "a line feed": POST + b"\r\nHost: localhost\nContent-Length: 0\r\n\r\n",
    "a line feed ends the head": POST + b"\r\nHost: localhost\r\n\nContent-Length: 0\r\n\r\n",
    "a carriage return": POST + b"\r\nHost: localhost\rX: y\r\n\r\n",
    "a line feed in front": b"\n" + request(),
    "folded": request(b"X: a", b" b"),
    "folded by a tab": request(b"X: a", b"\tb"),
    "folded length": request(b"Content-Length:", b" 5", body=b"xxxxx"),
    "first header folded": POST + b"\r\n X: y\r\nHost: localhost\r\n\r\n",
    "space before colon": request(b"Content-Length : 5", body=b"xxxxx"),
    "tab before colon": request(b"Transfer-Encoding\t: chunked", body=b"0\r\n\r\n"),
    "no colon": request(b"Junk"),
    "no name": request(b": x"),
    **{f"line {v!r}": request(line=v) for v in (
        b"POST /v1/classify HTTP/1.2", b"POST /v1/classify HTTP/2.0", b"POST /v1/classify HTTP/0.9", b"GET /livez",
        b"GET /livez http/1.1", b"POST http://localhost/v1/classify HTTP/1.1", b"CONNECT localhost:80 HTTP/1.1", b"GET * HTTP/1.1",
        b"GET livez HTTP/1.1", b"GET /livez#x HTTP/1.1", b"GET  /livez HTTP/1.1", b"GET\t/livez HTTP/1.1", b"GET /li vez HTTP/1.1",
        b"GET /liv\xc3\xa9z HTTP/1.1", b"G@T /livez HTTP/1.1", b"GET /livez HTTP/1.1 ", b"PRI * HTTP/2.0",
    )},
    "no host": request(b"X: y", host=b""),
    "two hosts": request(b"Host: elsewhere"),
    **{f"host {v!r}": request(host=b"Host: " + v) for v in (b"a, b", b"a/b", b"a@b", b"", b"a b", b"[::1", b"a:b", b"a:1:2")},
    **{f"character {v}": request(b"X: a%cb" % v) for v in (0, 1, 8, 11, 12, 27, 127)},
    "zero in a name": request(b"X\0: a"),
    **{f"chunk {v!r}": _chunks(v + LAST) for v in (
        b"+1", b"-1", b"0x1", b"1_0", b" 1", b"1 ", b"", b"g", b"1" + b"0" * 16, b"F" * 40, b"1;" + b"a" * 1000,
        b"1;" + b"a" * 100_000, b"1;a\nb", b"1;a\rb", b"1\0",
    )},
    "chunks by line feeds": _chunks(b"1\nx\n0\n\n"),
    "chunk longer than it says": _chunks(b"1\r\nxyz0\r\n\r\n"),
    "thousands of tiny chunks": _chunks(b"1\r\nx\r\n" * 5000 + b"0\r\n\r\n"),
    "trailer": _chunks(b"1\r\nx\r\n0\r\nContent-Length: 5\r\n\r\n"),
    "trailer by line feed": _chunks(b"1\r\nx\r\n0\r\nX: y\n\r\n"),
    "a long head": request(b"X: " + b"a" * 100_000),
    "a long head without an end": POST + b"\r\nX: " + b"a" * 100_000,
    "many headers": request(*(b"X%d: a" % i for i in range(2000))),
    "TLS": bytes.fromhex("16030100c8010000c40303") + bytes(200),
    "junk": b"\xff\xfe junk\r\n\r\n",
}  # fmt: skip


@pytest.fixture(scope="module")
def port(model_path: Path) -> Iterator[int]:
    with serving(model_path, "--max-image-mb", "1") as (_, url, errors):
        yield int(url.rpartition(":")[2])
        # Nobody can make the service write a line for each bad request.
        assert len(errors.read_text()) < 10_000


def test_what_could_be_read_in_two_ways_is_refused_and_closed(port: int) -> None:
    wrong = {}
    for name, data in REFUSED.items():
        answer = talk(port, data)
        right = answer.startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 431 ")) and answer.count(b"HTTP/1.1 ") == 1
        if (
            not right
            or b'{"error": {"code":' not in answer
            or answer.count(b"x-content-type-options: nosniff\r\n") != 1
            or b"x-request-id: " not in answer
        ):
            wrong[name] = answer[:200]
    assert wrong == {}
    assert len(REFUSED) > 80


def test_what_is_plain_is_answered(port: int, image: Callable[..., bytes]) -> None:
    data = image()
    half = len(data) // 2
    chunked = b"%x;name=value\r\n%b\r\n%X\r\n%b\r\n0\r\n\r\n" % (half, data[:half], len(data) - half, data[half:])
    kind, close = b"Content-Type: image/jpeg", b"Connection: close"
    for whole in (
        request(kind, close, b"Content-Length: %d" % len(data), body=data),
        request(kind, close, b"Transfer-Encoding: Chunked", body=chunked),
        request(kind, b"content-length:%d" % len(data), line=POST[:-1] + b"0", host=b"", body=data),
        request(kind, close, b"Content-Length: %d" % len(data), host=b"Host: [::1]:8080", body=data),
        request(kind, close, b"Content-Length: %d" % len(data), b"X: caf\xc3\xa9 \t x", body=data),
    ):
        assert talk(port, whole).startswith(b"HTTP/1.1 200 "), whole[:300]


LARGE = bytes(4 << 20)


@pytest.mark.parametrize(
    "request_",
    [
        request(b"Content-Length: %d" % len(LARGE), body=LARGE),
        request(b"Content-Length: %d" % len(LARGE), b"Expect: 100-continue", body=LARGE),
        request(b"Content-Length: %d" % len(LARGE), b"Connection: close", body=LARGE),
        request(b"Content-Length: %d" % len(LARGE), line=POST[:-1] + b"0", body=LARGE),
        request(b"Content-Length: %d" % len(LARGE), body=LARGE) * 2,
        request(b"Transfer-Encoding: chunked", body=b"%x\r\n%b\r\n0\r\n\r\n" % (len(LARGE), LARGE)),
        request(b"Content-Length: 99999999999999999999"),
    ],
    ids=["plain", "expect", "close", "HTTP/1.0", "pipelined", "chunked", "endless"],
)
def test_413_reaches_clients_that_send_everything_before_they_read(port: int, request_: bytes) -> None:
    answer = talk(port, request_)
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert answer.count(b"HTTP/1.1 ") == 1
    assert b"too_large" in answer


def test_a_client_that_waits_for_100_gets_it_or_the_refusal(port: int, image: Callable[..., bytes]) -> None:
    data = image()
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(
            request(b"Expect: 100-continue", b"Content-Type: image/jpeg", b"Content-Length: %d" % len(data))
        )
        assert connection.recv(100).startswith(b"HTTP/1.1 100 ")
        connection.sendall(data)
        assert connection.recv(1000).startswith(b"HTTP/1.1 200 ")
        connection.sendall(request(b"Expect: 100-continue", b"Content-Type: image/jpeg", b"Content-Length: 9000000"))
        assert connection.recv(1000).startswith(b"HTTP/1.1 413 ")


def test_a_refusal_with_a_small_body_leaves_the_connection_usable(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        for _ in range(3):
            connection.sendall(request(b"Content-Type: text/plain", b"Content-Length: 50000", body=bytes(50000)))
            assert connection.recv(4000).startswith(b"HTTP/1.1 415 ")
        connection.sendall(request(line=b"GET /livez HTTP/1.1"))
        assert connection.recv(4000).endswith(b"alive\n")


def test_more_silent_connections_than_files_keep_nobody_out(model_path: Path, image: Callable[..., bytes]) -> None:
    data = image()
    classify = request(b"Content-Type: image/jpeg", b"Connection: close", b"Content-Length: %d" % len(data), body=data)
    with serving(model_path, files=300) as (process, url, errors):
        port, held = int(url.rpartition(":")[2]), []
        beginnings = (
            b"",
            b"GET /livez HTTP/1.1\r\nHo",
            request(line=b"GET /livez HTTP/1.1"),
            request(b"Content-Length: 9"),
        )
        for beginning in beginnings:
            for _ in range(110):
                connection = socket.create_connection(("127.0.0.1", port), timeout=10)
                connection.sendall(beginning)
                held.append(connection)
            assert talk(port, request(b"Connection: close", line=b"GET /livez HTTP/1.1")).startswith(b"HTTP/1.1 200 ")
            if b"Content-Length" in beginning:  # uploads that send nothing lose their places after a second
                time.sleep(1.2)
                talk(port, classify)
            assert talk(port, classify).startswith(b"HTTP/1.1 200 "), beginning
        assert errors.stat().st_size < 5000
        for connection in held:
            connection.close()
        for _ in range(3000):
            socket.create_connection(("127.0.0.1", port), timeout=10).close()
        start = time.monotonic()
        process.terminate()
        assert process.wait(20) == 0
        assert time.monotonic() - start < 10  # it takes 0.2 s


#: A service with short limits: a test does not wait 10 s.
SHORT = """
import sys
import kigraph as ki
from kigraph.cli.serve import canary
from kigraph.serve.app import Options, create_app
from kigraph.serve.protocol import ConnectionLimits
from kigraph.serve.server import bind, run_server
app = create_app(ki.load(sys.argv[1], backend="numpy"), canary(), Options(timeout=1.0))
sockets = bind("127.0.0.1", 0)
print(sockets[0].getsockname()[1], flush=True)
run_server(app, sockets, ConnectionLimits(head=1.0, idle=0.3, exchange=4.0, unread=3.0))
"""


def _slowly(port: int, data: bytes, more: bytes, seconds: float = 8.0) -> tuple[bytes, float]:
    """What comes, and when the connection ends, while ``more`` is sent ten times a second."""
    start, answer = time.monotonic(), b""
    with socket.create_connection(("127.0.0.1", port), timeout=0.1) as connection:
        connection.sendall(data)
        while time.monotonic() - start < seconds:
            try:
                if not (piece := connection.recv(4096)):
                    break
                answer += piece
            except TimeoutError:
                if more:
                    connection.sendall(more)
            except OSError:
                break
    return answer, time.monotonic() - start


def test_slow_clients_have_a_deadline(model_path: Path) -> None:
    process, port = started(SHORT, str(model_path))
    try:
        cases: list[tuple[bytes, bytes, bytes]] = [
            (b"", b"", b""),  # silent
            (b"GET /livez HTTP/1.1\r\nHost: localhost\r\n", b"X: y\r\n", b"HTTP/1.1 408 "),  # a slow head
            (request(b"Content-Length: 100000"), b"x", b"HTTP/1.1 408 "),  # a slow body
            (request(b"Transfer-Encoding: chunked"), b"1\r\nx\r\n", b"HTTP/1.1 408 "),
            (request(b"Content-Length: 100000"), b"", b"HTTP/1.1 408 "),  # a body that does not come
            (request(line=b"GET /livez HTTP/1.1"), b"", b"HTTP/1.1 200 "),  # idle
            (request(b"Content-Length: 100000", line=b"GET /livez HTTP/1.1"), b"x", b"HTTP/1.1 200 "),  # a body unread
        ]
        for data, more, answer in cases:
            said, seconds = _slowly(port, data, more)
            assert said.startswith(answer), (data, said)
            assert bool(said) == bool(answer)
            assert seconds < 7, (data, seconds)
    finally:
        process.kill()
        process.wait()


def test_the_limit_follows_the_limit_on_files(monkeypatch: pytest.MonkeyPatch) -> None:
    import resource

    from kigraph.serve.server import connection_limit

    for files, wanted, most in (
        (1024, None, 832),
        (256, None, 128),
        (65536, None, 2048),
        (1024, 100, 100),
        (1024, 5000, 832),
        (-1, None, 2048),
    ):
        monkeypatch.setattr(resource, "getrlimit", lambda _, n=files: (n, n))
        got: Any = connection_limit(wanted)
        assert got == most, files


def test_clients_that_do_not_read_keep_nobody_out(model_path: Path) -> None:
    with serving(model_path, "--max-connections", "10") as (_, url, _errors):
        port, held = int(url.rpartition(":")[2]), []
        for end in (b"", b"Connection: close\r\n"):
            for _ in range(10):
                connection = socket.socket()
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
                connection.connect(("127.0.0.1", port))
                connection.setblocking(False)
                page = b"GET / HTTP/1.1\r\nHost: localhost\r\n"
                with contextlib.suppress(BlockingIOError):
                    connection.send((page + b"\r\n") * 1500 + page + end + b"\r\n")
                held.append(connection)
            # How soon depends on the machine; without the limit on clients that do not read it would be never.
            until, answer = time.monotonic() + 60, b""
            while not answer.startswith(b"HTTP/1.1 200 ") and time.monotonic() < until:
                time.sleep(0.5)
                with contextlib.suppress(OSError):
                    answer = talk(port, request(b"Connection: close", line=b"GET /livez HTTP/1.1"))
            assert answer.startswith(b"HTTP/1.1 200 "), (end, answer[:100])
        for connection in held:
            connection.close()


def test_the_limits_of_a_head_do_not_depend_on_packets() -> None:
    from kigraph.serve.strict import MAX_HEAD, ambiguity

    lines = request(*(b"X%d: a" % i for i in range(98)), line=b"GET /livez HTTP/1.1")
    assert lines.count(b"\r\n") == 101  # 100 lines and the empty one
    long = POST + b"\r\nX: "
    long += b"a" * (MAX_HEAD - len(long)) + b"\r\n\r\n"
    for head in (lines, long):
        assert [found for n in range(1, len(head) + 1) if (found := ambiguity(head[:n]))] == []
    assert ambiguity(lines[:-2] + b"Y: a\r\n\r\n") is not None


def test_refusals_of_the_protocol_name_the_reason_and_are_counted(port: int) -> None:
    for data, reason in (
        (_chunks(b"g\r\nx\r\n0\r\n\r\n"), b"the size of a chunk is malformed"),
        (_chunks(b"1\r\nx\r\n0\r\nX: y\r\n\r\n"), b"the body has trailers"),
        (request(b"X: y", host=b""), b"Host is missing"),
        (request(line=b"A" * 33 + b" / HTTP/1.1"), b"the first line must be"),
    ):
        assert reason in talk(port, data), data
    metrics = talk(port, request(b"Connection: close", line=b"GET /metrics HTTP/1.1"))
    assert b'kigraph_requests_total{route="other",status="400"}' in metrics
