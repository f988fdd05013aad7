"""The thread that accepts connections: health checks come first, whatever else waits."""

from __future__ import annotations

import contextlib
import errno
import logging
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from kigraph.serve.door import Door

from .conftest import serving
from .sockets import request, talk

CHECK = b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n"
ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"
POSTED = request(b"Content-Length: 5", body=b"xxxxx")


class Opened:
    """A door on a port of its own, without an event loop behind it."""

    def __init__(self, **options: Any) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self.port = self.listener.getsockname()[1]
        self.arrived = self.dropped = 0
        given: dict[str, Any] = {"answer": self.answer, "full": lambda more: False, "idle": 0.3} | options
        self.door = Door(
            [self.listener], self._came, given.pop("answer"), lambda data: b"HTTP/1.1 429 " + data[:4], dropped=self._gone, **given
        )  # fmt: skip

    def _came(self) -> None:
        self.arrived += 1

    def _gone(self) -> None:
        self.dropped += 1

    @staticmethod
    def answer(data: bytes) -> tuple[bytes, int] | None:
        return (ANSWER, len(data)) if data == CHECK else None

    def connect(self, data: bytes = b"") -> socket.socket:
        one = socket.create_connection(("127.0.0.1", self.port), timeout=10)
        one.sendall(data)
        return one

    def wait(self, condition: Callable[[], bool]) -> None:
        end = time.monotonic() + 20
        while not condition():
            assert time.monotonic() < end
            self.door.beat = time.monotonic()
            time.sleep(0.005)


@contextlib.contextmanager
def opened(**options: Any) -> Iterator[Opened]:
    made = Opened(**options)
    made.door.start()
    try:
        yield made
    finally:
        made.door.stop()
        while (one := made.door.next()) is not None:
            one.close()
        made.listener.close()


def test_a_check_is_answered_while_the_event_loop_takes_nothing() -> None:
    with opened() as at:
        held = [at.connect(POSTED) for _ in range(100)]
        with at.connect(CHECK) as one:
            assert one.recv(4096) == ANSWER
            one.sendall(CHECK)  # the connection goes on
            assert one.recv(4096) == ANSWER
            one.sendall(POSTED)  # and its next request is for the event loop
            at.wait(lambda: len(at.door) == 101)
        for other in held:
            other.close()


def test_requests_keep_their_order_and_their_bytes() -> None:
    with opened() as at:
        clients = []
        for i in range(20):
            clients.append(at.connect(b"POST /%02d" % i))
            at.wait(lambda i=i: len(at.door) == i + 1)  # type: ignore[misc]
        for i in range(20):
            taken = at.door.next()
            assert taken is not None
            assert taken.recv(100) == b"POST /%02d" % i
            taken.close()
        assert at.door.next() is None
        for one in clients:
            one.close()


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not tell who has hung up")
def test_who_has_hung_up_comes_last_and_few_of_them_are_kept() -> None:
    with opened() as at:
        for _ in range(100):
            at.connect(POSTED).close()
        at.wait(lambda: at.arrived == 100)
        with at.connect(POSTED) as alive:
            at.wait(lambda: at.arrived == 101)
            taken = at.door.next()
            assert taken is not None
            assert taken.getpeername() == alive.getsockname()
            taken.close()
        assert len(at.door) == 32
        assert at.dropped == 68
        for _ in range(10):  # now the thread itself closes them
            at.connect(POSTED).close()
        at.wait(lambda: at.dropped + len(at.door) == 110)
        left = 0
        while (one := at.door.next()) is not None:
            assert one.recv(1000) == POSTED  # a client that only closed its side still gets its answer
            one.close()
            left += 1
        assert left >= 32


def test_without_room_requests_are_refused_and_checks_are_not() -> None:
    with opened(full=lambda more: True) as at:
        held = [at.connect(POSTED) for _ in range(32)]
        at.wait(lambda: len(at.door) == 32)
        with at.connect(POSTED + b"x" * 200_000) as refused:
            assert refused.recv(100) == b"HTTP/1.1 429 POST"
            refused.shutdown(socket.SHUT_WR)
            assert refused.recv(100) == b""
        with at.connect(CHECK) as one:
            assert one.recv(4096) == ANSWER
        for other in held:
            other.close()


def test_silent_connections_go_to_the_event_loop_and_idle_ones_end() -> None:
    with opened() as at:
        silent, checked = at.connect(), at.connect(CHECK)
        assert checked.recv(4096) == ANSWER
        start = time.monotonic()
        assert checked.recv(4096) == b""
        assert time.monotonic() - start >= 0.3
        at.wait(lambda: len(at.door) == 1)
        silent.close()
        checked.close()


def test_a_stalled_event_loop_is_not_called_alive() -> None:
    with opened() as at:
        at.door.beat = time.monotonic() - 3.0
        with at.connect(CHECK) as one:
            end = time.monotonic() + 20
            while not len(at.door):
                assert time.monotonic() < end
                time.sleep(0.005)
            one.setblocking(False)
            with pytest.raises(BlockingIOError):
                one.recv(100)


def test_the_thread_survives_an_error_and_a_lack_of_descriptors(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(data: bytes) -> tuple[bytes, int] | None:
        if data.startswith(b"BROKEN"):
            raise ValueError("an error of ours")
        return Opened.answer(data)

    accept, lacking = socket.socket.accept, [True]

    def short(self: socket.socket) -> Any:
        if lacking and lacking.pop():
            raise OSError(errno.EMFILE, "Too many open files")
        return accept(self)

    monkeypatch.setattr(socket.socket, "accept", short)
    with caplog.at_level(logging.ERROR, "kigraph.serve"), opened(answer=broken) as at:
        with at.connect(b"BROKEN") as one, contextlib.suppress(ConnectionResetError):
            assert one.recv(100) == b""
        with at.connect(CHECK) as one:
            assert one.recv(4096) == ANSWER
    said = [record.getMessage() for record in caplog.records]
    assert any("ulimit -n" in line for line in said)
    assert any("could not be looked at" in line for line in said)


def _told(answer: bytes) -> tuple[bytes, dict[bytes, bytes], bytes]:
    head, _, body = answer.partition(b"\r\n\r\n")
    line, *fields = head.split(b"\r\n")
    return line, dict(field.lower().split(b": ", 1) for field in fields), body


def test_the_answers_are_those_of_the_routes(model_path: Path) -> None:
    with serving(model_path, "--allowed-hosts", "example.org") as (process, url, _):
        port = int(url.rpartition(":")[2])
        for path in (b"/livez", b"/readyz"):
            quick, long = (
                _told(talk(port, request(b"Connection: close", b"X-Request-Id: a1", line=b"GET %b HTTP/1.1" % p)))
                for p in (path, path + b"?long=1")
            )
            assert {k: v for k, v in quick[1].items() if k != b"date"} == {
                k: v for k, v in long[1].items() if k != b"date"
            }
            assert (quick[0], quick[2]) == (long[0], long[2])
            assert b"date" in quick[1]
            foreign = talk(port, request(b"Connection: close", line=b"GET %b HTTP/1.1" % path, host=b"Host: evil.test"))
            assert foreign.startswith(b"HTTP/1.1 403 ")
        metrics = talk(port, request(b"Connection: close", line=b"GET /metrics HTTP/1.1"))
        assert b'kigraph_requests_total{route="/livez",status="200"} 2.0' in metrics
        assert process.poll() is None


def test_refused_connections_that_end_stop_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """Of a batch of events, one may end a connection that another is about."""
    end = time.monotonic() + 1.5
    with opened(full=lambda more: True) as at:

        def flood() -> None:
            while time.monotonic() < end:
                with contextlib.suppress(OSError), at.connect(POSTED) as one:
                    one.recv(64)

        threads = [threading.Thread(target=flood) for _ in range(48)]
        with caplog.at_level(logging.ERROR):
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        assert not caplog.records
