"""Several models: a folder or a TOML file of them, and loading and unloading by request."""

from __future__ import annotations

import shutil
import threading
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import kigraph as ki

testclient = pytest.importorskip("starlette.testclient")
model_list = pytest.importorskip("kigraph.serve.model_list")
Image = Callable[..., bytes]
TOKEN = "0123456789abcdef0123"
ADMIN = {"authorization": f"Bearer {TOKEN}"}


@pytest.fixture
def folder(model_path: Path, tmp_path: Path) -> Path:
    """pets (versions 2 and 10), one file, and what is no model."""
    for version in ("2", "10"):
        (tmp_path / "pets" / version).mkdir(parents=True)
        shutil.copy(model_path, tmp_path / "pets" / version / "model.pb")
    shutil.copy(model_path, tmp_path / "single.pb")
    (tmp_path / "README.md").write_text("x")
    (tmp_path / ".hidden").write_text("x")
    return tmp_path


def test_a_folder_with_models_and_versions(folder: Path) -> None:
    found = {(s.name, s.version): s for s in model_list.read_models(str(folder))}
    assert set(found) == {("pets", "2"), ("pets", "10"), ("single", "1")}
    assert [found["pets", v].load for v in ("2", "10")] == [False, True]  # the latest, by number
    assert model_list.open_spec(found["single", "1"]).labelled


def test_a_toml_file_says_how_each_runs(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_text("puss\nhound\n")
    list_ = tmp_path / "models.toml"
    list_.write_text(
        '[[model]]\nname = "a"\nfile = "single.pb"\nversion = 7\nlabels = "names.txt"\nbackend = "numpy"\nthreads = 1\nqueue = 3\n'
        'batch = 2\nbatch_wait_ms = 1\nmean = 127.5\nsize = [16, 16]\nresize = "half_pixel"\n'
        '[[model]]\nname = "b"\nfile = "single.pb"\nload = false\n'
    )
    first, second = model_list.read_models(str(list_))
    assert (first.version, first.queue, first.batch, second.load) == ("7", 3, 2, False)
    model = model_list.open_spec(first)
    assert set(model.labels.names) == {"puss", "hound"}
    assert model.card.preprocessing.rule == "half_pixel"
    assert model.card.preprocessing.normalization.mean == (127.5,) * 3


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("", "model"),
        ("x = 1", "found x"),
        ("[[model]]", "without 'name'"),
        ('[[model]]\nname = "a"', "without 'file'"),
        ('[[model]]\nname = "a/b"\nfile = "single.pb"', "no name for a model"),
        ('[[model]]\nname = "a"\nfile = "none.pb"', "does not exist"),
        ('[[model]]\nname = "a"\nfile = "single.pb"\nqueu = 1', "unknown key 'queu'; known:"),
        ('[[model]]\nname = "a"\nfile = "single.pb"\nqueue = true', "queue = True"),
        ('[[model]]\nname = "a"\nfile = "single.pb"\nbatch = 0', "from 1 to 64"),
        ('[[model]]\nname = "a"\nfile = "single.pb"\nmean = [1, 2]', "three for red"),
        ('[[model]]\nname = "a"\nfile = "single.pb"\nresize = "best"', "expected one of legacy"),
        ('[[model]]\nname = "a"\nfile = "single.pb"\nload = "no"', "true or false"),
        ('[[model]]\nname = "a"\nfile = "single.pb"\nload = false', "load = false"),
        ('[[model]]\nname = "a"\nfile = "single.pb"\n' * 2, "two models are called 'a'"),
        ("[[model]", "not a TOML file"),
        ("model = 5", "expected tables"),
    ],
)
def test_what_is_wrong_with_a_list_is_said(folder: Path, tmp_path: Path, text: str, named: str) -> None:
    (tmp_path / "models.toml").write_text(text)
    with pytest.raises(ki.KigraphError) as caught:
        model_list.read_models(str(tmp_path / "models.toml"))
    assert named in str(caught.value)
    assert "models.toml" in str(caught.value)


def test_a_folder_that_is_none_or_has_none(tmp_path: Path) -> None:
    for place in (tmp_path, tmp_path / "nothing"):
        with pytest.raises(ki.KigraphError, match="--models"):
            model_list.read_models(str(place))
    (tmp_path / "a").mkdir()
    for name in ("x.pb", "y.pb"):
        (tmp_path / "a" / name).write_bytes(b"x")
    with pytest.raises(ki.KigraphError, match="expected one model file"):
        model_list.read_models(str(tmp_path))


def _client(folder: Path, image: Image, **options: Any) -> Any:
    from kigraph.serve.app import Options, create_app

    specs = model_list.read_models(str(folder))
    loaded = [(spec, ki.load(spec.file, backend="numpy")) for spec in specs if spec.load]
    return testclient.TestClient(
        create_app(loaded, image(), Options(admin_token=TOKEN, **options), specs), raise_server_exceptions=False
    )


@pytest.fixture
def client(folder: Path, image: Image) -> Iterator[Any]:
    with _client(folder, image, batch=1) as opened:
        yield opened


def test_every_route_finds_its_model(client: Any, image: Image) -> None:
    data = image()
    for query, name, version in (
        ("", "pets", "10"),
        ("?model=single", "single", "1"),
        ("?model=pets&version=10", "pets", "10"),
    ):
        answer = client.post(f"/v1/classify{query}", content=data)
        assert (answer.json()["model"]["name"], answer.json()["model"]["version"]) == (name, version)
        assert answer.headers["x-model-name"] == name
        assert answer.headers["x-model-id"] == answer.json()["model"]["id"] != ""
    for query, code in (
        ("?model=none", "unknown_model"),
        ("?model=pets&version=2", "not_loaded"),
        ("?model=pets&version=3", "unknown_model"),
    ):
        answer = client.post(f"/v1/classify{query}", content=data)
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, code)
    listed = {(m["name"], m["version"]): m["state"] for m in client.get("/v1/models").json()["models"]}
    assert listed == {("pets", "2"): "UNAVAILABLE", ("pets", "10"): "READY", ("single", "1"): "READY"}
    assert client.get("/readyz").text.count("model: ") == 2
    states = client.get("/v1/models/pets").json()["model_version_status"]
    assert [(s["version"], s["state"]) for s in states] == [("10", "AVAILABLE"), ("2", "END")]
    assert "<option>pets</option><option>single</option>" in client.get("/").text


def test_only_the_token_loads_and_unloads(client: Any, folder: Path, image: Image) -> None:
    from kigraph.serve.app import create_app

    for headers in (
        {},
        {"authorization": "Bearer wrong"},
        {"authorization": TOKEN},
        {"authorization": f"Basic {TOKEN}"},
    ):
        for path in ("index", "models/pets/load", "models/pets/unload"):
            answer = client.post(f"/v2/repository/{path}", headers=headers)
            assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
    with testclient.TestClient(create_app(ki.load(folder / "single.pb", backend="numpy"), image())) as plain:
        answer = plain.post("/v2/repository/index", headers=ADMIN)
        assert (answer.status_code, answer.json()["code"]) == (403, "admin_off")
    assert client.post("/v2/repository/models/none/load", headers=ADMIN).status_code == 404
    assert client.post("/v2/repository/models/none/unload", headers=ADMIN).status_code == 404


def test_unloading_gives_the_model_back_and_loading_brings_it(client: Any, image: Image) -> None:
    models = client.app.state.service.models
    gone = weakref.ref(models.get("single", None).model)
    assert client.post("/v2/repository/models/single/unload", headers=ADMIN).status_code == 200
    assert gone() is None  # nothing holds it any more
    assert client.post("/v1/classify?model=single", content=image()).json()["error"]["code"] == "not_loaded"
    assert client.post("/v1/classify", content=image()).status_code == 200
    assert 'kigraph_model_info{id="' in client.get("/metrics").text
    assert client.post("/v2/repository/models/single/load", headers=ADMIN).status_code == 200
    assert client.post("/v1/classify?model=single", content=image()).status_code == 200
    before = models.get("single", None)
    assert client.post("/v2/repository/models/single/load", headers=ADMIN).status_code == 200  # anew
    assert models.get("single", None) is not before
    assert client.post("/v1/classify?model=single", content=image()).status_code == 200


def test_a_model_that_does_not_load_leaves_the_others(client: Any, folder: Path, image: Image) -> None:
    (folder / "single.pb").write_bytes(b"damaged")
    answer = client.post("/v2/repository/models/single/load", headers=ADMIN)
    assert (answer.status_code, answer.json()["code"]) == (409, "load_failed")
    assert str(folder) not in answer.text
    assert client.post("/v1/classify?model=single", content=image()).status_code == 200  # the one before


def test_requests_are_answered_while_a_model_loads_and_drain_before_it_goes(
    client: Any, image: Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    models = client.app.state.service.models
    loading, go = threading.Event(), threading.Event()
    make = models._make

    def slow(spec: Any) -> Any:
        loading.set()
        assert go.wait(30)
        return make(spec)

    monkeypatch.setattr(models, "_make", slow)
    statuses: list[int] = []
    thread = threading.Thread(
        target=lambda: statuses.append(client.post("/v2/repository/models/pets/load", headers=ADMIN).status_code)
    )
    thread.start()
    assert loading.wait(30)
    assert client.post("/v1/classify?model=pets", content=image()).status_code == 200
    go.set()
    thread.join()
    assert statuses == [200]
    served = models.get("single", None)
    gate, began = threading.Event(), threading.Event()
    compute = served.network._compute

    def held(images: Any) -> Any:
        began.set()
        assert gate.wait(30)
        return compute(images)

    served.network._compute = held
    answers: list[Any] = []
    asking = threading.Thread(target=lambda: answers.append(client.post("/v1/classify?model=single", content=image())))
    asking.start()
    assert began.wait(30)
    unloading = threading.Thread(
        target=lambda: answers.append(client.post("/v2/repository/models/single/unload", headers=ADMIN))
    )
    unloading.start()
    while not served.engine.draining:
        pass
    gate.set()
    asking.join()
    unloading.join()
    assert [a.status_code for a in answers] == [200, 200]  # what was accepted is answered
