"""Feeds of other libraries: DLPack, __array_interface__, arrays on a GPU. With PyTorch where it is installed."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
import pytest

import kigraph as ki
from kigraph.graph.foreign import _DLTensor, adopt
from kigraph.graph.values import as_array


class Only:
    """An array that speaks DLPack and nothing else."""

    def __init__(self, array: np.ndarray, device: tuple[int, int] = (1, 0)) -> None:
        self.array, self.device = array, device

    def __dlpack__(self, **options: Any) -> Any:
        return self.array.__dlpack__(**options)

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.device


class Halves(Only):
    """bfloat16 in DLPack, which no NumPy array can give: a capsule made by hand."""

    def __init__(self, halves: np.ndarray, strided: bool = True) -> None:
        super().__init__(halves)
        self.strided = strided

    def __dlpack__(self, **options: Any) -> Any:
        if options:
            raise TypeError("an older library takes no options")
        x, t = self.array, _DLTensor()
        t.data, t.device_type, t.ndim, t.code, t.bits, t.lanes = x.ctypes.data, 1, x.ndim, 4, 16, 1
        self.shape = (ctypes.c_int64 * max(x.ndim, 1))(*x.shape)
        self.steps = (ctypes.c_int64 * max(x.ndim, 1))(*(s // 2 for s in x.strides))
        t.shape = ctypes.cast(self.shape, ctypes.POINTER(ctypes.c_int64))
        if self.strided:
            t.strides = ctypes.cast(self.steps, ctypes.POINTER(ctypes.c_int64))
        self.tensor = t
        make = ctypes.pythonapi.PyCapsule_New
        make.restype, make.argtypes = ctypes.py_object, (ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p)
        return make(ctypes.addressof(t), b"dltensor", None)


class Interface:
    """What __array_interface__ says, and nothing else."""

    def __init__(self, array: np.ndarray) -> None:
        self.kept = array
        self.__array_interface__ = array.__array_interface__


class Cuda:
    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        return {"shape": (2,), "typestr": "<f4", "data": (1 << 40, False), "version": 3}


def session_of(dtype: str = "float32") -> tuple[ki.Session, ki.Tensor, ki.Tensor]:
    graph = ki.Graph()
    with graph.as_default():
        x = ki.placeholder(dtype)
        y = ki.add(x, x)
    return ki.Session(graph, backend="numpy"), x, y


LAYOUTS = {
    "dense": lambda a: a,
    "strided": lambda a: a[::2, 1::3],
    "reversed": lambda a: a[::-1],
    "transposed": lambda a: a.T,
    "empty": lambda a: a[:0],
    "scalar": lambda a: a[3, 4],
    "broadcast": lambda a: np.broadcast_to(a[:1], (5, a.shape[1])),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("kind", ["float32", "float64", "float16", "int8", "uint8", "int64", "complex64"])
def test_dlpack_of_any_layout(layout: str, kind: str) -> None:
    array = np.asarray(LAYOUTS[layout](np.random.default_rng().integers(0, 90, (8, 12)).astype(kind)))
    session, x, y = session_of(kind)
    for wrapped in (Only(array), Interface(array)):
        got = session.run(y, {x: wrapped})
        np.testing.assert_array_equal(got, array + array)
        assert np.asarray(got).dtype == array.dtype


def test_nothing_is_copied_where_the_memory_allows_it() -> None:
    array = np.arange(12, dtype=np.float32).reshape(3, 4)
    for wrapped in (Only(array), Interface(array)):
        assert np.shares_memory(as_array(wrapped), array)
    array.flags.writeable = False
    assert np.shares_memory(as_array(Only(array)), array)
    assert not np.shares_memory(as_array(Only(array.T)), array)  # kernels take dense arrays


def test_a_result_is_never_the_memory_of_a_feed() -> None:
    array = np.arange(4, dtype=np.float32)
    session, x, _ = session_of()
    got = session.run(x, {x: Only(array)})
    assert isinstance(got, np.ndarray)
    assert not np.shares_memory(got, array)
    with ki.Graph().as_default() as graph:
        constant = ki.constant(Only(array))
        array[:] = -1
        np.testing.assert_array_equal(ki.Session(graph, backend="numpy").run(constant), [0, 1, 2, 3])


@pytest.mark.parametrize("layout", LAYOUTS)
def test_bfloat16_is_float32_exactly(layout: str) -> None:
    drawn = np.random.default_rng().standard_normal((8, 12)).astype(np.float32)
    drawn[0, :3] = np.nan, np.inf, -0.0
    exact = drawn.view(np.uint32) & np.uint32(0xFFFF0000)
    halves = np.asarray(LAYOUTS[layout]((exact >> 16).astype(np.uint16)))
    expected = np.asarray(LAYOUTS[layout](exact.view(np.float32)))
    found = as_array(Halves(halves))
    assert found.dtype == np.float32
    assert found.shape == expected.shape
    np.testing.assert_array_equal(found, expected)
    if halves.flags.c_contiguous:
        np.testing.assert_array_equal(as_array(Halves(halves, strided=False)), expected)


def test_bfloat16_of_numpy_extensions() -> None:
    ml_dtypes = pytest.importorskip("ml_dtypes")
    array = np.random.default_rng().standard_normal((3, 5)).astype(ml_dtypes.bfloat16)
    np.testing.assert_array_equal(as_array(array), array.astype(np.float32))
    np.testing.assert_array_equal(as_array(array[::2, ::-1]), array[::2, ::-1].astype(np.float32))


def test_lists_of_arrays() -> None:
    a, b = np.float32([1, 2]), np.float32([3, 4])
    session, x, y = session_of()
    np.testing.assert_array_equal(session.run(y, {x: [Only(a), Only(b)]}), [[2, 4], [6, 8]])
    np.testing.assert_array_equal(session.run(y, {x: [[Only(a)], (Only(b),)]}), [[[2, 4]], [[6, 8]]])
    with pytest.raises(ki.FeedError):
        session.run(y, {x: [Only(a), Only(np.float32([1]))]})


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (Only(np.zeros(2), (2, 1)), ["Only, is on a CUDA device (number 1), expected main memory", "cupy.asnumpy(x)"]),
        (Only(np.zeros(2), (77, 0)), ["a device of kind 77", "expected main memory"]),
        (Cuda(), ["Cuda, is on a CUDA device (number 0)", "x.copy_to_host() for Numba"]),
        ([Cuda(), Cuda()], ["is on a CUDA device"]),
    ],
    ids=["cuda", "unknown", "interface", "list"],
)
def test_what_is_not_in_main_memory_is_refused(value: Any, words: list[str]) -> None:
    session, x, y = session_of()
    with pytest.raises(ki.FeedError) as error:
        session.run(y, {x: value})
    assert all(word in str(error.value) for word in (*words, "Placeholder:0"))


def test_errors_of_the_other_library_are_told() -> None:
    class Broken(Only):
        def __dlpack__(self, **options: Any) -> Any:
            raise RuntimeError("needs detach()")

    class Nowhere(Only):
        def __dlpack_device__(self) -> tuple[int, int]:
            raise ValueError("meta tensor")

    session, x, y = session_of()
    for value, words in ((Broken(np.zeros(2)), "needs detach()"), (Nowhere(np.zeros(2)), "meta tensor")):
        with pytest.raises(ki.FeedError, match=words.replace("(", r"\(").replace(")", r"\)")):
            session.run(y, {x: value})


def test_a_model_is_called_with_them() -> None:
    from kigraph.calling import calls_of

    graph = ki.Graph()
    with graph.as_default():
        ki.add(ki.placeholder("float32", [1, 3], name="x"), 1.0, name="y")
    call = calls_of(ki.Session(graph, backend="numpy"))["serving_default"]
    array = np.arange(6, dtype=np.float32).reshape(2, 3)  # two items: run in parts
    np.testing.assert_array_equal(call(Only(array))["y:0"], array + 1)
    with pytest.raises(ki.FeedError, match="CUDA"):
        call(Only(array, (2, 0)))


def test_pytorch() -> None:
    torch = pytest.importorskip("torch", reason="needs PyTorch")
    tensor = torch.randn(4, 6)
    assert as_array(tensor).ctypes.data == tensor.data_ptr()
    for value in (tensor, tensor.T, tensor[::2, 1:], torch.empty(0, 3), torch.tensor(2.0), tensor.to(torch.float16)):
        np.testing.assert_array_equal(as_array(value), value.numpy())
    for value in (tensor.bfloat16(), tensor.bfloat16().T, tensor.bfloat16()[1::2, ::3], tensor.bfloat16()[:0]):
        np.testing.assert_array_equal(as_array(value), value.float().numpy())
    np.testing.assert_array_equal(
        as_array([tensor.bfloat16(), tensor.bfloat16()])[1], tensor.bfloat16().float().numpy()
    )
    np.testing.assert_array_equal(as_array(torch.tensor([True, False])), [True, False])
    for value, words in (
        (tensor.clone().requires_grad_(), "detach"), (tensor.to("meta"), "meta"), (tensor.to_sparse(), "."),
        (torch.zeros(2, dtype=torch.complex64).conj(), "resolve_conj|conj"), (torch.zeros(2).to(torch.float8_e5m2), "."),
    ):  # fmt: skip
        with pytest.raises(ki.GraphError, match=words):
            as_array(value)


def test_adopted_memory_outlives_its_object() -> None:
    array = adopt(Only(np.arange(1000, dtype=np.int64)), "x")
    np.testing.assert_array_equal(array, np.arange(1000))
