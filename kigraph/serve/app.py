"""The application: routes, what is in front of them, and the answers to errors."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from .checks import Checks
from .errors import Refused
from .front import Front, closing_if_large, refusal
from .memory import PixelBudget
from .metrics import Metrics
from .model_list import ModelSpec, open_spec
from .models import Models, Served, of_options
from .options import Options
from .protocols.oip import oip_routes
from .protocols.tfs import tfs_routes
from .service import Service

if TYPE_CHECKING:
    from ..classifier import Classifier

__all__ = ["Options", "create_app"]

#: Headers of answers that pages of other sites may read.
EXPOSED = ("X-Model-Name", "X-Model-Version", "X-Model-Id", "Inference-Header-Content-Length")


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, Refused)
    if error.status == 499:  # nobody reads it
        return Response(status_code=499)
    headers = {name.lower(): value for name, value in request.headers.raw}
    return refusal(closing_if_large(error, headers), request.url.path)


async def _gone(request: Request, error: Exception) -> Response:
    return Response(status_code=499)


async def _not_served(request: Request, error: Exception) -> Response:
    """404 and 405 in the form of all errors."""
    assert isinstance(error, HTTPException)
    code = {404: "not_found", 405: "method_not_allowed"}.get(error.status_code, "bad_request")
    message = {404: "there is nothing here; /openapi.json describes what is"}.get(error.status_code, error.detail)
    return refusal(Refused(error.status_code, code, message, dict(error.headers or {})), request.url.path)


def create_app(
    model: Classifier | Sequence[tuple[ModelSpec, Classifier]],
    canary: bytes,
    options: Options | None = None,
    specs: Sequence[ModelSpec] = (),
) -> Starlette:
    """The ASGI application. canary: an encoded image that each model classifies at the start.

    model: one model, or several with their names. specs: what may be loaded and unloaded by those who have the options' token.
    """
    options = options or Options()
    budget = PixelBudget(2 * options.max_pixels)
    metrics = Metrics(lambda: models)

    def make(spec: ModelSpec, opened: Classifier | None = None) -> Served:
        found = open_spec(spec) if opened is None else opened
        return Served(found, of_options(options, spec), metrics, budget, spec.name, spec.version)

    models = Models(specs, make)
    if isinstance(model, Sequence):
        for spec, opened in model:
            models.add(make(spec, opened))
    else:
        models.add(Served(model, options, metrics, budget))
    service = Service(models, canary, options, metrics)

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        await service.start()
        yield
        # uvicorn has answered what was accepted; the workers only have to be stopped.
        await asyncio.to_thread(models.stop, 5.0)

    routes = [
        Route("/", service.page, methods=["GET"]),
        Route("/v1/classify", service.classify, methods=["POST"]),
        Route("/recognize", service.classify, methods=["POST"]),
        Route("/v1/models", service.list_models, methods=["GET"]),
        *tfs_routes(service),
        *oip_routes(service),
        Route("/livez", service.live, methods=["GET"]),
        Route("/readyz", service.ready, methods=["GET"]),
        Route("/metrics", service.show_metrics, methods=["GET"]),
        Route("/openapi.json", service.description, methods=["GET"]),
    ]
    middleware = [
        Middleware(Front, service, {r.path: r.endpoint for r in routes}, frozenset(("/v1/classify", "/recognize")))
    ]
    if options.allowed_origins:
        middleware.append(
            Middleware(
                CORSMiddleware,
                allow_origins=options.allowed_origins,
                allow_methods=["GET", "POST"],
                allow_headers=["Content-Type", "X-Request-Id", "X-Request-Timeout", "Inference-Header-Content-Length"],
                expose_headers=["Retry-After", "X-Request-Id", *EXPOSED],
            )
        )
    app = Starlette(
        routes=routes,
        middleware=middleware,
        exception_handlers={Refused: _refused, ClientDisconnect: _gone, HTTPException: _not_served},
        lifespan=lifespan,
    )
    app.router.redirect_slashes = False
    app.state.service, app.state.checks = service, Checks(service)
    return app
