"""kigraph.kernels: what one tensor operation computes, and on what hardware.

Nothing in this package knows of graphs: arrays in, a frozen parameter record, output arrays given by the caller.

Map of the folder (arrows of import point down only)::

    conformance/     cases and a judge for kernels, ours and those of plug-ins
    testing/         the CUDA kernels without a GPU, for the tests; in the checkout and the sdist, not in the wheel
    backends.py      the one table of backends: name, device, how to probe, what to install
    tuning/          which of several legal kernels a layer gets, decided by measurement
    registry.py      which kernels are legal for a query, and which of them is preferred
    composites.py    kernels made of a backend's other kernels
    half.py          float16 through a backend's float32 kernels
    rounded.py       bf16 through a backend's float32 kernels
    devices.py       memory and copies: the host's, and the protocol for an accelerator's
    checks.py        what kernels of every backend check: element types, pitches
    kernel.py        the verbs: Query (what is wanted), Kernel (what can do it), Prepared, Run
    contracts/       one contract per op: formula, parameters, shape rule, FLOPs, tolerance
    tensor.py        the values: element types, shapes, TensorType
    numerics.py      what a session may trade for speed: Winograd, precision
    logs.py          KIGRAPH_LOG: the level of the logger "kigraph"
    settings.py      every environment variable, declared once
    inception_v3.py  the layers of Inception v3 as facts, for cases, benchmarks and the network itself
    bfloat16.py      rounding to bfloat16
    errors.py        the exceptions
    records.py       dataclass, as the standard library's, but cheap at import
    host/            the shared CPU family: layout, casts, strings, image decoding
    numpy/           the reference backend: plain, slow, and the truth
    cython/          C SIMD kernels called through Cython, chosen by cpuid at run time
    numba/           JIT loops
    cupy/            CUDA kernels
"""

if __name__ != "kigraph.kernels":
    raise ImportError(
        f"this folder is the package 'kigraph.kernels', but it was imported as {__name__!r}; "
        "a second copy would have a second registry. Use 'import kigraph.kernels' (or 'import kigraph as ki')."
    )

__all__: list[str] = []
