"""The service as other programs call it: NVIDIA's tritonclient, and schemathesis over its own description. Skipped without them
(pip install "tritonclient[http]" schemathesis)."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

import kigraph as ki

from .conftest import serving

Image = Callable[..., bytes]


@pytest.fixture(scope="module")
def address(model_path: Path) -> Iterator[str]:
    with serving(model_path, "--threads", "1", "--batch", "1") as (_, url, _):
        yield url


def test_tritonclient_infers_with_tensors_and_photographs(address: str, model_path: Path, image: Image) -> None:
    http = pytest.importorskip("tritonclient.http", reason="needs tritonclient[http]")
    model = ki.load(model_path, backend="numpy")
    (given,), (made,) = model.inputs, model.outputs
    client = http.InferenceServerClient(address.removeprefix("http://"), network_timeout=30.0)
    name = model_path.name
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready(name)
    assert client.is_model_ready(name, "1")
    assert client.get_server_metadata()["name"] == "kigraph"
    told = client.get_model_metadata(name)
    assert (told["inputs"][0]["name"], told["outputs"][0]["name"]) == (given, made)
    batch = np.random.default_rng().normal(size=(3, *model.image_shape)).astype(np.float32)
    for binary_in in (True, False):
        for binary_out in (True, False):
            asked = http.InferInput(given, list(batch.shape), "FP32")
            asked.set_data_from_numpy(batch, binary_data=binary_in)
            output = http.InferRequestedOutput(made, binary_data=binary_out)
            answer = client.infer(name, [asked], outputs=[output], request_id="r1")
            np.testing.assert_allclose(answer.as_numpy(made), model.predict(batch), 1e-5)
            assert answer.get_response()["id"] == "r1"
    photos = [image(seed=n) for n in range(2)]
    for binary in (True,):
        asked = http.InferInput(given, [2], "BYTES")
        asked.set_data_from_numpy(np.array(photos, object), binary_data=binary)
        answer = client.infer(name, [asked])
        np.testing.assert_allclose(answer.as_numpy(made), model.predict(model.prepare(photos)), 1e-5)
        top = client.infer(name, [asked], outputs=[http.InferRequestedOutput(made, class_count=1)]).as_numpy(made)
        assert [t[0].decode().split(":")[2] for t in top] == [model.classify(p)[0].label for p in photos]
    from tritonclient.utils import InferenceServerException

    asked = http.InferInput("other", [1], "FP32")
    asked.set_data_from_numpy(np.zeros(1, np.float32))
    with pytest.raises(InferenceServerException, match="no input 'other'"):
        client.infer(name, [asked])
    with pytest.raises(InferenceServerException, match="no model 'none'"):
        client.get_model_metadata("none")
    client.close()


@pytest.mark.slow
def test_schemathesis_finds_nothing(address: str, tmp_path: Path) -> None:
    pytest.importorskip("schemathesis", reason="needs schemathesis")
    # What is left out: no generator makes images, so a body that fits the schema may be no image (422), and one that does not may
    # be read in another form; and there are no models to load without a token.
    command = [
        sys.executable, "-m", "schemathesis.cli", "run", f"{address}/openapi.json", "--max-examples", "12", "--phases", "examples,coverage,fuzzing",
        "--exclude-checks", "positive_data_acceptance,negative_data_rejection,ignored_auth", "--request-timeout", "20",
        "--exclude-path-regex", "repository", "--generation-database", "none",
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=300)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
