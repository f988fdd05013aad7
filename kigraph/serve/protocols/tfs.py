"""TensorFlow Serving's REST API: status, metadata, predict and classify of a model.

https://www.tensorflow.org/tfx/serving/api_rest. An input of pixels may be given as encoded photographs, {"b64": "..."}; they are
prepared as the model's card says.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from ...graph.signatures import SERVING_DEFAULT
from ...kernels.tensor import STRING, dtype_name
from ..bodies import Body, Upload, too_large, too_many
from ..documents import MANY, Document, MalformedError, parse
from ..errors import Refused
from ..exchange import exchange, whole_number
from ..work import Task, Timing, Work
from .calls import answer_headers, body_kind, call_of, photographs, run_call, served_of, takes_photographs
from .values import Array, array_of, is_binary, plain, plain_size

if TYPE_CHECKING:
    from ...calling import Call
    from ..models import Served
    from ..service import Service

__all__ = ["tfs_routes"]

_TYPES = {"float32": "DT_FLOAT", "float64": "DT_DOUBLE", "float16": "DT_HALF", "string": "DT_STRING", "bool": "DT_BOOL",
          "complex64": "DT_COMPLEX64"}  # fmt: skip
_ONE = "/v1/models/{name}"
_EACH = (_ONE, _ONE + "/versions/{version}")


def tfs_routes(service: Service) -> list[Route]:
    """The routes, those with a version after those without."""
    own = _Routes(service)
    return [
        *(Route(f"{path}/metadata", own.metadata, methods=["GET"]) for path in _EACH),
        *(Route(f"{path}:predict", own.predict, methods=["POST"]) for path in _EACH),
        *(Route(f"{path}:classify", own.classify, methods=["POST"]) for path in _EACH),
        *(Route(path, own.status, methods=["GET"]) for path in _EACH),
    ]


class _Routes:
    def __init__(self, service: Service) -> None:
        self._service = service

    async def status(self, request: Request) -> Response:
        """The versions of a model and their states."""
        name, wanted = request.path_params["name"], request.path_params.get("version")
        if name.endswith((":predict", ":classify")) or (wanted or "").endswith((":predict", ":classify")):
            raise HTTPException(405, "send this with POST", {"Allow": "POST"})
        found = [row for row in self._service.models.listed if row[0] == name and wanted in (None, row[1])]
        if not found:
            self._service.models.get(name, wanted)
        states = {"READY": "AVAILABLE", "LOADING": "LOADING", "UNAVAILABLE": "END"}
        rows = [
            {"version": version, "state": states[state], "status": {"error_code": "OK", "error_message": reason}}
            for _, version, state, reason in reversed(found)
        ]
        return JSONResponse({"model_version_status": rows})

    async def metadata(self, request: Request) -> Response:
        """The signatures of a model."""
        served = served_of(self._service, request)
        call_of(served, SERVING_DEFAULT)
        signatures = {name: _signature(call) for name, call in served.model.signatures.items()}
        document = {
            "model_spec": {"name": served.name, "signature_name": "", "version": served.version},
            "metadata": {"signature_def": {"signature_def": signatures}},
        }
        return JSONResponse(document, headers=served.headers)

    async def predict(self, request: Request) -> Response:
        """The raw outputs of a signature."""
        served = served_of(self._service, request)
        timing = Timing()

        def task(work: Work, body: Body) -> bytes:
            document = _document(body)
            call = call_of(served, _signature_name(document))
            feeds, by_row = _feeds(work, served, call, document, timing)
            outputs = run_call(work, served, call, feeds, timing)
            plain_size(outputs)
            return _encoded(outputs, by_row)

        answer = await self._exchange(request, served, task)
        return Response(answer, media_type="application/json", headers=answer_headers(served, timing))

    async def classify(self, request: Request) -> Response:
        """The labels and probabilities of photographs, each an example with one feature."""
        served = served_of(self._service, request)
        top = whole_number(request, "top", self._service.options.top, 1, 1000)
        timing = Timing()

        def task(work: Work, body: Body) -> bytes:
            document = _document(body)
            files = _examples(document)
            if len(files) > work.options.images:
                raise too_many(work.options.images)
            if any(len(data) > work.options.max_image_bytes for data in files):
                raise too_large(work.options.max_image_bytes)
            results = []
            for outcome in work.images([Upload(str(n), data) for n, data in enumerate(files)], top):
                if outcome.error is not None:
                    raise _of_number(outcome.error, outcome.filename)
                timing.add(outcome.timing)
                results.append([[label.label, label.probability] for label in outcome.labels])
            return json.dumps({"result": results}, ensure_ascii=False).encode()

        answer = await self._exchange(request, served, task)
        return Response(answer, media_type="application/json", headers=answer_headers(served, timing))

    async def _exchange(self, request: Request, served: Served, task: Any) -> Any:
        service = self._service
        body = service.body_of(request, body_kind(request))
        bound: Task = lambda work: task(work, body)  # noqa: E731
        return await exchange(request, served, service.uploads, service.options, body, bound, "request")


def _of_number(error: Refused, number: str) -> Refused:
    return Refused(error.status, error.code, f"image {number}: {error.message}", error.headers)


def _document(body: Body) -> Document:
    try:
        return parse(body.data, MANY)
    except (ValueError, TypeError, RecursionError) as error:
        reason = str(error) if isinstance(error, MalformedError) else "it is not JSON"
        raise Refused(400, "malformed", f"the body cannot be read: {reason}") from None


def _signature_name(document: Document) -> str:
    name = document.value.get("signature_name", SERVING_DEFAULT)
    if not isinstance(name, str):
        raise Refused(400, "malformed", "signature_name is expected to be a text")
    return name or SERVING_DEFAULT


def _feeds(work: Work, served: Served, call: Call, document: Document, timing: Timing) -> tuple[dict[str, Array], bool]:
    """The arrays for the inputs, and whether they are given by row (``instances``)."""
    rows, columns = (document.value.get(name) for name in ("instances", "inputs"))
    if ("instances" in document.value) == ("inputs" in document.value):
        raise Refused(400, "malformed", 'the body cannot be read: expected either "instances" or "inputs"')
    try:
        named = _named(rows, call, document) if "instances" in document.value else _columns(columns, call)
        photos = takes_photographs(served, call)
        feeds = {}
        for name, value in named.items():
            if name not in call.inputs:
                feeds[name] = np.empty(0)  # refused by its name
            elif name == photos and (files := _files(value, document)):
                feeds[name] = photographs(work, files, timing)
            else:
                feeds[name] = array_of(document, value, call.inputs[name].dtype)
                if name == photos and feeds[name].dtype != STRING and feeds[name].ndim == 3:
                    raise MalformedError(f"the input {name!r} takes a batch of images")
    except MalformedError as error:
        raise Refused(400, "malformed", f"the body cannot be read: {error}") from None
    return feeds, "instances" in document.value


def _named(rows: Any, call: Call, document: Document) -> dict[str, Any]:
    """The rows of ``instances`` by the names of inputs."""
    if isinstance(rows, str) and rows in document.cut:
        return {_only(call): rows}
    if not isinstance(rows, list) or not rows:
        raise MalformedError('"instances" is expected to be a list with something in it')
    objects = [isinstance(row, dict) and not is_binary(row) for row in rows]
    if not any(objects):
        return {_only(call): rows}
    names = set(rows[0]) if objects[0] else set()
    if not all(objects) or any(set(row) != names for row in rows):
        raise MalformedError('"instances" have different inputs; every one needs the same')
    return {name: [row[name] for row in rows] for name in rows[0]}


def _columns(columns: Any, call: Call) -> dict[str, Any]:
    """``inputs``: an object by name, or the value of the only input."""
    if isinstance(columns, dict) and not is_binary(columns):
        return columns
    return {_only(call): columns}


def _only(call: Call) -> str:
    if len(call.inputs) != 1:
        raise MalformedError(f"the signature has the inputs {', '.join(map(repr, call.inputs))}; name them")
    return next(iter(call.inputs))


def _files(value: Any, document: Document) -> list[bytes]:
    """The photographs of a value, if it is some."""
    items = value if isinstance(value, list) else [value]
    if not items or not all(is_binary(item) for item in items):
        return []
    return [document.binary(item["b64"]) for item in items]


def _examples(document: Document) -> list[bytes]:
    examples = document.value.get("examples")
    if not isinstance(examples, list) or not examples:
        raise Refused(
            400, "malformed", 'the body cannot be read: expected {"examples": [{"image": {"b64": "..."}}, ...]}'
        )
    files = []
    for example in examples:
        values = list(example.values()) if isinstance(example, dict) else []
        if is_binary(example):
            values = [example]
        if len(values) != 1 or not is_binary(values[0]):
            raise Refused(
                400, "malformed", 'the body cannot be read: an example is expected to be {"image": {"b64": "..."}}'
            )
        try:
            files.append(document.binary(values[0]["b64"]))
        except MalformedError as error:
            raise Refused(400, "malformed", f"the body cannot be read: {error}") from None
    return files


def _encoded(outputs: dict[str, Array], by_row: bool) -> bytes:
    """The body of an answer to predict."""
    values = {name: plain(array) for name, array in outputs.items()}
    if not by_row:
        columns = next(iter(values.values())) if len(values) == 1 else values
        return json.dumps({"outputs": columns}, allow_nan=False).encode()
    if len(values) == 1:
        return json.dumps({"predictions": next(iter(values.values()))}, allow_nan=False).encode()
    counts = {array.shape[:1] for array in outputs.values()}
    if len(counts) != 1 or () in counts:
        message = 'the outputs have different numbers of rows; ask with "inputs" in place of "instances"'
        raise Refused(422, "no_rows", message)
    rows = [dict(zip(values, row, strict=True)) for row in zip(*values.values(), strict=True)]
    return json.dumps({"predictions": rows}, allow_nan=False).encode()


def _signature(call: Call) -> dict[str, Any]:
    def tensors(named: Any) -> dict[str, Any]:
        return {name: _tensor(tensor) for name, tensor in named.items()}

    return {
        "inputs": tensors(call.inputs),
        "outputs": tensors(call.outputs),
        "method_name": "tensorflow/serving/predict",
    }


def _tensor(tensor: Any) -> dict[str, Any]:
    name = dtype_name(tensor.dtype)
    sizes = [{"size": str(-1 if d is None else d), "name": ""} for d in tensor.shape or ()]
    shape = {"dim": sizes, "unknown_rank": tensor.shape is None}
    return {"name": tensor.name, "dtype": _TYPES.get(name, f"DT_{name.upper()}"), "tensor_shape": shape}
