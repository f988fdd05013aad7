"""Which precision answered: in answers, their heads, the lists of models, metrics and /readyz."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import kigraph as ki
from kigraph.serve.app import create_app


def test_answers_metrics_and_lists_name_the_precision(model_path: Path, image: Callable[..., bytes]) -> None:
    from starlette.testclient import TestClient

    for precision in ("fp32", "bf16"):
        photo = image()
        model = ki.load(model_path, backend="numpy", precision=precision, threads=1)
        with TestClient(create_app(model, photo)) as client:
            answer = client.post("/v1/classify", content=photo, headers={"Content-Type": "image/jpeg"})
            assert answer.status_code == 200
            assert answer.json()["model"]["precision"] == precision
            assert answer.headers["x-model-precision"] == precision
            assert client.get("/v1/models").json()["models"][0]["precision"] == precision
            assert f"precision: {precision}" in client.get("/readyz").text.splitlines()
            info = [line for line in client.get("/metrics").text.splitlines() if line.startswith("kigraph_model_info{")]
            assert len(info) == 1
            assert f'precision="{precision}"' in info[0]
