"""Requests that are refused by their head: the same answer as by the long way, and the connection goes on."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from .conftest import serving


@pytest.fixture(scope="module")
def address(model_path: Path) -> Iterator[tuple[str, int]]:
    with serving(model_path, "--queue", "8", "--log", "off") as (_, url, _errors):
        host, _, port = url.removeprefix("http://").partition(":")
        yield host, int(port)


def _answer(connection: socket.socket, rest: bytearray) -> tuple[int, dict[str, str], Any]:
    """The next answer on a connection; what follows it stays in ``rest``."""
    while True:
        head, ended, body = bytes(rest).partition(b"\r\n\r\n")
        if ended:
            fields = dict(line.decode().lower().split(": ", 1) for line in head.split(b"\r\n")[1:])
            if len(body) >= (length := int(fields["content-length"])):
                rest[:] = body[length:]
                return int(head[9:12]), fields, json.loads(body[:length])
        more = connection.recv(1 << 16)
        assert more, bytes(rest)
        rest += more


def _request(body: bytes, *fields: str) -> bytes:
    lines = ["POST /v1/classify?top=1 HTTP/1.1", "Host: localhost", "Content-Type: image/jpeg", *fields]
    return "\r\n".join([*lines, f"Content-Length: {len(body)}", "", ""]).encode() + body


def test_the_answer_is_that_of_the_long_way_and_the_connection_goes_on(
    address: tuple[str, int], image: Callable[..., bytes]
) -> None:
    body, rest = image(), bytearray()
    hopeless, known = "X-Request-Timeout: 0.000001", "X-Request-Id: abc.1"
    with socket.create_connection(address, 10) as connection:
        # Nothing was refused yet, so this one takes the long way.
        connection.sendall(_request(body, hopeless, known))
        slow = _answer(connection, rest)
        connection.sendall(_request(body, hopeless, known))
        quick = _answer(connection, rest)
        assert slow[0] == quick[0] == 429
        assert set(slow[1]) == set(quick[1])
        for name in set(slow[1]) - {"date", "content-length", "retry-after"}:
            assert slow[1][name] == quick[1][name], name
        assert slow[2]["error"]["code"] == quick[2]["error"]["code"] == "too_slow"
        # A head in one packet, its body in others: the answer does not wait for the body.
        whole = _request(body, hopeless)
        at = len(whole) - len(body)
        connection.sendall(whole[:at])
        assert _answer(connection, rest)[0] == 429
        connection.sendall(whole[at:-5])
        time.sleep(0.05)
        # The end of a refused body, a refused request, one that is answered, and one more, together.
        connection.sendall(whole[-5:] + whole + _request(body) + whole)
        assert [_answer(connection, rest)[0] for _ in range(3)] == [429, 200, 429]
        assert not rest


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        (("Transfer-Encoding: chunked",), 400),
        (("Host: elsewhere",), 400),
        (("Content-Length: 3",), 400),
        (("Origin: http://evil.example",), 403),
        (("Bad Name: x",), 400),
        (("X-Request-Timeout: soon",), 400),
        (("X: a\r\n folded",), 400),
        (("X: \x01",), 400),
    ],
)
def test_what_is_wrong_is_refused_for_that_reason(
    address: tuple[str, int], image: Callable[..., bytes], fields: tuple[str, ...], status: int
) -> None:
    rest = bytearray()
    with socket.create_connection(address, 10) as connection:
        connection.sendall(_request(image(), "X-Request-Timeout: 0.000001"))
        assert _answer(connection, rest)[0] == 429
        hopeless = () if any("Timeout" in field for field in fields) else ("X-Request-Timeout: 0.000001",)
        connection.sendall(_request(image(), *hopeless, *fields))
        assert _answer(connection, rest)[0] == status
