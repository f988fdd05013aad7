"""What is done for each route that is the service's own; those of other protocols are in ``protocols``."""

from __future__ import annotations

import html
import logging
import time
from collections.abc import Mapping
from importlib import resources
from typing import Any

from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response

from .bodies import Body, cap_of, extract, media_type
from .errors import Refused
from .exchange import exchange, timeout_of, whole_number
from .metrics import Metrics
from .models import Models, Served
from .openapi import openapi
from .options import Options
from .requestlog import RequestLog
from .uploads import Uploads
from .work import Outcome, Work

__all__ = ["Service"]

_LOG = logging.getLogger("kigraph.serve")
_PAGE_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src blob: data:; connect-src 'self'; "
    "frame-ancestors 'none'; base-uri 'none'; form-action 'self'"
)


class Service:
    """The models, and what all of them share. The canary is one image classified at the start: readiness means that it worked."""

    def __init__(self, models: Models, canary: bytes, options: Options, metrics: Metrics) -> None:
        self.models, self.options, self.metrics = models, options, metrics
        self.uploads = Uploads(options.uploads)
        self.log = RequestLog(options.log, models.default.name)
        self.canary = canary
        self.draining = False
        #: Until when heads are looked at for a refusal before they are parsed: a second after the last one.
        self.pressed = 0.0

    @property
    def engine(self) -> Any:
        """The queue of the default model."""
        return self.models.default.engine

    async def start(self) -> None:
        """Warms every model up, one after the other."""
        for served in self.models:
            await served.start(self.canary)

    def drain(self) -> None:
        """Refuses new images from now on; accepted ones are still answered."""
        self.draining = True
        self.models.drain()

    def refusal(self, headers: Mapping[bytes, bytes], served: Served | None = None) -> Refused | None:
        """The refusal that an image would get now, from the head of the request alone; None if it is accepted."""
        engine, longest = (served or self.models.default).engine, self.options.timeout
        try:
            seconds = min(longest, timeout_of(headers))
        except Refused as malformed:
            return malformed
        length = min(int(headers.get(b"content-length", b"0")), self.options.max_image_bytes)
        refused: Refused | None = engine.refusal(length, seconds)
        if refused is not None:
            self.pressed = time.monotonic() + 1.0
        # A client that is refused because its own timeout is short does not slow the service down for others.
        if refused is not None and (seconds == longest or engine.refusal(length, longest) is not None):
            engine.give_way()
            if engine.crowded(length, longest):
                self.uploads.end_a_slow_one()  # an upload that does not send makes room for the next
        return refused

    def unrouted(self, number: str, status: int, sent: int, seconds: float) -> None:
        """Counts and logs an answer of the protocol itself to what was no request."""
        self.metrics.answered("other", status, seconds)
        self.log.line(number, "-", "-", status, sent, seconds)

    def body_of(self, request: Request, kind: str, name: str = "") -> Body:
        """An empty body with the limits of its media type."""
        one = self.options.max_image_bytes
        cap = cap_of(kind, one, self.options.request_bytes)
        return Body(kind, request.headers.get("content-type", ""), name, one, cap=cap)

    async def classify(self, request: Request) -> Response:
        """POST /v1/classify: the labels of an image, or a list of answers for several."""
        top = whole_number(request, "top", self.options.top, 1, 1000)
        query = request.query_params
        served = self.models.get(query.get("model") or self.models.default.name, query.get("version"))
        request.scope["model"] = served.name
        body = self.body_of(request, media_type(request), query.get("filename", ""))
        most = self.options.images

        def task(work: Work) -> tuple[list[Outcome], bool]:
            found = extract(body, most)
            body.data = bytearray()
            return work.images(found.images, top), found.listed

        outcomes, listed = await exchange(request, served, self.uploads, self.options, body, task)
        if listed:
            answer: dict[str, Any] = {"results": [outcome.to_json() for outcome in outcomes], "model": served.identity}
            return JSONResponse(answer, headers=served.headers)
        (outcome,) = outcomes
        if outcome.error is not None:
            _LOG.debug("image of request %s refused: %s", request.scope.get("request_id"), outcome.error.code)
            raise outcome.error
        return JSONResponse(outcome.to_json() | {"model": served.identity}, headers=served.headers)

    @property
    def problem(self) -> str | None:
        """Why the service is not ready; None if every model that is loaded is."""
        if self.draining or (len(self.models) and all(served.engine.draining for served in self.models)):
            return "draining"
        problems = [(served, served.problem) for served in self.models if served.problem is not None]
        if not len(self.models):
            return "not ready: no model is loaded"
        if problems:
            served, problem = problems[0]
            return f"not ready: {problem}" if len(self.models) == 1 else f"not ready: {served.name}: {problem}"
        return None

    def ready_answer(self) -> tuple[int, bytes]:
        """Status and text of GET /readyz; from any thread."""
        if (problem := self.problem) is not None:
            return 503, f"{problem}\n".encode()
        lines = ["ready"]
        for served in self.models:
            known = served.identity
            labelled = "yes" if known["labelled"] else "no"
            lines += [
                f"model: {known['name']}",
                f"version: {known['version']}",
                f"id: {known['id']}",
                f"labelled: {labelled}",
                f"precision: {known['precision']}",
            ]
        return 200, ("\n".join(lines) + "\n").encode()

    def live_answer(self) -> tuple[int, bytes]:
        """Status and text of GET /livez."""
        return 200, b"alive\n"

    async def ready(self, request: Request) -> Response:
        status, text = self.ready_answer()
        return PlainTextResponse(text, status)

    async def live(self, request: Request) -> Response:
        status, text = self.live_answer()
        return PlainTextResponse(text, status)

    async def show_metrics(self, request: Request) -> Response:
        return Response(self.metrics.text(), media_type="text/plain; version=0.0.4")

    async def list_models(self, request: Request) -> Response:
        """GET /v1/models: what is loaded, and what may be."""
        found = []
        for name, version, state, reason in self.models.listed:
            entry: dict[str, Any] = {"name": name, "version": version, "state": state, "reason": reason}
            loaded = next((s for s in self.models.versions(name) if s.version == version), None)
            known = {} if loaded is None else loaded.identity
            found.append(entry | {key: known[key] for key in ("id", "labelled", "precision") if key in known})
        return JSONResponse({"models": found})

    async def page(self, request: Request) -> Response:
        text = resources.files(__package__).joinpath("page.html").read_text("utf-8")
        names = dict.fromkeys(served.name for served in self.models)
        options = "".join(f"<option>{html.escape(name)}</option>" for name in names)
        return HTMLResponse(text.replace("<!--models-->", options), headers={"Content-Security-Policy": _PAGE_POLICY})

    async def description(self, request: Request) -> Response:
        return JSONResponse(openapi(self.options))
