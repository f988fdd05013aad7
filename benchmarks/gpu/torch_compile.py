"""Parts 7 and 11: Inception v3 through torch.compile, one process for each batch and mode, same weights and images.

    python -m benchmarks.gpu.torch_compile --batch 128 --mode reduce-overhead [--dry]
    python -m benchmarks.gpu.torch_compile --batch 128 --mode max-autotune       # part 11, lines of part 'autotune'

--precision: bf16; tf32, which is float32 with TF32 allowed; fp32, true float32.

Both modes replay a CUDA graph; parameters are frozen, so that batch normalisation is folded into the convolutions. What
was compiled is kept in $OUT/inductor_cache.bin, and taken from there and from .gpu/inductor_cache.bin. After SIGTERM,
by which a time limit ends the process, it still keeps what is there.

--dry: batch 1 on the CPU, where --backend eager only traces; --backend inductor compiles there as well (a minute).
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from kigraph.kernels.settings import available_cpus

from . import dry
from .inputs import images
from .record import Recorder, Scalar, output_folder
from .torch_common import NO_TF32, PREPARED, Clock, find_torch, tf32
from .torch_eager import PRECISIONS, fp32_logits, placed, speed

__all__ = ["main", "read_cache", "write_cache"]

PARTS = {"reduce-overhead": "torch-compile", "max-autotune": "autotune"}
FIGURES = (
    "cache loaded", "compile", "record", "error against fp32", "error against reference", "network", "cache saved",
)  # fmt: skip
#: The cache, and what the name of a member ends with if the process was cut off or failed.
CACHE, CUT = "inductor_cache.bin", "-cut"
#: Size limit of the cache that is copied from the machine: .gpu/, where it is read, has no more room within its 60 MB.
MOST_BYTES = 8_000_000
#: Images whose logits are compared.
CHECKED = 8


class _CutOff(BaseException):
    """SIGTERM has come. Not an Exception, so that nothing on the way takes it for a failed kernel."""


@contextmanager
def _terminable() -> Iterator[None]:
    def cut(number: int, frame: object) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        raise _CutOff

    before = signal.signal(signal.SIGTERM, cut)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


# --- the cache: one zip file, one member for each mode and batch -----------------------------------------------------


def read_cache(path: Path) -> dict[str, bytes]:
    """The members of a cache file; nothing if it is not there or broken."""
    try:
        with zipfile.ZipFile(path) as file:
            return {name: file.read(name) for name in file.namelist()}
    except (OSError, zipfile.BadZipFile):
        return {}


def write_cache(path: Path, members: Mapping[str, bytes], most: int = MOST_BYTES) -> int:
    """Writes the members, returns the file's bytes. More than ``most``: ValueError, and the file is as it was."""
    fresh = path.with_suffix(".new")
    try:
        with zipfile.ZipFile(fresh, "w", zipfile.ZIP_DEFLATED) as file:
            for name, data in members.items():
                file.writestr(name, data)
        size = fresh.stat().st_size
        if size > most:
            raise ValueError(f"{size} bytes; the size limit is {most}")
        fresh.replace(path)
    finally:
        fresh.unlink(missing_ok=True)
    return size


def _load(out: Recorder, torch: Any, members: Mapping[str, bytes], **tags: Scalar) -> None:
    if not members:
        out.line("cache loaded", None, skipped=f"no {CACHE}", **tags)
    for name, data in members.items():
        with out.attempt("cache loaded", wrong=False, member=name, **tags):
            info = torch.compiler.load_cache_artifacts(data)
            count = 0 if info is None else sum(map(len, info.artifacts.values()))
            out.line("cache loaded", count, "artifacts", member=name, bytes=len(data), **tags)


def _save(out: Recorder, torch: Any, known: Mapping[str, bytes], own: str, **tags: Scalar) -> None:
    """Keeps what this process compiled next to what others did; without them if all is too much.

    What an attempt that was cut off has left is not kept beside the whole of the same case.
    """
    others = {name: data for name, data in known.items() if name != f"{own}{CUT}"}
    with out.attempt("cache saved", wrong=False, **tags):
        made = torch.compiler.save_cache_artifacts()
        if made is None:
            out.line("cache saved", None, skipped="nothing was compiled", **tags)
            return
        path = output_folder() / CACHE
        for members in ({**others, own: made[0]}, {own: made[0]}):
            try:
                size = write_cache(path, members)
            except ValueError as error:
                why = str(error)
                continue
            out.line("cache saved", size, "bytes", members=len(members), **tags)
            return
        out.line("cache saved", None, skipped=why, **tags)


# --- the figures -----------------------------------------------------------------------------------------------------


def _compiled(torch: Any, network: Any, backend: str, mode: str) -> Any:
    if backend != "inductor":
        return torch.compile(network, backend=backend, fullgraph=True, dynamic=False)
    import torch._inductor.config as config

    config.freezing = True
    # On a CPU oneDNN would pack the weights, which no cache can hold; on a GPU it has no part.
    torch.backends.mkldnn.enabled = False
    return torch.compile(network, mode=mode, fullgraph=True, dynamic=False)


def _threads() -> int:
    """Processes that compile: one for each CPU that may be used. Must be said before inductor is imported."""
    return int(os.environ.setdefault("TORCHINDUCTOR_COMPILE_THREADS", str(available_cpus())))


def _counts(torch: Any, prefix: str) -> dict[str, Any]:
    """Inductor's counters of that prefix: graphs found in the cache, CUDA graphs that were refused."""
    try:
        counters = torch._dynamo.utils.counters["inductor"]
    except AttributeError:
        return {}
    return {name: int(count) for name, count in counters.items() if name.startswith(prefix)}


def _measure(out: Recorder, torch: Any, device: str, args: argparse.Namespace, tags: dict[str, Any]) -> None:
    from .torch_model import Truth, from_images, seeded

    clock = Clock(torch, device, 0.01 if args.dry else 0.4)
    given = from_images(images(args.batch)).to(device)
    truth = Truth(fp32_logits(torch, placed(torch, seeded(), device, "fp32"), given[:CHECKED]).cpu().numpy())
    network = placed(torch, seeded(), device, args.precision)
    x = given.to(next(network.parameters()).dtype)
    tf32(torch, args.precision == "tf32")
    torch.backends.cudnn.benchmark = True
    # Freezing needs gradients off; inference_mode would make tensors that tracing treats apart.
    with torch.no_grad():
        run = _compiled(torch, network, args.backend, args.mode)
        start = time.perf_counter()
        logits = run(x)
        clock.synchronize()
        seconds = time.perf_counter() - start
        out.line("compile", seconds, "s", **tags, **_counts(torch, "fxgraph_cache_"), threads=_threads())
        with out.attempt("record", wrong=False, **tags):
            start = time.perf_counter()
            for _ in range(2):  # the second call records the CUDA graph, the third replays it
                logits = run(x)
            clock.synchronize()
            seconds = time.perf_counter() - start
            out.line("record", seconds, "s", **tags, **_counts(torch, "cudagraph_"))
        case: dict[str, Any] = {"batch": args.batch, "mode": args.mode}
        with out.attempt("error against fp32", wrong=False, **tags):
            truth.check(out, logits[:CHECKED], args.precision, **case)
        with out.attempt("network", wrong=False, **tags):
            speed(out, clock, lambda: run(x), args.batch, precision=args.precision, mode=args.mode)


def _run(out: Recorder, args: argparse.Namespace, tags: dict[str, Any]) -> None:
    _threads()
    torch, device = find_torch(dry=args.dry)
    why = device if torch is None else NO_TF32 if device == "cpu" and args.precision == "tf32" else None
    if why:
        for name in FIGURES:
            out.line(name, None, skipped=why, **tags)
        return
    known = {**read_cache(PREPARED / CACHE), **read_cache(output_folder() / CACHE)}
    whole = f"{args.mode}-{args.precision}-{args.batch}"
    own, start = f"{whole}{CUT}", time.perf_counter()  # under its own name: what is known of the whole stays
    try:
        with _terminable():
            _load(out, torch, known, **tags)
            with out.attempt("compile", wrong=False, **tags):
                _measure(out, torch, device, args, tags)
                own = whole
    except _CutOff:
        out.line("cut off", time.perf_counter() - start, "s", skipped="SIGTERM: the time is up", **tags)
    _save(out, torch, known, own, **tags)


def main(arguments: Sequence[str] | None = None) -> int:
    """Compiles, checks and times one batch; 1 if a result was wrong."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--batch", type=int, default=128, help="images (default: %(default)s)")
    parser.add_argument("--mode", choices=list(PARTS), default="reduce-overhead", help="default: %(default)s")
    parser.add_argument("--precision", choices=PRECISIONS, default="bf16", help="default: %(default)s")
    parser.add_argument("--backend", choices=("inductor", "eager"), help="default: inductor; eager with --dry")
    args = dry.parse(__doc__, arguments, parser)
    args.backend = args.backend or ("eager" if args.dry else "inductor")
    args.batch = 1 if args.dry else args.batch
    tags: dict[str, Any] = {"batch": args.batch, "precision": args.precision, "mode": args.mode}
    with Recorder(PARTS[args.mode], dry=args.dry) as out:
        _run(out, args, tags)
    return out.rate()


if __name__ == "__main__":
    sys.exit(main())
