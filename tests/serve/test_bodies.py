"""What a body may look like, and that a hostile one is refused before it costs anything."""

from __future__ import annotations

import base64
import json
import random
import time
from typing import Any

import pytest

from kigraph.kernels.conformance import process_seed

bodies = pytest.importorskip("kigraph.serve.bodies", reason="needs the extra serve")
documents = pytest.importorskip("kigraph.serve.documents", reason="needs the extra serve")
Refused = pytest.importorskip("kigraph.serve.errors").Refused

#: The same five bytes in every form that encoders write: 0xfb 0xef 0xff make '+' and '/'.
DATA = b"\xfb\xef\xff\x00\x01"


def _image(document: str | bytes) -> bytes:
    data: bytes = bodies._json(document.encode() if isinstance(document, str) else document).images[0].data
    return data


@pytest.mark.parametrize(
    "document",
    [
        '{"image": "++//AAE="}',
        '{"image": "++//AAE"}',
        '{"image": "--__AAE="}',
        '{"image": "--__AAE"}',
        '{"image": "++//\\nAAE=\\n"}',
        '{"image": "++//\\r\\nAAE=\\r\\n"}',
        '{"image": "++/\\n/AA\\tE ="}',
        '{"image": "++//\nAAE=\n"}',  # the output of `base64 FILE`, put into a string by a shell
        '{"image": "++\\/\\/AAE="}',  # PHP
        '{"image": "\\u002B\\u002b//AAE\\u003D"}',  # .NET, Gson
        '{"image": "data:image/png;base64,++//AAE="}',
        '{"filename": "a \\"b\\", [c].png", "tags": [1, {"x": null}], "image": "++//AAE="}',
        '\ufeff{"image": "++//AAE="}',
    ],
)
def test_json_with_base64_in_every_usual_form(document: str) -> None:
    assert _image(document) == DATA
    # The same with a string that is long enough to be cut out.
    assert _image(document.replace("++//AAE=", "++//AAE=".replace("AAE=", "") * 3000 + "AAE=")).endswith(DATA[-2:])


@pytest.mark.parametrize(
    "image",
    ["!!!!", "QQ=a", "Q", "QQ==QQ==", "QUFB+_", "QQ=", "=QQ", "QQ===", "QQ\\ud800", "QU\u00e9", "QUFB\\u00e9", "data:image/png,QUFB",
     "QUFB====", "QUFB.", "QU\\u0000B"],
)  # fmt: skip
@pytest.mark.parametrize("front", ["", "QUFB" * 40_000])
def test_what_is_not_base64_is_malformed(image: str, front: str) -> None:
    image = front + image if not image.startswith("data:") else image + front
    with pytest.raises(Refused) as refused:
        _image(f'{{"image": "{image}"}}')
    assert refused.value.status == 400
    assert refused.value.code == "malformed"


@pytest.mark.parametrize(
    "document",
    ["", "{", "null", "5", '"image"', '["image"]', '{"image": 5}', '{"image": null}', '{"photo": "QUFB"}', '{"image": "QUFB',
     '{"image": "QUFB"} x', '{"image": "QUFB\\"}', '{"image": ["QUFB"]}', b"\xff\xfe{}", '{"image": "\\x41"}'],
)  # fmt: skip
def test_what_is_not_the_document_is_malformed(document: str | bytes) -> None:
    with pytest.raises(Refused) as refused:
        _image(document)
    assert refused.value.status == 400


def test_random_forms_of_random_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the pieces: they may end inside a group, a line break or an escape sequence."""
    rng = random.Random(process_seed())
    for _ in range(1000):
        monkeypatch.setattr(documents, "_PIECE", rng.choice([64, 67, 100, 1000]))
        monkeypatch.setattr(documents, "_LONG", rng.choice([20, 4096]))
        data = rng.randbytes(rng.choice([1, 2, 3, 4, 50, 51, 52, 3000]))
        text = rng.choice([base64.b64encode, base64.urlsafe_b64encode])(data).decode()
        text = text.rstrip("=") if rng.random() < 0.4 else text
        if rng.random() < 0.4:
            width = rng.choice([4, 7, 64, 76])
            text = rng.choice(["\n", "\r\n", " \t"]).join(text[i : i + width] for i in range(0, len(text), width))
        document = json.dumps(
            {"filename": 'x"\\y,[z', "image": ("data:image/png;base64," if rng.random() < 0.3 else "") + text}
        )
        escape = rng.choice([("/", "\\/"), ("+", "\\u002B"), ("=", "\\u003d"), ("", "")])
        upload = bodies._json((document.replace(*escape) if escape[0] else document).encode()).images[0]
        assert upload.data == data, document
        assert upload.filename == "y,[z"


@pytest.mark.parametrize(
    "document",
    [
        b"[" * 10_000_000,
        b'{"image":' * 1_000_000,
        b"{" + b'"a":1,' * 1_600_000 + b'"image":"QUFB"}',
        b"[" + b"1," * 5_000_000 + b"1]",
        b'{"a":' + b"1" * 10_000_000 + b"}",
        b" " * 10_000_000,
        b'"' * 10_000_000,
        b'{"image":"' + b"\\" * 10_000_000 + b'"}',
        b":" * 10_000_000,
        b"true " * 2_000_000,
    ],
    ids=lambda d: repr(d[:12]),
)
def test_large_structures_are_refused_unparsed(document: bytes) -> None:
    """json.loads takes a second of the GIL for a million keys; the bound is far from both figures."""
    start = time.process_time()
    with pytest.raises(Refused) as refused:
        _image(document)
    assert refused.value.status == 400
    assert time.process_time() - start < 0.5


def _form(*fields: tuple[str, str, bytes]) -> Any:
    parts = [
        b'--b\r\nContent-Disposition: form-data; name="%b"%b\r\n\r\n%b\r\n' % (name.encode(), more.encode(), data)
        for name, more, data in fields
    ]
    return bodies._multipart('multipart/form-data; boundary="b"', b"".join(parts) + b"--b--\r\n").images[0]


def test_multipart_fields_image_and_file() -> None:
    for name in ("image", "file"):
        upload = _form(("other", "", b"x"), (name, '; filename="C:\\\\x\\\\a.png"', DATA))
        assert (upload.filename, upload.data) == ("a.png", DATA)
    assert _form(("file", '; filename="f"', b"no"), ("image", '; filename="i"', DATA)).data == DATA
    large = random.Random(1).randbytes(3 << 20)
    assert _form(("image", '; filename="f"', large)).data == large


@pytest.mark.parametrize(
    ("status", "content_type", "body"),
    [
        (400, "multipart/form-data", b"--b\r\n"),
        (400, "multipart/form-data; boundary=b", b""),
        (400, "multipart/form-data; boundary=b", b"--c\r\n\r\n--c--\r\n"),
        (400, "multipart/form-data; boundary=b", b'--b\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\nx'),
        (400, "multipart/form-data; boundary=" + "b" * 1000, b"--b--\r\n"),
        (400, "multipart/form-data; boundary=b", b"--b\r\nX: " + b"y" * 100_000 + b"\r\n\r\nx\r\n--b--\r\n"),
        (400, "multipart/form-data; boundary=b", b'--b\r\nContent-Disposition: form-data; name="n"\r\n\r\nx\r\n' * 1000 + b"--b--\r\n"),
        (422, "multipart/form-data; boundary=b", b'--b\r\nContent-Disposition: form-data; name="photo"; filename="a"\r\n\r\nx\r\n--b--\r\n'),
        (422, "multipart/form-data; boundary=b", b'--b\r\nContent-Disposition: form-data; name="image"\r\n\r\nx\r\n--b--\r\n'),
    ],
)  # fmt: skip
def test_damaged_multipart_bodies(status: int, content_type: str, body: bytes) -> None:
    with pytest.raises(Refused) as refused:
        bodies._multipart(content_type, body)
    assert refused.value.status == status


def test_damaged_multipart_bodies_at_random() -> None:
    rng = random.Random(process_seed())
    whole = (
        b'--b\r\nContent-Disposition: form-data; name="image"; filename="a"\r\nX: y\r\n\r\n' + DATA + b"\r\n--b--\r\n"
    )
    for _ in range(2000):
        data = bytearray(whole)
        for _ in range(rng.randint(1, 4)):
            at = rng.randrange(len(data))
            data[at : at + rng.randint(0, 3)] = rng.randbytes(rng.randint(0, 3))
        try:
            bodies._multipart("multipart/form-data; boundary=b", data)
        except Refused as refused:
            assert refused.status in (400, 422)
