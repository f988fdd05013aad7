"""Quantised files of the network, made once by the peers' own tools and kept in the cache folder.

int8: ONNX with QuantizeLinear and DequantizeLinear nodes, by ``onnxruntime.quantization``: activations uint8 per tensor,
weights int8 per output channel, ranges from minimum and maximum over calibration images. All contenders that read ONNX run
this one file, so their weights are identical. tflite: the file beside the trained model, which TensorFlow's converter wrote.

``python -m benchmarks.peers.quantised FOLDER IMAGES.npy OUT.onnx`` writes the ONNX file: a process of its own, so that ONNX
Runtime's threads are none of those that measure.
"""

from __future__ import annotations

import hashlib
import lzma
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .network import Network, read_network, store

__all__ = ["CALIBRATION", "NEEDED", "add_quantised", "cache_folder", "digest", "quantised_onnx", "unpacked"]

ROOT = Path(__file__).resolve().parents[2]
#: What the ONNX file is made with.
NEEDED = ("onnx", "onnxruntime")
#: Calibration photographs at most; a quarter of that where there is only noise.
CALIBRATION = 32


def cache_folder() -> Path:
    """Where files that take long to make are kept: "benchmarks" in kigraph's cache folder."""
    from kigraph.kernels.settings import cache_folder as of_kigraph

    folder = Path(of_kigraph()) / "benchmarks"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def digest(*parts: bytes | Path) -> str:
    """Sixteen hexadecimal digits of the contents."""
    found = hashlib.sha256()
    for part in parts:
        found.update(part.read_bytes() if isinstance(part, Path) else part)
        found.update(b"\0")
    return found.hexdigest()[:16]


def quantised_onnx(network: Network, calibration: np.ndarray[Any, Any]) -> Path:
    """The int8 file of the network from the cache, or made now. calibration: float32 (images, height, width, 3).

    Raises RuntimeError with the tool's last words if it fails.
    """
    import onnxruntime

    name = digest(Path(network.onnx), calibration.tobytes(), onnxruntime.__version__.encode())
    path = cache_folder() / f"int8-{name}.onnx"
    if path.exists():
        return path
    images, made = Path(network.folder, "calibration.npy"), Path(network.folder, "int8.onnx")
    np.save(images, calibration)
    command = [sys.executable, "-m", "benchmarks.peers.quantised", network.folder, str(images), str(made)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise RuntimeError(f"onnxruntime.quantization ended with {done.returncode}: {last}")
    _move(made, path)
    return path


def _move(made: Path, path: Path) -> None:
    """Into the cache, whole or not at all."""
    part = path.with_name(f"{path.name}.{made.parent.name}.part")
    shutil.move(made, part)
    part.replace(path)


def unpacked(packed: Path) -> Path:
    """What an .xz file holds, from the cache."""
    path = cache_folder() / digest(packed) / packed.stem
    if not path.exists():
        path.parent.mkdir(exist_ok=True)
        part = path.with_name(f"{path.name}.part")
        with lzma.open(packed) as source, open(part, "wb") as target:
            shutil.copyfileobj(source, target)
        part.replace(path)
    return path


def add_quantised(
    network: Network, *, wanted: bool, file: Path | None, tflite: Path | None, calibration: Sequence[Path] = ()
) -> tuple[Network, str]:
    """The network with its quantised files, and why the ONNX file is missing, or ''.

    wanted: whether an ONNX file is made where ``file`` names none. tflite: that file, or None.
    calibration: photographs; without any, noise other than the images.
    """
    problem = ""
    if file is not None:
        network = store(network, int8=str(file.resolve()))
    elif wanted:
        try:
            network = store(network, int8=str(quantised_onnx(network, _calibration(network, calibration))))
        except RuntimeError as error:
            problem = str(error)
    return (network if tflite is None else store(network, tflite=str(tflite.resolve()))), problem


def _calibration(network: Network, photographs: Sequence[Path]) -> np.ndarray[Any, Any]:
    from .network import prepared

    if photographs:
        return prepared(Path(network.source), photographs)
    shape = network.images(1).shape[1:]
    return np.random.default_rng(7).uniform(-1, 1, (CALIBRATION // 4, *shape)).astype(np.float32)


def _write(network: Network, images: np.ndarray[Any, Any], out: Path) -> None:
    """onnxruntime.quantization at work, in this process."""
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self, name: str) -> None:
            self.feeds = iter([{name: image[None]} for image in images])

        def get_next(self) -> dict[str, Any] | None:
            return next(self.feeds, None)

    import onnx

    folded = out.with_name("folded.onnx")
    quant_pre_process(network.onnx, str(folded), skip_symbolic_shape=True)
    reader = Reader(onnx.load(network.onnx, load_external_data=False).graph.input[0].name)
    quantize_static(
        str(folded), str(out), reader, quant_format=QuantFormat.QDQ, per_channel=True,
        activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8,
    )  # fmt: skip


if __name__ == "__main__":
    _write(read_network(sys.argv[1]), np.load(sys.argv[2]), Path(sys.argv[3]))
