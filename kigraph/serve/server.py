"""uvicorn with guarded connections and a clean drain: on SIGTERM the service reports not ready, answers what it has accepted,
then the process ends."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import functools
import logging
import resource
import signal
import socket
import sys
import time
from collections.abc import Sequence
from types import FrameType
from typing import TYPE_CHECKING, Any

import uvicorn

from ..errors import KigraphError
from .memory import keep_freed
from .protocol import ConnectionLimits, Connections, GuardedProtocol
from .quick import Quick

if TYPE_CHECKING:
    from starlette.applications import Starlette

__all__ = ["bind", "connection_limit", "run_server"]

_LOG = logging.getLogger("kigraph.serve")

#: Seconds for what was accepted before the signal: longer than an answer's deadline (15 s), and with the 5 s of the workers'
#: end inside the 25 s that orchestrators commonly wait.
_GRACE = 20
#: Connections that asyncio accepts at a time, before any of them can be counted. The system's queue holds more.
_ACCEPTED_AT_ONCE, _BACKLOG = 16, 4096
#: File descriptors kept for the rest: files, pipes, and up to six rounds of connections that are accepted and not yet counted,
#: or dropped and not yet closed.
_RESERVED = 6 * _ACCEPTED_AT_ONCE + 96


def connection_limit(wanted: int | None = None) -> int:
    """Connections to hold at once: what the limit on open files leaves, and at most ``wanted`` (default: 2048)."""
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if files == resource.RLIM_INFINITY:
        return wanted or 2048
    return min(wanted or 2048, max(files - _RESERVED, files // 2, 1))


def bind(host: str, port: int) -> list[socket.socket]:
    """Sockets on every address of ``host``, not yet listening; KigraphError if the port is taken or not ours to take."""
    sockets: list[socket.socket] = []
    try:
        found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        for family, kind, protocol, _, address in dict.fromkeys(found):
            one = socket.socket(family, kind, protocol)
            sockets.append(one)
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            one.bind(address)
    except (OSError, UnicodeError) as error:
        for one in sockets:
            one.close()
        raise _cannot_listen(host, port, error) from None
    return sockets


def _cannot_listen(host: str, port: int, error: Exception) -> KigraphError:
    number = getattr(error, "errno", None)
    remedy = {
        errno.EADDRINUSE: "something listens there already; remedy: --port with another number, or 0 for any free one",
        errno.EACCES: "ports below 1024 need a privilege; remedy: --port 8080",
        errno.EADDRNOTAVAIL: "this machine has no such address; remedy: --host 127.0.0.1 or 0.0.0.0",
    }.get(number or 0, f"{getattr(error, 'strerror', None) or error}")
    return KigraphError(f"cannot listen on {host}:{port}: {remedy}")


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, app: Starlette, connections: Connections) -> None:
        super().__init__(config)
        self._app, self._connections, self._told = app, connections, 0.0

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self._app.state.service.drain()
        super().handle_exit(sig, frame)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        asyncio.get_running_loop().set_exception_handler(self._exception)
        await super().startup(sockets)
        # uvicorn's backlog is also what asyncio accepts at a time: small; the system's queue is not.
        for one in sockets or ():
            one.listen(_BACKLOG)

    async def on_tick(self, counter: int) -> bool:
        if counter % 5 == 0:
            self._connections.sweep()
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        sweeping = asyncio.create_task(self._sweep())
        try:
            await super().shutdown(sockets)
        finally:
            sweeping.cancel()

    async def _sweep(self) -> None:
        while True:
            self._connections.sweep()
            await asyncio.sleep(0.5)

    def _exception(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """asyncio reports every connection that it cannot accept, 16 at a time: one line in ten seconds says as much."""
        if isinstance(error := context.get("exception"), OSError) and error.errno in (errno.EMFILE, errno.ENFILE):
            if time.monotonic() - self._told > 10:
                self._told = time.monotonic()
                _LOG.error("no connection can be accepted: %s; remedy: a higher ulimit -n", error.strerror)
        else:
            loop.default_exception_handler(context)


def run_server(
    app: Starlette, sockets: Sequence[socket.socket], limits: ConnectionLimits | None = None, *, log_level: str = "info"
) -> int:
    """Serves on bound sockets until SIGTERM or SIGINT; 0 after a clean end."""
    limits = limits or ConnectionLimits(connections=connection_limit())
    connections = Connections(limits, app.state.service.unrouted, Quick(app.state.service))
    config = uvicorn.Config(
        app, log_level=log_level, access_log=False, timeout_graceful_shutdown=_GRACE, server_header=False,
        http=functools.partial(GuardedProtocol, connections=connections),  # type: ignore[arg-type]
        ws="none", backlog=_ACCEPTED_AT_ONCE, log_config=None,
        # The sweep closes idle connections.
        timeout_keep_alive=3600,
    )  # fmt: skip
    server = _Server(config, app, connections)
    keep_freed()
    # Python lets a thread run for 5 ms before another gets the GIL; workers that parse large bodies hold it.
    sys.setswitchinterval(0.001)
    # uvicorn raises the signal again when it is done, so that the exit status shows it; a drained service ends with 0.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    with contextlib.ExitStack() as stack:
        addresses = [stack.enter_context(one).getsockname()[:2] for one in sockets]
        try:
            server.run(sockets=list(sockets))
        except OSError as error:  # another service bound the port at the same time, and was the first to listen
            if server.started or not addresses:
                raise
            raise _cannot_listen(addresses[0][0], addresses[0][1], error) from None
    return 0 if server.started else 1
