"""Packed weights between sessions and processes: found again, rebuilt when damaged, harmless when impossible."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import kigraph as ki
from kigraph.graph.formats import digests
from kigraph.graph.formats.source import Source
from kigraph.graph.ir import Literal
from kigraph.graph.packed import cache as packed_cache
from kigraph.graph.packed.cache import stable_key
from kigraph.kernels.backends import get_backend
from kigraph.opening import open_file
from tests.graph.packed_models import X, files, run, write_model

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.usefixtures("cache")


@pytest.mark.parametrize("backend", ["cython", "numba"])
def test_a_second_start_packs_nothing(model: Path, cache: Path, packs: list[str], backend: str) -> None:
    if not get_backend(backend).status().available:
        pytest.skip(f"no {backend} here")
    first = run(model, backend)
    assert len(packs) == 2
    assert len(files(cache)) == 1
    assert files(cache)[0].name.startswith(f"{backend}-{get_backend(backend).target()}-")
    packs.clear()
    np.testing.assert_array_equal(run(model, backend), first)
    assert packs == []


def test_the_key_is_the_content_not_the_place(model: Path, tmp_path: Path, cache: Path, packs: list[str]) -> None:
    first = run(model)
    packs.clear()
    copy = tmp_path / "copy.pb"
    copy.write_bytes(model.read_bytes())
    np.testing.assert_array_equal(run(copy), first)
    assert packs == []
    other = run(write_model(tmp_path / "other.pb", seed=1))
    assert len(packs) == 2
    assert len(files(cache)) == 2
    assert not np.array_equal(other, first)


def test_a_file_replaced_under_its_name_is_another_model(model: Path, packs: list[str]) -> None:
    """Same name, same size, and the old time stamp put back."""
    run(model)
    state = model.stat()
    packs.clear()
    other = write_model(model.with_name("other.pb"), seed=1)
    assert other.stat().st_size == state.st_size
    expected = run(other)
    model.write_bytes(other.read_bytes())
    os.utime(model, ns=(state.st_atime_ns, state.st_mtime_ns))
    np.testing.assert_array_equal(run(model), expected)
    assert len(packs) == 2, "the other model's, packed once"


def test_batch_norm_constants_belong_to_the_key(tmp_path: Path, packs: list[str]) -> None:
    """Weights that a pass scales are computed from several constants of the file."""
    run(write_model(tmp_path / "a.pb"))
    graph = open_file(tmp_path / "a.pb", strict=True).graph
    literals = [op.attrs["value"] for op in graph.operations if op.type == "Const"]
    big = next(x for x in literals if x.nbytes > 4096)
    small = [x for x in literals if x.shape == (48,)]
    keys = {stable_key(("scaled", big.key, s.key)) for s in small}
    assert None not in keys
    assert len(keys) == len({s.array().tobytes() for s in small}) > 1


def test_keys_agree_between_loadings_and_refuse_what_they_do_not_know(model: Path) -> None:
    def keys() -> list[Any]:
        graph = open_file(model, strict=True).graph
        return [stable_key(op.attrs["value"].key) for op in graph.operations if op.type == "Const"]

    assert keys() == keys()
    assert sum(k is not None for k in keys()) == 2, "what is small was read at once and has no file of its own"
    source = Source(model)
    known = stable_key(("file", source, 3, "float32", (1, 2)))
    assert known is not None
    assert known[1] == (source.sha256,)
    assert stable_key(("file", Source(model), 3, "float32", (1, 2))) == known
    different = [
        ("file", source, 4, "float32", (1, 2)),
        ("file", source, 3, "float32", ((1, 2),)),
        ("file", source, 3.0),
    ]
    assert len({known, *map(stable_key, different)}) == 4
    assert stable_key(("file", source, object())) is None
    assert stable_key(("lazy", 7)) is None
    assert stable_key(Literal.of(np.ones(3)).key) is None, "it depends on no file"


def test_new_forms_are_added_and_unused_ones_go(model: Path, cache: Path, packs: list[str], monkeypatch: Any) -> None:
    run(model)
    (path,) = files(cache)
    before = path.stat().st_size
    monkeypatch.setattr(packed_cache, "_SPARE", 1000)
    original = packed_cache.PackedCache.get

    def other_layout(self: Any, kernel: Any, layout: str, literal: Any, pack: Any) -> Any:
        return original(self, kernel, layout + "'", literal, pack)

    with monkeypatch.context() as patch:
        patch.setattr(packed_cache.PackedCache, "get", other_layout)
        run(model)
    assert path.stat().st_size > 1.8 * before
    packs.clear()
    run(model)
    assert packs == []
    monkeypatch.setattr(packed_cache, "_SPARE", 1)
    with monkeypatch.context() as patch:
        patch.setattr(packed_cache.PackedCache, "get", other_layout)
        packs.clear()
        run(model)
        assert packs == [], "nothing new, so nothing is written"
    path.unlink()
    run(model)
    assert path.stat().st_size < 1.2 * before


def test_two_installations_keep_a_file_each(
    model: Path, cache: Path, packs: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With one cache folder between them, neither throws away what the other packed; old ones go."""

    def installation(name: str) -> None:
        monkeypatch.setattr(packed_cache, "code_stamp", lambda backend: name * 8)
        packs.clear()
        run(model)

    for name in ("a", "b"):
        installation(name)
        assert len(packs) == 2
    for name in ("a", "b", "a"):
        installation(name)
        assert packs == [], name
    first, second = files(cache)
    for path in (first, first.with_suffix(".checked")):
        os.utime(path, ns=(0, 0))  # not used for long
    installation("c")
    assert files(cache)[:2] == [first, second], "three may stay"
    os.utime(first.with_suffix(".checked"), ns=(0, 0))
    os.utime(first, ns=(0, 0))
    installation("d")
    assert not first.with_suffix(".checked").exists()
    assert [p.stem[-1] for p in files(cache)] == ["b", "c", "d"]


def test_switched_off(model: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KIGRAPH_PACKED_CACHE", "off")
    run(model)
    assert not cache.exists()


def test_what_a_program_made_itself_is_not_kept(cache: Path, rng: np.random.Generator) -> None:
    graph = ki.Graph()
    with graph.as_default():
        x = ki.placeholder(ki.float32, [None, 9, 9, 8], name="x")
        ki.conv2d(x, ki.constant(rng.standard_normal((3, 3, 8, 64)).astype(np.float32)), name="y")
    with ki.Session(graph, backend="cython") as session:
        session.run("y:0", {"x": X})
    assert files(cache) == []


@pytest.mark.parametrize("kind", ["a file is in the way", "read only"])
def test_an_unusable_folder_is_said_once(
    model: Path, cache: Path, kind: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    expected = run(model)
    for path in cache.iterdir():
        path.unlink()
    cache.rmdir()
    if kind == "read only":
        original = os.open

        def refuse(path: Any, flags: int, *args: Any, **options: Any) -> int:
            if flags & os.O_CREAT and str(cache) in str(path):
                raise PermissionError(13, "Permission denied", str(path))
            return original(path, flags, *args, **options)

        monkeypatch.setattr(os, "open", refuse)
        monkeypatch.setattr("builtins.open", _refusing_open(cache))
    else:
        cache.write_text("")
    with caplog.at_level(logging.WARNING, "kigraph"):
        for _ in range(3):
            np.testing.assert_array_equal(run(model), expected)
    assert caplog.text.count("packed weights are not kept") == 1


def _refusing_open(cache: Path) -> Callable[..., Any]:
    """Root may write anywhere, so a mode of 0500 would not stop these tests."""
    import builtins

    original = builtins.open

    def refuse(file: Any, mode: str = "r", *args: Any, **options: Any) -> Any:
        if str(cache) in str(file) and mode[0] in "wax":
            raise PermissionError(13, "Permission denied", str(file))
        return original(file, mode, *args, **options)

    return refuse


@pytest.mark.slow
def test_first_starts_at_once(model: Path, cache: Path) -> None:
    """Several processes on an empty cache, all at the same moment; then one that finds everything."""
    code = """
import sys, time
import numpy as np
import kigraph as ki
from kigraph.opening import open_file
graph = open_file(sys.argv[1], strict=True).graph
x = np.linspace(-1, 1, 2 * 9 * 9 * 8, dtype=np.float32).reshape(2, 9, 9, 8)
time.sleep(max(0.0, float(sys.argv[2]) - time.time()))
with ki.Session(graph, backend="cython") as session:
    print(session.run("y:0", {"x": x}).tobytes().hex())
"""
    start = str(time.time() + 2)
    processes = [
        subprocess.Popen([sys.executable, "-c", code, str(model), start], cwd=ROOT, stdout=subprocess.PIPE, text=True)
        for _ in range(6)
    ]
    results = {p.communicate(timeout=120)[0] for p in processes}
    assert [p.returncode for p in processes] == [0] * 6
    assert len(results) == 1
    assert len(files(cache)) == 1
    assert not list(cache.glob("*.part"))
    assert run(model).tobytes().hex() == results.pop().strip()


def test_digests_are_remembered_by_identity(model: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    digest = Source(model).remembered_sha256
    assert digest == Source(model).sha256
    (record,) = json.loads((cache / "digests.json").read_text())["files"].items()
    assert record[1] == digest
    assert record[0].split(":")[1:3] == [str(model.stat().st_ino), str(model.stat().st_size)]
    monkeypatch.setattr(Source, "sha256", property(lambda self: pytest.fail("computed again")))
    assert Source(model).remembered_sha256 == digest
    os.utime(model)  # another ctime: it might have been written
    monkeypatch.setattr(Source, "sha256", property(lambda self: "f" * 64))
    assert Source(model).remembered_sha256 == "f" * 64


def test_young_files_are_not_remembered(model: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(digests, "_YOUNG_SECONDS", 3600.0)
    assert Source(model).remembered_sha256 == Source(model).sha256
    assert not (cache / "digests.json").exists()


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": 1}', '{"format": 1, "files": []}', "[" * 99_999])
def test_a_damaged_record_is_no_record(model: Path, cache: Path, text: str) -> None:
    expected = Source(model).sha256
    cache.mkdir(parents=True)
    (cache / "digests.json").write_text(text)
    assert Source(model).remembered_sha256 == expected
    assert expected in (cache / "digests.json").read_text()


def test_the_stamp_covers_what_packed_weights_come_from(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "a.py").write_text("1")
    (tmp_path / "note.txt").write_text("not code")
    before = list(packed_cache._states(tmp_path))
    assert [line.split()[0] for line in before] == ["a.py"]
    (tmp_path / "folder" / "a.py").write_text("12")
    assert list(packed_cache._states(tmp_path)) != before
    assert [line.split()[0] for line in packed_cache._states(tmp_path / "note.txt")] == ["note.txt"]
    root = Path(packed_cache.__file__).parents[1]
    names = {line.split()[0] for line in packed_cache._states(root)}
    assert {"ir.py", "rewrite.py", "fold_input_affine.py", "cache.py"} <= names
