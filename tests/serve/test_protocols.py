"""TensorFlow Serving's routes and those of the Open Inference Protocol: answers are the library's, hostile bodies a clear 4xx."""

from __future__ import annotations

import base64
import json
import random
import struct
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import kigraph as ki
from kigraph.kernels.conformance import process_seed

from .schema_check import check, matching

testclient = pytest.importorskip("starlette.testclient")
documents = pytest.importorskip("kigraph.serve.documents")
Image = Callable[..., bytes]
TFS, OIP = "/v1/models/pets", "/v2/models/pets"


def _wide(folder: Path) -> Path:
    """Two inputs and two outputs, int32 and strings among them, without a card."""
    with ki.Graph().as_default() as graph:
        x = ki.placeholder(ki.float32, shape=[None, 3], name="x")
        n = ki.placeholder(ki.int32, shape=[None], name="n")
        s = ki.placeholder(ki.string, shape=[None], name="s")
        ki.multiply(x, 2.0, name="twice")
        ki.add(n, 1, name="more")
        ki.identity(s, name="same")
    return Path(ki.save_graph(graph, folder / "wide.pb"))


@pytest.fixture(scope="module")
def model(model_path: Path) -> Any:
    return ki.load(model_path, backend="numpy")


@pytest.fixture(scope="module")
def client(model: Any, image: Image) -> Iterator[Any]:
    from kigraph.serve.app import Options, create_app
    from kigraph.serve.model_list import ModelSpec

    spec = ModelSpec("pets", model.path, "3")
    options = Options(images=12, batch=2, request_bytes=4 << 20, max_image_bytes=1 << 16)
    with testclient.TestClient(create_app([(spec, model)], image(), options), raise_server_exceptions=False) as opened:
        yield opened


@pytest.fixture
def batch(model: Any) -> Any:
    rng = np.random.default_rng(process_seed())
    return rng.normal(size=(int(rng.integers(1, 12)), *model.image_shape)).astype(np.float32)


def _names(model: Any) -> tuple[str, str]:
    return next(iter(model.inputs)), next(iter(model.outputs))


def _infer(client: Any, head: dict[str, Any], binary: bytes = b"", path: str = f"{OIP}/infer") -> Any:
    text = json.dumps(head).encode()
    headers = {"Inference-Header-Content-Length": str(len(text))} if binary else {}
    return client.post(path, content=text + binary, headers=headers)


def test_every_form_of_predict_gives_the_librarys_numbers(client: Any, model: Any, batch: Any) -> None:
    name, _ = _names(model)
    want = model.predict(batch)
    rows = batch.tolist()
    for body, key in (
        ({"instances": rows}, "predictions"),
        ({"instances": [{name: row} for row in rows], "signature_name": "serving_default"}, "predictions"),
        ({"inputs": rows}, "outputs"),
        ({"inputs": {name: rows}}, "outputs"),
    ):
        for path in (f"{TFS}:predict", f"{TFS}/versions/3:predict"):
            answer = client.post(path, content=json.dumps(body))  # curl sends no JSON type either
            assert answer.status_code == 200, answer.text
            np.testing.assert_allclose(np.float32(answer.json()[key]), want, 1e-5)
            assert answer.headers["x-model-version"] == "3"
            assert "compute;dur=" in answer.headers["server-timing"]


def test_photographs_are_prepared_as_the_card_says(client: Any, model: Any, image: Image) -> None:
    photos = [image(seed=n) for n in range(3)]
    want = model.predict(model.prepare(photos))
    b64 = [{"b64": base64.b64encode(p).decode()} for p in photos]
    name, output = _names(model)
    for body in ({"instances": b64}, {"instances": [{name: b} for b in b64]}, {"inputs": b64}):
        answer = client.post(f"{TFS}:predict", json=body)
        assert answer.status_code == 200, answer.text
        np.testing.assert_allclose(np.float32(next(iter(answer.json().values()))), want, 1e-5)
    packed = b"".join(struct.pack("<I", len(p)) + p for p in photos)
    for shape in ([3], [3, 1]):
        entry = {"name": name, "shape": shape, "datatype": "BYTES", "parameters": {"binary_data_size": len(packed)}}
        found = _infer(client, {"inputs": [entry]}, packed).json()["outputs"][0]
        np.testing.assert_allclose(np.float32(found["data"]).reshape(found["shape"]), want, 1e-5)
    classes = {"name": output, "parameters": {"classification": 1}}
    entry = {"name": name, "shape": [3], "datatype": "BYTES", "data": b64}
    told = _infer(client, {"inputs": [entry], "outputs": [classes]}).json()["outputs"][0]
    best = [model.classify(p)[0] for p in photos]
    assert [(t.split(":")[1:], told["shape"]) for t in told["data"]] == [
        ([str(b.index), b.label], [3, 1]) for b in best
    ]
    result = client.post(f"{TFS}:classify", json={"examples": [{"image": b} for b in b64]}).json()["result"]
    for labels, photo in zip(result, photos, strict=True):
        assert dict(labels) == pytest.approx({x.label: x.probability for x in model.classify(photo)}, rel=1e-5)


def test_tensors_as_text_and_as_bytes(client: Any, model: Any, batch: Any) -> None:
    name, output = _names(model)
    want = model.predict(batch)
    entry: dict[str, Any] = {"name": name, "shape": list(batch.shape), "datatype": "FP32"}
    for data in (batch.tolist(), batch.ravel().tolist()):
        answer = _infer(client, {"id": "a1", "inputs": [entry | {"data": data}]}).json()
        np.testing.assert_allclose(np.float32(answer["outputs"][0]["data"]), want.ravel(), 1e-5)
        assert (answer["id"], answer["model_name"], answer["model_version"]) == ("a1", "pets", "3")
        assert answer["parameters"]["model_id"] == client.get("/v1/models").json()["models"][0]["id"]
    raw = batch.tobytes()
    entry["parameters"] = {"binary_data_size": len(raw)}
    for asked in (
        {"parameters": {"binary_data_output": True}},
        {"outputs": [{"name": output, "parameters": {"binary_data": True}}]},
    ):
        answer = _infer(client, {"inputs": [entry]} | asked, raw, f"{OIP}/versions/3/infer")
        length = int(answer.headers["inference-header-content-length"])
        head = json.loads(answer.content[:length])["outputs"][0]
        assert head["parameters"] == {"binary_data_size": len(answer.content) - length}
        np.testing.assert_allclose(
            np.frombuffer(answer.content[length:], np.float32).reshape(head["shape"]), want, 1e-5
        )


def test_what_a_model_takes_is_told(client: Any, model: Any) -> None:
    name, output = _names(model)
    told = client.get(OIP).json()
    height, width, channels = model.image_shape
    assert told["inputs"] == [{"name": name, "datatype": "FP32", "shape": [-1, height, width, channels]}]
    assert (told["outputs"][0]["name"], told["versions"]) == (output, ["3"])
    signature = client.get(f"{TFS}/metadata").json()["metadata"]["signature_def"]["signature_def"]["serving_default"]
    assert signature["inputs"][name]["dtype"] == "DT_FLOAT"
    assert [d["size"] for d in signature["inputs"][name]["tensor_shape"]["dim"]] == [
        "-1",
        str(height),
        str(width),
        str(channels),
    ]
    assert client.get("/v2/health/ready").status_code == client.get(f"{OIP}/ready").status_code == 200
    assert "binary_tensor_data" in client.get("/v2").json()["extensions"]
    document = client.get("/openapi.json").json()
    for path in (
        "/v1/models",
        "/v2",
        "/v2/models/{name}",
        "/v1/models/{name}",
        "/v1/models/{name}/versions/{version}/metadata",
    ):
        answer = client.get(path.replace("{name}", "pets").replace("{version}", "3"))
        content = document["paths"][path]["get"]["responses"]["200"]["content"]
        check(answer.json(), matching(content, "application/json")["schema"], document)


DEEP = "[" * 100_000
WRONG: list[tuple[str, int, str]] = [
    ("", 400, "malformed"), ("null", 400, "malformed"), ("[]", 400, "malformed"), ("{}", 400, "malformed"), (DEEP, 400, "malformed"),
    ('{"instances": ' + DEEP + "]" * 100_000 + "}", 400, "malformed"), ('{"instances": ' + '{"a":' * 50_000, 400, "malformed"),
    ('{"instances": []}', 400, "malformed"), ('{"instances": 5}', 400, "malformed"), ('{"instances": "x"}', 400, "malformed"),
    ('{"instances": [[1, 2], [3]]}', 400, "malformed"), ('{"instances": [NaN]}', 400, "malformed"), ('{"instances": [Infinity]}', 400, "malformed"),
    ('{"instances": [1e999]}', 400, "malformed"), ('{"instances": [' + "9" * 5000 + "]}", 400, "malformed"),
    ('{"instances": [' + "9" * 200_000 + "]}", 400, "malformed"), ('{"instances": [1, 2]}', 400, "wrong_shape"),
    ('{"instances": [true]}', 400, "malformed"), ('{"instances": ["text"]}', 400, "malformed"), ('{"instances": [{"b64": 5}]}', 400, "malformed"),
    ('{"instances": [{"b64": "!"}]}', 400, "malformed"), ('{"instances": [{"b64": "QUJD"}]}', 422, "bad_image"), ('{"instances": [{"b64": "\u00e4QU"}]}', 400, "malformed"),
    ('{"instances": [{"b64": ""}]}', 422, "no_image"), ('{"instances": [{"b64": "QUJD"}, 5]}', 400, "malformed"),
    ('{"instances": [{"y": 1}]}', 400, "unknown_input"), ('{"instances": [{"x": 1}, {"y": 1}]}', 400, "malformed"),
    ('{"instances": [1], "inputs": [1]}', 400, "malformed"), ('{"instances": [1], "signature_name": "none"}', 400, "unknown_signature"),
    ('{"instances": [1], "signature_name": 5}', 400, "malformed"), ('{"inputs": {}}', 400, "missing_input"), ('{"inputs": {"y": 1}}', 400, "unknown_input"),
    ('{"instances": [' + '{"b64": "QUJD"},' * 13 + '{"b64": "QUJD"}]}', 422, "too_many_images"),
    ('{"instances": [' + "1," * 2000 + "1]}", 400, "wrong_shape"), ('{"instances": [' + "1," * 3000 + "x]}", 400, "malformed"),
    ('{"instances": [[[[' + "0.1," * 9000 + '"a"]]]]}', 400, "malformed"), ('{"instances": [1' + " " * 100_000, 400, "malformed"),
]  # fmt: skip


@pytest.mark.parametrize(("body", "status", "code"), WRONG, ids=lambda v: str(v)[:24])
def test_what_is_wrong_with_predict_is_said(client: Any, body: str, status: int, code: str) -> None:
    start = time.process_time()
    answer = client.post(f"{TFS}:predict", content=body.encode())
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
    assert isinstance(answer.json()["error"], str)
    assert len(answer.text) < 2000
    assert time.process_time() - start < 1.0


def _wrong_inferences(name: str, output: str, shape: list[int]) -> list[tuple[Any, bytes, int, str]]:
    good = {"name": name, "shape": [1, *shape], "datatype": "FP32"}
    count = int(np.prod(shape))
    raw, sized = bytes(4 * count), {"parameters": {"binary_data_size": 4 * count}}
    strings = {"name": name, "datatype": "BYTES"}
    return [
        ({}, b"", 400, "malformed"),
        ({"inputs": []}, b"", 400, "malformed"),
        ({"inputs": [5]}, b"", 400, "malformed"),
        ({"inputs": [good]}, b"", 400, "malformed"),
        ({"inputs": [good | {"data": [0.0]}]}, b"", 400, "malformed"),
        ({"inputs": [good | {"data": [0.0], "datatype": "FP33"}]}, b"", 400, "malformed"),
        ({"inputs": [good | {"data": [0.0], "datatype": ["FP32"]}]}, b"", 400, "malformed"),
        ({"inputs": [good | {"data": [0.0], "shape": [-1]}]}, b"", 400, "malformed"),
        ({"inputs": [good | {"data": [0.0], "shape": [True]}]}, b"", 400, "malformed"),
        ({"inputs": [good | {"data": [0.0], "shape": [1 << 40, 1 << 40]}]}, b"", 400, "malformed"),
        ({"inputs": [good | {"data": [0.0], "shape": [1] * 40}]}, b"", 400, "malformed"),
        ({"inputs": [good | {"data": [0.0] * count, "datatype": "FP64"}]}, b"", 400, "wrong_type"),
        ({"inputs": [good | {"data": [1] * count, "shape": [count]}]}, b"", 400, "wrong_shape"),
        ({"inputs": [good | {"data": [], "shape": [0, *shape]}]}, b"", 400, "wrong_shape"),
        ({"inputs": [good | {"data": [1.5] * count, "datatype": "INT8"}]}, b"", 400, "malformed"),
        ({"inputs": [good | {"data": [300] * count, "datatype": "UINT8"}]}, b"", 400, "malformed"),
        ({"inputs": [good | sized]}, raw[:-4], 400, "malformed"),
        ({"inputs": [good | sized]}, raw + b"more", 400, "malformed"),
        ({"inputs": [good | {"parameters": {"binary_data_size": -4}}]}, raw, 400, "malformed"),
        ({"inputs": [good | {"parameters": {"binary_data_size": 1e3}}]}, raw, 400, "malformed"),
        ({"inputs": [good | {"parameters": {"binary_data_size": 8}}]}, raw[:8], 400, "malformed"),
        ({"inputs": [good | {"parameters": {"shared_memory_region": "x"}}]}, raw, 400, "malformed"),
        ({"inputs": [good | sized | {"data": [0.0] * count}]}, raw, 400, "malformed"),
        ({"inputs": [good | sized, good | sized]}, raw * 2, 400, "malformed"),
        ({"inputs": [good | sized | {"name": "other"}]}, raw, 400, "unknown_input"),
        ({"inputs": [good | sized], "outputs": [{"name": "other"}]}, raw, 400, "unknown_output"),
        ({"inputs": [good | sized], "outputs": [{"name": output, "parameters": {"classification": -1}}]}, raw, 400, "malformed"),
        ({"inputs": [good | sized], "id": "x" * 300}, raw, 400, "malformed"),
        ({"inputs": [strings | {"shape": [1], "parameters": {"binary_data_size": 8}}]}, struct.pack("<I", 4000) + b"abcd", 400, "malformed"),
        ({"inputs": [strings | {"shape": [2], "parameters": {"binary_data_size": 8}}]}, struct.pack("<I", 4) + b"abcd", 400, "malformed"),
        ({"inputs": [strings | {"shape": [1], "parameters": {"binary_data_size": 2}}]}, b"ab", 400, "malformed"),
        ({"inputs": [strings | {"shape": [1], "parameters": {"binary_data_size": 8}}]}, struct.pack("<I", 4) + b"abcd", 422, "bad_image"),
        ({"inputs": [strings | {"shape": [2, 2], "data": ["a"] * 4}]}, b"", 400, "wrong_shape"),
        ({"inputs": [strings | {"shape": [13], "data": ["a"] * 13}]}, b"", 422, "too_many_images"),
    ]  # fmt: skip


def test_what_is_wrong_with_an_inference_is_said(client: Any, model: Any) -> None:
    for head, binary, status, code in _wrong_inferences(*_names(model), list(model.image_shape)):
        answer = _infer(client, head, binary)
        assert (answer.status_code, answer.json()["code"]) == (status, code), (head, answer.text)
    for header in ("-1", "1e3", "99999999", "", "x", "1" * 30):
        answer = client.post(
            f"{OIP}/infer", content=b'{"inputs": []}', headers={"Inference-Header-Content-Length": header}
        )
        assert answer.status_code == 400


def test_unknown_models_and_bodies_that_are_none(client: Any) -> None:
    for method, path in (
        ("GET", "/v1/models/none"), ("GET", f"{TFS}/versions/9"), ("GET", "/v1/models/none/metadata"), ("POST", "/v1/models/none:predict"),
        ("POST", f"{TFS}/versions/9:classify"), ("GET", "/v2/models/none"), ("GET", "/v2/models/none/ready"), ("POST", "/v2/models/none/infer"),
        ("GET", f"/v2/models/{'x' * 3000}"), ("GET", "/v2/models/%00"),
    ):  # fmt: skip
        answer = client.request(method, path)
        assert (answer.status_code, answer.json()["code"]) == (404, "unknown_model"), path
        assert len(answer.text) < 300
    for headers in (
        {"content-type": "multipart/form-data"},
        {"content-type": "image/jpeg"},
        {"content-encoding": "gzip"},
    ):
        assert client.post(f"{TFS}:predict", content=b"{}", headers=headers).status_code == 415
    assert client.post(f"{OIP}/infer", content=bytes(7 << 20)).status_code == 413
    assert client.get(f"{TFS}:predict").status_code == 405


def test_several_inputs_and_types_of_a_model_without_a_card(tmp_path: Path, image: Image) -> None:
    """The tasks of the routes themselves: such a model is no classifier, so no service starts with it."""
    from kigraph.serve.documents import MANY, parse
    from kigraph.serve.protocols.tfs import _encoded, _named
    from kigraph.serve.protocols.values import array_of

    model = ki.load(_wide(tmp_path), backend="numpy")
    call = model.signatures["serving_default"]
    x, n, s = call.inputs
    rows = [{x: [1.5, 2, 3], n: 7, s: "ü"}, {x: [4, 5, 6], n: -8, s: {"b64": "//4="}}]
    document = parse(json.dumps({"instances": rows}).encode(), MANY)
    named = _named(document.value["instances"], call, document)
    feeds = {name: array_of(document, value, call.inputs[name].dtype) for name, value in named.items()}
    assert feeds[s].tolist() == ["ü".encode(), b"\xff\xfe"]
    found = json.loads(_encoded(call.run(feeds), True))["predictions"]
    values = [[row[name] for name in call.outputs] for row in found]
    assert values == [[[3.0, 4.0, 6.0], 8, "ü"], [[8.0, 10.0, 12.0], -7, {"b64": "//4="}]]


def test_long_arrays_are_read_as_json_reads_them(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(process_seed())
    for _ in range(200):
        monkeypatch.setattr(documents, "_LONG", int(rng.choice([20, 64, 4096])))
        monkeypatch.setattr(documents, "_PIECE", int(rng.choice([16, 100, 5000])))
        shape = tuple(int(d) for d in rng.integers(1, 5, rng.integers(1, 5)))
        dtype = np.dtype(rng.choice(["f4", "f8", "i4", "i8", "u1"]))
        array = rng.integers(0, 200, shape).astype(dtype) if dtype.kind != "f" else rng.normal(size=shape).astype(dtype)
        text = json.dumps(
            {"signature_name": "x]", "instances": array.tolist(), "z": [1]}, indent=int(rng.integers(0, 3)) or None
        )
        document = documents.parse(text.encode(), documents.MANY)
        value = document.value["instances"]
        found = document.numbers(value, dtype)
        if found is None:
            found = np.array(value, dtype)
        np.testing.assert_array_equal(found, array)


def test_damaged_documents_give_4xx_only(client: Any, model: Any) -> None:
    rng = random.Random(process_seed())
    name, _ = _names(model)
    batch = np.zeros((1, *model.image_shape), np.float32)
    entry = {
        "name": name,
        "shape": list(batch.shape),
        "datatype": "FP32",
        "parameters": {"binary_data_size": batch.nbytes},
    }
    head = json.dumps({"inputs": [entry]}).encode()
    wholes = [
        (f"{TFS}:predict", json.dumps({"instances": batch.tolist()}).encode(), {}),
        (f"{OIP}/infer", head + batch.tobytes(), {"Inference-Header-Content-Length": str(len(head))}),
        (f"{TFS}:classify", b'{"examples": [{"image": {"b64": "QUJD"}}]}', {}),
    ]
    for _ in range(150):
        path, whole, headers = rng.choice(wholes)
        data = bytearray(whole)
        for _ in range(rng.randint(1, 4)):
            at = rng.randrange(min(len(data), 400))
            data[at : at + rng.randint(0, 3)] = rng.choice(
                [b"[", b"]", b"{", b'"', b",", b"-", b"9", b"e", rng.randbytes(2)]
            )
        answer = client.post(path, content=bytes(data), headers=headers)
        assert answer.status_code in (200, 400, 422), (data[:400], answer.text)
    assert client.post(wholes[0][0], content=wholes[0][1]).status_code == 200


def test_a_graph_that_decodes_images_itself_takes_photographs_too(image: Image) -> None:
    """The Inception v3 of 2015, retrained; its own preparation is used."""
    import io
    import lzma
    import os
    import tempfile

    from PIL import Image as Pillow

    from kigraph.serve.app import create_app
    from kigraph.serve.model_list import ModelSpec

    packed = Path(os.environ.get("KIGRAPH_SHARED", "../shared")) / "models" / "inception_v3_flowers" / "frozen.pb.xz"
    if not packed.is_file():
        pytest.skip("needs the trained Inception v3 (KIGRAPH_SHARED)")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "frozen.pb"
        path.write_bytes(lzma.decompress(packed.read_bytes()))
        model = ki.load(path)
        photo = image(size=(320, 240))
        turned = io.BytesIO()
        exif = Pillow.Exif()
        exif[274] = 6
        Pillow.open(io.BytesIO(photo)).save(turned, "JPEG", exif=exif)
        files = [photo, image("PNG"), turned.getvalue()]
        b64 = [{"b64": base64.b64encode(f).decode()} for f in files]
        with testclient.TestClient(create_app([(ModelSpec("pets", path), model)], photo)) as client:
            rows = client.post(f"{TFS}:predict", json={"instances": b64}).json()["predictions"]
            found = client.post("/v1/classify", json={"images": b64}).json()["results"]
        np.testing.assert_allclose(rows, model.probabilities(files), atol=1e-4)
        for answer, file in zip(found, files, strict=True):
            assert [x["probability"] for x in answer["labels"]] == [x.probability for x in model.classify(file)]
