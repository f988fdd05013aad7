"""The stand-in for CuPy held against the real package: names, parameters, classes of errors."""

from __future__ import annotations

import importlib
import inspect
import re
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("kigraph.kernels.testing", reason="the emulation of CUDA is not in the wheel")

from kigraph.kernels.testing.standin import StandIn, _Event, _Graph, _Module, _Stream
from kigraph.kernels.testing.standin_memory import CUDADriverError, CUDARuntimeError, OutOfMemoryError, Pointer, Pool


def parameters(function: Any) -> tuple[list[str], int]:
    """Names of a function's parameters, and how many have no default: by inspect, or from the first line that Cython writes."""
    try:
        given = [p for p in inspect.signature(function).parameters.values() if p.name != "self"]
        return [p.name for p in given], sum(p.default is p.empty for p in given)
    except ValueError:
        line = (function.__doc__ or "").splitlines()[0]
    listed = re.search(r"\((.*)\)", line)
    assert listed, f"no signature in {line!r}"
    parts = [p.strip() for p in listed[1].split(",") if p.strip() not in ("self", "")]
    return [p.split("=")[0].split()[-1] for p in parts], sum("=" not in p for p in parts)


def held_against(ours: Any, real: Any, place: str) -> list[str]:
    """Public names of the stand-in's object, at any depth, whose counterpart in CuPy is called in the same way."""
    seen = []
    for name in (n for n in dir(ours) if not n.startswith("_")):
        mine, where = getattr(ours, name), f"{place}.{name}"
        assert hasattr(real, name), f"CuPy has no {where}"
        theirs = getattr(real, name)
        if isinstance(mine, SimpleNamespace):
            seen += held_against(mine, theirs, where)
            continue
        if callable(mine) and not (isinstance(mine, type) and issubclass(mine, Exception)):
            if isinstance(mine, type) or isinstance(theirs, type):
                assert isinstance(theirs, type), where
            else:
                (names, needed), (wanted, required) = parameters(mine), parameters(theirs)
                # The stand-in may lack optional ones at the end.
                assert names == wanted[: len(names)], f"{where}: {names}, CuPy has {wanted}"
                assert needed == required, f"{where}: {needed} arguments are needed, CuPy needs {required}"
        seen.append(where)
    return seen


def test_the_stand_in_is_called_as_cupy_is() -> None:
    """Every name of the stand-in is one of the installed CuPy, and its functions take CuPy's arguments."""
    cupy = pytest.importorskip("cupy")
    driver = importlib.import_module("cupy_backends.cuda.api.driver")
    standin = StandIn()
    seen = held_against(standin.driver, driver, "driver") + held_against(standin.cupy.cuda, cupy.cuda, "cuda")
    assert len(seen) >= 25
    assert isinstance(cupy.get_default_memory_pool(), cupy.cuda.MemoryPool)
    for ours, real in (
        (Pointer, cupy.cuda.MemoryPointer),
        (Pool, cupy.cuda.MemoryPool),
        (_Stream, cupy.cuda.Stream),
        (_Event, cupy.cuda.Event),
        (_Graph, cupy.cuda.Graph),
        (_Module, cupy.cuda.Module),
    ):
        for name in (n for n, f in vars(ours).items() if inspect.isfunction(f) and not n.startswith("_")):
            if (ours, name) not in OWN:
                held_against(SimpleNamespace(**{name: getattr(ours, name)}), real, real.__name__)
    for name in ("shape", "dtype", "ndim", "size", "nbytes", "data", "strides", "flags", "reshape"):
        assert hasattr(cupy.ndarray, name)
    assert "ptr" in dir(cupy.cuda.MemoryPointer)
    assert "ptr" in dir(cupy.cuda.Function)


#: What the stand-in alone has.
OWN = {(Pool, "info"), (Pool, "plain"), (Pool, "take_back"), (_Stream, "do")}


def test_the_stand_ins_errors_are_of_cupys_kinds() -> None:
    """OutOfMemoryError is a MemoryError and no CUDARuntimeError; both CUDA errors carry their number as ``status``."""
    cupy = pytest.importorskip("cupy")
    driver = importlib.import_module("cupy_backends.cuda.api.driver")
    for ours, real in (
        (OutOfMemoryError, cupy.cuda.memory.OutOfMemoryError),
        (CUDARuntimeError, cupy.cuda.runtime.CUDARuntimeError),
        (CUDADriverError, driver.CUDADriverError),
    ):
        assert ours.__name__ == real.__name__
        assert [b.__name__ for b in ours.__mro__[1:]] == [b.__name__ for b in real.__mro__[1:]]
    assert str(cupy.cuda.memory.OutOfMemoryError(1000, 24)) == str(OutOfMemoryError(1000, 24))
    for number in (2, 700, 900):
        real_error = cupy.cuda.runtime.CUDARuntimeError(number)
        assert real_error.status == CUDARuntimeError(number).status == number
        assert str(real_error) == str(CUDARuntimeError(number))
