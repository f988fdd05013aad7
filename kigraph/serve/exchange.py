"""From the head of a request to its answer: its body is received in a place that it has in the queue, a worker does what it asks
for, and nothing is done for a client that has gone."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from starlette.requests import ClientDisconnect, Request

from .bodies import Body, declared_length, receive
from .errors import Refused
from .work import Task

if TYPE_CHECKING:
    from .engine import Job
    from .models import Served
    from .options import Options
    from .uploads import Uploads

__all__ = ["exchange", "headers_of", "timeout_of", "whole_number"]

_SECONDS = re.compile(rb"[0-9]{1,12}(?:\.[0-9]{0,12})?|\.[0-9]{1,12}|[0-9](?:\.[0-9]{1,12})?[eE][+-]?[0-9]{1,2}")


async def exchange(
    request: Request, served: Served, uploads: Uploads, options: Options, body: Body, task: Task, label: str = "image"
) -> Any:
    """What ``task`` gives for the body, which is received first. Refused for all that goes wrong on the way."""
    seconds = min(timeout_of(headers_of(request)), options.timeout)
    length = declared_length(request, body.cap, body.max_bytes, label)
    engine = served.engine
    with engine.coming(length, seconds) as place, uploads.one(body) as deadline:
        await receive(request, body, options.timeout, deadline, place.grow)
        job = engine.submit(task, len(body.data), seconds)
    try:
        return await _unless_gone(request, served, job)
    finally:
        body.data = bytearray()  # an error's traceback would keep it


async def _unless_gone(request: Request, served: Served, job: Job) -> Any:
    """The job's result; the job is dropped when the client hangs up."""
    gone = asyncio.ensure_future(_disconnected(request))
    gone.add_done_callback(lambda _: job.future.cancel())
    try:
        return await served.engine.result(job)
    except asyncio.CancelledError:
        if gone.done() and not gone.cancelled():
            raise ClientDisconnect from None
        raise
    finally:
        gone.cancel()


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def headers_of(request: Request) -> Mapping[bytes, bytes]:
    """The headers; of several of a name, the first."""
    return dict(reversed(request.headers.raw))


def whole_number(request: Request, name: str, default: int, low: int, high: int) -> int:
    """A number of the query; Refused 400 for anything else."""
    text = request.query_params.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdecimal()) or len(text) > 9 or not low <= int(text) <= high:
        raise Refused(400, "malformed", f"{name} must be a whole number from {low} to {high}")
    return int(text)


def timeout_of(headers: Mapping[bytes, bytes]) -> float:
    """Seconds of a header X-Request-Timeout, 1e6 without one; Refused 400 if they are no positive number."""
    header = headers.get(b"x-request-timeout")
    if header is None:
        return 1e6
    seconds = float(header) if _SECONDS.fullmatch(header) else 0.0
    if not 0 < seconds < 1e6:
        raise Refused(400, "malformed", "X-Request-Timeout must be a positive number of seconds")
    return seconds
