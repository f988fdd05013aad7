"""The application: routes, what is in front of them, and the answers to errors."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from .errors import Refused
from .front import Front, closing_if_large, refusal
from .options import Options
from .service import Service

if TYPE_CHECKING:
    from ..classifier import Classifier

__all__ = ["Options", "create_app"]


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, Refused)
    return refusal(closing_if_large(error, {name.lower(): value for name, value in request.headers.raw}))


async def _gone(request: Request, error: Exception) -> Response:
    return Response(status_code=499)


async def _not_served(request: Request, error: Exception) -> Response:
    """404 and 405 in the form of all errors."""
    assert isinstance(error, HTTPException)
    code = {404: "not_found", 405: "method_not_allowed"}.get(error.status_code, "bad_request")
    message = {404: "there is nothing here; /openapi.json describes what is"}.get(error.status_code, error.detail)
    return refusal(Refused(error.status_code, code, message, dict(error.headers or {})))


def create_app(model: Classifier, canary: bytes, options: Options | None = None) -> Starlette:
    """The ASGI application. canary: an encoded image that is classified at the start."""
    service = Service(model, canary, options or Options())

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        await service.start()
        yield
        # uvicorn has answered what was accepted; the workers only have to be stopped.
        await asyncio.to_thread(service.engine.stop, 5.0)

    routes = [
        Route("/", service.page, methods=["GET"]),
        Route("/v1/classify", service.classify, methods=["POST"]),
        Route("/recognize", service.classify, methods=["POST"]),
        Route("/livez", service.live, methods=["GET"]),
        Route("/readyz", service.ready, methods=["GET"]),
        Route("/metrics", service.show_metrics, methods=["GET"]),
        Route("/openapi.json", service.description, methods=["GET"]),
    ]
    classifying = frozenset(("/v1/classify", "/recognize"))
    middleware = [Middleware(Front, service, frozenset(r.path for r in routes), classifying)]
    if service.options.allowed_origins:
        middleware.append(
            Middleware(
                CORSMiddleware,
                allow_origins=service.options.allowed_origins,
                allow_methods=["GET", "POST"],
                allow_headers=["Content-Type", "X-Request-Id", "X-Request-Timeout"],
                expose_headers=["Retry-After", "X-Request-Id"],
            )
        )
    app = Starlette(
        routes=routes,
        middleware=middleware,
        exception_handlers={Refused: _refused, ClientDisconnect: _gone, HTTPException: _not_served},
        lifespan=lifespan,
    )
    app.router.redirect_slashes = False
    app.state.service = service
    return app
