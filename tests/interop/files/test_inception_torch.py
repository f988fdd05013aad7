"""Inception v3 and networks of timm with random weights and batch norm statistics, in every form that PyTorch writes."""

from __future__ import annotations

import functools
import json
import logging
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import kigraph as ki

from .written import agrees, distance

if "tensorflow" in sys.modules:  # Triton crashes in a process that has loaded TensorFlow
    pytest.skip("PyTorch and TensorFlow run in processes of their own: make test-interop", allow_module_level=True)
torch = pytest.importorskip("torch", reason="the writer of these files")
from .nets_torch import randomize  # noqa: E402  (imports torch)

#: One of each kind: the ways of padding, blocks, activations; and the two that only timm has.
NAMED = (
    "efficientnet_b0", "tf_efficientnet_b0", "tf_efficientnet_lite0", "efficientnet_es", "tf_efficientnet_es", "efficientnetv2_rw_t",
    "tf_efficientnetv2_b0", "mobilenetv2_050", "mobilenetv3_large_075", "tf_mobilenetv3_small_075", "tf_mobilenetv3_large_minimal_100",
    "mobilenetv3_small_050", "mnasnet_050", "semnasnet_050", "spnasnet_100", "fbnetc_100", "tinynet_e", "inception_v4", "inception_resnet_v2",
)  # fmt: skip


@functools.cache
def _net() -> tuple[Any, Any, Any]:
    models = pytest.importorskip("torchvision", reason="has the network").models
    model = models.inception_v3(weights=None, num_classes=12, init_weights=False).eval()
    randomize(model, 8)
    x = torch.tensor(np.random.default_rng(4).normal(0, 1, (2, 3, 107, 96)).astype(np.float32))
    with torch.no_grad():
        return model, x, model(x).numpy()


@pytest.fixture(autouse=True)
def _quiet() -> None:
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)


@pytest.mark.parametrize("name", ["m.pth", "m.pt", "m.safetensors"])
def test_weights_alone(name: str, tmp_path: Path) -> None:
    model, _, _ = _net()
    x = torch.tensor(np.random.default_rng(5).normal(0, 1, (1, 3, 299, 299)).astype(np.float32))
    with torch.no_grad():
        expected = model(x).numpy()
    if name.endswith("safetensors"):
        save_file = pytest.importorskip("safetensors.torch", reason="the writer of these files").save_file
        save_file(model.state_dict(), tmp_path / name)
    else:
        torch.save(model.state_dict(), tmp_path / name, _use_new_zipfile_serialization=name.endswith("pth"))
    loaded = ki.load(tmp_path / name)
    assert loaded.card is not None
    found = loaded.session.run("logits:0", {loaded.card.input: x.numpy().transpose(0, 2, 3, 1).copy()})
    assert distance(found, expected) <= 1e-5


@pytest.mark.parametrize("opset", [11, 17])
def test_the_older_exporter(opset: int, tmp_path: Path) -> None:
    pytest.importorskip("onnx", reason="the exporter needs it")
    model, x, expected = _net()
    torch.onnx.export(
        model, (x,), tmp_path / "m.onnx", opset_version=opset, dynamo=False, input_names=["x"],
        dynamic_axes={"x": {0: "batch"}},
    )  # fmt: skip
    agrees(tmp_path / "m.onnx", [x.numpy()], [expected])


def test_the_newer_exporter(tmp_path: Path) -> None:
    pytest.importorskip("onnxscript", reason="the exporter needs it")
    model, x, expected = _net()
    torch.onnx.export(
        model, (x,), tmp_path / "m.onnx", dynamo=True, dynamic_shapes=({0: torch.export.Dim.DYNAMIC},), verbose=False
    )
    agrees(tmp_path / "m.onnx", [x.numpy()], [expected])


def test_an_exported_program(tmp_path: Path) -> None:
    model, x, expected = _net()
    torch.export.save(torch.export.export(model, (x,)), tmp_path / "m.pt2")
    agrees(tmp_path / "m.pt2", [x.numpy()], [expected])


@pytest.mark.parametrize("name", NAMED)
def test_networks_of_timm(name: str, tmp_path: Path) -> None:
    """By name, or as timm's config.json says it."""
    timm = pytest.importorskip("timm", reason="has the network")
    save_file = pytest.importorskip("safetensors.torch", reason="the writer of these files").save_file
    model = timm.create_model(name, num_classes=9).eval()
    randomize(model, 3)
    state = model.state_dict()
    for key, value in state.items():  # branches of residuals that stay small, as training leaves them
        if re.search(r"(bn3|conv_pwl|conv2d)\.weight$", key):
            value.mul_(0.4)
    save_file(state, tmp_path / "model.safetensors")
    side = 80 if name.startswith("inception") else 65
    x = np.random.default_rng(4).normal(0, 1, (2, 3, side, side + 3)).astype(np.float32)
    with torch.no_grad():
        expected = model(torch.tensor(x)).numpy()
    fed = {"input": np.ascontiguousarray(x.transpose(0, 2, 3, 1))}
    loaded = ki.load(tmp_path / "model.safetensors", architecture=f"timm/{name}.tag")
    assert distance(loaded.session.run("output", fed), expected) <= 1e-5
    cfg = {
        k: list(v) if isinstance(v, tuple) else v
        for k, v in model.pretrained_cfg.items()
        if k in ("mean", "std", "input_size")
    }
    (tmp_path / "config.json").write_text(json.dumps({"architecture": name, "num_classes": 9, "pretrained_cfg": cfg}))
    found = ki.load(tmp_path / "model.safetensors").session.run("output", fed)
    assert np.array_equal(found, loaded.session.run("output", fed))
