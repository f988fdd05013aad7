"""The Open Inference Protocol (v2) over HTTP, with Triton's extensions for binary tensors, classification and the model repository.

https://github.com/kserve/open-inference-protocol. An input of pixels may be given as encoded photographs, with the datatype BYTES
and the shape [n] or [n, 1]; they are prepared as the model's card says.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from ...graph.hints import shown
from ...graph.signatures import SERVING_DEFAULT
from ...kernels.tensor import STRING
from ...weights.scores import probabilities_of
from ..bodies import Body
from ..errors import Refused
from ..exchange import exchange
from ..work import Task, Timing, Work
from .calls import answer_headers, body_kind, call_of, check_token, photographs, run_call, served_of, takes_photographs
from .oip_body import Inference, answer, datatype_of, read
from .values import Array, plain_size

if TYPE_CHECKING:
    from ...calling import Call
    from ..models import Served
    from ..service import Service

__all__ = ["oip_routes"]

_ONE = "/v2/models/{name}"
_EACH = (_ONE, _ONE + "/versions/{version}")
_HEADER = "Inference-Header-Content-Length"


def oip_routes(service: Service) -> list[Route]:
    """The routes, those with a version after those without."""
    own = _Routes(service)
    return [
        Route("/v2", own.server, methods=["GET"]),
        Route("/v2/health/live", own.live, methods=["GET"]),
        Route("/v2/health/ready", own.ready, methods=["GET"]),
        *(Route(f"{path}/ready", own.model_ready, methods=["GET"]) for path in _EACH),
        *(Route(f"{path}/infer", own.infer, methods=["POST"]) for path in _EACH),
        *(Route(path, own.metadata, methods=["GET"]) for path in _EACH),
        Route("/v2/repository/index", own.index, methods=["POST"]),
        Route("/v2/repository/models/{name}/load", own.load, methods=["POST"]),
        Route("/v2/repository/models/{name}/unload", own.unload, methods=["POST"]),
    ]


class _Routes:
    def __init__(self, service: Service) -> None:
        self._service = service

    async def server(self, request: Request) -> Response:
        """Name, version and extensions."""
        from ... import __version__

        extensions = ["binary_tensor_data", "classification"]
        if self._service.options.admin_token is not None:
            extensions.append("model_repository")
        return JSONResponse({"name": "kigraph", "version": __version__, "extensions": extensions})

    async def live(self, request: Request) -> Response:
        """The process is alive."""
        return JSONResponse({"live": True})

    async def ready(self, request: Request) -> Response:
        """Every model has classified an image."""
        if (problem := self._service.problem) is not None:
            raise Refused(503, "not_ready", problem, {"Retry-After": "5"})
        return JSONResponse({"ready": True})

    async def model_ready(self, request: Request) -> Response:
        """The model has classified an image."""
        served = served_of(self._service, request)
        problem = "draining" if served.engine.draining else served.problem
        if problem is not None:
            raise Refused(503, "not_ready", problem, {"Retry-After": "5"})
        return JSONResponse({"name": served.name, "ready": True}, headers=served.headers)

    async def metadata(self, request: Request) -> Response:
        """Inputs and outputs of a model."""
        served = served_of(self._service, request)
        call = call_of(served, SERVING_DEFAULT)
        document = {
            "name": served.name,
            "versions": [other.version for other in self._service.models.versions(served.name)],
            "platform": "kigraph",
            "inputs": _tensors(call.inputs),
            "outputs": _tensors(call.outputs),
        }
        return JSONResponse(document, headers=served.headers)

    async def infer(self, request: Request) -> Response:
        """The outputs of a model."""
        service = self._service
        served = served_of(service, request)
        body = service.body_of(request, body_kind(request))
        header = request.headers.get(_HEADER)
        timing = Timing()

        def work_on(work: Work) -> tuple[bytes, int | None]:
            return _inferred(work, served, body, header, timing)

        task: Task = work_on
        data, length = await exchange(request, served, service.uploads, service.options, body, task, "request")
        headers = answer_headers(served, timing)
        if length is None:
            return Response(data, media_type="application/json", headers=headers)
        return Response(data, media_type="application/octet-stream", headers=headers | {_HEADER: str(length)})

    async def index(self, request: Request) -> Response:
        """The models that are loaded or may be."""
        check_token(self._service, request)
        rows = self._service.models.listed
        return JSONResponse([dict(zip(("name", "version", "state", "reason"), row, strict=True)) for row in rows])

    async def load(self, request: Request) -> Response:
        """Loads a model that is listed, or loads it anew."""
        check_token(self._service, request)
        await self._service.models.load(request.path_params["name"], self._service.canary)
        return JSONResponse({})

    async def unload(self, request: Request) -> Response:
        """Takes a model away when it has answered what it accepted."""
        check_token(self._service, request)
        await self._service.models.unload(request.path_params["name"])
        return JSONResponse({})


def _inferred(work: Work, served: Served, body: Body, header: str | None, timing: Timing) -> tuple[bytes, int | None]:
    call = call_of(served, SERVING_DEFAULT)
    asked = read(body.data, header)
    if asked.outputs is not None:
        for name, _ in asked.outputs:
            if name not in call.outputs:
                known = ", ".join(map(repr, call.outputs))[:500]
                raise Refused(400, "unknown_output", f"there is no output {shown(name)}; the model gives {known}")
    photos = takes_photographs(served, call)
    feeds = dict(asked.inputs)
    if photos in feeds and feeds[photos].dtype == STRING:
        if feeds[photos].ndim not in (1, 2) or feeds[photos].size != len(feeds[photos]):
            raise Refused(400, "wrong_shape", "photographs are expected in the shape [n] or [n, 1]")
        feeds[photos] = photographs(work, feeds[photos].ravel().tolist(), timing)
    outputs = run_call(work, served, call, feeds, timing)
    document: dict[str, Any] = {"model_name": served.name, "model_version": served.version}
    if asked.id:
        document["id"] = asked.id
    document["parameters"] = {"model_id": served.identity["id"], "precision": served.identity["precision"]}
    found = _asked_for(served, call, asked, outputs)
    plain_size({name: array for name, array, binary in found if not binary})
    return answer(document, found)


def _asked_for(
    served: Served, call: Call, asked: Inference, outputs: dict[str, Array]
) -> list[tuple[str, Array, bool]]:
    """The outputs of an answer: name, array, whether it is binary."""
    found = []
    for name, parameters in asked.outputs or [(name, {}) for name in outputs]:
        binary = parameters.get("binary_data", asked.binary)
        top = parameters.get("classification", 0)
        if type(binary) is not bool or type(top) is not int or not 0 <= top <= 1000:
            raise Refused(400, "malformed", "binary_data is true or false, classification a whole number up to 1000")
        array = outputs[name]
        if top:
            card = served.model.card
            if card is None or call.outputs[name].name != card.output:
                raise Refused(400, "no_classes", f"the output {shown(name)} has no class scores")
            array = _classes(served, array, top)
        found.append((name, array, binary))
    return found


def _classes(served: Served, scores: Array, top: int) -> Array:
    """[n, top] of 'probability:index:label', as Triton gives the classes of an output."""
    model = served.model
    rows = [model.name_scores(row, top).labels for row in probabilities_of(scores, model.require_card())]
    made: Array = np.empty((len(rows), len(rows[0]) if rows else 0), object)
    for number, labels in enumerate(rows):
        made[number] = [f"{label.probability:f}:{label.index}:{label.label}".encode() for label in labels]
    return made


def _tensors(named: Any) -> list[dict[str, Any]]:
    return [
        {"name": name, "datatype": datatype_of(t.dtype), "shape": [-1 if d is None else d for d in t.shape or ()]}
        for name, t in named.items()
    ]
