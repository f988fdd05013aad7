"""Environment variables: declared once, checked, with clear errors; and the number of threads."""

from __future__ import annotations

import os

import pytest

from kigraph.kernels import settings
from kigraph.kernels.backends import resolve_choice
from kigraph.kernels.errors import SettingsError


def test_every_variable_is_documented_and_has_our_prefix() -> None:
    names = [s.name for s in settings.SETTINGS]
    assert len(set(names)) == len(names)
    for setting in settings.SETTINGS:
        assert setting.name.startswith("KIGRAPH_")
        assert len(setting.help) > 20


@pytest.mark.parametrize("setting", settings.SETTINGS, ids=lambda s: s.name)
def test_defaults_hold_without_an_environment(
    setting: settings.Setting[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(setting.name, raising=False)
    assert setting.get() == setting.default
    monkeypatch.setenv(setting.name, "  ")
    assert setting.get() == setting.default


@pytest.mark.parametrize("text", ["0", "-1", "1025", "two", "1.5", "²"])
def test_invalid_thread_counts(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KIGRAPH_NUM_THREADS", text)
    with pytest.raises(
        SettingsError, match=f"KIGRAPH_NUM_THREADS='{text}' is not valid: expected a whole number from 1 to 1024"
    ):
        settings.resolve_threads()


def test_allowed_values_are_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KIGRAPH_ISA", "mmx")
    with pytest.raises(SettingsError, match="Valid: auto, portable, avx2, avx2_vnni, avx512"):
        settings.ISA.get()


def test_threads_precedence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KIGRAPH_NUM_THREADS", raising=False)
    assert settings.resolve_threads() == settings.available_cpus()
    monkeypatch.setenv("KIGRAPH_NUM_THREADS", "3")
    assert settings.resolve_threads() == 3
    assert settings.resolve_threads(5) == 5


@pytest.mark.parametrize("threads", [0, -1, 1025, True, 2.0, "2"])
def test_invalid_thread_arguments(threads: object) -> None:
    with pytest.raises(SettingsError, match="threads must be a whole number from 1 to 1024"):
        settings.resolve_threads(threads)  # type: ignore[arg-type]


def test_available_cpus_keeps_to_the_affinity_mask() -> None:
    assert 1 <= settings.available_cpus() <= len(os.sched_getaffinity(0))


@pytest.mark.parametrize(
    ("name", "value"), [("KIGRAPH_ISA", "avx1024"), ("KIGRAPH_CUPY_PRECISION", "fp8"), ("KIGRAPH_NUM_THREADS", "0")]
)
def test_an_invalid_value_is_an_error_whatever_backend_it_concerns(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match=rf"{name}='{value}' is not valid"):
        resolve_choice("numpy")
