"""The service as a process: a clean drain on SIGTERM under load."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from PIL import Image

import kigraph as ki

from .conftest import free_port, serving


def test_sigterm_under_load_loses_nothing_that_was_accepted(
    service: tuple[subprocess.Popen[str], str], image: Callable[..., bytes]
) -> None:
    process, url = service
    data = image(size=(300, 200))
    statuses: list[int] = []
    broken: list[str] = []
    stop = threading.Event()

    def client() -> None:
        with httpx.Client() as http:
            while not stop.is_set():
                try:
                    statuses.append(http.post(f"{url}/v1/classify", content=data, timeout=20).status_code)
                except httpx.ConnectError:
                    return  # the socket is closed: nobody was accepted
                except httpx.TransportError as error:
                    broken.append(repr(error))
                    return

    threads = [threading.Thread(target=client) for _ in range(6)]
    for thread in threads:
        thread.start()
    time.sleep(1.5)
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 0
    stop.set()
    for thread in threads:
        thread.join()
    assert statuses.count(200) > 10
    assert set(statuses) <= {200, 429, 503}
    # A kept-alive connection may be closed between two requests; a request that was being answered may not.
    assert all("disconnected without sending" in b or "reset" in b.lower() for b in broken), broken


def _refused(*flags: str, **env: str) -> str:
    """The one line of a service that does not start."""
    command = [sys.executable, "-m", "kigraph", "serve", "--port", str(free_port()), *flags]
    env = os.environ | {"KIGRAPH_WEIGHTS": "demo"} | env
    done = subprocess.run(command, capture_output=True, text=True, env=env, timeout=60)
    assert done.returncode == 2, done.stderr
    errors = [line for line in done.stderr.splitlines() if line.startswith("kigraph: ")]
    assert len(errors) == 1, done.stderr
    assert "Traceback" not in done.stderr
    return errors[0]


def test_a_missing_file_ends_with_2_and_one_line(tmp_path: Path) -> None:
    assert "no.pb" in _refused("--weights", str(tmp_path / "no.pb"))


def test_what_classify_refuses_is_refused_at_the_start(tmp_path: Path) -> None:
    """A graph without a card loads; only classifying says that nobody knows what goes in and what comes out."""
    with ki.Graph().as_default() as graph:
        ki.add(ki.placeholder(ki.float32, shape=[2], name="a"), 1.0, name="b")
    ki.save_graph(graph, tmp_path / "plain.pb")
    assert "CardError" in _refused("--weights", str(tmp_path / "plain.pb"))


@pytest.mark.parametrize(
    ("flags", "env", "named"),
    [
        (("--port", "70000"), {}, "--port '70000'"),
        (("--port", "-1"), {}, "--port '-1'"),
        (("--queue", "0"), {}, "--queue '0'"),
        (("--log", "yes"), {}, "--log 'yes'"),
        (("--allowed-origins", "example.org"), {}, "https://example.org"),
        (("--host", "203.0.113.7"), {}, "203.0.113.7"),
        (("--batch", "many"), {}, "--batch 'many' is not valid: expected a whole number from 1 to 64, or auto"),
        (("--models", "/no/such/models.toml"), {}, "there is no such folder or file"),
        ((), {"KIGRAPH_SERVE_ADMIN_TOKEN_FILE": "/no/token"}, "--admin-token-file '/no/token'"),
        ((), {"KIGRAPH_SERVE_WORKERS": "many"}, "KIGRAPH_SERVE_WORKERS='many'"),
        ((), {"KIGRAPH_SERVE_TIMEOUT": "0"}, "KIGRAPH_SERVE_TIMEOUT='0'"),
        ((), {"KIGRAPH_SERVE_NO_DOWNLOAD": "maybe"}, "KIGRAPH_SERVE_NO_DOWNLOAD='maybe'"),
        ((), {"KIGRAPH_SERVE_LABELS": "/no/labels.txt"}, "/no/labels.txt"),
    ],
    ids=str,
)
def test_a_bad_value_ends_with_2_and_is_named(flags: tuple[str, ...], env: dict[str, str], named: str) -> None:
    assert named in _refused(*flags, **env)


def test_the_environment_sets_every_flag_and_a_flag_wins(model_path: Path, image: Callable[..., bytes]) -> None:
    env = {"KIGRAPH_SERVE_LOG": "text", "KIGRAPH_SERVE_MAX_MEGAPIXELS": "1", "KIGRAPH_SERVE_ALLOWED_HOSTS": "a.example,*.b.example",
           "KIGRAPH_SERVE_ALLOWED_ORIGINS": "https://c.example", "KIGRAPH_SERVE_MAX_IMAGE_MB": "1"}  # fmt: skip
    with serving(model_path, "--log", "json", **env) as (process, url, errors):
        data = image()

        def post(content: bytes = data, **headers: str) -> httpx.Response:
            headers = {name.replace("_", "-"): value for name, value in headers.items()}
            return httpx.post(
                f"{url}/v1/classify?secret=1", content=content, headers={"content-type": "image/jpeg"} | headers
            )

        answer = post(x_request_id="my-id.7")
        assert answer.status_code == 200
        assert answer.headers["x-request-id"] == "my-id.7"
        model = answer.json()["model"]
        assert (model["name"], model["labelled"]) == (model_path.name, True)
        assert f"model: {model['name']}\n" in httpx.get(f"{url}/readyz").text
        assert " " not in post(x_request_id="with spaces").headers["x-request-id"]
        _check_sites(post)
        _check_sizes(post)
        process.send_signal(signal.SIGTERM)
        out, _ = process.communicate(timeout=30)
        assert process.returncode == 0
        assert "Traceback" not in errors.read_text()
    _check_log(out, model_path.name, len(answer.content))


def _check_sites(post: Callable[..., httpx.Response]) -> None:
    """Hosts and origins of KIGRAPH_SERVE_ALLOWED_HOSTS and KIGRAPH_SERVE_ALLOWED_ORIGINS."""
    assert post(host="a.example").status_code == post(host="x.b.example:80").status_code == 200
    assert post(host="d.example").status_code == post(host="b.example").status_code == 403
    assert post(origin="https://c.example").headers["access-control-allow-origin"] == "https://c.example"
    assert post(origin="https://d.example").status_code == 403


def _check_sizes(post: Callable[..., httpx.Response]) -> None:
    """KIGRAPH_SERVE_MAX_MEGAPIXELS and KIGRAPH_SERVE_MAX_IMAGE_MB."""
    plain = io.BytesIO()
    Image.new("RGB", (1200, 1000)).save(plain, "PNG")
    large = post(plain.getvalue())
    assert (large.status_code, large.json()["error"]["code"]) == (422, "too_many_pixels")
    assert "1200 x 1000" in large.json()["error"]["message"]
    assert post(bytes((1 << 20) + 5000)).status_code == 413


def _check_log(out: str, model: str, sent: int) -> None:
    """JSON, as the flag says against the environment; nothing of the query string."""
    lines = [json.loads(line) for line in out.splitlines()]
    first = next(line for line in lines if line["id"] == "my-id.7")
    assert [first[key] for key in ("method", "path", "status", "model")] == ["POST", "/v1/classify", 200, model]
    assert first["bytes"] == sent
    assert first["ms"] > 0
    assert "secret" not in out


def test_a_port_in_use_ends_with_2_and_one_line(model_path: Path) -> None:
    with serving(model_path) as (_, url, _):
        line = _refused("--port", url.rpartition(":")[2])
    assert "--port" in line
    assert "already" in line
