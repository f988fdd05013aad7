"""Routes and answers of the service."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from ..errors import ImageError
from .bodies import read_upload
from .engine import Engine, Job
from .errors import Refused
from .metrics import Metrics
from .openapi import openapi

if TYPE_CHECKING:
    from ..model import Classifier

__all__ = ["Options", "create_app"]

_LOG = logging.getLogger("kigraph.serve")
_PAGE_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src blob: data:; connect-src 'self'"
)


@dataclass(frozen=True, slots=True)
class Options:
    """Limits of the service. Sizes in bytes, times in seconds."""

    max_image_bytes: int = 10 << 20
    queue_size: int = 64
    queue_bytes: int = 64 << 20
    workers: int = 1
    timeout: float = 15.0
    #: Bodies that are received at once; each takes up to max_image_bytes.
    uploads: int = 32
    top: int = 5


class Service:
    """One model behind one queue. The canary is one image classified at the start: readiness means that it worked."""

    def __init__(self, model: Classifier, canary: bytes, options: Options) -> None:
        self.model, self.options = model, options
        self.engine = Engine(
            self._classify, workers=options.workers, queue_size=options.queue_size, queue_bytes=options.queue_bytes
        )
        self.metrics = Metrics(self.engine)
        self._canary = canary
        self.problem: str | None = "starting"
        self.receiving = 0

    def _classify(self, data: bytes, top: int) -> Any:
        return self.model.classify(data, top=top)

    async def start(self) -> None:
        """Warms up in a worker, so that the first request finds compiled plans."""
        self.engine.start()
        try:
            await self.engine.result(self.engine.submit(self._canary, 1, 300.0))
            self.problem = None
        except Exception:
            _LOG.exception("the canary image failed")
            self.problem = "the canary image failed"

    async def classify(self, request: Request) -> Response:
        top = _number(request, "top", self.options.top, 1, 1000)
        seconds = (
            min(_timeout(request), self.options.timeout)
            if "x-request-timeout" in request.headers
            else self.options.timeout
        )
        try:
            if self.receiving >= self.options.uploads:
                raise Refused(
                    429, "too_many_uploads", "too many images are being sent; try again later", {"Retry-After": "1"}
                )
            self.engine.admit(0, seconds)
        except Refused as refused:
            return Unread(refused, request)
        self.receiving += 1
        try:
            upload = await read_upload(request, self.options.max_image_bytes, self.options.timeout)
        finally:
            self.receiving -= 1
        job = self.engine.submit(upload.data, int(top), seconds)
        try:
            prediction = await self._unless_gone(request, job)
        except ImageError as error:
            _LOG.info("image refused: %s", error)
            raise Refused(
                422, "bad_image", "this is not an image that can be decoded, or it is damaged or too large"
            ) from None
        labels = [label.to_json() for label in prediction.labels]
        return JSONResponse({"filename": upload.filename, "labels": labels})

    async def _unless_gone(self, request: Request, job: Job) -> Any:
        """The job's result; the job is dropped when the client hangs up."""
        waiting = asyncio.ensure_future(self.engine.result(job))
        gone = asyncio.ensure_future(_disconnected(request))
        try:
            await asyncio.wait({waiting, gone}, return_when=asyncio.FIRST_COMPLETED)
            if not waiting.done():
                raise ClientDisconnect
            return waiting.result()
        finally:
            for task in (waiting, gone):
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError, Exception):
                    await task

    async def ready(self, request: Request) -> Response:
        if self.engine.draining:
            return PlainTextResponse("draining\n", 503)
        if self.problem is not None:
            return PlainTextResponse(f"not ready: {self.problem}\n", 503)
        return PlainTextResponse("ready\n")

    async def live(self, request: Request) -> Response:
        return PlainTextResponse("alive\n")

    async def show_metrics(self, request: Request) -> Response:
        return Response(self.metrics.text(), media_type="text/plain; version=0.0.4")

    async def page(self, request: Request) -> Response:
        return HTMLResponse(
            resources.files(__package__).joinpath("page.html").read_text("utf-8"),
            headers={"Content-Security-Policy": _PAGE_POLICY, "X-Content-Type-Options": "nosniff"},
        )

    async def description(self, request: Request) -> Response:
        return JSONResponse(openapi(self.options))


def _refusal(refused: Refused) -> JSONResponse:
    return JSONResponse({"error": {"code": refused.code, "message": refused.message}}, refused.status, refused.headers)


class Unread(Response):
    """An answer that is sent before the request's body is read, and closes the connection.

    A connection that is closed on unread data is reset, and the client may lose the answer with it: so what still comes is
    read and dropped, for a short time.
    """

    LINGER = 1.0

    def __init__(self, refused: Refused, request: Request) -> None:
        self._answer = _refusal(refused)
        super().__init__(status_code=self._answer.status_code)
        self._answer.headers["Connection"] = "close"
        self.raw_headers, self.body, self._request = self._answer.raw_headers, self._answer.body, request

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        await send({"type": "http.response.body", "body": self.body, "more_body": True})
        with contextlib.suppress(TimeoutError, ClientDisconnect):
            async with asyncio.timeout(self.LINGER):
                async for _ in self._request.stream():
                    pass
        await send({"type": "http.response.body", "body": b"", "more_body": False})


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


def _timeout(request: Request) -> float:
    try:
        seconds = float(request.headers["x-request-timeout"])
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < 1e6:
        raise Refused(400, "malformed", "X-Request-Timeout must be a positive number of seconds")
    return seconds


def _guarded(
    service: Service, route: str, handler: Callable[[Request], Awaitable[Response]]
) -> Callable[[Request], Awaitable[Response]]:
    """Counts, times, and turns every exception into an answer without paths or addresses."""

    async def answer(request: Request) -> Response:
        start = time.monotonic()
        try:
            response = await handler(request)
        except Refused as refused:
            response = _refusal(refused)
        except ClientDisconnect:
            response = Response(status_code=499)
        except Exception:
            number = uuid.uuid4().hex[:12]
            _LOG.exception("error %s in %s", number, route)
            response = JSONResponse(
                {"error": {"code": "internal", "message": f"internal error {number}; see the service's log"}}, 500
            )
        service.metrics.requests.labels(route, str(response.status_code)).inc()
        service.metrics.seconds.labels(route).observe(time.monotonic() - start)
        return response

    return answer


def create_app(model: Classifier, canary: bytes, options: Options | None = None) -> Starlette:
    """The ASGI application. canary: an encoded image that is classified at the start."""
    service = Service(model, canary, options or Options())

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        await service.start()
        yield
        # uvicorn has answered what was accepted; the workers only have to be told to go.
        await asyncio.to_thread(service.engine.stop, 5.0)

    def route(path: str, handler: Callable[[Request], Awaitable[Response]], method: str) -> Route:
        return Route(path, _guarded(service, path, handler), methods=[method])

    app = Starlette(
        routes=[
            route("/", service.page, "GET"),
            route("/v1/classify", service.classify, "POST"),
            route("/recognize", service.classify, "POST"),
            route("/livez", service.live, "GET"),
            route("/readyz", service.ready, "GET"),
            route("/metrics", service.show_metrics, "GET"),
            route("/openapi.json", service.description, "GET"),
        ],
        lifespan=lifespan,
    )
    app.state.service = service
    return app
