"""Choosing a backend: precedence, strictness, unknown names, reasons and remedies; the registry's answers."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kigraph.kernels import backends, registry
from kigraph.kernels.backends import (
    BACKENDS,
    HOST_FAMILY,
    Backend,
    Status,
    available_backends,
    backend_names,
    get_backend,
    resolve_choice,
    set_backend,
    using_backend,
)
from kigraph.kernels.contracts.elementwise import ADD, FLOOR, RELU
from kigraph.kernels.contracts.strings import DECODE_IMAGE, DecodeImageParams
from kigraph.kernels.errors import BackendError, KernelError
from kigraph.kernels.kernel import Kernel, Query, simple_kernel
from kigraph.kernels.tensor import STRING, TensorType

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def no_choice(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.delenv("KIGRAPH_BACKEND", raising=False)
    set_backend(None)
    yield
    set_backend(None)


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> str:
    """A backend that is in the table but cannot be used here."""
    backend = Backend("quantum", "kigraph.kernels.quantum", "qubits", "buy a cryostat")
    monkeypatch.setattr(backends, "BACKENDS", (backend, *BACKENDS))
    monkeypatch.setitem(backends._STATUS, "quantum", Status(False, "no qubits found", "buy a cryostat"))
    return "quantum"


def test_precedence(monkeypatch: pytest.MonkeyPatch) -> None:
    assert (resolve_choice().source, resolve_choice().strict) == ("the default", False)
    monkeypatch.setenv("KIGRAPH_BACKEND", "numpy")
    assert str(resolve_choice()) == "numpy (strict, from KIGRAPH_BACKEND)"
    set_backend("numpy")
    assert resolve_choice().source == "set_backend()"
    with using_backend("numpy"):
        assert resolve_choice().source == "using_backend()"
        assert resolve_choice("numpy").source == "the argument"
    assert resolve_choice().source == "set_backend()"
    set_backend(None)
    assert resolve_choice().source == "KIGRAPH_BACKEND"


def test_auto_takes_what_is_there_fastest_first() -> None:
    choice = resolve_choice("auto")
    assert choice.order == available_backends()
    assert choice.order[-1] == "numpy"
    assert not choice.strict
    assert [name for name in backend_names() if name in choice.order] == list(choice.order)


def test_one_name_is_strict(broken: str) -> None:
    with pytest.raises(BackendError, match=r"backend 'quantum' \(from the argument\) cannot be used on this machine. "
                       r"quantum: no qubits found. Remedy: buy a cryostat. Usable here: .*numpy"):  # fmt: skip
        resolve_choice(broken)


def test_a_list_is_an_order_and_says_what_was_skipped(broken: str) -> None:
    choice = resolve_choice("quantum, numpy")
    assert (choice.order, choice.strict) == (("numpy",), False)
    assert [(name, status.detail) for name, status in choice.skipped] == [("quantum", "no qubits found")]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("tensorflow", r"unknown backend 'tensorflow' \(from the argument\); known: auto, cupy, cython, numba, numpy"),
        ("numpy,nmupy", "unknown backend 'nmupy'"),
        ("host", "unknown backend 'host'"),
        ("", "no backend named"),
        (",", "no backend named"),
        ("numpy,numpy", "names one twice"),
        ("auto,numpy", "mixes auto with others"),
        (3, "must be a string such as"),
    ],
)
def test_invalid_choices(text: Any, message: str) -> None:
    with pytest.raises(BackendError, match=message):
        resolve_choice(text)


def test_invalid_choices_are_found_where_they_are_made(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BackendError, match=r"from set_backend\(\)"):
        set_backend("nmupy")
    with pytest.raises(BackendError, match=r"from using_backend\(\)"), using_backend("nmupy"):
        pass
    monkeypatch.setenv("KIGRAPH_BACKEND", "nmupy")
    with pytest.raises(BackendError, match=r"unknown backend 'nmupy' \(from KIGRAPH_BACKEND\)"):
        resolve_choice()


def test_using_backend_belongs_to_its_thread() -> None:
    seen: list[str] = []
    with using_backend("numpy"):
        thread = threading.Thread(target=lambda: seen.append(resolve_choice().source))
        thread.start()
        thread.join()
        assert resolve_choice().source == "using_backend()"
    assert seen == ["the default"]


def test_cupy_without_a_gpu_says_why_and_what_to_do() -> None:
    status = get_backend("cupy").status()
    if status.available:
        pytest.skip("this machine has a GPU")
    assert status.detail
    assert status.remedy
    with pytest.raises(BackendError) as caught:
        resolve_choice("cupy")
    assert status.detail in str(caught.value)
    assert status.remedy in str(caught.value)


def test_a_backend_that_cannot_be_imported_has_a_reason_and_a_remedy() -> None:
    status = Backend("ghost", "kigraph.kernels.ghost", "not there", "pip install ghost").status()
    assert not status.available
    assert "kigraph.kernels.ghost" in status.detail
    assert status.remedy == "pip install ghost"
    backends._STATUS.pop("ghost")


def test_a_backend_without_its_package_is_not_imported() -> None:
    backend = Backend("lonely", "no.such.module", "", "pip install it", "surely_absent_package")
    status = backend.status()
    assert not status.available
    assert status.detail == "import failed: the package surely_absent_package is not installed"
    assert status.remedy == "pip install it"
    backends._STATUS.pop("lonely")


def test_a_plug_in_is_found_by_its_entry_point(tmp_path: Path) -> None:
    """A package of one module and an entry point is a backend, without an edit anywhere."""
    (tmp_path / "acme_kernels.py").write_text(
        "import numpy as np\n"
        "from kigraph.kernels.backends import Status\n"
        "from kigraph.kernels.contracts.elementwise import RELU\n"
        "from kigraph.kernels.devices import HOST as DEVICE\n"
        "from kigraph.kernels.kernel import simple_kernel\n"
        "KERNELS = (simple_kernel(RELU, 'acme', lambda i, o, p: np.maximum(i[0], 0, out=o[0])),)\n"
        "def probe(): return Status(True, 'acme 1.0')\n"
    )
    info = tmp_path / "acme-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[kigraph.backends]\nacme = acme_kernels\n")
    code = (
        f"import sys; sys.path[:0] = [{str(tmp_path)!r}, {str(ROOT)!r}]\n"
        "from kigraph.kernels.backends import available_backends, get_backend, resolve_choice\n"
        "from kigraph.kernels.conformance import check_kernel, gaps, supported_cases, support_table\n"
        "(kernel,) = get_backend('acme').kernels()\n"
        "for case in supported_cases(kernel)[:20]: check_kernel(kernel, case)\n"
        "assert resolve_choice('acme').order == ('acme',)\n"
        "assert '| relu | f16' in support_table(['acme']) and '| conv2d | **gap**' in support_table(['acme'])\n"
        "print('acme' in available_backends(), len(supported_cases(kernel)) > 20, 'matmul' in [c.name for c in gaps('acme')])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300, cwd=tmp_path)
    assert done.stdout.split() == ["True", "True", "True"], done.stderr


def query(contract: Any, *inputs: TensorType, params: Any = None) -> Query:
    params = contract.params() if params is None else params
    return Query(contract, inputs, contract.check(inputs, params), params)


F32 = TensorType(np.dtype(np.float32), (2, 3))


def test_select_takes_the_first_legal_kernel_and_tells_who_said_no(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(inputs: Any, outputs: Any, params: Any) -> None:
        raise AssertionError

    fast = simple_kernel(RELU, "numpy", run, name="fast", rank=2, supports=lambda q: "only 16 channels")
    good = simple_kernel(RELU, "numpy", run, name="good", rank=1)
    monkeypatch.setattr(registry, "kernels_of", lambda backend, contract: (fast, good) if backend == "numpy" else ())
    selection = registry.select(query(RELU, F32), ["cython", "numpy"])
    assert selection.kernel is good
    assert [str(r) for r in selection.rejected] == ["cython: has no kernel for relu", "numpy.fast: only 16 channels"]


def test_ranks_order_the_kernels_of_a_backend() -> None:
    for name in available_backends():
        for kernel in get_backend(name).kernels():
            ranks = [k.rank for k in registry.kernels_of(name, kernel.contract)]
            assert ranks == sorted(ranks, reverse=True)


def test_the_host_family_serves_what_is_not_hot() -> None:
    selection = registry.select(query(FLOOR, F32), ["numpy"])
    assert selection.kernel.backend == HOST_FAMILY
    image = query(DECODE_IMAGE, TensorType(STRING, ()), params=DecodeImageParams())
    assert registry.select(image, ["numpy"]).kernel.evaluate is not None


def test_no_kernel_is_an_error_with_all_reasons(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "kernels_of", lambda backend, contract: ())
    with pytest.raises(KernelError, match=r"no kernel for add\(float32\[2, 3\], float32\[2, 3\]\) -> float32\[2, 3\] in backend "
                       r"cython: cython: has no kernel for add.*KIGRAPH_BACKEND='cython,numpy'"):  # fmt: skip
        registry.select(query(ADD, F32, F32), ["cython"])


def test_kernel_names_are_unique_and_kernels_know_their_backend() -> None:
    for name in (*available_backends(), HOST_FAMILY):
        kernels = get_backend(name).kernels()
        assert len({k.name for k in kernels}) == len(kernels)
        assert {k.backend for k in kernels} == {name}


def test_a_kernel_record_must_fit_its_contract() -> None:
    with pytest.raises(TypeError, match="give exactly one of prepare and evaluate"):
        Kernel(RELU, "numpy", "nothing")
    with pytest.raises(TypeError, match="a dynamic contract needs evaluate"):
        Kernel(RELU, "numpy", "wrong", evaluate=lambda inputs, params: ())


def test_plugins_are_looked_for_cheaply_and_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """importlib.metadata is loaded only where some package names the group."""
    other = tmp_path / "other-1.0.dist-info"
    other.mkdir()
    (other / "entry_points.txt").write_text("[console_scripts]\nother = other:main\n")
    monkeypatch.setattr(sys, "path", [str(tmp_path), str(tmp_path / "missing")])
    assert not backends._plugins_declared()
    mine = tmp_path / "acme-1.0.dist-info"
    mine.mkdir()
    (mine / "entry_points.txt").write_text("[kigraph.backends]\nacme = acme_kernels\n")
    assert backends._plugins_declared()
    (tmp_path / "packages.zip").write_bytes(b"")
    monkeypatch.setattr(sys, "path", [str(tmp_path / "packages.zip")])
    assert backends._plugins_declared(), "who knows what a zip archive holds"
