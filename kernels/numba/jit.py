"""The one module that imports Numba: the decorator, the compiled-code cache, and the intrinsics that all kernels share.

Kernels are made by functions such as ``make(dtype)``, called while a plan is prepared, never at import and never
during a run. ``compiled`` compiles for one explicit signature or loads the machine code from the cache on disk.

The cache has its own key: digest of this folder's sources, versions of Numba, llvmlite, NumPy and Python, the CPU
and its features. Numba's own key covers only the file that a function is in, so it would miss a changed helper
or another KIGRAPH_ISA. The folder is KIGRAPH_CACHE_DIR or ~/.cache/kigraph, so an installed package may be read-only;
where nothing can be written, the code is compiled anew in each process. Files are sealed (kernels/cache_files.py): reading one
means running what is in it, so a damaged one, or one that others may write, is compiled anew, and the log says so.
"""

from __future__ import annotations

import functools
import hashlib
import logging
import pickle
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import llvmlite
import numba as _numba
import numba.extending as _extending
import numpy as np
from llvmlite import ir
from numba.core import cgutils as _cgutils
from numba.core import compiler as _compiler
from numba.core import serialize as _serialize
from numba.core import types as _types
from numba.core.caching import NullCache

from .. import settings
from ..cache_files import UnsafeFileError, read_sealed, write_sealed
from ..tensor import DType

__all__ = [
    "VERSION",
    "array_type",
    "bits",
    "cache_folder",
    "carray",
    "compiled",
    "copy_bytes",
    "from_bits",
    "inner",
    "int64",
    "intrinsic",
    "pointer",
    "scalar_type",
    "source_digest",
    "switched_off",
    "types",
    "void",
    "zero_bytes",
]

# Numba's annotations describe the Python side of its objects, not what they are inside a kernel.
numba: Any = _numba
carray: Any = numba.carray
cgutils: Any = _cgutils
compiler: Any = _compiler
serialize: Any = _serialize
types: Any = _types
void: Any = _types.void
int64: Any = _types.int64

VERSION: str = numba.__version__

_LOG = logging.getLogger("kigraph")
#: The largest at present has 0.4 MB.
_MOST_BYTES = 64 << 20
_OPTIONS = {"nogil": True, "error_model": "numpy", "boundscheck": False}
BYTE_POINTER = ir.IntType(8).as_pointer()


@functools.cache
def source_digest() -> str:
    """Names everything that the machine code depends on besides kernel, signature and CPU."""
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    for part in (numba.__version__, llvmlite.__version__, np.__version__, sys.version):
        digest.update(part.encode() + b"\0")
    return digest.hexdigest()[:16]


def switched_off() -> bool:
    """Whether NUMBA_DISABLE_JIT turns every kernel into plain Python, which raw addresses cannot survive."""
    return bool(numba.config.DISABLE_JIT)


def cache_folder() -> Path:
    """Where compiled kernels of this version of the sources are kept."""
    return settings.cache_folder() / "numba" / source_digest()


class _DiskCache(NullCache):
    """Numba's cache protocol with one sealed file per kernel, signature and CPU. Errors of the disk only cost time."""

    def __init__(self, name: str) -> None:
        self._name = name

    def _path(self, signature: Any, codegen: Any) -> Path:
        key = hashlib.sha256(repr((signature, codegen.magic_tuple())).encode()).hexdigest()[:16]
        return cache_folder() / f"{self._name}-{key}.nbc"

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        target_context.refresh()
        path = self._path(sig, target_context.codegen())
        try:
            data = read_sealed(path, _MOST_BYTES)
        except OSError:
            return None
        except UnsafeFileError as error:
            _LOG.warning("the compiled kernel %s is not used and made anew: %s", path, error)
            return None
        # Only what this package of this Numba wrote comes so far: its digest is in the folder's name and in the seal.
        return compiler.CompileResult._rebuild(target_context, *pickle.loads(data))

    def save_overload(self, sig: Any, data: Any) -> None:
        path = self._path(sig, data.codegen)
        try:
            write_sealed(path, serialize.dumps(data._reduce()))
        except OSError:
            return


def compiled(name: str, signature: Any, *, fastmath: frozenset[str] = frozenset()) -> Callable[[Any], Any]:
    """Decorator of a kernel that Python calls: compiled at once for ``signature``, from the cache if it is there.

    ``name`` is unique among all kernels and spells what its closure holds (dtype, instruction set). ``fastmath``: LLVM
    flags that keep the kernel's treatment of NaN and infinity right, such as contract or reassoc.
    """

    def decorate(function: Any) -> Any:
        # The symbol of the machine code is derived from it. Otherwise kernels of two dtypes that were compiled by two
        # processes would have the same symbol, and a look-up by symbol would return the address of the wrong one.
        function.__qualname__ = f"{function.__qualname__}.{name}"
        dispatcher = numba.njit(**_OPTIONS, fastmath=set(fastmath))(function)
        dispatcher._cache = _DiskCache(name)
        dispatcher.compile(signature)
        dispatcher.disable_compile()
        return dispatcher

    return decorate


def inner(function: Any, fastmath: frozenset[str] = frozenset()) -> Any:
    """Decorator of a function that only kernels call; compiled with them, so not at all if they come from the cache."""
    return numba.njit(**_OPTIONS, fastmath=set(fastmath))(function)


def intrinsic(function: Callable[..., Any]) -> Any:
    """Decorator of a function of the typing context and the argument types that gives a signature and emits IR."""
    decorate: Any = _extending.intrinsic
    return decorate(function)


def scalar_type(dtype: DType) -> Any:
    """Numba's type of one element."""
    return numba.from_dtype(dtype)


def array_type(dtype: DType) -> Any:
    """Numba's type of a dense array of one axis."""
    return types.Array(numba.from_dtype(dtype), 1, "C")


@intrinsic
def pointer(typing_context: Any, address: Any) -> Any:
    """Address (int64) as a void pointer, for ``numba.carray``."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.inttoptr(args[0], BYTE_POINTER)

    return types.voidptr(types.int64), codegen


@intrinsic
def copy_bytes(typing_context: Any, target: Any, source: Any, count: Any) -> Any:
    """memcpy of ``count`` bytes between two addresses (int64) that do not overlap."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        target, source, count = args
        cgutils.raw_memcpy(
            builder, builder.inttoptr(target, BYTE_POINTER), builder.inttoptr(source, BYTE_POINTER), count, 1
        )
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, types.int64), codegen


@intrinsic
def zero_bytes(typing_context: Any, target: Any, count: Any) -> Any:
    """memset of ``count`` bytes at an address (int64) to zero."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        cgutils.memset(builder, builder.inttoptr(args[0], BYTE_POINTER), args[1], 0)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64), codegen


def _bitcast(typing_context: Any, value: Any, result: Any) -> Any:
    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.bitcast(args[0], context.get_value_type(result))

    return result(value), codegen


@intrinsic
def bits(typing_context: Any, value: Any) -> Any:
    """The int32 with the bits of a float32."""
    return _bitcast(typing_context, types.float32, types.int32)


@intrinsic
def from_bits(typing_context: Any, value: Any) -> Any:
    """The float32 with the bits of an int32."""
    return _bitcast(typing_context, types.int32, types.float32)
