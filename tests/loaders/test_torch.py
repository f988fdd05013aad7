"""PyTorch state dicts in both forms, without PyTorch; every forbidden opcode and name; hostile archives."""

from __future__ import annotations

import io
import pickle
import struct
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from kigraph.graph.errors import LoadError
from kigraph.graph.loaders import LoadLimits, load
from kigraph.graph.loaders.weights import WeightsFile

Write = Callable[..., Path]


def weights(path: Path, limits: LoadLimits | None = None) -> WeightsFile:
    loaded = load(path, limits)
    assert loaded.weights is not None
    return loaded.weights


@pytest.fixture
def arrays() -> dict[str, np.ndarray[Any, Any]]:
    rng = np.random.default_rng(0)
    return {
        "fc.weight": rng.standard_normal((4, 3)).astype(np.float32),
        "double": rng.standard_normal(5),
        "half": rng.standard_normal((2, 2)).astype(np.float16),
        "count": np.array(7, np.int64),
        "flags": np.array([True, False, True]),
        "none": np.zeros((0, 3), np.float32),
    }


def test_zip_form(torch_files: SimpleNamespace, write: Write, arrays: dict[str, Any]) -> None:
    path = write(torch_files.zip(*torch_files.state_dict(arrays)), "model.anything")
    assert load(path).family.name == "torch"
    got = weights(path)
    assert list(got) == list(arrays)
    for name, want in arrays.items():
        assert (got[name].dtype, got[name].shape) == (want.dtype, want.shape)
        np.testing.assert_array_equal(got.read(name), want)


def test_legacy_form(torch_files: SimpleNamespace, write: Write, arrays: dict[str, Any]) -> None:
    tensors, storages = torch_files.state_dict(arrays)
    counted = {k: (a.size, d) for (k, d), a in zip(storages.items(), arrays.values(), strict=True)}
    path = write(torch_files.legacy(tensors, counted))
    assert load(path).family.name == "torch-legacy"
    got = weights(path)
    for name, want in arrays.items():
        np.testing.assert_array_equal(got.read(name), want)


def test_strided_windows_of_a_shared_storage(torch_files: SimpleNamespace, write: Write) -> None:
    base = np.arange(24, dtype=np.float32)
    t = torch_files.strided
    tensors = {
        "dense": t("0", "float32", 24, 0, (2, 3, 4), (12, 4, 1)),
        "turned": t("0", "float32", 24, 0, (4, 2, 3), (1, 12, 4)),
        "corner": t("0", "float32", 24, 13, (3, 2), (4, 1)),
        "spread": t("0", "float32", 24, 5, (3, 2), (0, 0)),
        "last": t("0", "float32", 24, 23, (), ()),
    }
    got = weights(write(torch_files.zip(tensors, {"0": base.tobytes()})))
    cube = base.reshape(2, 3, 4)
    np.testing.assert_array_equal(got.read("dense"), cube)
    np.testing.assert_array_equal(got.read("turned"), cube.transpose(2, 0, 1))
    np.testing.assert_array_equal(got.read("corner"), cube[1, :, 1:3])
    np.testing.assert_array_equal(got.read("spread"), np.full((3, 2), 5))
    np.testing.assert_array_equal(got.read("last"), np.float32(23))
    assert got.read("turned").flags.c_contiguous


def test_views_into_a_legacy_storage(torch_files: SimpleNamespace, write: Write) -> None:
    base = np.arange(10, dtype=np.float32)
    tensors = {"w": torch_files.strided("0", "float32", 10, 1, (2,), (2,))}
    got = weights(write(torch_files.legacy(tensors, {"0": (10, base.tobytes())}, ("0_view", 3, 4))))
    assert got.read("w").tolist() == [4, 6]
    for view in (("v", 3, 3), ("v", 8, 4), ("v", -1, 4), ("v", 3)):
        with pytest.raises(LoadError):
            load(write(torch_files.legacy(tensors, {"0": (10, base.tobytes())}, view)))


def test_bfloat16_becomes_float32(torch_files: SimpleNamespace, write: Write) -> None:
    bits = np.array([0x3F80, 0xC020], "<u2")
    got = weights(write(torch_files.zip({"w": torch_files.tensor("0", bits, "bfloat16")}, {"0": bits.tobytes()})))
    assert got["w"].stored == "bfloat16"
    assert got.read("w").tolist() == [1.0, -2.5]


def test_checkpoints_and_parameters_and_prefixes(torch_files: SimpleNamespace, write: Write) -> None:
    array = np.arange(3, dtype=np.float32)
    tensor = torch_files.tensor("0", array)
    hooks = torch_files.Reduce(torch_files.Global("collections", "OrderedDict"), ())
    parameter = torch_files.Reduce(torch_files.Global("torch._utils", "_rebuild_parameter"), (tensor, True, hooks))
    checkpoint = {"epoch": 3, "state_dict": {"module.w": parameter}, "optimizer": {"lr": [1, 2], "t": (None, True)}}
    got = weights(write(torch_files.zip(checkpoint, {"0": array.tobytes()})))
    np.testing.assert_array_equal(got.read("w"), array)


def test_newer_opcodes(torch_files: SimpleNamespace, write: Write) -> None:
    """Frames, memo by position, short strings, STACK_GLOBAL: what protocol 4 adds."""
    array = np.arange(3, dtype=np.float32)
    body = torch_files.pickled({"w": torch_files.tensor("0", array)})
    body = body.replace(b"ctorch\nFloatStorage\n", b"\x8c\x05torch\x94\x8c\x0cFloatStorage\x94\x93\x94")
    data = b"\x80\x04\x95" + struct.pack("<Q", len(body)) + body[2:]
    np.testing.assert_array_equal(weights(write(torch_files.zip(data, {"0": array.tobytes()}))).read("w"), array)


# --- what no file may do ------------------------------------------------------------------------------------------------


class Evil:
    def __init__(self, function: Any, *args: Any) -> None:
        self.call = (function, args)

    def __reduce__(self) -> Any:
        return self.call


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
def test_os_system_is_never_run(torch_files: SimpleNamespace, write: Write, tmp_path: Path, protocol: int) -> None:
    import os

    sign = tmp_path / "sign"
    data = pickle.dumps({"w": Evil(os.system, f"touch {sign}")}, protocol)
    with pytest.raises(LoadError) as error:
        load(write(torch_files.zip(data, {})))
    assert "data.pkl" in str(error.value)
    head = torch_files.legacy({}, {}).split(torch_files.pickled({}))[0]
    with pytest.raises(LoadError):
        load(write(head + data + torch_files.pickled([])))
    assert not sign.exists()


G = "ctorch._utils\n_rebuild_tensor_v2\n"


@pytest.mark.parametrize(
    ("code", "found"),
    [
        (b"cos\nsystem\n.", "GLOBAL os.system"),
        (b"cbuiltins\neval\n.", "GLOBAL builtins.eval"),
        (b"c__builtin__\ngetattr\n.", "GLOBAL __builtin__.getattr"),
        (b"ctorch\nload\n.", "GLOBAL torch.load"),
        (b"ctorch._utils\n_rebuild_tensor_v2.__globals__\n.", "GLOBAL"),
        (b"\x8c\x02os\x8c\x06system\x93.", "GLOBAL os.system"),
        (b"(ios\nsystem\n.", "opcode INST"),
        (b"(cos\nsystem\no.", "GLOBAL"),
        (b"(o.", "opcode OBJ"),
        (b"ccollections\nOrderedDict\n)\x81.", "opcode NEWOBJ"),
        (b")}\x92.", "opcode NEWOBJ_EX"),
        (b"\x82\x01.", "opcode EXT1"),
        (b"Pkey\n.", "opcode PERSID"),
        (b"\x97.", "opcode NEXT_BUFFER"),
        (b"B\x01\x00\x00\x00a.", "opcode BINBYTES"),
        (b"\x8b\xff\xff\xff\x7f.", "opcode LONG4"),
        (b"\x8e\xff\xff\xff\xff\xff\xff\xff\x7f.", "opcode BINBYTES8"),
        (b"\x01.", "opcode 0x01"),
        (b"]}b.", "something else on the stack; expected a dict"),
        (b"X\xff\xff\xff\x7fabc.", "bytes left"),
        (b"X\x01\x00\x00\x00\xff.", "UTF-8"),
        (b"R.", "an empty stack"),
        (b"))R.", "REDUCE of something"),
        (b"ccollections\nOrderedDict\n]R.", "REDUCE of something"),
        (b"ccollections\nOrderedDict\nN\x85R.", "OrderedDict of something else"),
        (b"ctorch\nFloatStorage\n)R.", "REDUCE of torch FloatStorage"),
        (b"ctorch._utils\n_rebuild_tensor_v2\n)R.", "a tensor without storage"),
        (b"ctorch._utils\n_rebuild_parameter\n)R.", "REDUCE of torch._utils _rebuild_parameter"),
        (b"NQ.", "persistent id"),
        (b"e.", "no MARK"),
        (b"}(Nu.", "1 keys and values"),
        (b"}()Nu.", "a key of type tuple"),
        (b"}(K\x01NK\x01Nu.", "the key 1 twice"),
        (b"h\x05.", "memo index 5"),
        (b"Nr\xff\xff\xff\x7f.", "memo index"),
        (b"q\x00.", "an empty stack"),
        (b"NN.", "1 values left at STOP"),
        (b"(.", "an empty stack"),
        (b"\x80\x09N.", "pickle protocol 9"),
        (b"N", "the end of the pickle"),
        (b"", "the end of the pickle"),
        (b"N.", "a state dict"),
        (b"}.", "a dict with tensors"),
        (b"c" + b"a" * 2000, "a name without an end"),
    ],
)
def test_forbidden_and_malformed_pickles(torch_files: SimpleNamespace, write: Write, code: bytes, found: str) -> None:
    with pytest.raises(LoadError, match=found):
        load(write(torch_files.zip(b"\x80\x02" + code, {})))


def test_shared_containers_do_not_take_exponential_time(torch_files: SimpleNamespace, write: Write) -> None:
    """Each level is a pair of the level below: 2 ** 200 leaves for whoever walks, hashes or prints it."""
    levels = b")" + b"".join(b"q\x01h\x01\x86" for _ in range(200))
    start = time.perf_counter()
    for code in (levels + b".", b"}" + levels + b"Ns.", b"ctorch._utils\n_rebuild_tensor_v2\n(" + levels + b"tR."):
        with pytest.raises(LoadError):
            load(write(torch_files.zip(b"\x80\x02" + code, {})))
    storage = ("storage", torch_files.Global("torch", "FloatStorage"), "0", "cpu", 1)
    head = torch_files.pickled((torch_files.Persistent(storage), 0))[:-2]  # without TUPLE and STOP
    code = b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n" + head[2:] + levels + b")tR."
    with pytest.raises(LoadError, match="whole numbers"):
        load(write(torch_files.zip(code, {})))
    assert time.perf_counter() - start < 2


def test_stack_is_bounded(torch_files: SimpleNamespace, write: Write) -> None:
    with pytest.raises(LoadError, match="on the stack"):
        load(write(torch_files.zip(b"\x80\x02" + b"(" * 2_000_000, {})))


@pytest.mark.parametrize(
    ("args", "found"),
    [
        (("0", "float32", 4, 1, (4,), (1,)), "element 4; expected elements below 4"),
        (("0", "float32", 4, 0, (2, 2), (3, 1)), "element 4"),
        (("0", "float32", 4, 0, (1 << 62,), (0,)), "elements"),
        (("0", "float32", 4, 0, (1 << 40,), (0,)), "4.0 TiB declared"),
        (("0", "float32", 4, 0, (1 << 40, 1 << 40), (0, 0)), "elements"),
        (("0", "float32", 4, 0, (1 << 25,), (0,)), "declared by a file of"),
        (("0", "float32", 4, 0, (4,), (-1,)), "whole numbers"),
        (("0", "float32", 4, -1, (4,), (1,)), "whole numbers"),
        (("0", "float32", 4, 0, (4,), (1, 1)), "whole numbers"),
        (("0", "float32", 5, 0, (4,), (1,)), "a storage of 16 bytes; expected 20 bytes"),
        (("0", "float64", 4, 0, (4,), (1,)), "a storage of 16 bytes; expected 32 bytes"),
        (("../0", "float32", 4, 0, (4,), (1,)), "no member 'archive/data/../0'"),
        (("1", "float32", 4, 0, (4,), (1,)), "no member 'archive/data/1'"),
    ],
)
def test_hostile_tensors(torch_files: SimpleNamespace, write: Write, args: Any, found: str) -> None:
    with pytest.raises(LoadError, match=found):
        load(write(torch_files.zip({"w": torch_files.strided(*args)}, {"0": b"\0" * 16})))


def good(torch_files: SimpleNamespace, **options: Any) -> bytes:
    array = np.arange(1000, dtype=np.float32)
    data: bytes = torch_files.zip({"w": torch_files.tensor("0", array)}, {"0": array.tobytes()}, **options)
    return data


def test_crc_is_checked(torch_files: SimpleNamespace, write: Write) -> None:
    data = bytearray(good(torch_files))
    at = bytes(data).index(np.arange(1000, dtype=np.float32).tobytes()) + 500
    data[at] ^= 1
    got = weights(write(bytes(data)))
    with pytest.raises(LoadError, match=r"'archive/data/0': found CRC [0-9a-f]{8}; expected"):
        got.read("w")


def test_compressed_members_are_refused(torch_files: SimpleNamespace, write: Write) -> None:
    with pytest.raises(LoadError, match="compression method 8"):
        load(write(good(torch_files, compress=True)))


@pytest.mark.slow
def test_a_zip_bomb_is_never_inflated(write: Write) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", b"\0" * (1 << 28))
    start = time.perf_counter()
    with pytest.raises(LoadError, match="compression method 8"):
        load(write(buffer.getvalue()))
    assert time.perf_counter() - start < 0.5


@pytest.mark.parametrize("name", ["../archive/data.pkl", "/archive/data.pkl", "a\\b", "a/../b"])
def test_climbing_names_are_refused(write: Write, name: str) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(name, b"N.")
    with pytest.raises(LoadError, match="a relative name"):
        load(write(buffer.getvalue()))


def test_duplicate_members_are_refused(write: Write) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("archive/data.pkl", b"N.")
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("archive/data.pkl", b"N.")
    with pytest.raises(LoadError, match="a second member"):
        load(write(buffer.getvalue()))


def test_overlapping_members_are_refused(torch_files: SimpleNamespace, write: Write) -> None:
    data = bytearray(good(torch_files))
    # The second entry of the directory points at the first member's header and takes its name.
    first = data.index(b"PK\x01\x02")
    second = data.index(b"PK\x01\x02", first + 4)
    data[second + 42 : second + 46] = data[first + 42 : first + 46]
    with pytest.raises(LoadError, match=r"another name in its header|contradicts the directory|overlap"):
        load(write(bytes(data)))


def test_a_torchscript_program_is_refused(write: Write) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("m/data.pkl", b"\x80\x02}.")
        archive.writestr("m/constants.pkl", b"\x80\x02).")
    with pytest.raises(LoadError, match="TorchScript"):
        load(write(buffer.getvalue()))


def test_big_endian_files_are_refused(torch_files: SimpleNamespace, write: Write) -> None:
    data = good(torch_files).replace(b"little", b"bigggg")
    with pytest.raises(LoadError):
        load(write(data))


@pytest.mark.parametrize("cut", [1, 10, 22, 60, 500, 3000])
def test_truncated_archives(torch_files: SimpleNamespace, write: Write, cut: int) -> None:
    with pytest.raises(LoadError):
        load(write(good(torch_files)[:-cut]))


@pytest.mark.parametrize("cut", [1, 100, 3995, 4005, 4020, 4100, 4200])
def test_truncated_legacy_files(torch_files: SimpleNamespace, write: Write, cut: int) -> None:
    array = np.arange(1000, dtype=np.float32)
    data = torch_files.legacy({"w": torch_files.tensor("0", array)}, {"0": (1000, array.tobytes())})
    with pytest.raises(LoadError):
        load(write(data[:-cut]))


@pytest.mark.parametrize("count", [-1, 999, 1001, 1 << 62])
def test_legacy_storage_counts(torch_files: SimpleNamespace, write: Write, count: int) -> None:
    array = np.arange(1000, dtype=np.float32)
    data = torch_files.legacy({"w": torch_files.tensor("0", array)}, {"0": (count, array.tobytes())})
    with pytest.raises(LoadError, match="elements; expected 1000"):
        load(write(data))


def test_a_bare_pickle_is_refused_by_name(write: Write) -> None:
    with pytest.raises(LoadError, match="a bare pickle"):
        load(write(pickle.dumps({"w": 1})))


def test_limits(torch_files: SimpleNamespace, write: Write) -> None:
    arrays = {f"t{i}": np.zeros(1, np.float32) for i in range(20)}
    path = write(torch_files.zip(*torch_files.state_dict(arrays)))
    assert len(weights(path, LoadLimits(max_tensors=20))) == 20
    with pytest.raises(LoadError, match="max_tensors"):
        weights(path, LoadLimits(max_tensors=19))
