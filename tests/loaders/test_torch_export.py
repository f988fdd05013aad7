"""Exported programs of PyTorch: each op next to NumPy, changes in place, damage, and PyTorch's own files where it is installed."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import kigraph as ki
from tests.loaders.pt2_files import archive, call, program

Array = np.ndarray[Any, Any]


def load(folder: Path, nodes: Any, outputs: Any, inputs: Any, weights: Any = {}) -> ki.Classifier:  # noqa: B006
    path = folder / "net.pt2"
    path.write_bytes(archive(program(nodes, outputs, inputs, weights), weights))
    return ki.load(path, backend="numpy")


def test_a_network(seed: int, tmp_path: Path) -> None:
    """Grouped, padded convolution, batch norm, in-place relu, pools, flatten of a computed batch, linear."""
    rng = np.random.default_rng(seed)

    def array(*shape: int) -> Array:
        return rng.standard_normal(shape).astype(np.float32)

    weights = {
        "c.weight": array(4, 1, 3, 3), "c.bias": array(4), "b.weight": array(4), "b.bias": array(4), "b.mean": array(4),
        "b.var": np.abs(array(4)) + 1, "f.weight": array(3, 4), "f.bias": array(3),
    }  # fmt: skip
    nodes = [
        call("sym_size.int", "@n", self="$x", dim=0),
        call(
            "conv2d", "c", input="$x", weight="$p_c_weight", bias="$p_c_bias", stride=[1, 2], padding=[1, 0], groups=2
        ),
        call(
            "batch_norm",
            "b",
            input="$c",
            weight="$p_b_weight",
            bias="$p_b_bias",
            running_mean="$p_b_mean",
            running_var="$p_b_var",
            training=False,
            eps=1e-3,
        ),
        call("relu_", "r", self="$b"),
        call("max_pool2d", "m", self="$r", kernel_size=[2, 2], stride=[1, 1], padding=[1, 1]),
        call("adaptive_avg_pool2d", "a", self="$m", output_size=[1, 1]),
        call("view", "v", self="$a", size=["@n", 4]),
        call("linear", "y", input="$v", weight="$p_f_weight", bias="$p_f_bias"),
    ]
    model = load(tmp_path, nodes, ["y", "b"], {"x": (None, 2, 5, 7)}, weights)
    x = array(3, 2, 5, 7)
    found = model.predict(x)
    padded = np.pad(x.astype(np.float64), ((0, 0), (0, 0), (1, 1), (0, 0)))
    c = np.zeros((3, 4, 5, 3))
    for o in range(4):
        for i, j in np.ndindex(5, 3):
            window = padded[:, o // 2, i : i + 3, 2 * j : 2 * j + 3]
            c[:, o, i, j] = (window * weights["c.weight"][o, 0]).sum((1, 2)) + weights["c.bias"][o]

    def column(name: str) -> Array:
        return weights[name].reshape(4, 1, 1).astype(np.float64)

    b = (c - column("b.mean")) / np.sqrt(column("b.var") + 1e-3) * column("b.weight") + column("b.bias")
    r = np.maximum(b, 0)
    wide = np.pad(r, ((0, 0), (0, 0), (1, 1), (1, 1)), constant_values=-np.inf)
    m = np.lib.stride_tricks.sliding_window_view(wide, (2, 2), (2, 3)).max((-1, -2))
    y = m.mean((2, 3)) @ weights["f.weight"].T + weights["f.bias"]
    np.testing.assert_allclose(found["output"], y, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(found["output_1"], r, rtol=1e-4, atol=1e-4)  # b was changed in place
    np.testing.assert_allclose(model.session.run("c", {"x": x}), c, rtol=1e-4, atol=1e-4)


X = np.random.default_rng(7).standard_normal((2, 4, 3, 5)).astype(np.float32)


def _softmax(x: Array, axis: int) -> Array:
    e = np.exp(x - x.max(axis, keepdims=True))
    return e / e.sum(axis, keepdims=True)


@pytest.mark.parametrize(
    ("op", "arguments", "want"),
    [
        ("hardswish", {}, lambda x: x * np.clip(x + 3, 0, 6) / 6),
        ("silu", {}, lambda x: x / (1 + np.exp(-x))),
        ("hardtanh", {"min_val": -0.5, "max_val": 0.25}, lambda x: np.clip(x, -0.5, 0.25)),
        ("softmax.int", {"dim": -3}, lambda x: _softmax(x, 1)),
        ("mean.dim", {"dim": [-1, 2], "keepdim": True}, lambda x: x.mean((2, 3), keepdims=True)),
        ("add.Scalar", {"other": 2, "alpha": 3}, lambda x: x + 6),
        ("rsub.Scalar", {"other": 2.0}, lambda x: 2 - x),
        ("pow.Tensor_Scalar", {"exponent": 2}, lambda x: x**2),
        ("clamp", {"min": 0, "max": None}, lambda x: np.maximum(x, 0)),
        ("var.correction", {"dim": [1, 2, 3], "correction": 1}, lambda x: x.var((1, 2, 3), ddof=1)),
        ("flatten.using_ints", {"start_dim": 1, "end_dim": 2}, lambda x: x.reshape(2, 12, 5)),
        ("unflatten.int", {"dim": 1, "sizes": [2, -1]}, lambda x: x.reshape(2, 2, 2, 3, 5)),
        ("transpose.int", {"dim0": 1, "dim1": -1}, lambda x: x.swapaxes(1, 3)),
        ("permute", {"dims": [0, 2, 3, 1]}, lambda x: x.transpose(0, 2, 3, 1)),
        ("select.int", {"dim": 1, "index": -1}, lambda x: x[:, -1]),
        ("slice.Tensor", {"dim": 3, "start": 1, "end": 9223372036854775807, "step": 2}, lambda x: x[..., 1::2]),
        ("slice.Tensor", {"dim": 1, "start": -3, "end": -1}, lambda x: x[:, -3:-1]),
        ("unfold", {"dimension": -1, "size": 2, "step": 2}, lambda x: np.lib.stride_tricks.sliding_window_view(x, 2, 3)[:, :, :, ::2]),
        ("unfold", {"dimension": 1, "size": 3, "step": 1}, lambda x: np.lib.stride_tricks.sliding_window_view(x, 3, 1)),
        ("unsqueeze", {"dim": -1}, lambda x: x[..., None]),
        ("repeat", {"repeats": [2, 1, 1, 1, 3]}, lambda x: np.tile(x, (2, 1, 1, 1, 3))),
        ("constant_pad_nd", {"pad": [1, 2, 0, 1], "value": 5.0}, lambda x: np.pad(x, ((0, 0), (0, 0), (0, 1), (1, 2)), constant_values=5)),
        ("flip", {"dims": [1, -1]}, lambda x: x[:, ::-1, :, ::-1]),
        ("roll", {"shifts": [1, -2], "dims": [1, 3]}, lambda x: np.roll(x, (1, -2), (1, 3))),
        ("expand", {"size": [3, -1, 4, -1, 5]}, lambda x: np.broadcast_to(x, (3, 2, 4, 3, 5))),
        ("pixel_shuffle", {"upscale_factor": 2}, lambda x: x.reshape(2, 1, 2, 2, 3, 5).transpose(0, 1, 4, 2, 5, 3).reshape(2, 1, 6, 10)),
        ("channel_shuffle", {"groups": 2}, lambda x: x.reshape(2, 2, 2, 3, 5).swapaxes(1, 2).reshape(2, 4, 3, 5)),
        ("avg_pool2d", {"kernel_size": [3, 2], "stride": [1, 2], "padding": [1, 0]}, lambda x: np.lib.stride_tricks.sliding_window_view(np.pad(x, ((0, 0), (0, 0), (1, 1), (0, 0))), (3, 2), (2, 3))[:, :, :, ::2].mean((-1, -2))),
        ("max_pool2d", {"kernel_size": [2, 2], "ceil_mode": True}, lambda x: np.lib.stride_tricks.sliding_window_view(np.pad(x, ((0, 0), (0, 0), (0, 1), (0, 1)), constant_values=-np.inf), (2, 2), (2, 3))[:, :, ::2, ::2].max((-1, -2))),
        ("adaptive_avg_pool2d", {"output_size": [2, 3]}, lambda x: np.stack([np.stack([x[:, :, a:b, c:d].mean((2, 3)) for c, d in ((0, 2), (1, 4), (3, 5))], -1) for a, b in ((0, 2), (1, 3))], -2)),
        ("group_norm", {"num_groups": 2, "eps": 0.1}, lambda x: ((y := x.reshape(2, 2, -1)) - y.mean(2, keepdims=True)).__truediv__(np.sqrt(y.var(2, keepdims=True) + 0.1)).reshape(x.shape)),
        ("layer_norm", {"normalized_shape": [3, 5], "eps": 0.1}, lambda x: (x - x.mean((2, 3), keepdims=True)) / np.sqrt(x.var((2, 3), keepdims=True) + 0.1)),
        ("slice_scatter", {"src": "$half", "dim": 1, "start": 1, "end": 3}, lambda x: np.concatenate([x[:, :1], x[:, :2], x[:, 3:]], 1)),
        ("argmax", {"dim": 1, "keepdim": True}, lambda x: x.argmax(1)[:, None]),
    ],
)  # fmt: skip
@pytest.mark.parametrize("batch", ["known", "unknown"])
def test_an_op(op: str, arguments: dict[str, Any], want: Any, batch: str, tmp_path: Path) -> None:
    first = "input" if op in ("group_norm", "layer_norm") else "self"
    nodes = [call("slice.Tensor", "half", self="$x", dim=1, start=0, end=2)] if "src" in arguments else []
    nodes.append(call(op, "y", **{first: "$x"}, **arguments))
    shape = (None if batch == "unknown" else 2, *X.shape[1:])
    found = load(tmp_path, nodes, ["y"], {"x": shape}).predict(X)
    np.testing.assert_allclose(found, want(X.astype(np.float64)), rtol=1e-5, atol=1e-5)


def test_a_change_through_a_view_is_refused(tmp_path: Path) -> None:
    nodes = [
        call("view", "v", self="$x", size=[8, 15]),
        call("relu_", "r", self="$v"),
        call("add.Tensor", "y", self="$x", other="$x"),
    ]
    with pytest.raises(ki.LoadError, match=r"changed in place through another view.*run_decompositions"):
        load(tmp_path, nodes, ["y"], {"x": X.shape})
    # What is not read afterwards does not matter, and the tensor itself has its new value.
    nodes[2] = call("add.Tensor", "y", self="$v", other="$r")
    assert (
        load(tmp_path, nodes, ["y"], {"x": X.shape}).predict(X).tolist()
        == (2 * np.maximum(X, 0)).reshape(8, 15).tolist()
    )


def test_an_unknown_op_is_fed_past(tmp_path: Path) -> None:
    nodes = [call("fft_fft", "f", self="$x"), call("relu", "g", self="$f"), call("neg", "y", self="$g")]
    model = load(tmp_path, nodes, ["y"], {"x": (2, 3)})
    with pytest.raises(ki.UnsupportedOpError, match="fft_fft"):
        model.predict(np.ones((2, 3), np.float32))
    training = [call("batch_norm", "y", input="$x", running_mean="$x", running_var="$x", training=True)]
    with pytest.raises(ki.UnsupportedOpError, match="eval"):
        load(tmp_path, training, ["y"], {"x": (2, 3)}).predict(np.ones((2, 3), np.float32))


GOOD = program(
    [call("linear", "y", input="$x", weight="$p_w")], ["y"], {"x": (None, 3)}, {"w": np.ones((2, 3), np.float32)}
)


def _changed(*path: Any, to: Any) -> Any:
    found = copy.deepcopy(GOOD)
    inner = found
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = to
    return found


GRAPH = ("graph_module", "graph")
NODE = (*GRAPH, "nodes", 0)


@pytest.mark.parametrize(
    "model",
    [
        "{", "[]", "[" * 100_000, '{"graph_module": 5}', _changed(*GRAPH, "nodes", to=None), _changed(*GRAPH, "nodes", to=[5]),
        _changed(*NODE, "target", to=7), _changed(*NODE, "inputs", to=[{}]), _changed(*NODE, "outputs", to=[[1]]),
        _changed(*NODE, "inputs", 0, "arg", to={"as_tensor": {"name": "later"}}),
        _changed(*NODE, "inputs", 0, "arg", to={"as_graph": {}}), _changed(*NODE, "inputs", 0, "arg", to={"as_int": 1, "as_none": True}),
        _changed(*NODE, "outputs", 0, to={"as_tensor": {"name": "x"}}),
        _changed(*GRAPH, "tensor_values", to={}), _changed(*GRAPH, "tensor_values", "x", "sizes", to=[{"as_int": -1}] * 40),
        _changed(*GRAPH, "tensor_values", "x", "dtype", to=99),
        _changed("graph_module", "signature", "input_specs", 0, to={"parameter": {"arg": {"name": "p_w"}, "parameter_name": "none"}}),
        _changed("graph_module", "signature", "output_specs", to=[]), _changed("graph_module", "signature", "input_specs", to=[{}]),
    ],
    ids=lambda m: json.dumps(m)[:20] if isinstance(m, str) else "",
)  # fmt: skip
def test_damage_is_a_load_error(model: Any, tmp_path: Path) -> None:
    path = tmp_path / "bad.pt2"
    path.write_bytes(archive(model, {"w": np.ones((2, 3), np.float32)}))
    with pytest.raises(ki.LoadError):
        ki.load(path)


@pytest.mark.parametrize(
    "change",
    [
        {"path_name": "../weight_0"}, {"path_name": "none"}, {"use_pickle": True}, {"tensor_meta": None},
        {"tensor_meta": {"dtype": 7, "sizes": [{"as_int": 1 << 40}], "strides": [{"as_int": 1}]}},
        {"tensor_meta": {"dtype": 7, "sizes": [{"as_int": 2}, {"as_int": 4}], "strides": [{"as_int": 4}, {"as_int": 1}]}},
        {"tensor_meta": {"dtype": 7, "sizes": [{"as_int": 2}], "strides": []}},
        {"tensor_meta": {"dtype": 7, "sizes": [{"as_int": 2}], "strides": [{"as_int": 1}], "storage_offset": {"as_int": 9}}},
    ],
    ids=lambda c: str(c)[:30],
)  # fmt: skip
def test_a_damaged_array_is_a_load_error(change: dict[str, Any], tmp_path: Path) -> None:
    import io
    import zipfile

    data = archive(GOOD, {"w": np.ones((2, 3), np.float32)})
    source, buffer = zipfile.ZipFile(io.BytesIO(data)), io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for name in source.namelist():
            content = source.read(name)
            if name.endswith("_weights_config.json"):
                config = json.loads(content)
                config["config"]["w"].update(change)
                content = json.dumps(config).encode()
            file.writestr(name, content)
    (tmp_path / "bad.pt2").write_bytes(buffer.getvalue())
    with pytest.raises(ki.LoadError):
        ki.load(tmp_path / "bad.pt2")


def test_the_layout_before_2_8_names_the_remedy(tmp_path: Path) -> None:
    import zipfile

    with zipfile.ZipFile(tmp_path / "old.pt2", "w") as file:
        file.writestr("serialized_exported_program.json", "{}")
    with pytest.raises(ki.LoadError, match=r"before 2\.8.*Export it again"):
        ki.load(tmp_path / "old.pt2")


def test_pytorchs_own_files(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="needs PyTorch (extra interop)")
    torch.manual_seed(0)
    net = torch.nn.Sequential(
        torch.nn.Conv2d(3, 8, 3, 2, 1), torch.nn.BatchNorm2d(8), torch.nn.Hardswish(), torch.nn.AdaptiveAvgPool2d(2),
        torch.nn.Flatten(), torch.nn.Linear(32, 5), torch.nn.LayerNorm(5), torch.nn.GELU(), torch.nn.Softmax(-1),
    ).eval()  # fmt: skip
    x = torch.randn(3, 3, 9, 9)
    batch = torch.export.Dim("batch", min=1, max=64)
    exported = torch.export.export(net, (x,), dynamic_shapes=({0: batch},))
    for form in (exported, exported.run_decompositions()):
        torch.export.save(form, tmp_path / "net.pt2")
        found = ki.load(tmp_path / "net.pt2", backend="numpy").predict(x[:2].numpy())
        np.testing.assert_allclose(found, net(x[:2]).detach().numpy(), rtol=1e-4, atol=1e-6)
