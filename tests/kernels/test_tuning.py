"""Choosing kernels by measurement: keys, tables, their files, and that no table can make an illegal kernel run."""

from __future__ import annotations

import json
import logging
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kigraph.kernels import registry
from kigraph.kernels.backends import get_backend
from kigraph.kernels.contracts.base import Tolerance
from kigraph.kernels.contracts.conv2d import CONV2D, Conv2DParams
from kigraph.kernels.contracts.matmul import MATMUL, MatMulParams
from kigraph.kernels.errors import KernelError, SettingsError
from kigraph.kernels.kernel import Kernel, Query, simple_kernel
from kigraph.kernels.registry import legal_kernels, select
from kigraph.kernels.tensor import Params, TensorType
from kigraph.kernels.tuning import (
    Tuner,
    accurate_enough,
    measure,
    read_table,
    shipped_table,
    signature,
    table_path,
    tables,
    tuner,
    write_table,
)

F32 = np.dtype(np.float32)


def conv(*, batch: int = 1, constants: Sequence[int] = (1, 2), threads: int = 1, size: int = 9, **params: Any) -> Query:
    record = Conv2DParams(**params)
    types = tuple(TensorType(F32, shape) for shape in ((batch, size, size, 8), (3, 3, 8, 16), (16,)))
    return Query(CONV2D, types, CONV2D.check(types, record), record, frozenset(constants), threads)


def pretend(name: str, seconds: float, rank: int, supports: Callable[[Query], str | None] | None = None) -> Kernel:
    """A kernel that takes that long and computes nothing."""

    def work(inputs: Sequence[Any], outputs: Sequence[Any], params: Params) -> None:
        time.sleep(seconds)
        outputs[0][...] = 0

    return simple_kernel(CONV2D, "numpy", work, name=name, rank=rank, supports=supports or (lambda query: None))


FAST, SLOW = pretend("fast", 0.001, 1), pretend("slow", 0.004, 9)


@pytest.fixture(autouse=True)
def own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("KIGRAPH_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(tuner, "_SAID", set())
    return tmp_path / "cache"


@pytest.fixture
def two(monkeypatch: pytest.MonkeyPatch) -> None:
    """The backend 'numpy' has a slow kernel of high rank and a fast one."""
    monkeypatch.setattr(registry, "kernels_of", lambda backend, contract: (SLOW, FAST))


def choose(tuner: Tuner, query: Query) -> registry.Selection:
    def prefer(query: Query, legal: Sequence[Kernel]) -> tuple[Kernel, str] | None:
        decision = tuner.decide(query, legal)
        return None if decision is None else (decision.kernel, str(decision))

    return select(query, ["numpy"], prefer)


def test_the_key_is_the_layer_alone() -> None:
    key = signature(conv())
    assert key is not None
    assert signature(conv(batch=7, threads=3)) == key, "the result of an image must not depend on its batch"
    different = [
        conv(size=10),
        conv(strides=(2, 2)),
        conv(padding="SAME"),
        conv(padding=(1, 0, 1, 0)),
        conv(dilations=(2, 1)),
        conv(activation="relu"),
        replace(conv(), inputs=conv().inputs[:2], constants=frozenset([1])),
    ]
    keys = [signature(q) for q in different]
    assert None not in keys
    assert len({key, *keys}) == 1 + len(keys)


def test_what_is_not_tuned() -> None:
    assert signature(conv(constants=())) is None  # weights that change would be packed in every run
    types = (TensorType(F32, (4, 8)), TensorType(F32, (8, 3)))
    assert signature(Query(MATMUL, types, MATMUL.check(types, MatMulParams()), MatMulParams(), frozenset([1]))) is None


def test_measuring_tells_fast_from_slow() -> None:
    times = measure(conv(batch=5), [SLOW, FAST])
    assert set(times) == {"slow", "fast"}
    assert 900 < times["fast"] < times["slow"]


def test_measuring_uses_the_real_kernels_and_weights() -> None:
    query = conv(batch=3, padding="SAME")
    kernels = legal_kernels(query, "cython")
    asked: list[int] = []

    class Watched:
        def value(self, index: int) -> np.ndarray[Any, Any]:
            asked.append(index)
            return np.ones(query.inputs[index].dims, F32)

        def packed(self, index: int, layout: str, pack: Any) -> Any:
            raise AssertionError("what loses must not be kept")

    times = measure(query, kernels, Watched())
    assert set(times) == {k.name for k in kernels}
    assert all(t > 0 for t in times.values())
    assert 1 in asked


@pytest.mark.usefixtures("two")
def test_rank_decides_without_a_table() -> None:
    for mode in ("off", "cached"):
        selection = choose(Tuner(mode), conv())
        assert (selection.kernel, selection.reason) == (SLOW, "")


@pytest.mark.usefixtures("two")
def test_full_measures_once_and_stores(monkeypatch: pytest.MonkeyPatch, own_cache: Path) -> None:
    first = Tuner("full")
    selection = choose(first, conv())
    assert selection.kernel is FAST
    assert re.match(r"chosen by measuring: \d\.\d{3} ms against ", selection.reason)
    assert "ms of slow" in selection.reason
    assert [str(r) for r in selection.rejected] == [f"numpy.slow: fast was {selection.reason}"]
    first.save()
    monkeypatch.setattr(tuner, "measure", lambda *_: pytest.fail("measured twice"))
    assert choose(first, conv(batch=8, threads=2)).kernel is FAST
    for mode in ("full", "cached"):
        again = choose(Tuner(mode), conv(batch=2))
        assert again.kernel is FAST
        assert again.reason.startswith("chosen by tuning: ")
    assert choose(Tuner("off"), conv()).kernel is SLOW, "off does not read the file"


def test_what_is_no_longer_legal_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    refusing = pretend("fast", 0.001, 1, lambda query: "the moon is wrong")
    third = pretend("third", 0.002, 5)
    write_table(
        table_path("numpy", ""), "numpy", "", {signature(conv()) or "": {"slow": 3e3, "fast": 1.0, "third": 2e3}}
    )
    monkeypatch.setattr(registry, "kernels_of", lambda backend, contract: (SLOW, third, refusing))
    assert choose(Tuner("cached"), conv()).kernel is third
    monkeypatch.setattr(registry, "kernels_of", lambda backend, contract: (SLOW, refusing))
    assert choose(Tuner("cached"), conv()).kernel is SLOW


def test_an_entry_that_lacks_a_kernel_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """A kernel that was written after the table may be the best of all: its rank says so."""
    new = pretend("new", 0.0001, 20)
    write_table(table_path("numpy", ""), "numpy", "", {signature(conv()) or "": {"slow": 3e3, "fast": 1.0}})
    monkeypatch.setattr(registry, "kernels_of", lambda backend, contract: (new, SLOW, FAST))
    assert choose(Tuner("cached"), conv()).kernel is new
    assert choose(Tuner("full"), conv()).reason.startswith("chosen by measuring")


@pytest.mark.usefixtures("two")
def test_noise_does_not_decide() -> None:
    layer = signature(conv()) or ""
    write_table(table_path("numpy", ""), "numpy", "", {layer: {"slow": 101.0, "fast": 100.0}})
    assert choose(Tuner("cached"), conv()).kernel is SLOW


@pytest.mark.usefixtures("two")
def test_a_session_keeps_its_choice() -> None:
    """Whatever another process stores meanwhile, batch 8 of a session must run as batch 1 did."""
    mine = Tuner("cached")
    assert choose(mine, conv()).kernel is SLOW
    write_table(table_path("numpy", ""), "numpy", "", {signature(conv()) or "": {"slow": 3e3, "fast": 1.0}})
    assert choose(mine, conv(batch=8)).kernel is SLOW
    assert choose(Tuner("cached"), conv()).kernel is FAST


@pytest.mark.usefixtures("two")
def test_the_shipped_table_is_used_by_all_modes_but_full(monkeypatch: pytest.MonkeyPatch) -> None:
    table = tables.Table("shipped table", {signature(conv()) or "": {"slow": 2e3, "fast": 1e3}})
    monkeypatch.setattr(tuner, "shipped_table", lambda backend, target: table)
    for mode in ("off", "cached"):
        assert choose(Tuner(mode), conv()).reason == "chosen by shipped table: 1.000 ms against 2.000 ms of slow"
    write_table(table_path("numpy", ""), "numpy", "", {signature(conv()) or "": {"slow": 1e3, "fast": 2e3}})
    assert choose(Tuner("cached"), conv()).kernel is SLOW, "what was measured here counts more"


def test_the_shipped_file_is_sound() -> None:
    for isa in ("avx512", "avx2", "portable"):
        table = shipped_table("cython", isa)
        names = {k.name for k in get_backend("cython").kernels()}
        for layer, times in table.layers.items():
            assert layer.startswith(("conv2d float32 ", "depthwise_conv2d float32 "))
            assert set(times) <= names
            assert len(times) >= 2


def test_tables_of_two_writers_are_joined() -> None:
    path = table_path("numpy", "")
    write_table(path, "numpy", "", {"a": {"x": 1.0}, "b": {"x": 2.0}})
    write_table(path, "numpy", "", {"b": {"x": 3.0}, "c": {"x": 4.0}})
    assert read_table(path, "numpy", "").layers == {"a": {"x": 1.0}, "b": {"x": 3.0}, "c": {"x": 4.0}}
    assert [p.name for p in path.parent.iterdir()] == [path.name], "nothing is left over"


GOOD = {"format": 1, "backend": "numpy", "target": "", "cpu": tables.cpu_model(), "layers": {"a": {"x": 1.0}}}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "[" * 100_000,
        json.dumps({**GOOD, "cpu": "another"}),
        json.dumps({**GOOD, "target": "avx512"}),
        json.dumps({**GOOD, "format": 2}),
        json.dumps({k: v for k, v in GOOD.items() if k != "layers"}),
        json.dumps({**GOOD, "layers": []}),
        json.dumps({**GOOD, "layers": {"a": 1.0}}),
        json.dumps({**GOOD, "layers": {"a": {"x": -1.0}}}),
        json.dumps({**GOOD, "layers": {"a": {"x": True}}}),
        json.dumps({**GOOD, "layers": {"a": {"x": float("nan")}}}),
        json.dumps({**GOOD, "layers": {"a": {"x": "fast"}}}),
        json.dumps({**GOOD, "layers": {"a": {"x": 10**400}}}),
        "\x00" * 100,
    ],
)
def test_damaged_and_foreign_files_are_not_used(text: str, caplog: pytest.LogCaptureFixture) -> None:
    path = table_path("numpy", "")
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(GOOD))
    assert read_table(path, "numpy", "").layers == {"a": {"x": 1.0}}
    path.write_text(text)
    with caplog.at_level(logging.WARNING, "kigraph"):
        assert read_table(path, "numpy", "").layers == {}
    assert f"the tuning file {path} is not used" in caplog.text
    write_table(path, "numpy", "", {"b": {"x": 1.0}})
    assert read_table(path, "numpy", "").layers == {"b": {"x": 1.0}}


def test_every_damage_of_a_tuning_file_is_survived() -> None:
    """Flipped bits, cut ends, and files that others may write: a table of checked numbers, or none."""
    path = table_path("numpy", "")
    write_table(path, "numpy", "", {f"layer {i}": {"x": float(i), "y": 2.0} for i in range(1, 20)})
    whole = path.read_bytes()
    for i in np.random.default_rng().integers(len(whole) * 8, size=300).tolist():
        data = bytearray(whole)
        data[i // 8] ^= 1 << i % 8
        path.write_bytes(data if i % 3 else data[: i // 8])
        for times in read_table(path, "numpy", "").layers.values():
            assert all(0 < t < np.inf for t in times.values())
    path.write_bytes(whole)
    assert len(read_table(path, "numpy", "").layers) == 19
    path.chmod(0o622)
    assert read_table(path, "numpy", "").layers == {}
    write_table(path, "numpy", "", {"b": {"x": 1.0}})
    assert read_table(path, "numpy", "").layers == {"b": {"x": 1.0}}


@pytest.mark.usefixtures("two")
def test_a_folder_that_cannot_be_written_is_said_once(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("KIGRAPH_CACHE_DIR", str(tmp_path / "file"))
    with caplog.at_level(logging.WARNING, "kigraph"):
        for _ in range(2):
            mine = Tuner("full")
            assert choose(mine, conv()).kernel is FAST
            mine.save()
    assert caplog.text.count("tuning is not kept") == 1


def test_modes_are_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SettingsError, match="tune must be one of off, cached, full, got 'on'"):
        Tuner("on")
    monkeypatch.setenv("KIGRAPH_TUNE", "full")
    assert Tuner().mode == "full"
    assert Tuner("off").mode == "off"


@pytest.mark.usefixtures("two")
def test_the_registry_takes_only_legal_kernels() -> None:
    stranger = pretend("stranger", 0, 0)
    with pytest.raises(KernelError, match=r"numpy\.stranger was preferred .* none of numpy\.slow, numpy\.fast"):
        select(conv(), ["numpy"], lambda query, legal: (stranger, "because"))


def test_time_does_not_buy_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """How far a kernel may be from the truth is decided by who ranks the kernels."""
    wide = replace(pretend("wide", 0.0, 3), tolerance=Tolerance(1e-6, 1e-3))
    monkeypatch.setattr(registry, "kernels_of", lambda backend, contract: (SLOW, wide, FAST))
    assert accurate_enough((SLOW, wide, FAST)) == (SLOW, FAST)
    assert choose(Tuner("full"), conv()).kernel is FAST
    first = replace(wide, rank=20)
    assert accurate_enough((first, SLOW, FAST)) == (first, SLOW, FAST)


def test_measuring_again_replaces_the_entry() -> None:
    layer = signature(conv()) or ""
    write_table(table_path("numpy", ""), "numpy", "", {layer: {"slow": 1.0, "fast": 9e9}})
    mine = Tuner("full")
    decision = mine.again(conv(), (SLOW, FAST))
    assert decision is not None
    assert decision.kernel is FAST
    assert decision.microseconds == decision.times["fast"]
    mine.save()
    assert read_table(table_path("numpy", ""), "numpy", "").layers[layer]["fast"] < 9e9
    assert mine.again(conv(), (SLOW,)) is None
