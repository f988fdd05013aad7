"""With nothing but NumPy importable, graphs run on the reference backend, and the rest says what is missing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

#: A finder that refuses every package that is neither the standard library, nor NumPy, nor kigraph.
BLOCK = """
import sys

class OnlyNumPy:
    def find_spec(self, name, path=None, target=None):
        top = name.partition(".")[0]
        if top in sys.stdlib_module_names or top in ("numpy", "kigraph"):
            return None
        raise ModuleNotFoundError(f"No module named {name!r} (blocked by the test)", name=name)

sys.meta_path.insert(0, OnlyNumPy())
"""


def run(code: str) -> str:
    program = f"import sys; sys.path.insert(0, {str(ROOT)!r})\n{BLOCK}\n{code}"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_block_blocks() -> None:
    assert "blocked" in run(
        "try:\n import PIL\nexcept ImportError as error:\n print(error)\nelse:\n raise SystemExit('PIL came in')"
    )


def test_the_reference_passes_its_cases() -> None:
    out = run(
        "from kigraph.kernels.conformance import CASES, check_kernel, unsupported\n"
        "from kigraph.kernels.registry import kernels_of\n"
        "count = 0\n"
        "for case in CASES[::11]:\n"
        "    if case.contract.name == 'decode_image': continue\n"
        "    for family in ('numpy', 'host'):\n"
        "        for kernel in kernels_of(family, case.contract):\n"
        "            if unsupported(kernel, case) is None: check_kernel(kernel, case); count += 1\n"
        "print(count)\n"
    )
    assert int(out) > 300


def test_a_graph_runs_and_numpy_is_chosen() -> None:
    out = run(
        "import kigraph as ki\n"
        "import numpy as np\n"
        "x = ki.placeholder(ki.float32, [None, 8, 8, 3])\n"
        "w = ki.constant(np.ones((3, 3, 3, 4), np.float32))\n"
        "y = ki.softmax(ki.reduce_mean(ki.relu(ki.conv2d(x, w, strides=[1, 1, 1, 1], padding='SAME')), [1, 2]))\n"
        "s = ki.Session(backend='cython,numba,numpy')\n"
        "print(s.choice.order, s.run(y, {x: np.ones((2, 8, 8, 3), np.float32)}).tolist())\n"
    )
    assert "0.25, 0.25, 0.25, 0.25" in out
    assert "numpy" in out


def test_numba_and_cupy_give_their_reasons() -> None:
    out = run(
        "import kigraph as ki\n"
        "for name in ('numba', 'cupy'):\n"
        "    try: ki.Session(ki.Graph(), backend=name)\n"
        "    except ki.BackendError as error: print(error)\n"
    )
    numba, cupy = out.strip().splitlines()
    assert "numba" in numba
    assert "pip install 'kigraph[numba]'" in numba
    assert "cupy" in cupy
    assert "pip install 'kigraph[cupy]'" in cupy


def test_decoding_an_image_names_the_package() -> None:
    out = run(
        "from kigraph.kernels.contracts.strings import DecodeImageParams\n"
        "from kigraph.kernels.errors import KernelError\n"
        "from kigraph.kernels.host.image import decode_image\n"
        "for data in (b'\\xff\\xd8\\xff' + bytes(50), b'\\x89PNG\\r\\n\\x1a\\n' + bytes(50)):\n"
        "    try: decode_image(data, DecodeImageParams())\n"
        "    except KernelError as error: print(error)\n"
    )
    jpeg, png = out.strip().splitlines()
    assert "pip install simplejpeg" in jpeg
    assert "pip install pillow" in png
