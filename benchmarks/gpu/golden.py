"""Part 4: right answers. Seeded Inception v3 by layers against float64, MobileNet and photographs against TensorFlow.

    python -m benchmarks.gpu.golden [--dry]

Models and photographs are those of KIGRAPH_SHARED, else of .gpu/shared, else of ../shared. A layer's error is that of
reference.Layer.error. With --dry the layers come from the numpy backend and, rounded as tensor cores do, from the
reference's own evaluation, for one image, and two photographs run on the numpy backend (emulated, Inception v3 takes
minutes); MobileNet runs emulated.
"""

from __future__ import annotations

import hashlib
import importlib.util
import io
import json
import lzma
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from kigraph.graph.builder import Graph
from kigraph.graph.loaders import load
from kigraph.graph.session import Session
from kigraph.opening import open_file

from . import reference as ref
from .dry import parse
from .inputs import images
from .record import Recorder

__all__ = [
    "BOUNDS", "PHOTOS", "PREPARED", "ROOT", "check_batches", "check_layers", "fetch_from", "flowers", "inception",
    "main", "mobilenet", "opened", "photographs", "shared_folder",
]  # fmt: skip

NDArray = np.ndarray[Any, Any]
#: The tensors of that name, for the images that the caller has fixed.
Fetch = Callable[[Sequence[str]], Sequence[NDArray]]

ROOT = Path(__file__).resolve().parents[2]
PREPARED = ROOT / ".gpu"
#: Largest error of a layer. With factors rounded to the precision, in float64, the worst layer is off by 0.0017 in tf32
#: and by 0.014 in bf16; float32 on a CPU by 1.2e-6. tf32's bound is low enough that bf16 in its place is seen.
BOUNDS = {"fp32": 1e-4, "tf32": 5e-3, "bf16": 6e-2}
#: Largest difference of a probability in fp32 from TensorFlow's.
MOBILENET_BOUND, FLOWERS_BOUND = 1e-5, 1e-4
#: The batch that is compared with a single image.
LARGE = 8
PHOTOS = ("grace_hopper.jpg", "cropped_panda.jpg")
CONTENTS, PIXELS, RESULT = "DecodeJpeg/contents:0", "DecodeJpeg:0", "final_result:0"


def shared_folder() -> Path:
    """Where models and photographs are: KIGRAPH_SHARED, else .gpu/shared, else ../shared; it need not exist."""
    if chosen := os.environ.get("KIGRAPH_SHARED"):
        return Path(chosen)
    return PREPARED / "shared" if (PREPARED / "shared").is_dir() else ROOT.parent / "shared"


def photographs(files: Sequence[str], count: int = 24) -> list[int]:
    """Numbers of ``count`` of the photographs, spread over all classes."""
    return list(range(0, len(files), max(len(files) // count, 1)))[:count]


@contextmanager
def opened(graph: Graph, precision: str, backend: str = "cupy") -> Iterator[Session]:
    """A session whose GPU multiplies in that precision."""
    session = Session(graph, backend=backend, precision=precision)
    try:
        yield session
    finally:
        session.close()


def fetch_from(session: Session, batch: int) -> Fetch:
    """What a session gives for the first images."""
    feeds = {ref.FEED: images(batch)}
    return lambda names: list(session.run(list(names), feeds))


# --- seeded Inception v3 -------------------------------------------------------------------------------------------


def _errors(
    record: Recorder, figure: str, wanted: ref.Reference, precision: str, names: Sequence[str], fetch: Fetch
) -> str:
    """One line per tensor; the first that is beyond the bound, else 'none'."""
    first, bound = "none", BOUNDS[precision]
    for name, values in zip(names, fetch(names), strict=True):
        error = wanted.layers[name].error(values)
        record.line(figure, error, "share", precision=precision, layer=name, bound=bound, ok=error <= bound)
        if first == "none" and not error <= bound:
            first = name
    return first


def check_layers(record: Recorder, wanted: ref.Reference, graph: Graph, precision: str, fetch: Fetch) -> None:
    """One line per layer, and 'first_wrong': its name or 'none', with the first wrong tensor inside a block."""
    first = _errors(record, "layer", wanted, precision, ref.LAYERS, fetch)
    inner = "none"
    if names := ref.inside(graph, first) if first != "none" else ():
        with record.attempt("inside", precision=precision):
            inner = _errors(record, "inside", wanted, precision, names, fetch)
    record.line("first_wrong", first, precision=precision, inside=inner, ok=first == "none")


def check_batches(record: Recorder, wanted: ref.Reference, precision: str, session: Session, large: int) -> None:
    """Scores without any other fetch, as users run it: alone and in a batch, and the difference of the same image.

    Bits may differ with the batch: sums are split after its size.
    """
    bound = BOUNDS[precision]
    (alone, together) = (session.run(ref.LOGITS, {ref.FEED: images(batch)}) for batch in (1, large))
    for found in (alone, together):
        error = wanted.layers[ref.LOGITS].error(found[: wanted.batch])
        record.line("scores", error, "share", precision=precision, batch=len(found), bound=bound, ok=error <= bound)
    gap = float(np.abs(together[0].astype("f8") - alone[0]).max() / np.abs(alone[0]).max())
    record.line(
        "batch_difference", gap, "share", precision=precision, batch=large, bound=bound, ok=gap <= bound,
        same_bits=bool(np.array_equal(together[0], alone[0])),
    )  # fmt: skip


def _reference(record: Recorder, graph: Graph, batch: int) -> ref.Reference:
    """The stored one, else it is computed here."""
    started = time.perf_counter()
    stored = ref.Reference.load(PREPARED / "reference.npz")
    found = stored or ref.compute(batch, graph)
    how = "stored" if stored else "computed here: .gpu/reference.npz is missing or of other sources"
    record.line("reference", how, seconds=time.perf_counter() - started, batch=found.batch)
    return found


def inception(record: Recorder, precisions: Sequence[str] = tuple(BOUNDS)) -> None:
    """All layers in each precision for the images of the reference, then batches of 1 and 8."""
    graph = ref.network()
    wanted = _reference(record, graph, 1 if record.dry else ref.BATCH)
    for precision in precisions:
        with record.attempt("inception", precision=precision):
            if record.dry:
                _rehearse(record, wanted, graph, precision)
                continue
            with opened(graph, precision) as session:
                with record.attempt("layers", precision=precision):
                    check_layers(record, wanted, graph, precision, fetch_from(session, wanted.batch))
                with record.attempt("batches", precision=precision):
                    check_batches(record, wanted, precision, session, LARGE)


def _rehearse(record: Recorder, wanted: ref.Reference, graph: Graph, precision: str) -> None:
    """The same checks on what a CPU has in seconds."""
    if precision == "fp32":
        with opened(graph, precision, "numpy") as session:
            check_layers(record, wanted, graph, precision, fetch_from(session, 1))
            check_batches(record, wanted, precision, session, 2)
        return
    feeds, rounded = {ref.FEED: images(1)}, ref.first_bits({"tf32": 11, "bf16": 8}[precision])
    check_layers(
        record, wanted, graph, precision, lambda names: list(ref.evaluate(graph, feeds, names, rounded).values())
    )


# --- trained networks ----------------------------------------------------------------------------------------------


def mobilenet(record: Recorder, shared: Path, photos: Sequence[str] = PHOTOS) -> None:
    """MobileNet v1 0.25 in fp32: probabilities and the first five labels."""
    folder = shared / "models" / "mobilenet_v1_0.25_224"
    if not (folder / "frozen_graph.pb").is_file() or not (folder / "golden_tensorflow.npz").is_file():
        return record.skip("mobilenet", f"no MobileNet with TensorFlow's results under {shared}")
    loaded = load(folder / "frozen_graph.pb")
    assert loaded.graph is not None
    with np.load(folder / "golden_tensorflow.npz") as golden, opened(loaded.graph, "fp32") as session:
        for photo in photos:
            with record.attempt("mobilenet", photo=photo):
                wanted = golden[f"{photo}.probabilities"]
                (found,) = session.run(loaded.outputs[0], {loaded.inputs[0]: golden[photo]})
                error, bound = float(np.abs(found - wanted).max()), MOBILENET_BOUND
                record.line("mobilenet", error, "probability", photo=photo, bound=bound, ok=error <= bound)
                same = np.argsort(-found)[:5].tolist() == np.argsort(-wanted)[:5].tolist()
                record.line("mobilenet_top5", "same" if same else "other", photo=photo, ok=same)


@contextmanager
def _unpacked(folder: Path) -> Iterator[Path]:
    """The frozen graph of the flowers in a temporary file. Raises ValueError if it is damaged."""
    wanted = json.loads((folder / "checksum.json").read_text())["sha256_of_frozen.pb"]
    digest = hashlib.sha256()
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "flowers.pb"
        with lzma.open(folder / "frozen.pb.xz") as packed, open(path, "wb") as file:
            while block := packed.read(1 << 22):
                file.write(block)
                digest.update(block)
        if digest.hexdigest() != wanted:
            raise ValueError(f"{folder / 'frozen.pb.xz'}: SHA-256 {digest.hexdigest()}, expected {wanted}")
        yield path


def _feeds(data: bytes, decoder: bool) -> dict[str, Any]:
    """The JPEG file for the graph's own decoder; without simplejpeg Pillow's pixels, which differ a little."""
    if decoder:
        return {CONTENTS: data}
    from PIL import Image

    return {PIXELS: np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))}


def flowers(
    record: Recorder, shared: Path, count: int = 24, precisions: Sequence[str] = tuple(BOUNDS), backend: str = "cupy"
) -> None:
    """Photographs through the trained Inception v3: first labels and probabilities; fp32's have bounds."""
    folder = shared / "models" / "inception_v3_flowers"
    if not (folder / "frozen.pb.xz").is_file() or not (folder / "golden_tensorflow.npz").is_file():
        return record.skip("flowers", f"no Inception v3 with TensorFlow's results under {shared}")
    decoder = importlib.util.find_spec("simplejpeg") is not None
    with np.load(folder / "golden_tensorflow.npz") as golden:
        files = [str(file) for file in golden["files"]]
        wanted = golden["probabilities" if decoder else "probabilities_from_pillow_pixels"]
    there = [i for i in photographs(files, count) if (shared / "photos" / "flowers" / files[i]).is_file()]
    if not there:
        return record.skip("flowers", f"no photographs under {shared / 'photos' / 'flowers'}")
    sample = [(i, _feeds((shared / "photos" / "flowers" / files[i]).read_bytes(), decoder)) for i in there]
    pixels = "simplejpeg" if decoder else "pillow"
    with _unpacked(folder) as path:
        graph = open_file(path, strict=True).graph
        for precision in precisions:
            with record.attempt("flowers", precision=precision), opened(graph, precision, backend) as session:
                rows = np.stack([session.run(RESULT, feeds)[0] for _, feeds in sample])
                error = float(np.abs(rows - wanted[there]).max())
                same = int((rows.argmax(1) == wanted[there].argmax(1)).sum())
                exact = precision == "fp32"
                record.line(
                    "flowers_top1", same, "photographs", of=len(there), precision=precision, pixels=pixels,
                    ok=same == len(there) if exact else None,
                )  # fmt: skip
                bound = FLOWERS_BOUND if exact else None
                record.line(
                    "flowers", error if np.isfinite(error) else float("inf"), "probability", precision=precision,
                    pixels=pixels, bound=bound, ok=error <= bound if bound else None,
                )  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the part; 1 if a result is wrong."""
    dry = parse(__doc__, arguments).dry
    # Packed weights in the cache would be of a temporary file, never to be found again.
    os.environ["KIGRAPH_PACKED_CACHE"] = "off"
    shared = shared_folder()
    with Recorder("golden", dry=dry) as record:
        with record.attempt("inception"):
            inception(record)
        with record.attempt("mobilenet"):
            mobilenet(record, shared, PHOTOS[:1] if dry else PHOTOS)
        with record.attempt("flowers"):
            flowers(record, shared, *((2, ("fp32",), "numpy") if dry else ()))
    return record.rate()


if __name__ == "__main__":
    sys.exit(main())
