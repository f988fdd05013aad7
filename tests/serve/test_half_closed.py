"""Clients that close their half of the connection after a request, and clients that are gone."""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from .conftest import serving
from .sockets import HOST, POST, request, started, talk


@pytest.fixture(scope="module")
def port(model_path: Path) -> Iterator[int]:
    with serving(model_path, "--max-image-mb", "1") as (_, url, _errors):
        yield int(url.rpartition(":")[2])


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
    post = request(b"Content-Length: %d" % len(photo), body=photo)
    get = request(line=b"GET /livez HTTP/1.1")
    heavy = request(b"Content-Length: %d" % len(large), body=large)
    close = request(b"Content-Length: %d" % len(photo), b"Connection: close", body=photo)
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
        ((request(b"Content-Length: 5", body=b"xxxxx"),), [422]),
        ((post[:-5],), []),
        ((b"GET /livez",), []),
    ):
        answer = _half_closed(port, *pieces)
        found = [int(status) for status in re.findall(rb"HTTP/1\.1 (\d+) ", answer)]
        assert [status for status in found if status != 100] == statuses, (pieces[0][:80], answer)
    old = _half_closed(port, request(b"Content-Length: %d" % len(photo), line=POST[:-1] + b"0", body=photo))
    assert old.startswith(b"HTTP/1.1 200 ")  # no interim response


def test_a_client_with_little_time_ends_nobody_elses_upload(port: int, image: Callable[..., bytes]) -> None:
    photo = image()
    whole = request(b"Content-Length: %d" % len(photo), b"Connection: close", body=photo)
    with socket.create_connection(("127.0.0.1", port), timeout=10) as slow:
        slow.sendall(whole[:-10])
        time.sleep(1.3)  # slower than what keeps a place when others need it
        hasty = request(
            b"Content-Length: %d" % len(photo), b"Connection: close", b"X-Request-Timeout: 0.000001", body=photo
        )
        assert talk(port, hasty).startswith(b"HTTP/1.1 429 ")
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
    process, port = started(SLOW, str(model_path))
    try:
        whole = request(b"Content-Length: %d" % len(image()), body=image())
        for _ in range(10):
            with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
                connection.sendall(whole)
                time.sleep(0.05)
        start = time.monotonic()
        assert b"HTTP/1.1 200 " in talk(port, whole.replace(HOST, HOST + b"\r\nConnection: close"), 20)
        assert time.monotonic() - start < 5  # of ten others, one was being worked on
    finally:
        process.kill()
        process.wait()
