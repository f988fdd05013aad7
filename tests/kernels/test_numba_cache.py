"""The cache of compiled Numba kernels: found again, never trusted, shared by processes and forked children."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("numba", reason="the numba backend needs Numba")

from kigraph.kernels.cache_files import write_sealed
from kigraph.kernels.numba import jit

ROOT = Path(__file__).parents[2]


def python(code: str, *args: str, **environment: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p), **environment}
    return subprocess.run(
        [sys.executable, "-c", code, *args], capture_output=True, text=True, env=env, cwd=ROOT, timeout=300, check=False
    )


COMPILE = """
import sys, time
import numpy as np
from kigraph.kernels.numba import jit
from kigraph.kernels.numba.elementwise import _unary_kernel
compiled = []
save = jit._DiskCache.save_overload
jit._DiskCache.save_overload = lambda self, sig, data: (compiled.append(self._name), save(self, sig, data))
kernel = _unary_kernel("square", np.dtype(np.float32))
x, y = np.arange(5, dtype=np.float32), np.empty(5, np.float32)
kernel(x.ctypes.data, y.ctypes.data, np.array([5]), np.array([4, 4]), 0, 1)
assert y.tolist() == [0, 1, 4, 9, 16], y
print(compiled)
"""


def test_second_process_loads_from_the_cache(tmp_path: Path) -> None:
    first = python(COMPILE, KIGRAPH_CACHE_DIR=str(tmp_path))
    assert first.stdout.strip() == "['square-float32']", first.stderr[-2000:]
    (folder,) = (tmp_path / "numba").iterdir()
    (file,) = folder.iterdir()
    second = python(COMPILE, KIGRAPH_CACHE_DIR=str(tmp_path))
    assert second.stdout.strip() == "[]", second.stderr[-2000:]
    file.write_bytes(file.read_bytes()[:100])  # a torn file is compiled anew and replaced
    third = python(COMPILE, KIGRAPH_CACHE_DIR=str(tmp_path))
    assert third.stdout.strip() == "['square-float32']", third.stderr[-2000:]
    assert python(COMPILE, KIGRAPH_CACHE_DIR=str(tmp_path)).stdout.strip() == "[]"


MALICE = """
import os, pickle, sys
class Planted:
    def __reduce__(self):
        return os.mkdir, (sys.argv[2],)
data = pickle.dumps(Planted())
"""


@pytest.mark.parametrize("how", ["flipped bits", "writable by all", "a pickle without a seal", "another kernel's file"])
def test_what_is_wrong_with_a_cached_kernel_is_found_before_it_is_unpickled(tmp_path: Path, how: str) -> None:
    """Machine code with flipped bits crashes, and a pickle runs what it likes."""
    assert python(COMPILE, KIGRAPH_CACHE_DIR=str(tmp_path)).returncode == 0
    ((file,),) = [list(folder.iterdir()) for folder in (tmp_path / "numba").iterdir()]
    planted, whole = tmp_path / "planted", file.read_bytes()
    if how == "flipped bits":
        data = bytearray(whole)
        for at in range(6):
            data[len(data) // 2 + 97 * at] ^= 0x10
        file.write_bytes(data)
    elif how == "another kernel's file":
        other = file.with_name(file.name.replace("square", "another"))
        write_sealed(other, whole)
        other.rename(file)
    else:
        code = MALICE + "open(sys.argv[1], 'wb').write(data)"
        if how == "writable by all":
            code = MALICE + (
                "from kigraph.kernels.cache_files import write_sealed\nwrite_sealed(sys.argv[1], data)\nos.chmod(sys.argv[1], 0o666)"
            )
        assert python(code, str(file), str(planted)).returncode == 0
    done = python("import logging; logging.basicConfig()" + COMPILE, KIGRAPH_CACHE_DIR=str(tmp_path))
    assert done.stdout.strip() == "['square-float32']", done.stderr[-2000:]
    assert "is not used and made anew" in done.stderr
    assert not planted.exists()
    assert python(COMPILE, KIGRAPH_CACHE_DIR=str(tmp_path)).stdout.strip() == "[]", "it was replaced"


FORK = """
import os
import numpy as np
import kigraph as ki

def check(op, x, wanted):
    with ki.Graph().as_default() as graph:
        y = op(ki.placeholder("float32", x.shape, name="x"))
    with ki.Session(graph, backend="numba", threads=2) as session:
        for _ in range(3):
            np.testing.assert_allclose(session.run(y, {"x:0": x}), wanted, rtol=1e-6)
    return session

x = np.random.default_rng(0).random((64, 33), dtype=np.float32)
check(ki.square, x, x * x)  # compiled, or from the cache, before the fork
children = []
for number in range(3):
    child = os.fork()
    if child == 0:
        code = 1
        try:
            check(ki.square, x, x * x)
            check(ki.sqrt, x, np.sqrt(x))  # compiled by three processes at once
            code = 0
        finally:
            os._exit(code)
    children.append(child)
assert [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children] == [0, 0, 0]
check(ki.sqrt, x, np.sqrt(x))
print("right")
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_children_compile_and_load_after_a_fork(tmp_path: Path) -> None:
    for _ in range(2):  # with an empty cache, then with a full one
        done = python(FORK, KIGRAPH_CACHE_DIR=str(tmp_path))
        assert done.stdout.strip() == "right", done.stderr[-2000:]


LOAD = """
import sys
import numpy as np
from kigraph.kernels.numba.crew import Task
from kigraph.kernels.numba.gemm import gemm_kernel
from kigraph.kernels.numba.targets import current
kernels = [gemm_kernel(np.dtype(name), current()) for name in sys.argv[1:]]
entries = [Task(k, np.zeros(4, np.int64)).entry for k in kernels]
print(len(set(entries)))
"""


def test_kernels_that_two_processes_compiled_have_two_addresses(tmp_path: Path) -> None:
    """Machine code is looked up by symbol: it must not be the same for float32 and float64."""
    for names in (["float32"], ["float64"], ["float32", "float64"]):
        done = python(LOAD, *names, KIGRAPH_CACHE_DIR=str(tmp_path))
        assert done.stdout.strip() == str(len(names)), done.stderr[-2000:]


def test_cache_that_cannot_be_written_costs_only_time(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    done = python(COMPILE, KIGRAPH_CACHE_DIR=str(blocked))
    assert done.stdout.strip() == "['square-float32']", done.stderr[-2000:]


def test_cache_folder_follows_the_sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Numba's own key covers one file; a changed helper must not find old code."""
    monkeypatch.setenv("KIGRAPH_CACHE_DIR", str(tmp_path))
    for source in Path(jit.__file__).parent.glob("*.py"):
        (tmp_path / source.name).write_bytes(source.read_bytes())
    monkeypatch.setattr(jit, "__file__", str(tmp_path / "jit.py"))
    digests = []
    for change in ("", "# one comment more\n"):
        with open(tmp_path / "tile.py", "a") as file:
            file.write(change)
        digests.append(jit.source_digest.__wrapped__())
    assert digests[0] != digests[1]
    assert jit.cache_folder().parent == tmp_path / "numba"
