"""Middleware for every request before it is routed, and for every answer: whether it is accepted, its id, its headers, its
line in the log. It is the outermost layer, because a request that is refused here costs a third of one that is routed."""

from __future__ import annotations

import json
import logging
import os
import re
import time
from collections.abc import Mapping, MutableMapping
from typing import TYPE_CHECKING, Any

from starlette.datastructures import QueryParams
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .errors import Refused
from .protocol import SECURITY_HEADERS
from .service import Service

if TYPE_CHECKING:
    from .models import Served
    from .options import Options

__all__ = ["SMALL", "Front", "closing_if_large", "document_of", "forbidden", "refusal", "sane_id"]

_LOG = logging.getLogger("kigraph.serve")
_ID = re.compile(rb"[A-Za-z0-9._:-]{1,64}")
_LOOPBACK = re.compile(r"localhost|.+\.localhost|127(?:\.[0-9]{1,3}){3}|\[::1\]")
_READING = ("GET", "HEAD", "OPTIONS")
#: Paths of other protocols.
_OTHERS = ("/v1/models/", "/v2/")
#: Refused bodies larger than this are not received: the connection is closed.
SMALL = 1 << 20


def refusal(refused: Refused, path: str) -> Response:
    """The answer for a refusal, in the form of the errors of the protocol that has the path."""
    return Response(document_of(refused, path), refused.status, refused.headers, "application/json")


def document_of(refused: Refused, path: str) -> bytes:
    """The body of the answer for a refusal."""
    document: dict[str, Any] = {"error": {"code": refused.code, "message": refused.message}}
    if path.startswith(_OTHERS) or path == "/v2":
        # Clients of TensorFlow Serving and of the Open Inference Protocol expect a text.
        document = {"error": refused.message, "code": refused.code}
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()


def sane_id(given: bytes | None) -> str:
    """A client's X-Request-Id if it is short and plain, else a new one."""
    return given.decode() if given is not None and _ID.fullmatch(given) else os.urandom(8).hex()


class Front:
    """ASGI middleware around the routes of a service."""

    def __init__(self, app: ASGIApp, service: Service, routes: Mapping[str, Any], classifying: frozenset[str]) -> None:
        self.app, self.service, self.options = app, service, service.options
        self.routes, self.classifying = routes, classifying
        # Without the versions of paths that have one: the first path of a function is the name under which it is counted.
        self._names = {endpoint: path for path, endpoint in reversed(list(routes.items()))}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        start = time.monotonic()
        headers: dict[bytes, bytes] = dict(reversed(scope["headers"]))  # of several, the first
        path, method = scope["path"], scope["method"]
        number = scope["request_id"] = scope.get("request_id") or sane_id(headers.get(b"x-request-id"))
        status, sent = 0, 0

        async def answer(message: Message) -> None:
            nonlocal status, sent
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = _dressed(message.get("headers", ()), number)
            else:
                sent += len(message.get("body", b""))
            await send(message)

        try:
            refused = forbidden(self.options, headers, method)
            if refused is None and method == "POST" and path in self.classifying and b"origin" not in headers:
                named = self._named(scope)
                refused = self.service.refusal(headers, named) if named is not None else None
            if refused is None:
                await self.app(scope, receive, answer)
            else:
                await _refuse(closing_if_large(refused, headers), path, answer)
        except Exception:
            _LOG.exception("error %s in %s", number, self._name(scope, "an unknown path"))
            if status:
                raise
            message = f"internal error {number}; see the service's log"
            await refusal(Refused(500, "internal", message), path)(scope, receive, answer)
        finally:
            # The answer of the protocol instead of the application, about a broken body.
            status, sent = scope.get("refused", (status, sent))
            seconds = time.monotonic() - start
            self.service.metrics.answered(self._name(scope, "other"), status, seconds)
            shown = scope.get("raw_path", path.encode("ascii", "replace")).decode("ascii", "replace")
            self.service.log.line(number, method, shown, status, sent, seconds, scope.get("model"))

    def _named(self, scope: Scope) -> Served | None:
        """The model that a request for labels is for; None if there is no such model, which its route says."""
        models = self.service.models
        try:
            if b"model=" not in scope["query_string"]:
                return models.default
            query = QueryParams(scope["query_string"])
            return models.get(query.get("model") or models.default.name, query.get("version"))
        except Refused:
            return None

    def _name(self, scope: Scope, unknown: str) -> str:
        """The path of a request as its route states it."""
        path: str = scope["path"]
        return path if path in self.routes else self._names.get(scope.get("endpoint"), unknown)


def forbidden(options: Options, headers: Mapping[bytes, bytes], method: str) -> Refused | None:
    """Pages of other sites may not use the service through a browser that can reach it."""
    # Without a Host (HTTP/1.0, health checks) it is no browser.
    host = _host(headers.get(b"host", b"localhost"))
    allowed = options.allowed_hosts
    if allowed is not None and not _LOOPBACK.fullmatch(host) and not any(_matches(host, a) for a in allowed):
        return Refused(
            403,
            "unknown_host",
            "the service does not answer under this name; the operator can allow it: --allowed-hosts",
        )
    if method in _READING:
        return None
    origin = headers.get(b"origin")
    if origin is None:
        foreign = headers.get(b"sec-fetch-site", b"none") not in (b"same-origin", b"none")
    else:
        text = origin.decode("latin-1").lower()
        if text in options.allowed_origins or "*" in options.allowed_origins:
            return None
        foreign = not _same(text, headers.get(b"host", b"").decode("latin-1").lower())
    if foreign:
        return Refused(
            403,
            "cross_origin",
            "a page of another site may not send images; the operator can allow it: --allowed-origins",
        )
    return None


async def _refuse(refused: Refused, path: str, answer: Send) -> None:
    """Sends ``refusal(refused, path)``, without the objects in between."""
    body = document_of(refused, path)
    headers = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in refused.headers.items()]
    headers += [(b"content-length", b"%d" % len(body)), (b"content-type", b"application/json")]
    await answer({"type": "http.response.start", "status": refused.status, "headers": headers})
    await answer({"type": "http.response.body", "body": body})


def _host(header: bytes) -> str:
    """The name in a Host header without its port."""
    text = header.decode("latin-1").lower()
    return text.partition("]")[0] + "]" if text.startswith("[") else text.partition(":")[0]


def _matches(host: str, allowed: str) -> bool:
    return allowed in ("*", host) or (allowed.startswith("*.") and host.endswith(allowed[1:]))


def _same(origin: str, host: str) -> bool:
    """Whether an Origin names the Host; a proxy that ends TLS changes the scheme, so that does not count."""
    scheme, _, authority = origin.partition("://")
    port = {"http": ":80", "https": ":443"}.get(scheme)
    return port is not None and authority.removesuffix(port) == host.removesuffix(port)


def _dressed(given: Any, number: str) -> list[tuple[bytes, bytes]]:
    """The headers of an answer with those that every answer has."""
    headers = list(given)
    present = {name for name, _ in headers}
    headers += [pair for pair in SECURITY_HEADERS if pair[0] not in present]
    headers.append((b"x-request-id", number.encode()))
    return headers


def closing_if_large(refused: Refused, headers: MutableMapping[bytes, bytes]) -> Refused:
    """A refusal that closes the connection if the body, which will not be read, is large or of unknown size."""
    length = headers.get(b"content-length", b"0")
    if b"transfer-encoding" in headers or not length.isdigit() or int(length) > SMALL:
        refused.headers = {**refused.headers, "Connection": "close"}
    return refused
