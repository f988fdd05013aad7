"""uvicorn with guarded connections and a clean drain: on SIGTERM the service reports not ready, answers what it has accepted,
then the process ends."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import functools
import resource
import signal
import socket
import sys
import time
from collections.abc import Callable, Sequence
from types import FrameType
from typing import TYPE_CHECKING

import uvicorn

from ..errors import KigraphError
from .door import Door
from .memory import keep_freed
from .protocol import ConnectionLimits, Connections, GuardedProtocol
from .quick import Quick

if TYPE_CHECKING:
    from starlette.applications import Starlette

__all__ = ["bind", "connection_limit", "run_server"]

#: Seconds for what was accepted before the signal: longer than an answer's deadline (15 s), and with the 5 s of the workers'
#: end inside the 25 s that orchestrators commonly wait.
_GRACE = 20
#: Connections that the event loop takes from the door at a time. The system's queue holds more.
_AT_ONCE, _BACKLOG = 16, 4096
#: File descriptors kept for the rest: files, pipes, what the door holds beside the limit, and connections that are dropped and not
#: yet closed.
_RESERVED = 192


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
        self._app, self._connections = app, connections
        self._door: Door | None = None
        self._taking = False
        self._adopting: set[asyncio.Task[None]] = set()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self._app.state.service.drain()
        super().handle_exit(sig, frame)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup([])  # the door accepts, not asyncio
        try:
            for one in sockets or ():
                one.listen(_BACKLOG)
        except OSError:
            self.started = False
            raise
        loop, held, checks = asyncio.get_running_loop(), self._connections.all, self._app.state.checks
        most = self._connections.limits.connections
        self._door = Door(
            sockets or (), lambda: self._arrived(loop), lambda data: checks.answer(data, self.server_state.default_headers),
            checks.refusal, lambda more: len(held) + more >= most, checks.dropped, self._connections.limits.idle,
        )  # fmt: skip
        self._door.start()

    def _arrived(self, loop: asyncio.AbstractEventLoop) -> None:
        """From the door's thread: has the event loop take what waits, once."""
        if not self._taking:
            self._taking = True
            with contextlib.suppress(RuntimeError):  # the event loop has closed
                loop.call_soon_threadsafe(self._take)

    def _take(self) -> None:
        """A few connections from the door; the rest after what else is ready."""
        door, self._taking = self._door, False
        assert door is not None
        for _ in range(_AT_ONCE):
            if (connection := door.next()) is None:
                break
            self._adopt(connection)
        if len(door) and not self._taking:
            self._taking = True
            asyncio.get_running_loop().call_soon(self._take)

    def _adopt(self, connection: socket.socket) -> None:
        def protocol() -> asyncio.Protocol:
            made: asyncio.Protocol = self.config.http_protocol_class(  # type: ignore[call-arg]
                config=self.config, server_state=self.server_state, app_state=self.lifespan.state
            )
            return made

        connection.setblocking(False)
        task = asyncio.get_running_loop().create_task(self._connect(protocol, connection))
        self._adopting.add(task)
        task.add_done_callback(self._adopting.discard)

    async def _connect(self, protocol: Callable[[], asyncio.Protocol], connection: socket.socket) -> None:
        try:
            await asyncio.get_running_loop().connect_accepted_socket(protocol, connection)
        except OSError:  # the client has reset it
            connection.close()

    async def on_tick(self, counter: int) -> bool:
        if self._door is not None:
            self._door.beat = time.monotonic()
        if counter % 5 == 0:
            self._connections.sweep()
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        sweeping = asyncio.create_task(self._sweep())
        if self._door is not None:  # what it has accepted is answered
            self._door.stop()
            while len(self._door) or self._adopting:
                self._take()
                await asyncio.sleep(0)
            await asyncio.sleep(0)
        try:
            await super().shutdown(sockets)
        finally:
            sweeping.cancel()

    async def _sweep(self) -> None:
        while True:
            self._connections.sweep()
            await asyncio.sleep(0.5)


def run_server(
    app: Starlette, sockets: Sequence[socket.socket], limits: ConnectionLimits | None = None, *, log_level: str = "info"
) -> int:
    """Serves on bound sockets until SIGTERM or SIGINT; 0 after a clean end."""
    limits = limits or ConnectionLimits(connections=connection_limit())
    connections = Connections(limits, app.state.service.unrouted, Quick(app.state.service))
    config = uvicorn.Config(
        app, log_level=log_level, access_log=False, timeout_graceful_shutdown=_GRACE, server_header=False,
        http=functools.partial(GuardedProtocol, connections=connections),  # type: ignore[arg-type]
        ws="none", log_config=None,
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
