"""What fuzz_all does with a file of a family: opens it, reads everything in it, and runs its graph on random numbers."""

from __future__ import annotations

import contextlib
import io
import os
import sys
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

from kigraph.graph.ir import Literal
from kigraph.graph.loaders import LoadLimits
from kigraph.kernels.errors import KigraphError

__all__ = ["LIMITS", "OPENERS", "inspect", "open_model", "run_graph", "watch"]

#: Small, so that what slips through cannot take much memory either.
LIMITS = LoadLimits(max_bytes=1 << 22, max_tensors=200, max_nodes=500)
#: Elements of a tensor, and all of a graph's, up to which it is run.
_MOST, _MOST_OF_ALL = 1 << 16, 1 << 20


def open_model(path: Path, limits: LoadLimits = LIMITS) -> None:
    """Opens, finds the card, reads everything; one graph in eight runs."""
    from kigraph.opening import open_file
    from kigraph.weights.cards import find_card

    opened = open_file(path, limits)
    for name in opened.weights or ():
        opened.weights.read(name)  # type: ignore[union-attr]
        str(name).encode()
    if opened.graph is not None:
        for op in opened.graph.operations:
            value = op.attrs.get("value")
            if isinstance(value, Literal):
                value.array()
        find_card(opened.graph, family=opened.family)
        number = zlib.crc32(path.read_bytes()) if path.is_file() else 0
        if number % 8 == 0:
            run_graph(opened, number)


def run_graph(opened: Any, seed: int) -> None:
    """Its outputs, and tensors inside, on the numpy backend with small random feeds. Errors of ours pass; graphs of large tensors are left out."""
    import kigraph as ki

    graph, rng, feeds, total = opened.graph, np.random.default_rng(seed), {}, 0
    if _loops(graph.operations):
        return
    for op in graph.operations:
        for tensor in op.outputs:
            size = (
                1 if tensor.shape is None else int(np.prod([2 if d is None else d for d in tensor.shape], dtype=object))
            )
            total += size
            if size > _MOST or total > _MOST_OF_ALL:
                return
        if op.type in ("Placeholder", "PlaceholderWithDefault") and op.outputs[0].dtype is not None:
            feeds[op.outputs[0]] = _random(op.outputs[0], rng)
    tensors = [t for op in graph.operations for t in op.outputs]
    inside = [tensors[i] for i in rng.integers(0, len(tensors), 3)] if tensors else []
    with np.errstate(all="ignore"), ki.Session(graph, backend="numpy") as session:
        for fetches in (list(opened.outputs[:4]), *inside):
            with contextlib.suppress(KigraphError):
                session.run(fetches, feeds)


def _loops(operations: Iterable[Any]) -> bool:
    """Whether there is a loop, also in a branch: a damaged one may have no end, which is what the file says, as in TensorFlow."""
    return any(
        op.type == "KiWhile" or any(_has_loop(g) for g in op.attrs.get("branches", ()) if hasattr(g, "nodes"))
        for op in operations
    )


def _has_loop(graph: Any) -> bool:
    return any(
        n.op == "KiWhile" or any(_has_loop(g) for g in n.attrs.get("branches", ()) if hasattr(g, "nodes"))
        for n in graph.nodes.values()
    )


def _random(tensor: Any, rng: np.random.Generator) -> Any:
    shape = [int(rng.integers(1, 4)) if d is None else d for d in tensor.shape or ()]
    if tensor.dtype == object:
        return np.full(shape, b"text", object)
    if tensor.dtype.kind == "f":
        return rng.standard_normal(shape).astype(tensor.dtype)
    return rng.integers(0, 2, shape).astype(tensor.dtype)


def open_checkpoint(path: Path) -> None:
    from kigraph.train.checkpoint import load_checkpoint

    load_checkpoint(path, LIMITS)


def open_labels(path: Path) -> None:
    from kigraph.vision.labels import read_label_file

    read_label_file(path)


def open_card(path: Path) -> None:
    from kigraph.weights.card_file import read_card_file

    read_card_file(path, lambda: "0" * 64)


def open_image(path: Path) -> None:
    from kigraph.vision.decode import decode_image, read_image

    decode_image(read_image(path), max_pixels=1 << 20)


def open_archive(path: Path) -> None:
    from kigraph.weights.archive import extract_member

    extract_member(path, "weights.bin", path.with_suffix(".out"))


def open_body(path: Path) -> None:
    """A request's body: its first line is the Content-Type, as a client chooses it."""
    from kigraph.serve.bodies import Body, extract
    from kigraph.serve.errors import Refused

    kind, _, data = path.read_bytes().partition(b"\n")
    header = kind.decode("latin-1")
    with contextlib.suppress(Refused):
        extract(Body(header.partition(";")[0].strip().lower(), header, "n", 1 << 20, bytearray(data)))
    if header.startswith("application/json"):
        open_protocols(header, data)


def open_protocols(header: str, data: bytes) -> None:
    """The same bytes as a body of the other protocols; a number behind "inference=" is the length of its JSON part."""
    import numpy as np

    from kigraph.serve.documents import MANY, MalformedError, parse
    from kigraph.serve.errors import Refused
    from kigraph.serve.protocols.oip_body import read
    from kigraph.serve.protocols.values import array_of

    for dtype in (np.float32, np.int8, object):
        try:
            document = parse(bytearray(data), MANY)
            for value in document.value.values():
                with contextlib.suppress(MalformedError):
                    array_of(document, value, np.dtype(dtype))
        except (ValueError, TypeError, RecursionError):
            pass
    with contextlib.suppress(Refused):
        read(bytearray(data), header.partition("inference=")[2] or None)


def inspect(path: Path) -> None:
    """The commands that look at a file; they may end with an error of ours, never with another one."""
    from kigraph.cli import main

    for command in (["inspect"], ["draw", "-o", str(path.with_suffix(".svg"))], ["card"]):
        out = io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
            try:
                code = main([command[0], str(path), *command[1:]])
            except SystemExit as error:
                code = error.code  # type: ignore[assignment]
        assert code in (0, 1, 2), f"{command[0]} ended with {code}"
        assert "Traceback" not in out.getvalue(), out.getvalue()


def open_corpus(path: Path) -> None:
    open_model(path, LoadLimits(max_bytes=1 << 24, max_tensors=5000, max_nodes=20_000))


OPENERS: dict[str, Callable[[Path], None]] = {
    "checkpoint": open_checkpoint, "labels": open_labels, "image": open_image, "archive": open_archive, "body": open_body,
    "cardfile": open_card, "corpus": open_corpus,
}  # fmt: skip


# --- watching -------------------------------------------------------------------------------------------------------

_ALLOWED = (
    "/proc/",
    "/sys/",
    "/dev/",
    "/etc/mime.types",
    "/usr/share/",
    "/usr/lib",
    "/etc/localtime",
    "/lib",
    "/etc/ld.so",
)
#: What no file may make a process do.
_FORBIDDEN = ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.fork", "socket.connect", "os.symlink", "pickle.find_class")  # fmt: skip
_PACKAGES = ("kigraph", "numpy", "PIL", "simplejpeg", "h5py", "scipy", "matplotlib", "numba", "llvmlite", "python_multipart", "multipart", "starlette", "anyio")  # fmt: skip


def watch(folder: Path) -> list[str]:
    """Notes from now on every file opened outside ``folder``, the installation and the cache, every foreign import and more.

    The list is what was noted; whoever looks at it empties it.
    """
    seen: list[str] = []
    root = Path(__file__).parents[2]
    places = [folder, root, root.resolve(), Path(sys.prefix), Path(sys.base_prefix), Path(sys.prefix).resolve()]
    places += [Path(os.environ[k]) for k in ("KIGRAPH_CACHE_DIR", "PYTHONPYCACHEPREFIX") if k in os.environ]
    places += [Path.home() / ".cache" / "kigraph", Path(np.__file__).parents[1]]
    allowed = tuple(f"{p}/" for p in places) + _ALLOWED

    def hook(event: str, args: tuple[Any, ...]) -> None:
        if event == "open":
            name = args[0] if isinstance(args[0], str) else os.fsdecode(args[0]) if isinstance(args[0], bytes) else ""
            if name and name != os.devnull and not os.path.abspath(name).startswith(allowed):
                seen.append(f"opens {name}")
        elif event == "import":
            top = str(args[0]).partition(".")[0]
            if top not in sys.stdlib_module_names and top not in _PACKAGES and top not in sys.modules:
                seen.append(f"imports {args[0]}")
        elif event in _FORBIDDEN:
            seen.append(f"{event} {args[:2]!r}"[:200])

    sys.addaudithook(hook)
    return seen
