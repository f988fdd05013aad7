"""Networks of PyTorch, exported to ONNX by both exporters, as programs (.pt2), and as weights of known networks."""

from __future__ import annotations

import functools
import logging
import sys
import zlib
from pathlib import Path
from typing import Any

import pytest

from .written import agrees

if "tensorflow" in sys.modules:  # Triton crashes in a process that has loaded TensorFlow
    pytest.skip("PyTorch and TensorFlow run in processes of their own: make test-interop", allow_module_level=True)
torch = pytest.importorskip("torch", reason="the writer of these files")
from .nets_torch import NETS, randomize  # noqa: E402  (imports torch)


@functools.cache
def _net(name: str) -> tuple[Any, tuple[Any, ...], list[Any]]:
    module, inputs = NETS[name]()
    module.eval()
    randomize(module, zlib.crc32(name.encode()) % 1000)
    with torch.no_grad():
        found = module(*inputs)
    return module, inputs, [v.numpy() for v in (found if isinstance(found, tuple) else (found,))]


@pytest.fixture(autouse=True)
def _quiet() -> None:
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)


@pytest.mark.parametrize("name", sorted(NETS))
@pytest.mark.parametrize("opset", [11, 14, 17])
def test_the_older_exporter(name: str, opset: int, tmp_path: Path) -> None:
    pytest.importorskip("onnx", reason="the exporter needs it")
    module, inputs, expected = _net(name)
    names = [f"x{i}" for i in range(len(inputs))]
    try:
        torch.onnx.export(
            module, inputs, tmp_path / "m.onnx", opset_version=opset, dynamo=False, input_names=names,
            dynamic_axes={n: {0: "batch"} for n in names},
        )  # fmt: skip
    except Exception as error:
        pytest.skip(f"the exporter refuses it: {str(error)[:200]}")
    agrees(tmp_path / "m.onnx", [v.numpy() for v in inputs], expected)


@pytest.mark.parametrize("name", sorted(NETS))
def test_the_newer_exporter(name: str, tmp_path: Path) -> None:
    pytest.importorskip("onnxscript", reason="the exporter needs it")
    module, inputs, expected = _net(name)
    shapes = ({0: torch.export.Dim.DYNAMIC},) * len(inputs)
    try:
        torch.onnx.export(module, inputs, tmp_path / "m.onnx", dynamo=True, dynamic_shapes=(shapes,), verbose=False)
    except Exception as error:
        pytest.skip(f"the exporter refuses it: {str(error)[:200]}")
    agrees(tmp_path / "m.onnx", [v.numpy() for v in inputs], expected)


@pytest.mark.parametrize("name", sorted(NETS))
def test_an_exported_program(name: str, tmp_path: Path) -> None:
    module, inputs, expected = _net(name)
    try:
        torch.export.save(torch.export.export(module, inputs), tmp_path / "m.pt2")
    except Exception as error:
        pytest.skip(f"it cannot be exported: {str(error)[:200]}")
    agrees(tmp_path / "m.pt2", [v.numpy() for v in inputs], expected)
