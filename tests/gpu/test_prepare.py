"""What the GPU call takes along: the float64 reference is right and notices errors; .gpu/ is whole, kept, and fits."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import kigraph as ki
from benchmarks import gpu_prepare as prepare
from benchmarks.gpu import reference as ref
from benchmarks.gpu.inputs import images
from kigraph.kernels.cupy.table import BUILDS

NDArray = np.ndarray[Any, Any]


@pytest.fixture(scope="module")
def small() -> ref.Reference:
    """For one image."""
    return ref.compute(1)


# --- the reference --------------------------------------------------------------------------------------------------


def test_every_tensor_agrees_with_the_numpy_backend(small: ref.Reference) -> None:
    """Two implementations that share no code but the graph: 120 tensors, in float64 here and in float32 there."""
    names = list(small.layers)
    assert len(names) == 120
    assert [name for name in names if name in ref.LAYERS] == list(ref.LAYERS)
    found = ki.Session(ref.network(), backend="numpy").run(names, {ref.FEED: images(1)})
    errors = {name: small.layers[name].error(value) for name, value in zip(names, found, strict=True)}
    assert max(errors.values()) < 1e-5, max(errors, key=lambda name: errors[name])
    assert errors[ref.LOGITS] > 1e-9, "float64 and float32 are the same?"


def test_the_names_are_the_networks(small: ref.Reference) -> None:
    assert ref.LAYERS[:8] == (
        "conv:0",
        "conv_1:0",
        "conv_2:0",
        "pool:0",
        "conv_3:0",
        "conv_4:0",
        "pool_1:0",
        "mixed/join:0",
    )
    assert ref.LAYERS[-3:] == ("mixed_10/join:0", "pool_3:0", "logits:0")
    inner = ref.inside(ref.network(), "mixed/join:0")
    assert len(inner) == 8
    assert inner[0] == "mixed/conv:0"
    assert ref.inside(ref.network(), "conv:0") == ()


@pytest.mark.parametrize(("bits", "zeros"), [(8, 16), (11, 13)])
def test_rounding_is_that_of_the_format(bits: int, zeros: int) -> None:
    """Against rounding to nearest even on the bits of float32."""
    x = np.concatenate([np.random.default_rng(3).standard_normal(1000), [1 + 2.0**-bits, 1 + 3 * 2.0**-bits, 0, -2]])
    words = x.astype(np.float32).view(np.uint32).astype(np.uint64)
    words = (words + ((1 << (zeros - 1)) - 1) + ((words >> zeros) & 1)) >> zeros << zeros
    wanted = words.astype(np.uint32).view(np.float32)
    assert np.array_equal(ref.first_bits(bits)(x.astype(np.float32).astype(np.float64)), wanted)


def test_an_op_that_is_not_known_is_named() -> None:
    graph = ki.Graph()
    with graph.as_default():
        ki.tanh(ki.placeholder(np.float32, (2, 2), name="x"), name="bent")
    with pytest.raises(ValueError, match="Tanh 'bent'"):
        ref.evaluate(graph, {"x:0": np.ones((2, 2))}, ["bent:0"])


def _wrong_tile(x: NDArray) -> None:
    x[:, 16:18, :, :16] = x[:, 18:20, :, :16]


def _wrong_channel(x: NDArray) -> None:
    x[..., [5, 6]] = x[..., [6, 5]]


def _nan(x: NDArray) -> None:
    x[0, 7, 9, 11] = np.nan


def _no_relu(x: NDArray) -> None:
    x -= 0.5


@pytest.mark.parametrize("spoil", [_wrong_tile, _wrong_channel, _nan, _no_relu])
def test_an_error_anywhere_in_a_layer_is_seen(spoil: Any) -> None:
    """Beyond the bound of bf16, wherever the elements that are kept are."""
    values = np.maximum(np.random.default_rng(5).standard_normal((3, 35, 35, 288)), 0)
    layer = ref.Layer.of(values)
    assert layer.error(values[:2]) == 0
    assert layer.error(values.astype(np.float32)) < 1e-6
    wrong = values.copy()
    spoil(wrong)
    assert layer.error(wrong) > 6e-2


def test_another_shape_is_infinitely_wrong() -> None:
    values = np.ones((2, 9, 9, 4))
    layer = ref.Layer.of(values)
    assert layer.error(np.ones((2, 9, 9, 5))) == layer.error(np.ones((3, 9, 9, 4))) == float("inf")


def test_the_file_is_read_again_or_not_at_all(small: ref.Reference, tmp_path: Path) -> None:
    path = tmp_path / "reference.npz"
    assert ref.Reference.load(path) is None
    small.save(path)
    found = ref.Reference.load(path)
    assert found is not None
    assert (found.batch, list(found.layers)) == (1, list(small.layers))
    assert np.array_equal(found.layers[ref.LOGITS].elements, small.layers[ref.LOGITS].elements)
    assert found.layers[ref.LOGITS].elements.shape == (1, 1000)
    assert found.layers[ref.POOL_3].elements.shape == (1, 2048)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    assert ref.Reference.load(path) is None, "cut off"
    dataclasses.replace(small, made_from="other sources").save(path)
    assert ref.Reference.load(path) is None, "of other weights"


# --- .gpu/ ----------------------------------------------------------------------------------------------------------


def fake_shared(folder: Path) -> Path:
    """Small files under the real names; 48 photographs."""
    files = [f"{flower}/{number}.jpg" for flower in ("daisy", "roses") for number in range(24)]
    for model, names in prepare.MODELS.items():
        for name in names:
            path = folder / "models" / model / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(f"{model}/{name}".encode())
    np.savez(folder / "models" / "inception_v3_flowers" / "golden_tensorflow.npz", files=files)
    for number, file in enumerate(["../grace_hopper.jpg", "../cropped_panda.jpg", "ATTRIBUTION.txt", *files]):
        path = folder / "photos" / "flowers" / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bytes(1000 + number))
    return folder


@pytest.fixture
def pack(tmp_path: Path, small: ref.Reference, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Runs the command into tmp_path/.gpu; no index is asked, and the interpreter has no NVRTC."""
    monkeypatch.setattr(ref, "compute", lambda: small)
    monkeypatch.setattr(prepare, "checkout_sizes", lambda pack: {"kigraph/__init__.py": 10_000})
    wheel = tmp_path / ".gpu" / "whl" / "simplejpeg-1.9.0-cp312-cp312-manylinux2014_x86_64.whl"
    wheel.parent.mkdir(parents=True)
    with zipfile.ZipFile(wheel, "w") as file:
        file.writestr("simplejpeg/__init__.py", "")
    compiler = tmp_path / "python"
    compiler.write_text('#!/bin/sh\necho \'{"error": "NVRTC cannot be loaded"}\'\n')
    compiler.chmod(0o755)

    def run(*arguments: object) -> int:
        return prepare.main([f"--output={tmp_path / '.gpu'}", f"--python={compiler}", *map(str, arguments)])

    return run


def test_the_pack_is_whole_and_kept(pack: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shared, folder = fake_shared(tmp_path / "shared"), tmp_path / ".gpu"
    assert pack(f"--shared={shared}") == 0
    printed = capsys.readouterr().out
    assert "with 24 flowers, 36 copied" in printed
    assert "NVRTC cannot be loaded" in printed
    manifest = json.loads((folder / "manifest.json").read_text())["files"]
    there = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
    assert there == {*manifest, "manifest.json"}
    assert {"commit", "reference.npz", "shared/photos/grace_hopper.jpg"} <= there
    for name, entry in manifest.items():
        data = (folder / name).read_bytes()
        assert (len(data), hashlib.sha256(data).hexdigest()) == (entry["bytes"], entry["sha256"])
    assert len(sorted((folder / "shared" / "photos" / "flowers" / "daisy").iterdir())) == 12, (
        "not spread over the classes"
    )

    damaged, old = folder / "shared" / "photos" / "grace_hopper.jpg", folder / "cache" / "cupy" / "old.cubin"
    wanted = damaged.read_bytes()
    damaged.write_bytes(b"?" * len(wanted))
    old.parent.mkdir(parents=True, exist_ok=True)
    old.write_bytes(b"a cubin of other sources")
    (folder / "inductor_cache.bin").write_bytes(b"of an earlier run")
    assert pack(f"--shared={shared}") == 0
    printed = capsys.readouterr().out
    assert "36 files with 24 flowers, 1 copied" in printed
    assert "kept" in printed
    assert damaged.read_bytes() == wanted
    assert not old.exists()
    assert (folder / "inductor_cache.bin").exists()


def test_without_models_the_rest_is_packed(pack: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert pack(f"--shared={tmp_path / 'nowhere'}") == 0
    assert "has no models" in capsys.readouterr().out
    assert (tmp_path / ".gpu" / "reference.npz").is_file()


def test_photographs_go_first_where_it_is_too_large(
    pack: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    shared, folder = fake_shared(tmp_path / "shared"), tmp_path / ".gpu"
    assert pack(f"--shared={shared}") == 0
    flowers = sorted((folder / "shared" / "photos" / "flowers").rglob("*.jpg"), key=lambda p: p.stat().st_size)
    with open(folder / "inductor_cache.bin", "wb") as file:  # 500 bytes too many; each photograph has 1,000
        file.truncate(prepare.MOST_PREPARED - prepare.Pack(folder).size() + 500)
    capsys.readouterr()
    assert pack(f"--shared={shared}") == 0
    assert "too large" in capsys.readouterr().out
    assert [path for path in flowers if not path.exists()] == flowers[-1:], "the largest photograph first"
    kept = json.loads((folder / "manifest.json").read_text())["files"]
    assert flowers[0].relative_to(folder).as_posix() in kept
    assert flowers[-1].relative_to(folder).as_posix() not in kept
    assert prepare.Pack(folder).size() <= prepare.MOST_PREPARED

    monkeypatch.setattr(prepare, "checkout_sizes", lambda pack: {"a/large/file": prepare.MOST_BYTES})
    assert pack(f"--shared={shared}") == 1
    printed = capsys.readouterr().out
    assert "a/large/file" in printed
    assert not list((folder / "shared" / "photos" / "flowers").rglob("*.jpg"))


def test_a_folder_of_somebody_else_is_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mine = tmp_path / "mine" / "cache" / "file"
    mine.parent.mkdir(parents=True)
    mine.write_text("mine")
    assert prepare.main([f"--output={tmp_path / 'mine'}"]) == 1
    assert "was not written by this command" in capsys.readouterr().err
    assert mine.read_text() == "mine"


def test_sizes_of_the_checkout(tmp_path: Path) -> None:
    sizes = prepare.checkout_sizes(prepare.Pack(tmp_path))
    if not sizes:
        pytest.skip("not a git checkout")
    assert sizes["benchmarks/gpu_prepare.py"] == (prepare.ROOT / "benchmarks" / "gpu_prepare.py").stat().st_size
    assert not [name for name in sizes if name.startswith((".gpu/", ".venv/", "build/"))]


# --- cubins ---------------------------------------------------------------------------------------------------------


def test_the_builds_are_those_of_float32() -> None:
    found = prepare.float_builds()
    defines = [dict(build.defines) for build in found]
    assert all({d.get("ELEMENT", "float"), d.get("TO", "float")} & {"float"} for d in defines)
    assert {build.source for build in found} == {build.source for build, _ in BUILDS}
    assert not [build for build, d in zip(found, defines, strict=True) if d.get("ELEMENT") in ("double", "int", "bool")]
    assert len(found) < len(BUILDS)


def test_cubins_are_those_that_the_backend_will_look_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("cupy", reason="CuPy is not installed: pip install 'kigraph[cupy]'")
    from kigraph.kernels.cupy import compiler

    monkeypatch.setenv("KIGRAPH_CACHE_DIR", str(tmp_path))
    builds = [build for build in prepare.float_builds() if build.source in ("softmax.cu", "copy.cu")][:2]
    monkeypatch.setattr(prepare, "float_builds", lambda: builds)
    if prepare.compile_all("sm_90"):
        pytest.skip(capsys.readouterr().out)
    found = json.loads(capsys.readouterr().out)
    assert found["errors"] == []
    assert [Path(path).parent for path in found["files"]] == [tmp_path / "cupy"] * 2
    assert found["package"].startswith(found["version"])

    def refuse(*_: object) -> Any:
        raise AssertionError("compiled again")

    monkeypatch.setattr(compiler, "compile_with_log", refuse)
    assert [compiler.compile_cubin(b, "sm_90") for b in builds] == [
        compiler.read_cubin(Path(p)) for p in found["files"]
    ]


def test_another_nvrtc_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pack = prepare.Pack(tmp_path)
    cubin = tmp_path / "cache" / "cupy" / "relu-sm_90-0.cubin"
    cubin.parent.mkdir(parents=True)
    cubin.write_bytes(b"\x7fELF")
    for version, warned in ((prepare.DEVICE_NVRTC, False), ("13.5", True)):
        answer = {"version": version, "package": f"{version}.88", "files": [str(cubin)], "errors": []}
        script = tmp_path / "python"
        script.write_text(f"#!/bin/sh\necho '{json.dumps(answer)}'\n")
        script.chmod(0o755)
        prepare.add_cubins(pack, str(script), "sm_90")
        assert ("no other finds them" in capsys.readouterr().out) == warned
    assert pack.files == {"cache/cupy/relu-sm_90-0.cubin": hashlib.sha256(b"\x7fELF").hexdigest()}
    assert pack.versions["nvrtc"] == "13.5"
