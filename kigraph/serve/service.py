"""One model behind one queue: what is done for each route."""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import Mapping
from importlib import resources
from typing import TYPE_CHECKING, Any

from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response

from ..errors import ImageError
from ..graph.formats.source import Source
from .bodies import Body, declared_length, extract, media_type, receive
from .engine import Engine, Job
from .errors import Refused
from .memory import release_after
from .metrics import Metrics
from .openapi import openapi
from .options import Options
from .requestlog import RequestLog
from .uploads import Uploads

if TYPE_CHECKING:
    from ..classifier import Classifier

__all__ = ["Service", "model_identity"]

_LOG = logging.getLogger("kigraph.serve")
_SECONDS = re.compile(rb"[0-9]{1,12}(?:\.[0-9]{0,12})?|\.[0-9]{1,12}|[0-9](?:\.[0-9]{1,12})?[eE][+-]?[0-9]{1,2}")
_PAGE_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src blob: data:; connect-src 'self'; "
    "frame-ancestors 'none'; base-uri 'none'; form-action 'self'"
)


class Service:
    """One model with one queue. The canary is one image classified at the start: readiness means that it worked."""

    def __init__(self, model: Classifier, canary: bytes, options: Options) -> None:
        self.model, self.options = model, options
        self.identity = model_identity(model)
        self.engine = Engine(
            self._classify, workers=options.workers, queue_size=options.queue_size, queue_bytes=options.queue_bytes
        )
        self.uploads = Uploads(options.uploads)
        self.metrics = Metrics(self.engine)
        self.log = RequestLog(options.log, self.identity["name"])
        self._canary = canary
        self.problem: str | None = "starting"

    def _classify(self, body: Body, top: int) -> tuple[str, Any]:
        """The work of a request that a worker does: (the client's name of the image, the prediction)."""
        upload = extract(body)
        body.data = bytearray()
        pixels = _pixels(upload.data, self.options.max_pixels)
        with release_after(pixels):
            return upload.filename, self.model.classify(upload.data, top=top)

    async def start(self) -> None:
        """Warms up in a worker, so that the first request finds compiled plans, and times a second run."""
        self.engine.start()
        try:
            for _ in range(2):
                body = Body("image/jpeg", "", "", len(self._canary), bytearray(self._canary))
                start = time.monotonic()
                await self.engine.result(self.engine.submit(body, len(body.data), 1, 300.0))
                self.engine.estimate.reset(time.monotonic() - start)
            self.problem = None
        except Exception:
            _LOG.exception("the canary image failed")
            self.problem = "the canary image failed"

    def refusal(self, headers: Mapping[bytes, bytes]) -> Refused | None:
        """The refusal that an image would get now, from the head of the request alone; None if it is accepted."""
        longest = self.options.timeout
        try:
            seconds = min(longest, _timeout(headers.get(b"x-request-timeout")))
        except Refused as malformed:
            return malformed
        length = min(int(headers.get(b"content-length", b"0")), self.options.max_image_bytes)
        refused = self.engine.refusal(length, seconds)
        # A client that is refused because its own timeout is short does not slow the service down for others.
        if refused is not None and (seconds == longest or self.engine.refusal(length, longest) is not None):
            self.engine.give_way()
            if self.engine.crowded(length, longest):
                self.uploads.end_a_slow_one()  # an upload that does not send makes room for the next
        return refused

    def unrouted(self, number: str, status: int, sent: int, seconds: float) -> None:
        """Counts and logs an answer of the protocol itself to what was no request."""
        self.metrics.answered("other", status, seconds)
        self.log.line(number, "-", "-", status, sent, seconds)

    async def classify(self, request: Request) -> Response:
        top = _number(request, "top", self.options.top, 1, 1000)
        seconds = min(_timeout(dict(reversed(request.headers.raw)).get(b"x-request-timeout")), self.options.timeout)
        kind = media_type(request)
        length = declared_length(request, kind, self.options.max_image_bytes)
        body = Body(
            kind, request.headers.get("content-type", ""), request.query_params.get("filename", ""),
            self.options.max_image_bytes,
        )  # fmt: skip
        with self.engine.coming(length, seconds) as place, self.uploads.one(body) as deadline:
            await receive(request, body, self.options.timeout, deadline, place.grow)
            job = self.engine.submit(body, len(body.data), int(top), seconds)
        try:
            name, prediction = await self._unless_gone(request, job)
        except ImageError as error:
            # Not the message: it quotes the image.
            _LOG.debug("image of request %s refused: %s", request.scope.get("request_id"), type(error).__name__)
            raise Refused(
                422, "bad_image", "this is not an image that can be decoded, or it is damaged or too large"
            ) from None
        finally:
            body.data = bytearray()  # an error's traceback would keep it
        labels = [label.to_json() for label in prediction.labels]
        return JSONResponse({"filename": name, "labels": labels, "model": self.identity})

    async def _unless_gone(self, request: Request, job: Job) -> Any:
        """The job's result; the job is dropped when the client hangs up."""
        gone = asyncio.ensure_future(_disconnected(request))
        gone.add_done_callback(lambda _: job.future.cancel())
        try:
            return await self.engine.result(job)
        except asyncio.CancelledError:
            if gone.done() and not gone.cancelled():
                raise ClientDisconnect from None
            raise
        finally:
            gone.cancel()

    async def ready(self, request: Request) -> Response:
        if self.engine.draining:
            return PlainTextResponse("draining\n", 503)
        if self.problem is not None:
            return PlainTextResponse(f"not ready: {self.problem}\n", 503)
        labelled = "yes" if self.identity["labelled"] else "no"
        return PlainTextResponse(
            f"ready\nmodel: {self.identity['name']}\nid: {self.identity['id']}\nlabelled: {labelled}\n"
        )

    async def live(self, request: Request) -> Response:
        return PlainTextResponse("alive\n")

    async def show_metrics(self, request: Request) -> Response:
        return Response(self.metrics.text(), media_type="text/plain; version=0.0.4")

    async def page(self, request: Request) -> Response:
        return HTMLResponse(
            resources.files(__package__).joinpath("page.html").read_text("utf-8"),
            headers={"Content-Security-Policy": _PAGE_POLICY},
        )

    async def description(self, request: Request) -> Response:
        return JSONResponse(openapi(self.options))


def model_identity(model: Classifier) -> dict[str, Any]:
    """What a client may know of the model: the name of its file, the beginning of the file's SHA-256 ("" where there is no
    single file), and whether its classes have names."""
    path = getattr(model, "path", None)
    digest = Source(path).remembered_sha256[:12] if path is not None and path.is_file() else ""
    name = "".join(c for c in model.name if c.isprintable())
    return {"name": name or "model", "id": digest, "labelled": model.labelled}


def _pixels(data: bytes, limit: int) -> int:
    """Pixels of an image by its header, before anything is decoded; Refused 422 if they are more than ``limit``."""
    from ..vision.decode import MAX_PIXELS, image_header

    header = image_header(data, max_pixels=MAX_PIXELS)
    if header.width * header.height > limit:
        raise Refused(
            422,
            "too_many_pixels",
            f"the image has {header.width} x {header.height} pixels, the limit is {limit / 1e6:g} megapixels; send a smaller one",
        )
    return header.width * header.height


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _number(request: Request, name: str, default: float, low: float, high: float) -> float:
    text = request.query_params.get(name)
    if text is None:
        return default
    if not text.isdecimal() or len(text) > 9 or not low <= int(text) <= high:
        raise Refused(400, "malformed", f"{name} must be a whole number from {low} to {high}")
    return float(text)


def _timeout(header: bytes | None) -> float:
    """Seconds of a header X-Request-Timeout; Refused 400 if they are no positive number."""
    if header is None:
        return 1e6
    seconds = float(header) if _SECONDS.fullmatch(header) else 0.0
    if not 0 < seconds < 1e6:
        raise Refused(400, "malformed", "X-Request-Timeout must be a positive number of seconds")
    return seconds
