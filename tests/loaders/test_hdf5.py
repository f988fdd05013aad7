"""The own reader of HDF5 against h5py, bit for bit, and files that would keep libhdf5 busy for ever."""

from __future__ import annotations

import base64
import struct
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kigraph.graph.errors import LoadError
from kigraph.graph.formats.hdf5 import Dataset, Group, Hdf5File
from kigraph.graph.formats.limits import Budget
from kigraph.graph.formats.source import Source
from kigraph.graph.loaders import LoadLimits, load

#: Written by h5py 3.16: layer 'd' with a plain float32 'd/k:0' (2, 3) and a compressed int16 'd/b:0' (3,).
SMALL = (
    "c-rlm&rcIU6vt;~%VvV5E{O@H{_4>a785UAtdVLDMu>XwByH_#35ZEc6i#p~H~s{U9Q`vq`e$(TKfu|UH`|$M6@NrY;QL87Z};u%o9WJXW_RBn"
    "G?yRGOjo8^hLo(p66SJB)N1~*J>MeB$qvaL3+pfFb7k@;l)oC8<1gfY`MlA{qE7>CJIArHl7Y)ev+-~>v#)X;k$!|9*A4X8{L6M{sijcYMd}Gx"
    "d)Jh@H`}{ue{HM%J{@TPJU4wz^1c}5a?ZW}c~*}0i_~+@N-Do(8)?5iSo@gv2kRfUbbdZLKjn*^d_w!9iSy7phQBxuo7XW9F%QS*;cEPE=i!TI"
    "E6ZGEv${Kp{QOD5*jkJ+`W>D;T6xNyfehCrJC4F#R}}Xa7Vj^pX95}qHf7`Qc9yb7g~FJBW2xq}dw3Ps9smFU000000Qg_n`es-^DY72b0cLc4"
    "^HaM1uD3lZaGq7)6hYl!Y80Yt1MYF8b8xRdY5Vn=9A7KOo>iYby2+g0fXhZ$pR{`VR`KI(HL63_*1PI|*lt*#98$wJZ>VE18Ln0a?p!#|?iefl"
    "btMYcmngSo{nOd%ZK^?5*_>o^d-*yf^?4x#eR44a6LA&jDaNvMuGhopO5}C+lUqNJxB5H00WJBuiUVDhz57)(rlUlMCemsw@%0lK{ajJ9;X04a"
    "EA^eMo4(y_Z>M=3JlB~Jq-fog^YyZKj#p>@fm!<MYTH-aQGMt2n^vpa>L`CH{}TWJ006iUWbe~_!uxdT2l3^qe;huC0{{R3;NtNe;~khc"
)
#: Files of 8 kB with a few bytes changed: libhdf5 reads the first for ever; the second took 784 MB.
ENDLESS = (
    "c-rllJ5Iwu5Qb;{h%AdJjzr;5nHx|e3LY`IhzJ4-I!Ivw5>NnA!VSy~I0DB=$uYP|VtZ$8?;;QgP>}e)X1ueryCeIbwKR`Of4A+g_*CF|<WN9O"
    "W{el<V>N%qR<O<3K3mFfmvbTe1KvNf<#@vW<HI;EqGtx`oRgNc9)bTz5^o)pI;eCcd9n1kfuYCbo9A}<BvaQ*oQcSvmUDGqjULk5)0@$CdRO{;"
    "LgpA$xk%*-A+-E7>($Ti)s1p|wr;W>>IQZ5wr;4U$Boz5ezb0m_J@6u@1}J3Wb1mL^7z%oH(DfnJHvr!2*bRW)P1V1S>Mo$V%ovG1YmJkcm)6e"
    "fLjp&008(9)!#JxF?D~lUG_J}>E-#wecj;vYJbzNL&|@$AXm-_6&Gsj9bV^D>%%g%yV~J@dO*HQzG^$T`R2vEWm()xmHXL(B5LGUll`ghVD`%<"
    "A+!kq0N^*-piSDQIT00Ceg"
)
LARGE = (
    "c-rllJ5Iwu5Qb;{h%AdJjzr;5nHx|e3LY`IhzJ4-I!Ivw5>NnA!VSy~I0DB=$uYP|VtZ$8?;<1+K}6#Jn%$k9eMtMy7XNe7-*5YCJ{5Q#ITTQn"
    "8RJFzSj}H>E4a<LeYI5FF6Tmy2fTk|%khNcr^j(zWX}xLIcF`|dIbI>NxXAZ>Y&n*<jvCa28JG!AD-LglT2N&@J&SCTg}ydGkQwz&+kUJ=|dUs"
    "33<n$x{Fk<5JJ13)_QgSv$|1%uhvc0L*1ZmKGqGj^t|!r#zO1n<Z##*`EE*gFSf4tDUaV>ywP8Bus0lthA_;3N&Tnlo3#zSEQ)CdZvg-R00000"
    "001m2${#iToZ264m;UHDy}rD9tPRrd`lEK8QhE`BTsbFHUZ|~ic%4(N56jf<dWXG?fP9yHWjna}=Eb~aS!~71{cJ%IHSSlFE!8`ie%mC3HUR(t"
    "{3ctpO}jJ)(V$mz"
)


def unpack(text: str) -> bytes:
    return zlib.decompress(base64.b85decode(text))


def opened(path: Path, limits: LoadLimits | None = None) -> Hdf5File:
    source = Source(path)
    return Hdf5File(source, Budget(source.name, source.size, limits))


def compare(path: Path) -> int:
    """Every group, link, text attribute and array of the file, as h5py sees them; returns the number of arrays."""
    h5py = pytest.importorskip("h5py", reason="is compared with")
    file = opened(path)
    arrays = 0

    def walk(mine: Group | Dataset, theirs: Any) -> None:
        nonlocal arrays
        assert set(mine.attributes) == set(theirs.attrs)
        for name, value in theirs.attrs.items():
            texts = [value] if isinstance(value, (str, bytes)) else np.asarray(value, object).ravel().tolist()
            if texts and isinstance(texts[0], (str, bytes)):
                assert mine.texts(name) == [t.decode() if isinstance(t, bytes) else t for t in texts]
        if isinstance(theirs, h5py.Dataset):
            arrays += 1
            assert isinstance(mine, Dataset)
            got, want = mine.open()(), np.asarray(theirs[()])
            assert (got.dtype, got.shape) == (want.dtype.newbyteorder("="), want.shape)
            assert got.tobytes() == want.astype(got.dtype).tobytes(), theirs.name
        else:
            assert isinstance(mine, Group)
            assert set(mine.links) == set(theirs)
            for name in theirs:
                walk(mine.child(name), theirs[name])

    with h5py.File(path, "r") as theirs:
        walk(file.root, theirs["/"])
    return arrays


# --- what is read -------------------------------------------------------------------------------------------------------


def test_a_small_file(write: Callable[..., Path]) -> None:
    weights = load(write(unpack(SMALL))).weights
    assert weights is not None
    assert weights.metadata["keras_version"] == "2.15.0"
    np.testing.assert_array_equal(weights.read("d/k:0"), np.arange(6, dtype=np.float32).reshape(2, 3))
    np.testing.assert_array_equal(weights.read("d/b:0"), np.arange(3, dtype=np.int16))


def test_a_file_inside_another_one(write: Callable[..., Path]) -> None:
    """A stored member of an archive is read where it is."""
    data = unpack(SMALL)
    source = Source(write(b"x" * 77 + data + b"y" * 99))
    file = Hdf5File(source, Budget(source.name, source.size), 77, len(data))
    layer = file.root.child("d")
    assert isinstance(layer, Group)
    assert layer.texts("weight_names") == ["d/k:0", "d/b:0"]


STORAGE = [
    {}, {"chunks": True}, {"compression": "gzip"}, {"compression": "gzip", "shuffle": True, "fletcher32": True},
    {"compression": "lzf", "shuffle": True}, {"shuffle": True}, {"fletcher32": True},
]  # fmt: skip


@pytest.mark.parametrize("user_block", [0, 1024])
@pytest.mark.parametrize("track_order", [False, True])
@pytest.mark.parametrize("version", ["earliest", "v108", "v110", "latest"])
def test_all_that_h5py_writes(version: str, track_order: bool, user_block: int, tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py", reason="writes the files")
    rng = np.random.default_rng(7)
    options = {"libver": version, "track_order": track_order, "userblock_size": user_block}
    with h5py.File(tmp_path / "all.h5", "w", **options) as file:
        file.attrs["model_config"] = "é" * 100_000
        file.attrs["fixed"] = np.bytes_(b"abc")
        file.attrs["texts"] = np.array(["a", "ß", ""], h5py.string_dtype())
        file.attrs["number"] = 3.5
        for i in range(40):  # more than fit into an object's header: stored apart in new files
            file.attrs[f"attribute {i}"] = f"value {i}"
        for i in range(300):
            group = file.create_group(f"layer_{i}" + "x" * (i % 37))
            group.attrs["weight_names"] = [b"a", b"b" * (i % 5 + 1)]
            group["kernel:0"] = rng.standard_normal(i % 7).astype(np.float32)
        for i, (dtype, shape) in enumerate(
            (d, s) for d in ("<f4", ">f8", "<f2", "i1", "u8", ">i4") for s in ((), (1,), (7, 5), (3, 300, 11), (0, 4))
        ):
            array = (rng.standard_normal(shape) * 50).astype(dtype)
            for j, storage in enumerate(STORAGE):
                if not shape and storage:
                    continue
                if not array.size and storage:
                    storage = storage | {"chunks": (1, 4), "maxshape": (5, 4)}
                file.create_dataset(f"array_{i}_{j}", data=array, **storage)
        file.create_dataset("never written", (50, 3), "f4", fillvalue=-2.5)
        file.create_dataset("no chunk written", (50, 3), "f4", chunks=(7, 2), fillvalue=2.5)
        file.create_dataset("some written", (50, 30), "f4", chunks=(7, 4), fillvalue=-1)[10:20, 3:9] = 4
        file.create_dataset("one chunk", (50, 30), "f4", chunks=(50, 30), compression="gzip")[...] = 4
        file.create_dataset("pages", (1100, 3), "f4", chunks=(1, 2), compression="gzip")[1000:1050] = 4
        if version in ("earliest", "v108"):
            file.create_dataset("grows", (50, 30), "f4", chunks=(7, 4), maxshape=(None, None))[...] = 3
    assert compare(tmp_path / "all.h5") > 400


def test_groups_of_many_names(tmp_path: Path) -> None:
    """Trees of several levels, and tables of tables in the heap of names."""
    h5py = pytest.importorskip("h5py", reason="writes the files")
    for version in ("earliest", "latest"):
        with h5py.File(tmp_path / "many.h5", "w", libver=version) as file:
            file["x"] = np.arange(3)
            for i in range(6000):
                file[f"{i} {'n' * (i % 90)}"] = file["x"]
        file = opened(tmp_path / "many.h5")
        assert len(file.root.links) == 6001
        assert len(set(file.root.links.values())) == 1


def test_the_files_of_keras(shared_files: list[Path]) -> None:
    assert sum(compare(path) for path in shared_files) > 1000


@pytest.fixture
def shared_files() -> list[Path]:
    import os

    folder = Path(os.environ.get("KIGRAPH_SHARED", Path(__file__).parents[3] / "shared")) / "files"
    found = sorted(folder.glob("**/*.h5"))
    if not found:
        pytest.skip("no Keras files: ../shared/files is not there")
    return found


# --- what is refused ----------------------------------------------------------------------------------------------------


def read_all(path: Path, limits: LoadLimits | None = None) -> int:
    """Everything in the file, within 2 s of CPU; raises LoadError."""
    start = time.process_time()
    try:
        file = opened(path, limits)
        count, pending, seen = 0, [file.root], {id(file.root)}
        for group in pending:
            for name in group.links:
                try:
                    found = group.child(name)
                except LoadError:
                    continue
                if isinstance(found, Dataset):
                    found.open()()
                    count += 1
                elif id(found) not in seen:
                    seen.add(id(found))
                    pending.append(found)
        return count
    finally:
        assert time.process_time() - start < 2


@pytest.mark.parametrize("data", [ENDLESS, LARGE], ids=["endless", "large"])
def test_what_keeps_libhdf5_busy_ends(write: Callable[..., Path], data: str) -> None:
    path = write(unpack(data))
    start = time.process_time()
    try:
        weights = load(path).weights
        for name in weights or ():
            weights[name].load()  # type: ignore[index]
    except LoadError as e:
        assert path.name in str(e)
    assert time.process_time() - start < 2


def patched(data: bytes, signature: bytes, offset: int, value: bytes, which: int = 0) -> bytes:
    """Other bytes at ``offset`` of the structure with that signature."""
    at = -1
    for _ in range(which + 1):
        at = data.index(signature, at + 1)
    return data[: at + offset] + value + data[at + offset + len(value) :]


def test_a_tree_that_is_its_own_child(write: Callable[..., Path]) -> None:
    data = unpack(SMALL)
    at = data.index(b"TREE")
    changed = patched(patched(data, b"TREE", 5, b"\x01"), b"TREE", 32, struct.pack("<Q", at))
    with pytest.raises(LoadError, match="a tree that comes back"):
        read_all(write(changed))


def test_a_header_that_continues_in_itself(write: Callable[..., Path]) -> None:
    data = unpack(SMALL)
    # The root's header: its first message becomes a continuation that begins at that message.
    changed = data[:96] + struct.pack("<BBHII4xHHB3xQQ", 1, 0, 60000, 1, 24, 0x10, 16, 0, 112, 24) + data[136:]
    with pytest.raises(LoadError, match="a continuation that was read before"):
        read_all(write(changed))


def test_groups_that_share_a_large_table(tmp_path: Path) -> None:
    """2000 groups of 2000 names each, out of a file of 300 kB: more structure than the file has bytes."""
    h5py = pytest.importorskip("h5py", reason="writes the file")
    path = tmp_path / "shared.h5"
    with h5py.File(path, "w") as file:
        big = file.create_group("big")
        for i in range(2000):
            big.create_group(f"g{i}")
    data = bytearray(path.read_bytes())
    with h5py.File(path, "r") as file:
        heads = [h5py.h5o.get_info(file["big"][name].id).addr for name in file["big"]]
        big_at = h5py.h5o.get_info(file["big"].id).addr
    tables = data[big_at : big_at + 40]
    for at in heads:
        data[at : at + 40] = tables
    path.write_bytes(data)
    with pytest.raises(LoadError, match=r"structures that share their parts|more than"):
        read_all(path)


def test_chunks_beyond_the_edge_are_counted(tmp_path: Path) -> None:
    """200 elements whose chunks are 32 MB each: 6.7 GB to decode for 800 bytes."""
    h5py = pytest.importorskip("h5py", reason="writes the file")
    with h5py.File(tmp_path / "edge.h5", "w") as file:
        kind = {"chunks": (1, 1 << 23), "maxshape": (None, None), "compression": "gzip"}
        file.create_dataset("x", (200, 1), "f4", **kind)
    with pytest.raises(LoadError, match="declared"):
        read_all(tmp_path / "edge.h5")


@pytest.mark.parametrize(
    ("options", "found"),
    [
        ({"maxshape": (None, 4), "chunks": (2, 4)}, "extensible array"),
        ({"maxshape": (None, None), "chunks": (2, 4)}, "version 2 tree"),
        ({"scaleoffset": 3, "chunks": (2, 4)}, "filter number 6"),
    ],
)
def test_other_indexes_and_filters_are_named(options: dict[str, Any], found: str, tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py", reason="writes the file")
    with h5py.File(tmp_path / "x.h5", "w", libver="latest") as file:
        file.create_dataset("x", data=np.ones((30, 4), np.float32), **options)
    with pytest.raises(LoadError, match=f"{found}.*h5repack"):
        read_all(tmp_path / "x.h5")


def test_types_that_are_shared_are_named(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py", reason="writes the file")
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["type"] = np.dtype("f4")
        file.create_dataset("x", (3,), file["type"])
    with pytest.raises(LoadError, match="a type that is shared"):
        read_all(tmp_path / "x.h5")


def test_damage_under_a_checksum_is_seen(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py", reason="writes the file")
    with h5py.File(tmp_path / "x.h5", "w", libver="latest") as file:
        for i in range(20):
            file[f"x{i}"] = np.arange(3)
    data = (tmp_path / "x.h5").read_bytes()
    for signature in (b"OHDR", b"FRHP", b"FHDB", b"BTHD", b"BTLF"):
        at = data.index(signature) + 14
        (tmp_path / "y.h5").write_bytes(data[:at] + bytes([data[at] ^ 4]) + data[at + 1 :])
        with pytest.raises(LoadError):
            read_all(tmp_path / "y.h5")


def test_a_wrong_fletcher32_is_seen(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py", reason="writes the file")
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file.create_dataset("x", data=np.arange(500, dtype=np.int32), chunks=(500,), fletcher32=True)
    data = (tmp_path / "x.h5").read_bytes()
    at = data.index(np.arange(40, 60, dtype=np.int32).tobytes())
    (tmp_path / "x.h5").write_bytes(data[:at] + b"\1" + data[at + 1 :])
    with pytest.raises(LoadError, match="fletcher32"):
        read_all(tmp_path / "x.h5")
