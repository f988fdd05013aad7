"""Environment variables that look like settings and are none."""

from __future__ import annotations

import logging

import pytest

from kigraph.kernels import settings
from kigraph.kernels.errors import SettingsError


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "_WARNED", set())
    for name in settings.unknown_names():
        monkeypatch.delenv(name)


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("KIGRAPH_WEIGHT", "KIGRAPH_WEIGHTS"),
        ("KIGRAPH_THREADS", "KIGRAPH_NUM_THREADS"),
        ("KIGRAPH_NUMTHREADS", "KIGRAPH_NUM_THREADS"),
        ("KIGRAPH_BACKENDS", "KIGRAPH_BACKEND"),
        ("KIGRAPH_BACKED", "KIGRAPH_BACKEND"),
        ("KIGRAPH_CACHE", "KIGRAPH_CACHE_DIR"),
        ("KIGRAPH_CACHEDIR", "KIGRAPH_CACHE_DIR"),
        ("KIGRAPH_WINGRAD", "KIGRAPH_WINOGRAD"),
        ("KIGRAPH_PRECISON", "KIGRAPH_PRECISION"),
        ("KIGRAPH_SYNC", "KIGRAPH_CUPY_SYNC"),
        ("KIGRAPH_SEED", "KIGRAPH_TEST_SEED"),
        ("KIGRAPH_TUNING", "KIGRAPH_TUNE"),
        ("KIGRAPH_TEST_STANDIN", "KIGRAPH_TEST_STAND_IN"),
        ("kigraph_weights", "KIGRAPH_WEIGHTS"),
        ("Kigraph_Weights", "KIGRAPH_WEIGHTS"),
        ("KIGRAPHWEIGHTS", "KIGRAPH_WEIGHTS"),
        ("KIGRAPH-WEIGHTS", "KIGRAPH_WEIGHTS"),
        ("KIGRAPG_WEIGHTS", "KIGRAPH_WEIGHTS"),
        ("KIGRPAH_BACKEND", "KIGRAPH_BACKEND"),
        ("KI_GRAPH_BACKEND", "KIGRAPH_BACKEND"),
        ("KIGRAPH_MODEL", ""),
        ("KIGRAPH_", ""),
    ],
)
def test_the_nearest_name(
    name: str, near: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv(name, "secret")
    assert settings.unknown_names() == {name: near}
    with caplog.at_level(logging.WARNING, "kigraph"):
        settings.warn_of_unknown_names()
        settings.warn_of_unknown_names()
    (record,) = caplog.records
    assert record.name == "kigraph"
    assert name in record.getMessage()
    assert (f"did you mean {near}?" if near else "known: KIGRAPH_BACKEND, ") in record.getMessage()
    assert "secret" not in record.getMessage()


@pytest.mark.parametrize(
    "name",
    ["KIGRAPH_SHARED", "KIGRAPH_TEST_STAND_IN", "KIGRAPH_SANITIZE", "KIGRAPH_SERVE_PORT", "KERAS_BACKEND", "KIGRAPHICS_DIR",
     "KUBERNETES_PORT", "K", "GRAPH_WEIGHTS", "MKL_NUM_THREADS", "OMP_NUM_THREADS"],
)  # fmt: skip
def test_names_of_others(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "x")
    assert settings.unknown_names() == {}


def test_every_setting_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    for setting in settings.SETTINGS:
        monkeypatch.setenv(setting.name, "x")
    assert settings.unknown_names() == {}


@pytest.mark.parametrize(
    ("name", "value"),
    [("KIGRAPH_PORT", "tcp://10.0.0.7:80"), ("KIGRAPH_SERVICE_HOST", "10.0.0.7"), ("KIGRAPH_SERVICE_PORT", "80"),
     ("KIGRAPH_PORT_80_TCP", "tcp://10.0.0.7:80"), ("KIGRAPH_PORT_80_TCP_ADDR", "10.0.0.7")],
)  # fmt: skip
def test_what_kubernetes_sets_beside_a_service(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, value)
    assert settings.unknown_names() == {}


def test_flags_of_the_service(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KIGRAPH_SERVE_PROT", "1")
    monkeypatch.setenv("KIGRAPH_SERVE_PORT", "1")
    assert settings.unknown_names() == {"KIGRAPH_SERVE_PROT": "KIGRAPH_SERVE_PORT"}


def test_a_home_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KIGRAPH_CACHE_DIR", "~nobody_of_that_name/cache")
    with pytest.raises(SettingsError, match="set KIGRAPH_CACHE_DIR to a folder"):
        settings.cache_folder()
