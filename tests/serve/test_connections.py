"""Connections as they are, over raw sockets: ambiguous requests, silent and slow clients, too many of them."""

from __future__ import annotations

import contextlib
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from .conftest import serving

POST, HOST = b"POST /v1/classify HTTP/1.1", b"Host: localhost"


def _request(*headers: bytes, line: bytes = POST, host: bytes = HOST, body: bytes = b"", end: bytes = b"\r\n") -> bytes:
    return end.join((line, *((host,) if host else ()), *headers, b"", body))


def _length(value: bytes) -> bytes:
    return _request(b"Content-Length: " + value, body=b"xxxxx")


def _coded(value: bytes, **more: bytes) -> bytes:
    return _request(b"Transfer-Encoding: " + value, body=b"0\r\n\r\n", **more)


def _chunks(body: bytes) -> bytes:
    return _request(b"Transfer-Encoding: chunked", body=body)


LAST = b"\r\nx\r\n0\r\n\r\n"
#: What two parsers may read as two different requests, or what is no request at all.
REFUSED = {
    "length and coding": _request(b"Content-Length: 5", b"Transfer-Encoding: chunked", body=b"0\r\n\r\n"),
    "coding and length": _request(b"Transfer-Encoding: chunked", b"Content-Length: 5", body=b"0\r\n\r\n"),
    "two lengths": _request(b"Content-Length: 1", b"Content-Length: 2", body=b"xx"),
    "one length twice": _request(b"Content-Length: 1", b"content-length: 1", body=b"x"),
    **{f"length {v!r}": _length(v) for v in (b"5,5", b"+5", b"-5", b"0x5", b"1_0", b"5.0", b"5 5", b"", b"\xd9\xa5", b"9" * 30)},
    **{f"coding {v!r}": _coded(v) for v in (b"xchunked", b"gzip, chunked", b"identity", b"chunked, chunked", b"\x0bchunked", b"")},
    "coding twice": _request(b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked", body=b"0\r\n\r\n"),
    "coding in HTTP/1.0": _coded(b"chunked", line=POST[:-1] + b"0"),
    "line feeds": _request(b"Content-Length: 0", end=b"\n"),
    "a line feed": POST + b"\r\nHost: localhost\nContent-Length: 0\r\n\r\n",
    "a line feed ends the head": POST + b"\r\nHost: localhost\r\n\nContent-Length: 0\r\n\r\n",
    "a carriage return": POST + b"\r\nHost: localhost\rX: y\r\n\r\n",
    "a line feed in front": b"\n" + _request(),
    "folded": _request(b"X: a", b" b"),
    "folded by a tab": _request(b"X: a", b"\tb"),
    "folded length": _request(b"Content-Length:", b" 5", body=b"xxxxx"),
    "first header folded": POST + b"\r\n X: y\r\nHost: localhost\r\n\r\n",
    "space before colon": _request(b"Content-Length : 5", body=b"xxxxx"),
    "tab before colon": _request(b"Transfer-Encoding\t: chunked", body=b"0\r\n\r\n"),
    "no colon": _request(b"Junk"),
    "no name": _request(b": x"),
    **{f"line {v!r}": _request(line=v) for v in (
        b"POST /v1/classify HTTP/1.2", b"POST /v1/classify HTTP/2.0", b"POST /v1/classify HTTP/0.9", b"GET /livez",
        b"GET /livez http/1.1", b"POST http://localhost/v1/classify HTTP/1.1", b"CONNECT localhost:80 HTTP/1.1", b"GET * HTTP/1.1",
        b"GET livez HTTP/1.1", b"GET /livez#x HTTP/1.1", b"GET  /livez HTTP/1.1", b"GET\t/livez HTTP/1.1", b"GET /li vez HTTP/1.1",
        b"GET /liv\xc3\xa9z HTTP/1.1", b"G@T /livez HTTP/1.1", b"GET /livez HTTP/1.1 ", b"PRI * HTTP/2.0",
    )},
    "no host": _request(b"X: y", host=b""),
    "two hosts": _request(b"Host: elsewhere"),
    **{f"host {v!r}": _request(host=b"Host: " + v) for v in (b"a, b", b"a/b", b"a@b", b"", b"a b", b"[::1", b"a:b", b"a:1:2")},
    **{f"character {v}": _request(b"X: a%cb" % v) for v in (0, 1, 8, 11, 12, 27, 127)},
    "zero in a name": _request(b"X\0: a"),
    **{f"chunk {v!r}": _chunks(v + LAST) for v in (
        b"+1", b"-1", b"0x1", b"1_0", b" 1", b"1 ", b"", b"g", b"1" + b"0" * 16, b"F" * 40, b"1;" + b"a" * 1000,
        b"1;" + b"a" * 100_000, b"1;a\nb", b"1;a\rb", b"1\0",
    )},
    "chunks by line feeds": _chunks(b"1\nx\n0\n\n"),
    "chunk longer than it says": _chunks(b"1\r\nxyz0\r\n\r\n"),
    "thousands of tiny chunks": _chunks(b"1\r\nx\r\n" * 5000 + b"0\r\n\r\n"),
    "trailer": _chunks(b"1\r\nx\r\n0\r\nContent-Length: 5\r\n\r\n"),
    "trailer by line feed": _chunks(b"1\r\nx\r\n0\r\nX: y\n\r\n"),
    "a long head": _request(b"X: " + b"a" * 100_000),
    "a long head without an end": POST + b"\r\nX: " + b"a" * 100_000,
    "many headers": _request(*(b"X%d: a" % i for i in range(2000))),
    "TLS": bytes.fromhex("16030100c8010000c40303") + bytes(200),
    "junk": b"\xff\xfe junk\r\n\r\n",
}  # fmt: skip


def _talk(port: int, data: bytes, seconds: float = 10.0) -> bytes:
    """All that the service says until it closes; what is sent may be more than it wants to read."""
    with socket.create_connection(("127.0.0.1", port), timeout=seconds) as connection:
        connection.sendall(data)
        answer = b""
        while piece := connection.recv(65536):
            answer += piece
        return answer


@pytest.fixture(scope="module")
def port(model_path: Path) -> Iterator[int]:
    with serving(model_path, "--max-image-mb", "1") as (_, url, errors):
        yield int(url.rpartition(":")[2])
        # Nobody can make the service write a line for each bad request.
        assert len(errors.read_text()) < 10_000


def test_what_could_be_read_in_two_ways_is_refused_and_closed(port: int) -> None:
    wrong = {}
    for name, data in REFUSED.items():
        answer = _talk(port, data)
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
    for request in (
        _request(kind, close, b"Content-Length: %d" % len(data), body=data),
        _request(kind, close, b"Transfer-Encoding: Chunked", body=chunked),
        _request(kind, b"content-length:%d" % len(data), line=POST[:-1] + b"0", host=b"", body=data),
        _request(kind, close, b"Content-Length: %d" % len(data), host=b"Host: [::1]:8080", body=data),
        _request(kind, close, b"Content-Length: %d" % len(data), b"X: caf\xc3\xa9 \t x", body=data),
    ):
        assert _talk(port, request).startswith(b"HTTP/1.1 200 "), request[:300]


LARGE = bytes(4 << 20)


@pytest.mark.parametrize(
    "request_",
    [
        _request(b"Content-Length: %d" % len(LARGE), body=LARGE),
        _request(b"Content-Length: %d" % len(LARGE), b"Expect: 100-continue", body=LARGE),
        _request(b"Content-Length: %d" % len(LARGE), b"Connection: close", body=LARGE),
        _request(b"Content-Length: %d" % len(LARGE), line=POST[:-1] + b"0", body=LARGE),
        _request(b"Content-Length: %d" % len(LARGE), body=LARGE) * 2,
        _request(b"Transfer-Encoding: chunked", body=b"%x\r\n%b\r\n0\r\n\r\n" % (len(LARGE), LARGE)),
        _request(b"Content-Length: 99999999999999999999"),
    ],
    ids=["plain", "expect", "close", "HTTP/1.0", "pipelined", "chunked", "endless"],
)
def test_413_reaches_clients_that_send_everything_before_they_read(port: int, request_: bytes) -> None:
    answer = _talk(port, request_)
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert answer.count(b"HTTP/1.1 ") == 1
    assert b"too_large" in answer


def test_a_client_that_waits_for_100_gets_it_or_the_refusal(port: int, image: Callable[..., bytes]) -> None:
    data = image()
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(
            _request(b"Expect: 100-continue", b"Content-Type: image/jpeg", b"Content-Length: %d" % len(data))
        )
        assert connection.recv(100).startswith(b"HTTP/1.1 100 ")
        connection.sendall(data)
        assert connection.recv(1000).startswith(b"HTTP/1.1 200 ")
        connection.sendall(_request(b"Expect: 100-continue", b"Content-Type: image/jpeg", b"Content-Length: 9000000"))
        assert connection.recv(1000).startswith(b"HTTP/1.1 413 ")


def test_a_refusal_with_a_small_body_leaves_the_connection_usable(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        for _ in range(3):
            connection.sendall(_request(b"Content-Type: text/plain", b"Content-Length: 50000", body=bytes(50000)))
            assert connection.recv(4000).startswith(b"HTTP/1.1 415 ")
        connection.sendall(_request(line=b"GET /livez HTTP/1.1"))
        assert connection.recv(4000).endswith(b"alive\n")


def test_more_silent_connections_than_files_keep_nobody_out(model_path: Path, image: Callable[..., bytes]) -> None:
    data = image()
    classify = _request(b"Content-Type: image/jpeg", b"Connection: close", b"Content-Length: %d" % len(data), body=data)
    with serving(model_path, files=300) as (process, url, errors):
        port, held = int(url.rpartition(":")[2]), []
        beginnings = (
            b"",
            b"GET /livez HTTP/1.1\r\nHo",
            _request(line=b"GET /livez HTTP/1.1"),
            _request(b"Content-Length: 9"),
        )
        for beginning in beginnings:
            for _ in range(110):
                connection = socket.create_connection(("127.0.0.1", port), timeout=10)
                connection.sendall(beginning)
                held.append(connection)
            assert _talk(port, _request(b"Connection: close", line=b"GET /livez HTTP/1.1")).startswith(b"HTTP/1.1 200 ")
            if b"Content-Length" in beginning:  # uploads that send nothing lose their places after a second
                time.sleep(1.2)
                _talk(port, classify)
            assert _talk(port, classify).startswith(b"HTTP/1.1 200 "), beginning
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


def _started(script: str, *arguments: str) -> tuple[subprocess.Popen[bytes], int]:
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
    process, port = _started(SHORT, str(model_path))
    try:
        cases: list[tuple[bytes, bytes, bytes]] = [
            (b"", b"", b""),  # silent
            (b"GET /livez HTTP/1.1\r\nHost: localhost\r\n", b"X: y\r\n", b"HTTP/1.1 408 "),  # a slow head
            (_request(b"Content-Length: 100000"), b"x", b"HTTP/1.1 408 "),  # a slow body
            (_request(b"Transfer-Encoding: chunked"), b"1\r\nx\r\n", b"HTTP/1.1 408 "),
            (_request(b"Content-Length: 100000"), b"", b"HTTP/1.1 408 "),  # a body that does not come
            (_request(line=b"GET /livez HTTP/1.1"), b"", b"HTTP/1.1 200 "),  # idle
            (_request(b"Content-Length: 100000", line=b"GET /livez HTTP/1.1"), b"x", b"HTTP/1.1 200 "),  # a body unread
        ]
        for data, more, answer in cases:
            said, seconds = _slowly(port, data, more)
            assert said.startswith(answer), (data, said)
            assert bool(said) == bool(answer)
            assert seconds < 7, (data, seconds)
    finally:
        process.kill()
        process.wait()


def _half_closed(port: int, *pieces: bytes) -> bytes:
    """All that comes when the client closes its half after the last piece."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        for piece in pieces:
            connection.sendall(piece)
            time.sleep(0.01)
        connection.shutdown(socket.SHUT_WR)
        answer = b""
        while piece := connection.recv(65536):
            answer += piece
    return answer


def test_a_client_that_closes_its_half_gets_all_its_answers(port: int, image: Callable[..., bytes]) -> None:
    photo, large = image(), image("PNG", (300, 300))
    assert len(large) > 1 << 17  # reading is paused on the way
    post = _request(b"Content-Length: %d" % len(photo), body=photo)
    get = _request(line=b"GET /livez HTTP/1.1")
    heavy = _request(b"Content-Length: %d" % len(large), body=large)
    close = _request(b"Content-Length: %d" % len(photo), b"Connection: close", body=photo)
    for pieces, statuses in (
        ((post,), [200]),
        ((close,), [200]),
        ((get,), [200]),
        ((heavy,), [200]),
        ((post + post,), [200, 200]),
        ((post, post, get), [200, 200, 200]),
        ((post + get + get + post,), [200] * 4),
        ((heavy + heavy + get,), [200] * 3),
        ((post + b"junk\r\n\r\n",), [200, 400]),
        ((post + post[:-5],), [200]),
        ((_request(b"Content-Length: 5", body=b"xxxxx"),), [422]),
        ((post[:-5],), []),
        ((b"GET /livez",), []),
    ):
        answer = _half_closed(port, *pieces)
        found = [int(status) for status in re.findall(rb"HTTP/1\.1 (\d+) ", answer)]
        assert [status for status in found if status != 100] == statuses, (pieces[0][:80], answer)
    old = _half_closed(port, _request(b"Content-Length: %d" % len(photo), line=POST[:-1] + b"0", body=photo))
    assert old.startswith(b"HTTP/1.1 200 ")  # no interim response


def test_a_client_with_little_time_ends_nobody_elses_upload(port: int, image: Callable[..., bytes]) -> None:
    photo = image()
    whole = _request(b"Content-Length: %d" % len(photo), b"Connection: close", body=photo)
    with socket.create_connection(("127.0.0.1", port), timeout=10) as slow:
        slow.sendall(whole[:-10])
        time.sleep(1.3)  # slower than what keeps a place when others need it
        hasty = _request(
            b"Content-Length: %d" % len(photo), b"Connection: close", b"X-Request-Timeout: 0.000001", body=photo
        )
        assert _talk(port, hasty).startswith(b"HTTP/1.1 429 ")
        slow.sendall(whole[-10:])
        assert slow.recv(4096).startswith(b"HTTP/1.1 200 ")


#: A service whose images take a second each.
SLOW = """
import sys, time
import kigraph as ki
from kigraph.cli.serve import canary
from kigraph.serve.app import create_app
from kigraph.serve.server import bind, run_server
model = ki.load(sys.argv[1], backend="numpy")
classify = model.classify
def slowly(*args, **options):
    time.sleep(1.0)
    return classify(*args, **options)
model.classify = slowly
app = create_app(model, canary())
sockets = bind("127.0.0.1", 0)
print(sockets[0].getsockname()[1], flush=True)
run_server(app, sockets)
"""


def test_images_of_clients_that_are_gone_are_not_classified(model_path: Path, image: Callable[..., bytes]) -> None:
    process, port = _started(SLOW, str(model_path))
    try:
        whole = _request(b"Content-Length: %d" % len(image()), body=image())
        for _ in range(10):
            with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
                connection.sendall(whole)
                time.sleep(0.05)
        start = time.monotonic()
        assert b"HTTP/1.1 200 " in _talk(port, whole.replace(HOST, HOST + b"\r\nConnection: close"), 20)
        assert time.monotonic() - start < 5  # of ten others, one was being worked on
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
            time.sleep(2.0)
            answer = _talk(port, _request(b"Connection: close", line=b"GET /livez HTTP/1.1"))
            assert answer.startswith(b"HTTP/1.1 200 "), end
        for connection in held:
            connection.close()


def test_the_limits_of_a_head_do_not_depend_on_packets() -> None:
    from kigraph.serve.protocol import MAX_HEAD, ambiguity

    lines = _request(*(b"X%d: a" % i for i in range(98)), line=b"GET /livez HTTP/1.1")
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
        (_request(b"X: y", host=b""), b"Host is missing"),
        (_request(line=b"A" * 33 + b" / HTTP/1.1"), b"the first line must be"),
    ):
        assert reason in _talk(port, data), data
    metrics = _talk(port, _request(b"Connection: close", line=b"GET /metrics HTTP/1.1"))
    assert b'kigraph_requests_total{route="other",status="400"}' in metrics
