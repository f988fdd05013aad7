"""Fourier transforms and folded blocks of ONNX files next to NumPy; nodes in any order."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import kigraph as ki
from kigraph.errors import LoadError
from kigraph.graph.loaders import load

F = np.float32


def _run(path: Path, op: str, inputs: list[Any], version: int, fed: int = 1, **attrs: Any) -> Any:
    """The node with its first inputs fed and the others constant."""
    onnx = pytest.importorskip("onnx")
    helper, numpy_helper = onnx.helper, onnx.numpy_helper
    names = ["" if v is None else f"x{i}" for i, v in enumerate(inputs)]
    given = [
        helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(v.dtype), [None, *v.shape[1:]])
        for n, v in zip(names[:fed], inputs[:fed], strict=True)
    ]
    constants = [numpy_helper.from_array(v, n) for n, v in zip(names[fed:], inputs[fed:], strict=True) if n]
    graph = helper.make_graph(
        [helper.make_node(op, names, ["y"], **attrs)], "g", given, [helper.make_empty_tensor_value_info("y")], constants
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", version)])
    path.write_bytes(model.SerializeToString())
    return ki.Session(load(path).graph).run(["y"], dict(zip(names[:fed], inputs[:fed], strict=True)))[0]


def _complex(x: Any) -> Any:
    return x[..., 0] + 1j * x[..., 1] if x.shape[-1] == 2 else x[..., 0]


def _pairs(z: Any) -> Any:
    return np.stack([z.real, z.imag], -1)


@pytest.mark.parametrize("parts", [1, 2])
@pytest.mark.parametrize("axis", [1, 2, -2])
@pytest.mark.parametrize("length", [None, 5, 12])
@pytest.mark.parametrize("inverse", [False, True])
@pytest.mark.parametrize("version", [17, 20])
def test_transforms(
    parts: int, axis: int, length: int | None, inverse: bool, version: int, tmp_path: Path, seed: int
) -> None:
    x = np.random.default_rng(seed).normal(size=(2, 7, 8, parts)).astype(F)
    inputs = [x, None if length is None else np.array(length)]
    attrs: dict[str, Any] = {"inverse": int(inverse)}
    if version == 20:
        inputs.append(np.array(axis))
    else:
        attrs["axis"] = axis
    place = axis if axis > 0 else axis + 1  # NumPy has no axis of parts
    transform = np.fft.ifft if inverse else np.fft.fft
    z = _complex(x).astype(np.complex128)
    found = _run(tmp_path / "m.onnx", "DFT", inputs, version, **attrs)
    np.testing.assert_allclose(found, _pairs(transform(z, length, place)), rtol=1e-5, atol=1e-6)
    if parts == 1 and not inverse:
        half = _run(tmp_path / "h.onnx", "DFT", inputs, version, **attrs, onesided=1)
        np.testing.assert_allclose(half, _pairs(np.fft.rfft(z.real, length, place)), rtol=1e-5, atol=1e-6)
    if parts == 2 and inverse:
        real = _run(tmp_path / "r.onnx", "DFT", inputs, version, **attrs, onesided=1)
        np.testing.assert_allclose(real[..., 0], np.fft.irfft(z, length, place), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("parts", [0, 1, 2])
@pytest.mark.parametrize("windowed", [False, True])
def test_frames(parts: int, windowed: bool, tmp_path: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(2, 37, parts) if parts else (2, 37)).astype(F)
    window = rng.random(10).astype(F) if windowed else None
    inputs = [x, np.array(4), window, None if windowed else np.array(10)]
    onesided = parts < 2
    found = _run(tmp_path / "m.onnx", "STFT", inputs, 17, onesided=int(onesided))
    z = _complex(x) if parts else x
    frames = np.stack([z[:, i : i + 10] for i in range(0, 28, 4)], 1) * (1 if window is None else window)
    np.testing.assert_allclose(
        found, _pairs(np.fft.rfft(frames) if onesided else np.fft.fft(frames)), rtol=1e-5, atol=1e-5
    )


@pytest.mark.parametrize(
    ("image", "block", "strides", "pads", "dilations"),
    [
        ((6, 5), (2, 3), (1, 1), (0, 0, 0, 0), (1, 1)),
        ((9, 8), (3, 2), (2, 1), (1, 0, 2, 1), (1, 2)),
        ((11,), (3,), (2,), (1, 0), (3,)),
        ((4, 5, 3), (1, 5, 2), (1, 2, 1), (0, 1, 0, 0, 1, 1), (1, 1, 2)),
    ],
)
def test_blocks_are_added_at_their_places(
    image: Any, block: Any, strides: Any, pads: Any, dilations: Any, tmp_path: Path, seed: int
) -> None:
    rank = len(image)
    counts = [
        (image[a] + pads[a] + pads[a + rank] - dilations[a] * (block[a] - 1) - 1) // strides[a] + 1 for a in range(rank)
    ]
    cells = int(np.prod(block))
    x = np.random.default_rng(seed).normal(size=(2, 3 * cells, int(np.prod(counts)))).astype(F)
    expected = np.zeros((2, 3, *image))
    for c, cell in enumerate(itertools.product(*map(range, block))):
        for p, place in enumerate(itertools.product(*map(range, counts))):
            at = tuple(
                i * d + j * s - b for i, d, j, s, b in zip(cell, dilations, place, strides, pads[:rank], strict=True)
            )
            if all(0 <= v < size for v, size in zip(at, image, strict=True)):
                expected[(slice(None), slice(None), *at)] += x[:, c::cells, p]
    found = _run(
        tmp_path / "m.onnx", "Col2Im", [x, np.array(image), np.array(block)], 18,
        strides=strides, pads=pads, dilations=dilations,
    )  # fmt: skip
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_blocks_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    with pytest.raises(LoadError, match="blocks that fit"):
        _run(tmp_path / "m.onnx", "Col2Im", [np.zeros((1, 9, 1), F), np.array([2, 2]), np.array([3, 3])], 18)
    with pytest.raises(LoadError, match="and 4 blocks"):
        _run(tmp_path / "m.onnx", "Col2Im", [np.zeros((1, 4, 5), F), np.array([3, 3]), np.array([2, 2])], 18)


@pytest.mark.parametrize("seed_of_order", range(4))
def test_nodes_in_any_order(seed_of_order: int, tmp_path: Path) -> None:
    """As ONNX Runtime reads them; the graph inside of an If reads a value, too."""
    onnx = pytest.importorskip("onnx")
    helper = onnx.helper
    inner = helper.make_graph(
        [helper.make_node("Neg", ["c"], ["n"])], "i", [], [helper.make_empty_tensor_value_info("n")]
    )
    nodes = [
        helper.make_node("Exp", ["x"], ["a"]), helper.make_node("Abs", ["a"], ["b"]), helper.make_node("Sqrt", ["b"], ["c"]),
        helper.make_node("If", ["p"], ["d"], then_branch=inner, else_branch=inner), helper.make_node("Add", ["d", "a"], ["y"]),
    ]  # fmt: skip
    np.random.default_rng(seed_of_order).shuffle(nodes)
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes, "g", [value("x", 1, [3]), value("p", 9, [])], [helper.make_empty_tensor_value_info("y")]
    )
    path = tmp_path / "m.onnx"
    path.write_bytes(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]).SerializeToString())
    x = np.array([0.5, -1, 2], F)
    (y,) = ki.Session(load(path).graph).run(["y"], {"x": x, "p": np.array(True)})
    np.testing.assert_allclose(y, np.exp(x) - np.sqrt(np.exp(x)), rtol=1e-6)


def test_nodes_that_wait_for_each_other_are_an_error(tmp_path: Path) -> None:
    helper = pytest.importorskip("onnx").helper
    nodes = [helper.make_node("Add", ["x", "b"], ["a"]), helper.make_node("Exp", ["a"], ["b"])]
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("x", 1, [3])], [helper.make_empty_tensor_value_info("b")]
    )
    path = tmp_path / "m.onnx"
    path.write_bytes(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]).SerializeToString())
    with pytest.raises(LoadError, match="an output of an earlier node"):
        load(path)


def test_a_name_inside_of_a_graph_is_another_value_than_the_same_name_outside(tmp_path: Path) -> None:
    """The If makes and reads an 'a' of its own; the outer 'a' is made later, from what the If gives."""
    helper = pytest.importorskip("onnx").helper
    empty = helper.make_empty_tensor_value_info
    inner = helper.make_graph(
        [helper.make_node("Neg", ["x"], ["a"]), helper.make_node("Exp", ["a"], ["n"])], "i", [], [empty("n")]
    )
    nodes = [
        helper.make_node("If", ["p"], ["d"], then_branch=inner, else_branch=inner),
        helper.make_node("Abs", ["d"], ["a"]), helper.make_node("Sqrt", ["a"], ["y"]),
    ]  # fmt: skip
    value = helper.make_tensor_value_info
    graph = helper.make_graph(nodes, "g", [value("x", 1, [3]), value("p", 9, [])], [empty("y")])
    path = tmp_path / "m.onnx"
    path.write_bytes(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]).SerializeToString())
    x = np.array([0.5, -1, 2], F)
    (y,) = ki.Session(load(path).graph).run(["y"], {"x": x, "p": np.array(True)})
    np.testing.assert_allclose(y, np.exp(-x / 2), rtol=1e-6)
