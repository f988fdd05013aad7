"""Whether NVIDIA's driver is there is known before CuPy is imported, which takes a third of the load time of a model."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from kigraph.kernels import backends
from kigraph.kernels.backends import NO_DRIVER, Backend, can_load, get_backend, resolve_choice
from kigraph.kernels.errors import BackendError

ROOT = Path(__file__).resolve().parents[2]
ABSENT = ("libsurely_absent_driver.so.1",)


@pytest.fixture
def lonely(monkeypatch: pytest.MonkeyPatch) -> Backend:
    """A backend whose driver is missing and whose module cannot be imported either."""
    backend = Backend("lonely", "no.such.module", "", "pip install it", driver=ABSENT)
    monkeypatch.setattr(backends, "BACKENDS", (backend, *backends.BACKENDS))
    monkeypatch.setattr(backends, "_STATUS", {})
    return backend


def test_the_loader_is_asked_for_each_name() -> None:
    assert not can_load(())
    assert not can_load(ABSENT)
    assert can_load((*ABSENT, "msvcrt.dll" if sys.platform == "win32" else "libc.so.6"))


def test_without_a_driver_no_module_is_imported(lonely: Backend) -> None:
    assert lonely.status() is NO_DRIVER
    assert resolve_choice().order[0] == "cython"


def test_who_asks_why_is_told_of_the_broken_installation_too(lonely: Backend) -> None:
    """`kigraph info`, and a caller who names the backend."""
    found = lonely.diagnosis()
    assert "import failed: No module named 'no'" in found.detail
    assert found.remedy == "pip install it"
    with pytest.raises(BackendError, match=r"lonely: import failed: No module named 'no'.*pip install it"):
        resolve_choice("lonely")


def test_with_a_driver_the_module_is_asked_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backends, "can_load", lambda names: True)
    monkeypatch.setattr(backends, "_STATUS", {})
    assert "import failed" in Backend("lonely", "no.such.module", "", "pip install it", driver=ABSENT).status().detail


def test_the_probe_does_not_import_cupy() -> None:
    if can_load(get_backend("cupy").driver):
        pytest.skip("this machine has NVIDIA's driver")
    code = (
        "import sys; from kigraph.kernels.backends import resolve_choice; choice = resolve_choice()\n"
        "assert not any(m == 'cupy' or m.startswith(('cupy.', 'cuda.', 'kigraph.kernels.cupy')) for m in sys.modules)\n"
        "assert 'cupy' in [n for n, s in choice.skipped if not s.available], choice\n"
    )
    environment = {k: v for k, v in os.environ.items() if k != "KIGRAPH_BACKEND"} | {"PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment, cwd=ROOT)


def test_what_a_backend_serves_beyond_the_hot_set_is_known_without_it() -> None:
    """The table says it of a backend whose import takes long; the kernels themselves are the truth."""
    stated = [b for b in backends.BACKENDS if b.beyond is not None]
    assert [b.name for b in stated] == ["numba"]
    for backend in stated:
        if not backend.status().available:
            pytest.skip(f"{backend.name} cannot be used here: {backend.status().detail}")
        kernels = backend.kernels()
        assert {k.contract.name for k in kernels if not k.contract.hot} == backend.beyond
        for kernel in kernels:
            assert backend.may_serve(kernel.contract, strings=False)
            assert not backend.may_serve(kernel.contract, strings=True)
