"""What the cupy backend says when memory ends, a kernel faults, the device changes or the process forks: over the stand-in."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import kigraph as ki
import kigraph.kernels.cupy as backend
from kigraph.kernels.cupy import binding

pytest.importorskip("kigraph.kernels.testing", reason="the emulation of CUDA is not in the wheel")

from kigraph.kernels.testing.standin import StandIn

pytestmark = pytest.mark.skipif(not any(map(shutil.which, ("g++", "c++"))), reason="no C++ compiler")

NDArray = np.ndarray[Any, Any]
MakeGpu = Callable[..., StandIn]
RNG = np.random.default_rng(4)
WEIGHTS = [RNG.standard_normal((1, 1, 8, 8)).astype(np.float32) / 3 for _ in range(3)]
#: Bytes of the activations of one image: conv -> conv -> conv over 24 x 24 x 8 floats.
IMAGE = 24 * 24 * 8 * 4


def chain() -> tuple[ki.Graph, str, str]:
    """Three convolutions, called first, second and third, one after the other."""
    graph = ki.Graph()
    with graph.as_default():
        x = ki.placeholder(np.float32, (None, 24, 24, 8), name="x")
        for name, weights in zip(("first", "second", "third"), WEIGHTS, strict=True):
            x = ki.conv2d(x, weights, (1, 1, 1, 1), "SAME", name=name)
    return graph, "x:0", "third:0"


def images(batch: int) -> NDArray:
    return np.random.default_rng(batch).standard_normal((batch, 24, 24, 8)).astype(np.float32)


def expected(x: NDArray) -> NDArray:
    for weights in WEIGHTS:
        x = x @ weights[0, 0]
    return x


def test_out_of_memory_is_one_clear_error_and_the_session_goes_on(stand_in: MakeGpu) -> None:
    stand_in(memory=6 * IMAGE + 400_000)
    graph, x, y = chain()
    with ki.Session(graph, backend="cupy") as session:
        np.testing.assert_allclose(session.run(y, {x: images(1)}), expected(images(1)), rtol=1e-4, atol=1e-5)
        with pytest.raises(ki.OutOfMemoryError) as caught:
            session.run(y, {x: images(64)})
        message = str(caught.value)
        assert "the activations of 3 steps do not fit into the memory of cuda" in message
        assert re.search(r"allocating [\d,]{9,} bytes", message)
        assert "of the device's 1 MB are free" in message
        assert "Remedy: run a smaller batch" in message
        assert isinstance(caught.value, MemoryError)
        np.testing.assert_allclose(session.run(y, {x: images(2)}), expected(images(2)), rtol=1e-4, atol=1e-5)


def test_idle_contexts_and_the_pool_are_freed_first(stand_in: MakeGpu) -> None:
    """Room for the activations of one batch size at a time; those of the earlier sizes are idle."""
    gpu = stand_in(memory=8 * IMAGE * 3 + 400_000)
    graph, x, y = chain()
    with ki.Session(graph, backend="cupy") as session, ki.Session(graph, backend="cupy") as other:
        for batch in (8, 7, 6, 8):
            for current in (session, other):
                np.testing.assert_allclose(
                    current.run(y, {x: images(batch)}), expected(images(batch)), rtol=1e-4, atol=1e-5
                )
    assert gpu.pool.used + gpu.pool.idle <= gpu.pool.total
    # With a limit CuPy's pool refuses without freeing its idle blocks.
    with ki.Session(graph, backend="cupy") as session:
        gpu.pool.free_all_blocks()
        gpu.pool.set_limit(size=gpu.pool.used + 8 * IMAGE * 3)
        for batch in (8, 7, 6):
            session.run(y, {x: images(batch)})


def test_out_of_memory_while_weights_are_packed_names_the_layer(stand_in: MakeGpu) -> None:
    stand_in(memory=1 << 12)
    graph, x, y = chain()
    with ki.Session(graph, backend="cupy") as session, pytest.raises(ki.OutOfMemoryError, match=r"'first'.*Remedy"):
        session.run(y, {x: images(1)})


def test_out_of_pinned_memory_is_the_same_error(stand_in: MakeGpu, monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = stand_in()
    graph, x, y = chain()
    with ki.Session(graph, backend="cupy") as session:
        session.run(y, {x: images(1)})

        def none_left(size: int) -> Any:
            raise gpu.cupy.cuda.runtime.CUDARuntimeError(2)

        with monkeypatch.context() as patch:
            patch.setattr(gpu.cupy.cuda, "alloc_pinned_memory", none_left)
            with pytest.raises(
                ki.OutOfMemoryError,
                match=r"18,432 bytes of page-locked main memory cannot be had: .*Remedy: run a smaller batch",
            ):
                session.run(y, {x: images(1)})
        session.run(y, {x: images(1)})


def test_main_memory_is_asked_back_and_refused_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    from kigraph.kernels import devices

    asked: list[int] = []

    class Holder:
        def give_back(self) -> None:
            asked.append(1)

    holder = Holder()
    devices.may_give_back(holder)
    with pytest.raises(ki.OutOfMemoryError, match=r"1,152,921,504,606,846,976 bytes of main memory.*Remedy"):
        devices.HOST.allocate(1 << 60)
    assert asked == [1]
    tries = iter([MemoryError(), None])

    def second_time() -> str:
        if (error := next(tries)) is not None:
            raise error
        return "there"

    assert devices.after_giving_back(second_time) == "there"


def test_a_fault_is_reported_late_and_said_to_be(stand_in: MakeGpu) -> None:
    gpu = stand_in()
    graph, x, y = chain()
    with ki.Session(graph, backend="cupy") as session:
        session.run(y, {x: images(1)})
        gpu.break_launch(gpu.launches + 1)  # the second convolution
        with pytest.raises(ki.DeviceError) as caught:
            session.run(y, {x: images(1)})
        message = str(caught.value)
        assert (
            "reported at the copy of the results; raised by one of the steps before it, of this run or of another"
            in message
        )
        assert "cudaErrorIllegalAddress" in message
        assert (
            "the CUDA context is lost. Remedy: restart the process; to find the step, run it again with KIGRAPH_CUPY_SYNC=1"
            in message
        )
        assert "third" not in message
        for _ in range(2):
            with pytest.raises(
                ki.DeviceError, match=r"is lost since cudaErrorIllegalAddress.*Remedy: restart the process"
            ):
                session.run(y, {x: images(1)})
    with pytest.raises(ki.DeviceError, match="is lost since"):
        backend.DEVICE.allocate(64)
    status = backend.probe()
    assert not status.available
    assert status.remedy.startswith("restart the process")


def test_a_fault_that_a_later_launch_reports_does_not_blame_that_step(stand_in: MakeGpu) -> None:
    gpu = stand_in()
    graph, x, y = chain()
    launch = gpu.driver.launchKernel
    with ki.Session(graph, backend="cupy") as session:

        def reporting(*arguments: Any) -> None:
            launch(*arguments)
            if gpu.launches == broken + 2:
                gpu._lost = gpu._pending  # the device got there before the third launch

        gpu.driver.launchKernel = reporting  # before the steps are bound
        broken = gpu.launches + 3  # after the three launches that pack weights
        gpu.break_launch(broken)
        with pytest.raises(
            ki.DeviceError,
            match=r"reported at step 3 of 3, Conv2D 'third'; raised by it or by one of the steps before",
        ):
            session.run(y, {x: images(1)})


@pytest.mark.parametrize("checked", ["0", "1"])
def test_a_bound_run_tells_a_fault_that_the_look_at_the_device_reports(
    checked: str, stand_in: MakeGpu, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KIGRAPH_CUPY_SYNC", checked)
    gpu = stand_in()
    answers = iter([0, 0])

    def lost_after() -> int:
        for answer in answers:
            return answer
        raise gpu.cupy.cuda.runtime.CUDARuntimeError(700)

    gpu.cupy.cuda.runtime.getDevice = lost_after
    run = backend._LAUNCHER.bind((), ())  # looks once
    run()
    with pytest.raises(ki.DeviceError, match=r"cudaErrorIllegalAddress.*the CUDA context is lost"):
        run()


def test_a_fault_that_the_look_at_the_device_reports_is_a_fault(stand_in: MakeGpu) -> None:
    """cudaGetDevice, too, may give the error of an earlier kernel; it is no missing driver."""
    gpu = stand_in()
    graph, x, y = chain()
    with ki.Session(graph, backend="cupy") as session:
        session.run(y, {x: images(1)})

        def lost() -> int:
            raise gpu.cupy.cuda.runtime.CUDARuntimeError(719)

        gpu.cupy.cuda.runtime.getDevice = lost
        with pytest.raises(ki.DeviceError, match=r"cudaErrorLaunchFailure.*the CUDA context is lost"):
            session.run(y, {x: images(1)})
        with pytest.raises(ki.DeviceError, match="is lost since cudaErrorLaunchFailure"):
            session.run(y, {x: images(1)})


@pytest.mark.parametrize("how", ["setting", "profile"])
def test_a_checked_run_names_the_step(how: str, stand_in: MakeGpu, monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = stand_in()
    if how == "setting":
        monkeypatch.setenv("KIGRAPH_CUPY_SYNC", "1")
    graph, x, y = chain()
    with ki.Session(graph, backend="cupy") as session:
        session.run(y, {x: images(1)})
        gpu.break_launch(gpu.launches + 1, status=716)
        with pytest.raises(
            ki.DeviceError, match=r"^Conv2D 'second': .*cudaErrorMisalignedAddress.*context is lost"
        ) as caught:
            session.profile(y, {x: images(1)}) if how == "profile" else session.run(y, {x: images(1)})
    assert "steps before" not in str(caught.value)
    if how == "setting":
        assert "kernel conv2d_fp32: " in str(caught.value)


def test_another_current_device_is_refused(stand_in: MakeGpu) -> None:
    gpu = stand_in(devices=2)
    graph, x, y = chain()
    with ki.Session(graph, backend="cupy") as session:
        wanted = session.run(y, {x: images(1)})
        gpu.cupy.cuda.runtime.setDevice(1)
        for use in (lambda: session.run(y, {x: images(1)}), lambda: backend.DEVICE.allocate(64)):
            with pytest.raises(
                ki.BackendError, match=r"uses CUDA device 0 .* is 1; one process uses one device\. Remedy: "
            ):
                use()
        gpu.cupy.cuda.runtime.setDevice(0)
        np.testing.assert_array_equal(session.run(y, {x: images(1)}), wanted)


def test_a_bound_run_looks_at_the_device_of_its_thread(stand_in: MakeGpu) -> None:
    gpu = stand_in(devices=2)
    launcher = backend._LAUNCHER
    run = launcher.bind((), ())
    run()
    errors: list[Exception] = []

    def elsewhere() -> None:
        gpu.cupy.cuda.runtime.setDevice(1)
        try:
            run()
        except Exception as error:
            errors.append(error)

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert [type(e) for e in errors] == [ki.BackendError]


def test_the_first_device_in_use_is_the_processs(stand_in: MakeGpu) -> None:
    gpu = stand_in(devices=2)
    gpu.cupy.cuda.runtime.setDevice(1)
    graph, x, y = chain()
    with ki.Session(graph, backend="cupy") as session:
        np.testing.assert_allclose(session.run(y, {x: images(1)}), expected(images(1)), rtol=1e-4, atol=1e-5)
    assert binding.STATE.device == 1


FORKED = """
import os, sys
import numpy as np
import kigraph as ki
from kigraph.kernels import backends
from kigraph.kernels.testing.standin import StandIn
StandIn().install(setattr)
backends.Backend.installed = lambda self: True
graph = ki.Graph()
with graph.as_default():
    x = ki.placeholder(np.float32, (None,), name="x")
    y = ki.relu(x)
feeds = {x: np.array([-1, 2], np.float32)}
session = ki.Session(graph, backend="cupy")
assert session.run(y, feeds).tolist() == [0, 2]
child = os.fork()
if child == 0:
    for use in (lambda: session.run(y, feeds), lambda: ki.Session(graph, backend="cupy")):
        try:
            use()
        except ki.BackendError as error:
            print("child:", error, flush=True)
    print("auto:", ki.Session(graph, backend="auto").run(y, feeds).tolist(), "cupy" in backends.available_backends(), flush=True)
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
print("parent:", session.run(y, feeds).tolist())
"""


@pytest.mark.skipif(not hasattr(__import__("os"), "fork"), reason="this system cannot fork")
def test_a_forked_child_is_told() -> None:
    done = subprocess.run([sys.executable, "-c", FORKED], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    first, second, auto, parent = done.stdout.splitlines()
    for line in (first, second):
        assert "CUDA was used before this process was forked" in line
        assert "Remedy: start children by 'spawn' or 'forkserver'" in line
    assert auto == "auto: [0.0, 2.0] False"
    assert parent == "parent: [0.0, 2.0]"


def test_a_bound_run_can_be_captured_and_replayed(stand_in: MakeGpu) -> None:
    gpu = stand_in()
    device = backend.DEVICE
    kernel = next(k for k in backend.KERNELS if k.name == "relu")
    from kigraph.kernels.contracts.elementwise import RELU
    from kigraph.kernels.kernel import NoConstants, Query
    from kigraph.kernels.tensor import TensorType

    t = TensorType(np.dtype(np.float32), (4,))
    assert kernel.prepare is not None
    prepared = kernel.prepare(Query(RELU, (t,), (t,), RELU.params()), NoConstants())
    a, b = (device.view(device.allocate(16), 0, t.dtype, t.dims) for _ in range(2))
    run = prepared.bind([a], [b], None)
    stream = gpu.cupy.cuda.Stream(non_blocking=True)
    with stream:
        stream.begin_capture()
        run()
        launched = gpu.launches
        with pytest.raises(ki.DeviceError, match="StreamCaptureUnsupported"):
            device.synchronize()
        graph = stream.end_capture()
    assert gpu.launches == launched == 0
    for values in ([-1, 2, -3, 4], [5, -6, 7, -8]):
        device.upload(np.array(values, np.float32), a)
        graph.launch(stream)
        np.testing.assert_array_equal(device.download(b), np.maximum(values, 0))


def test_plain_allocations_can_be_asked_for(stand_in: MakeGpu) -> None:
    """As sanitizers need them: each array an allocation of its own, so that an access beyond its end is seen."""
    gpu = stand_in(memory=10 * IMAGE * 3)
    gpu.cupy.cuda.set_allocator(None)
    graph, x, y = chain()
    with ki.Session(graph, backend="cupy") as session:
        np.testing.assert_allclose(session.run(y, {x: images(1)}), expected(images(1)), rtol=1e-4, atol=1e-5)
        assert gpu.plain_allocations > 3
        for batch in (8, 7):  # the second one asks back what the first one left
            session.run(y, {x: images(batch)})
        with pytest.raises(ki.OutOfMemoryError, match=r"cudaErrorMemoryAllocation.*Remedy"):
            session.run(y, {x: images(64)})
