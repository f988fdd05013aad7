"""State dicts that are not exactly a network that is built are refused, by name, whatever they hold."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from kigraph.graph.errors import LoadError
from kigraph.graph.loaders import load
from kigraph.graph.models import graph_of_weights
from tests.models.test_torch_networks import resnet, vgg, vit
from tests.models.torch_nets import Arrays, Dict, file_of, run


def changed(arrays: Arrays, **changes: Any) -> Arrays:
    found = dict(arrays)
    for name, value in changes.items():
        found.pop(name.replace("__", "."), None)
        if value is not None:
            found[name.replace("__", ".")] = np.zeros(value, np.float32)
    return found


def without(arrays: Arrays, prefix: str) -> Arrays:
    return {name: array for name, array in arrays.items() if not name.startswith(prefix)}


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        (changed(resnet(False), projector__weight=(3, 3)), r"1 that no layer of the network takes: 'projector\.weight' \(3, 3\)"),
        (changed(resnet(False), layer3__0__bn2__running_var=None), r"no array 'layer3\.0\.bn2\.running_var'"),
        (changed(resnet(False), fc__weight=(7, 33)), r"array 'fc\.weight': found shape \(7, 33\); expected \(7, 32\)"),
        (changed(resnet(False), conv1__weight=(8, 3, 3, 3)), "3x3, whose stride and pool the file does not say"),
        (changed(resnet(False), layer2__0__conv1__weight=(16, 4, 3, 3)), r"4 channels; expected 8, as many as it gets"),
        (changed(resnet(False), layer2__0__conv1__weight=(16, 0, 3, 3)), "sizes from 1"),
        (changed(resnet(False), layer3__0__downsample__0__weight=None), r"array 'layer3\.0\.downsample\.1\.weight': found shape"),
        (without(resnet(False), "layer3.0.downsample"), "without 'downsample'"),
        (changed(vgg(False, 2), features__3__bias=None), r"no array 'features\.3\.bias'"),
        (changed(vgg(False, 2), classifier__6__bias=None), r"no array 'classifier\.6\.bias'"),
        (changed(vit("timm"), blocks__1__attn__qkv__bias=None), r"no array 'blocks\.1\.attn\.qkv\.bias'"),
        (changed(vit("timm"), blocks__0__attn__qkv__bias=None), r"'blocks\.1\.attn\.qkv\.bias'"),
        (changed(vgg(False, 2), classifier__0__weight=(12, 30)), "the channels times a square"),
        (changed(vgg(False, 2), features__9__weight=(4, 10, 3, 3)), "modules; expected none, or one pool"),
        (vit("timm", 16), "width 16, and no array says how many heads share it"),
        (changed(vit("timm"), pos_embed=(1, 8, 192)), "8 positions of patches"),
        (changed(vit("timm"), norm_pre__weight=(192,)), r"'norm_pre\.weight'"),
        (changed(vit("timm"), cls_token=None, pos_embed=(1, 9, 192)), "the pooling is unknown"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_by_name(arrays: Arrays, said: str) -> None:
    with pytest.raises(LoadError, match=said) as caught:
        graph_of_weights(file_of(arrays))
    assert "torch.export" in str(caught.value)


def test_weights_of_integers_are_refused() -> None:
    arrays = resnet(False)
    arrays["layer1.0.conv1.weight"] = arrays["layer1.0.conv1.weight"].astype(np.int8)
    with pytest.raises(LoadError, match="element type int8; expected floating point"):
        graph_of_weights(file_of(arrays))


def mobilenet(widths: list[int]) -> Arrays:
    d = Dict()
    d.conv("features.0.0", 8, 3, 3)
    d.norm("features.0.1", 8)
    taken = 8
    for block, width in enumerate(widths, 1):
        name, inner, at = f"features.{block}.conv", taken if block == 1 else 2 * taken, 0
        if block > 1:
            d.conv(f"{name}.0.0", inner, taken, 1)
            d.norm(f"{name}.0.1", inner)
            at = 1
        d.conv(f"{name}.{at}.0", inner, 1, 3)
        d.norm(f"{name}.{at}.1", inner)
        d.conv(f"{name}.{at + 1}", width, inner, 1)
        d.norm(f"{name}.{at + 2}", width)
        taken = width
    last = len(widths) + 1
    d.conv(f"features.{last}.0", 12, taken, 1)
    d.norm(f"features.{last}.1", 12)
    d.linear("classifier.1", 4, 12)
    return d.arrays


@pytest.mark.parametrize("widths", [[8] * 4, [8, 12, 12, 16], [8, 8, 16, 16, 24, 24, 24]])
def test_blocks_whose_strides_nothing_tells_are_refused(widths: list[int]) -> None:
    with pytest.raises(LoadError, match="no array says which of them halve the image"):
        graph_of_weights(file_of(mobilenet(widths)))


@pytest.mark.parametrize("widths", [[8] * 17, [4, 8, 8, 12, 12, 16, 20, 24, 28]])
def test_published_sequences_of_blocks_of_any_width(widths: list[int]) -> None:
    """17 blocks, or seven stages: five of their convolutions and the first halve the image."""
    arrays = mobilenet(widths)
    assert run(arrays, Dict(1).image(2, 3, 33, 33)).shape == (2, 4)
    graph = graph_of_weights(file_of(arrays))
    strides = [op.attrs["strides"][1] for op in graph.operations if "Conv2" in op.type or "Depthwise" in op.type]
    assert strides.count(2) == 5
    assert set(strides) == {1, 2}


def test_a_torchscript_program_says_how_to_convert_it(torch_zip: Callable[..., Any]) -> None:
    with pytest.raises(LoadError, match=r"torch\.onnx\.export\(torch\.jit\.load\('model\.pt'\)\.eval\(\)"):
        load(torch_zip(resnet(False), constants=True))


@pytest.mark.parametrize("key", ["state_dict", "model_state_dict", "model", "net", "state_dict_ema", "model_ema"])
def test_the_part_of_a_checkpoint_is_named(torch_zip: Callable[..., Any], key: str) -> None:
    loaded = load(torch_zip(resnet(False), key=key))
    assert loaded.weights is not None
    assert graph_of_weights(loaded.weights).metadata["part"] == key


@pytest.fixture
def torch_zip(tmp_path: Any) -> Callable[..., Any]:
    from tests.loaders import conftest as files

    def write(arrays: Arrays, key: str | None = None, constants: bool = False) -> Any:
        import io
        import zipfile

        tensors, storages = files.state_dict(arrays)
        value: Any = tensors if key is None else {"epoch": 3, key: tensors, "steps": 5}
        path = tmp_path / "m.pth"
        data = files.torch_zip(value, storages)
        if constants:
            buffer = io.BytesIO(data)
            with zipfile.ZipFile(buffer, "a") as archive:
                root = archive.namelist()[0].split("/")[0]
                archive.writestr(f"{root}/constants.pkl", b"\x80\x02).")
            data = buffer.getvalue()
        path.write_bytes(data)
        return path

    return write


def test_hundred_thousand_names_take_no_time() -> None:
    """Every name is looked at twice, not once for each network."""
    import time

    array = np.zeros(1, np.float32)
    arrays = {f"module.a{i}": array for i in range(100_000)}
    start = time.perf_counter()
    with pytest.raises(LoadError, match="no built-in network"):
        graph_of_weights(file_of(arrays))
    assert time.perf_counter() - start < 10


def test_names_that_ask_for_many_blocks_do_not_build_them() -> None:
    arrays = changed(resnet(False), **{f"layer1__{i}__conv1__weight": (8, 8, 3, 3) for i in (9999, 5000)})
    with pytest.raises(LoadError, match="without a gap"):
        graph_of_weights(file_of(arrays))
