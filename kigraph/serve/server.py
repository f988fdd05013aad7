"""uvicorn with a clean drain: on SIGTERM readiness goes off, what was accepted is answered, then the process ends."""

from __future__ import annotations

import signal
from types import FrameType
from typing import TYPE_CHECKING

import uvicorn

if TYPE_CHECKING:
    from starlette.applications import Starlette

__all__ = ["run_server"]

#: Seconds for what was accepted before the signal: longer than an answer's deadline (15 s), and with the 5 s of the workers'
#: end inside the 25 s that orchestrators commonly wait.
_GRACE = 20


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, app: Starlette) -> None:
        super().__init__(config)
        self._app = app

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self._app.state.service.engine.drain()
        super().handle_exit(sig, frame)


def run_server(app: Starlette, host: str, port: int, *, log_level: str = "info") -> int:
    """Serves until SIGTERM or SIGINT; 0 after a clean end."""
    config = uvicorn.Config(
        app, host=host, port=port, log_level=log_level, access_log=False, timeout_graceful_shutdown=_GRACE,
        timeout_keep_alive=15, server_header=False, h11_max_incomplete_event_size=64 << 10,
    )  # fmt: skip
    server = _Server(config, app)
    # uvicorn raises the signal again when it is done, so that the exit status shows it; a drained service ends with 0.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    server.run()
    return 0 if server.started else 1
