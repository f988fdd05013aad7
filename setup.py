"""Build of the packages and of the C kernels; the metadata is in pyproject.toml.

The folders kernels/ and graph/ become kigraph.kernels and kigraph.graph by ``package_dir``; the links kigraph/kernels and
kigraph/graph serve only work inside the checkout. Every C kernel source is compiled once per instruction set, with that
set's flags on these objects only, and linked into the one extension ``core``; the right table is chosen at run time.

    python setup.py build_ext --inplace        incremental: only what changed is compiled
    KIGRAPH_SANITIZE=1 python setup.py ...     with AddressSanitizer and UndefinedBehaviorSanitizer; see .ci/sanitize
"""

from __future__ import annotations

import os
import platform
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.errors import CompileError

#: What a wheel has. kernels/testing is for the checkout and the sdist only: the tests, and the rehearsal of the GPU check.
PACKAGES = {
    "kigraph": "kigraph",
    "kigraph.archive": "kigraph/archive",
    "kigraph.cli": "kigraph/cli",
    "kigraph.data": "kigraph/data",
    "kigraph.quantizing": "kigraph/quantizing",
    "kigraph.retraining": "kigraph/retraining",
    "kigraph.serve": "kigraph/serve",
    "kigraph.serve.protocols": "kigraph/serve/protocols",
    "kigraph.train": "kigraph/train",
    "kigraph.compat": "kigraph/compat",
    "kigraph.compat.tf1": "kigraph/compat/tf1",
    "kigraph.compat.tf1.train": "kigraph/compat/tf1/train",
    "kigraph.verify": "kigraph/verify",
    "kigraph.vision": "kigraph/vision",
    "kigraph.weights": "kigraph/weights",
    "kigraph.graph": "graph",
    "kigraph.graph.draw": "graph/draw",
    "kigraph.graph.formats": "graph/formats",
    "kigraph.graph.formats.flatbuffers": "graph/formats/flatbuffers",
    "kigraph.graph.formats.hdf5": "graph/formats/hdf5",
    "kigraph.graph.formats.protobuf": "graph/formats/protobuf",
    "kigraph.graph.gradients": "graph/gradients",
    "kigraph.graph.loaders": "graph/loaders",
    "kigraph.graph.loaders.torch_export": "graph/loaders/torch_export",
    "kigraph.graph.loaders.tensorflow": "graph/loaders/tensorflow",
    "kigraph.graph.loaders.tflite": "graph/loaders/tflite",
    "kigraph.graph.loaders.onnx": "graph/loaders/onnx",
    "kigraph.graph.models": "graph/models",
    "kigraph.graph.models.inception_v3": "graph/models/inception_v3",
    "kigraph.graph.models.keras": "graph/models/keras",
    "kigraph.graph.models.torch": "graph/models/torch",
    "kigraph.graph.opdefs": "graph/opdefs",
    "kigraph.graph.ops": "graph/ops",
    "kigraph.graph.packed": "graph/packed",
    "kigraph.graph.passes": "graph/passes",
    "kigraph.graph.plan": "graph/plan",
    "kigraph.graph.writers": "graph/writers",
    "kigraph.kernels": "kernels",
    "kigraph.kernels.conformance": "kernels/conformance",
    "kigraph.kernels.conformance.cases": "kernels/conformance/cases",
    "kigraph.kernels.contracts": "kernels/contracts",
    "kigraph.kernels.cupy": "kernels/cupy",
    "kigraph.kernels.cython": "kernels/cython",
    "kigraph.kernels.host": "kernels/host",
    "kigraph.kernels.numba": "kernels/numba",
    "kigraph.kernels.numpy": "kernels/numpy",
    "kigraph.kernels.tuning": "kernels/tuning",
}

PACKAGE_DATA = {
    "kigraph": ["py.typed", "*.pyi"],
    "kigraph.data": ["*.json", "*.pb", "*.png"],
    "kigraph.quantizing": ["*.css"],
    "kigraph.retraining": ["*.css"],
    "kigraph.serve": ["*.html"],
    "kigraph.graph.draw": ["*.css", "*.js"],
    "kigraph.graph.ops": ["*.pyi"],
    "kigraph.kernels.cupy": ["cuda/*.cu", "cuda/*.cuh"],
    "kigraph.kernels.cython": ["*.pyi"],
    "kigraph.kernels.tuning": ["*.json"],
}

#: Extension modules, kernels/cython/<name>.pyx. The C code is linked into ``core`` alone; the others get its table.
MODULES = ("backward", "core", "dot", "igemm", "loops", "windows", "winograd")

C_DIR = "kernels/cython/c"
#: Compiled once, and once per instruction set.
COMMON_SOURCES = ("threads", "cpu", "dot_cpu", "dot_plan", "elementwise_run", "chain", "concat", "order", "cumulative")
KERNEL_SOURCES = (
    "backward", "batch_statistics", "bfloat16", "cross_entropy", "depthwise", "elementwise", "igemm", "int_matmul", "lrn", "normalization", "outer", "philox", "pixels", "probe",
    "quantized", "quantized_depthwise", "quantized_pool", "reduce", "resize", "softmax", "table", "transpose", "windows", "winograd", "winograd_pack",
)  # fmt: skip

X86 = platform.machine().lower() in ("x86_64", "amd64")
ISA_FLAGS = {"portable": []}
if X86:
    ISA_FLAGS["avx2"] = ["-mavx2", "-mfma"]
    ISA_FLAGS["avx512"] = [
        "-mavx512f", "-mavx512dq", "-mavx512bw", "-mavx512vl", "-mavx2", "-mfma", "-mprefer-vector-width=512",
    ]  # fmt: skip

#: Products of narrow numbers (dot.c) have more instruction sets (dot_sets.h).
DOT_FLAGS = dict(ISA_FLAGS)
if X86:
    DOT_FLAGS["avx2_vnni"] = [*ISA_FLAGS["avx2"], "-mavxvnni"]
    DOT_FLAGS["avx512_vnni"] = [*ISA_FLAGS["avx512"], "-mavx512vnni"]
    DOT_FLAGS["avx512_bf16"] = [*DOT_FLAGS["avx512_vnni"], "-mavx512bf16"]
    DOT_FLAGS["amx"] = [*DOT_FLAGS["avx512_bf16"], "-mamx-tile", "-mamx-bf16", "-mamx-int8"]

SANITIZE = os.environ.get("KIGRAPH_SANITIZE", "0") not in ("", "0")
# The checks of null, object size and alignment are off: they would be made at every load, and AddressSanitizer finds the
# errors that matter. With them, or with AddressSanitizer's checks inline instead of calls, one file compiles for minutes.
SANITIZE_FLAGS = [
    "-fsanitize=address,undefined", "-fno-sanitize=null,object-size,alignment", "-fno-sanitize-recover=all",
    "--param=asan-instrumentation-with-call-threshold=200", "-fno-omit-frame-pointer", "-g1",
]  # fmt: skip
# -ffp-contract=off: a * b + c is rounded twice unless the source says fma, so the contracts' formulas hold exactly.
C_FLAGS = ["-std=gnu11", "-O3", "-Wall", "-Wextra", "-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math"]
if SANITIZE:
    C_FLAGS = [*(f for f in C_FLAGS if f != "-O3"), "-O1", *SANITIZE_FLAGS]
MACROS = [("KI_X86", "1")] if X86 else []


class BuildKernels(build_ext):
    """Compiles the C kernels per instruction set, then the extensions as usual."""

    def build_extensions(self) -> None:
        objects = self.compile_kernels()
        for extension in self.extensions:
            if extension.name.endswith(".core"):
                extension.extra_objects = objects
                extension.depends = [*extension.depends, *objects]  # linked again when one of them is newer
        super().build_extensions()

    def compile_kernels(self) -> list[str]:
        """Compiles what is older than its source or than any header; returns all object files."""
        headers = [*Path(C_DIR).glob("*.h"), *Path(C_DIR, "simd").glob("*.h"), Path(__file__)]
        newest = max(h.stat().st_mtime for h in headers)
        folder = Path(self.build_temp, "sanitized" if SANITIZE else "kernels")
        jobs: list[tuple[str, Path, list[Any], list[str]]] = []
        for name in COMMON_SOURCES:
            jobs.append((f"{C_DIR}/{name}.c", folder / "common", MACROS, []))
        for isa, flags in ISA_FLAGS.items():
            for name in KERNEL_SOURCES:
                jobs.append((f"{C_DIR}/{name}.c", folder / isa, [(f"KI_ISA_{isa.upper()}", "1")], flags))

        for isa, flags in DOT_FLAGS.items():
            macros = [*MACROS, (f"KI_DOT_{isa.upper()}", "1")]
            jobs.append((f"{C_DIR}/dot.c", folder / f"dot_{isa}", macros, flags))

        def build(job: tuple[str, Path, list[Any], list[str]]) -> str:
            source, out, macros, flags = job
            target = out / Path(source).with_suffix(".o")
            if self.force or not target.exists() or target.stat().st_mtime < max(newest, Path(source).stat().st_mtime):
                try:
                    self.compiler.compile([source], str(out), macros, [C_DIR], extra_postargs=[*C_FLAGS, *flags])
                except CompileError as error:
                    new = "GCC 11, Clang 13 or newer know all instruction sets; an older compiler does not"
                    raise SystemExit(f"{source} cannot be compiled with {' '.join(flags)}: {error}\n{new}") from error
            return str(target)

        with ThreadPoolExecutor(os.cpu_count()) as pool:
            return list(pool.map(build, jobs))


def extensions() -> list[Extension]:
    headers = [str(p) for p in (*Path(C_DIR).glob("*.h"), *Path("kernels/cython").glob("*.pxi"))]
    return [
        Extension(
            f"kigraph.kernels.cython.{name}",
            [f"kernels/cython/{name}.pyx"],
            include_dirs=[C_DIR],
            depends=headers,
            extra_compile_args=[*C_FLAGS, "-O1" if SANITIZE else "-O2"],
            extra_link_args=["-pthread", *(SANITIZE_FLAGS if SANITIZE else [])],
        )
        for name in MODULES
    ]


setup(
    packages=list(PACKAGES),
    package_dir=PACKAGES,
    package_data=PACKAGE_DATA,
    include_package_data=False,
    ext_modules=cythonize(
        extensions(),
        build_dir="build/cython",
        compiler_directives={"language_level": "3"},
    ),
    cmdclass={"build_ext": BuildKernels},
)
