"""The whole backend, from a session down to "cuLaunchKernel", over the stand-in for CuPy: opaque device memory and
emulated kernels, so that copies, pitches, views and launches are those of a GPU."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import kigraph as ki
import kigraph.kernels.cupy as backend
from kigraph.graph.loaders import load
from kigraph.kernels import backends
from kigraph.kernels.conformance import check_kernel, supported_cases
from kigraph.kernels.errors import KernelError

pytest.importorskip("kigraph.kernels.testing", reason="the emulation of CUDA is not in the wheel")

from kigraph.kernels.testing.standin import StandIn

pytestmark = pytest.mark.skipif(not any(map(shutil.which, ("g++", "c++"))), reason="no C++ compiler")

NDArray = np.ndarray[Any, Any]


@pytest.fixture
def gpu(stand_in: Callable[..., StandIn]) -> StandIn:
    """A backend cupy that can be chosen."""
    return stand_in()


def classifier(rng: np.random.Generator) -> tuple[ki.Graph, str, str]:
    """A small network of every kind of layer of Inception v3: two branches into a concat, pools, mean, softmax."""

    def weights(*shape: int) -> NDArray:
        values: NDArray = rng.standard_normal(shape) / np.sqrt(np.prod(shape[:-1]))
        return values.astype(np.float32)

    graph = ki.Graph()
    with graph.as_default():
        image = ki.placeholder(np.uint8, (None, 11, 13, 3), name="image")
        x = ki.resize_bilinear(ki.cast(image, np.float32), (9, 10))
        x = (x - 128.0) * 0.0078125
        x = ki.relu(ki.bias_add(ki.conv2d(x, weights(3, 3, 3, 16), (1, 2, 2, 1), "SAME"), weights(16)))
        left = ki.relu(ki.bias_add(ki.conv2d(x, weights(1, 1, 16, 20), (1, 1, 1, 1), "SAME"), weights(20)))
        right = ki.avg_pool(x, (1, 3, 3, 1), (1, 1, 1, 1), "SAME")
        right = ki.relu(ki.bias_add(ki.conv2d(right, weights(3, 1, 16, 12), (1, 1, 1, 1), "SAME"), weights(12)))
        joined = ki.concat([left, ki.max_pool(x, (1, 3, 3, 1), (1, 1, 1, 1), "SAME"), right], 3, name="joined")
        pooled = ki.reduce_mean(joined, (1, 2))
        ki.softmax(ki.matmul(pooled, weights(48, 7)) + weights(7), name="probabilities")
    return graph, "image:0", "probabilities:0"


@pytest.mark.parametrize("batch", [1, 3])
def test_a_session_gives_the_references_result(gpu: StandIn, batch: int) -> None:
    rng = np.random.default_rng(11)
    graph, image, probabilities = classifier(rng)
    pixels = rng.integers(0, 256, (batch, 11, 13, 3)).astype(np.uint8)
    fetches = [probabilities, "joined:0"]
    with ki.Session(graph, backend="numpy") as session:
        wanted = session.run(fetches, {image: pixels})
    with ki.Session(graph, backend="cupy") as session:
        found = session.run(fetches, {image: pixels})
        again = session.run(fetches, {image: pixels[:, ::-1]})
        repeated = session.run(fetches, {image: pixels})
    for a, b, c in zip(found, wanted, repeated, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
        np.testing.assert_array_equal(a, c)
    assert not np.array_equal(again[0], found[0])
    assert gpu.launches > 20


def test_nothing_leaves_the_device_in_between(gpu: StandIn) -> None:
    rng = np.random.default_rng(12)
    graph, image, probabilities = classifier(rng)
    with ki.Session(graph, backend="cupy") as session:
        plan = session.plan(probabilities, {image: np.zeros((1, 11, 13, 3), np.uint8)})
        text = plan.explain()
    assert "Copy" not in text
    assert "cupy.f32_conv2d_igemm_fp32" in text
    assert "host." not in text


@pytest.mark.parametrize("name", ["f32_conv2d_igemm_fp32", "max_pool2d", "concat", "softmax", "reduce_mean"])
def test_kernels_pass_on_the_backends_own_device(name: str, gpu: StandIn) -> None:
    kernel = next(k for k in backend.KERNELS if k.name == name)
    cases = [c for c in supported_cases(kernel) if "strided" in c.tags or "epilogue" in c.tags]
    assert cases
    for case in cases:
        check_kernel(kernel, case, device=backend.DEVICE)


@pytest.mark.parametrize("channels", [slice(None), slice(2, 5)])
def test_copies_to_and_from_slices(channels: slice, gpu: StandIn) -> None:
    device = backend.DEVICE
    whole = np.arange(2 * 3 * 4 * 7, dtype=np.float32).reshape(2, 3, 4, 7)
    buffer = device.allocate(whole.nbytes)
    device.upload(np.full(whole.nbytes, 0xA5, np.uint8), buffer)
    part = whole[..., channels]
    offset = (channels.start or 0) * 4
    target = device.view(buffer, offset, whole.dtype, part.shape, whole.strides)
    device.upload(part, target)
    np.testing.assert_array_equal(device.download(target), part)
    expected = np.frombuffer(np.full(whole.nbytes, 0xA5, np.uint8), np.float32).reshape(whole.shape).copy()
    expected[..., channels] = part
    found = device.download(device.view(buffer, 0, whole.dtype, whole.shape))
    np.testing.assert_array_equal(found.view(np.uint32), expected.view(np.uint32))


def test_uploads_are_checked(gpu: StandIn) -> None:
    device = backend.DEVICE
    target = device.view(device.allocate(64), 0, np.dtype(np.float32), (4, 4))
    for wrong in (np.zeros((4, 4)), np.zeros((4, 3), np.float32)):
        with pytest.raises(KernelError, match="expected equal types"):
            device.upload(wrong, target)
    empty = device.view(device.allocate(64), 0, np.dtype(np.float32), (0, 4))
    device.upload(np.zeros((0, 4), np.float32), empty)
    assert device.download(empty).shape == (0, 4)
    device.synchronize()


def test_probe_sees_the_stand_in(gpu: StandIn) -> None:
    assert backend.probe().detail == "emulated, sm_90, 4 multiprocessors, CuPy emulated, NVRTC 0.0"
    assert "cupy" in backends.available_backends()


MODELS = Path(os.environ.get("KIGRAPH_SHARED") or Path(__file__).resolve().parents[3] / "shared") / "models"
SHARED = MODELS / "mobilenet_v1_0.25_224"


@pytest.mark.skipif(not SHARED.is_dir(), reason=f"no real models beside the project: {SHARED} is missing")
def test_a_real_network_gives_tensorflows_result(gpu: StandIn) -> None:
    """MobileNet v1 0.25: standard and depthwise convolutions, relu6; 41 million multiply-adds, emulated."""
    loaded = load(SHARED / "frozen_graph.pb")
    assert loaded.graph is not None
    with np.load(SHARED / "golden_tensorflow.npz") as golden:
        image, wanted = golden["grace_hopper.jpg"], golden["grace_hopper.jpg.probabilities"]
    with ki.Session(loaded.graph, backend="cupy") as session:
        (found,) = session.run(loaded.outputs[0], {loaded.inputs[0]: image})
    assert np.abs(found - wanted).max() < 1e-5
    assert np.argsort(-found)[:5].tolist() == np.argsort(-wanted)[:5].tolist()
