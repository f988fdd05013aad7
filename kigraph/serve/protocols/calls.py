"""What the protocols have in common: the signatures of a model, and calling one with tensors or with encoded photographs."""

from __future__ import annotations

import hmac
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from starlette.requests import Request

from ...errors import KigraphError
from ...graph.hints import shown
from ...kernels.tensor import STRING
from ..bodies import Upload, too_large, too_many
from ..errors import Refused
from .values import Array

if TYPE_CHECKING:
    from ...calling import Call
    from ..models import Served
    from ..service import Service
    from ..work import Timing, Work

__all__ = [
    "answer_headers",
    "body_kind",
    "call_of",
    "check_token",
    "photographs",
    "run_call",
    "served_of",
    "takes_photographs",
]


def served_of(service: Service, request: Request) -> Served:
    """The model that a path names. Refused 404 if it is not loaded."""
    served = service.models.get(request.path_params["name"], request.path_params.get("version"))
    request.scope["model"] = served.name
    return served


def body_kind(request: Request) -> str:
    """JSON whatever its Content-Type says, as the other servers read it; Refused 415 for a body that cannot be."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if request.headers.get("content-encoding", "").strip().lower() not in ("", "identity"):
        message = "the body has a Content-Encoding, which is not undone; send it without"
        raise Refused(415, "unsupported_encoding", message, {"Accept-Encoding": "identity"})
    if kind.startswith(("multipart/", "image/")):
        raise Refused(
            415,
            "unsupported_type",
            "this route takes JSON; images as files go to /v1/classify",
            {"Accept": "application/json"},
        )
    return "application/json"


def call_of(served: Served, name: str) -> Call:
    """A signature of a model. Refused 400 if it has none of that name, 422 if it is no network with tensors."""
    calls = getattr(served.model, "signatures", None)
    if calls is None:
        raise Refused(422, "no_signatures", "this model has no tensors to call it with")
    if name not in calls:
        raise Refused(
            400,
            "unknown_signature",
            f"there is no signature {shown(name)}; the model has {', '.join(map(repr, calls))[:500]}",
        )
    found: Call = calls[name]
    return found


def takes_photographs(served: Served, call: Call) -> str:
    """The name of the input that takes encoded photographs in place of pixels: a classifier's only one; '' if there is none."""
    card = served.model.card
    if card is None or len(call.inputs) != 1:
        return ""
    ((name, tensor),) = call.inputs.items()
    return name if tensor.name == card.input and tensor.dtype != STRING else ""


def photographs(work: Work, files: Sequence[bytes], timing: Timing) -> Array:
    """Encoded photographs as the batch of pixels that the network takes. Refused 422 if one cannot be decoded."""
    if len(files) > work.options.images:
        raise too_many(work.options.images)
    if not files:
        raise Refused(422, "no_image", "the request has no image in it")
    if any(len(data) > work.options.max_image_bytes for data in files):
        raise too_large(work.options.max_image_bytes)
    return np.concatenate([work.prepared(Upload(str(number), data), timing) for number, data in enumerate(files)])


def run_call(work: Work, served: Served, call: Call, feeds: Mapping[str, Array], timing: Timing) -> dict[str, Array]:
    """The outputs of a signature. Refused 400 for inputs that do not fit, 422 for those with which the network cannot be computed."""
    for name, value in feeds.items():
        if name not in call.inputs:
            raise Refused(400, "unknown_input", f"there is no input {shown(name)}; the model takes {_taken(call)}")
        _check(name, value, call)
    if missing := [n for n, t in call.inputs.items() if n not in feeds and t.op.type != "PlaceholderWithDefault"]:
        raise Refused(400, "missing_input", f"the input {shown(missing[0])} is missing; the model takes {_taken(call)}")
    images = bool(takes_photographs(served, call))
    rows = len(next(iter(feeds.values()))) if images else 1
    if rows > work.options.images:
        raise too_many(work.options.images)
    assert work.engine is not None
    try:
        with work.engine.more(rows - 1):
            return work.tensors(call, feeds, timing, parts=images)
    except KigraphError as error:
        raise Refused(
            422, "not_computed", f"the network cannot be computed for these inputs: {str(error)[:500]}"
        ) from None


def _check(name: str, value: Array, call: Call) -> None:
    tensor = call.inputs[name]
    if value.dtype != tensor.dtype:
        raise Refused(
            400, "wrong_type", f"the input {shown(name)} has {value.dtype.name}, the model takes {_taken(call)}"
        )
    stated = tensor.shape
    if stated is None:
        return
    if stated == () and value.ndim == 1 and len(call.inputs) == 1 and len(value) > 0:
        return  # called once for each
    # A fixed batch may be called with a multiple of it.
    pairs = list(zip(value.shape, stated, strict=False))
    batched = pairs[:1] and pairs[0][1] and pairs[0][0] and pairs[0][0] % pairs[0][1] == 0
    if len(stated) != value.ndim or any(want is not None and got != want for got, want in pairs[1 if batched else 0 :]):
        raise Refused(
            400,
            "wrong_shape",
            f"the input {shown(name)} has the shape {list(value.shape)}, the model takes {_taken(call)}",
        )
    if value.size == 0:
        raise Refused(400, "wrong_shape", f"the input {shown(name)} is empty: its shape is {list(value.shape)}")


def _taken(call: Call) -> str:
    return ", ".join(f"{n!r} {t.type}" for n, t in call.inputs.items())[:500]


def answer_headers(served: Served, timing: Timing) -> dict[str, str]:
    """Which model answered, and where the time went, as browsers show it."""
    parts = ", ".join(f"{name};dur={value}" for name, value in timing.to_json().items())
    return {**served.headers, "Server-Timing": parts}


def check_token(service: Service, request: Request) -> None:
    """Refused 403 if models are not loaded by request, 401 if the request does not have the token."""
    token = service.options.admin_token
    if token is None:
        raise Refused(
            403,
            "admin_off",
            "models are not loaded and unloaded by request; the operator can allow it: --admin-token-file",
        )
    given = request.headers.get("authorization", "")
    kind, _, rest = given.partition(" ")
    if kind.lower() != "bearer" or not hmac.compare_digest(rest.strip().encode(), token.encode()):
        raise Refused(
            401, "unauthorized", "expected the header Authorization: Bearer TOKEN", {"WWW-Authenticate": "Bearer"}
        )
