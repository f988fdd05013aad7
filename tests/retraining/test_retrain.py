"""The whole way: a folder of drawn pictures to a model that the other commands take."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import kigraph as ki
from kigraph.cli import main
from kigraph.errors import KigraphError
from kigraph.retraining.features import Item, Store, compute, trunk_key
from kigraph.retraining.trunk import find_trunk

from .conftest import COLOURS, drawn, network

Draw = Callable[..., Path]
EXAMPLE = "retrain_photos"


@pytest.fixture
def trained(draw: Draw, weights: Path, tmp_path: Path) -> ki.Retrained:
    return ki.retrain(draw(lemon=24, lime=20, plum=30), weights=weights, output=tmp_path / "mine.pb", testing=0.25)


def test_it_knows_the_new_classes(trained: ki.Retrained, tmp_path: Path, seed: int) -> None:
    assert trained.classes == ("lemon", "lime", "plum")
    assert trained.accuracy == trained.right / trained.total > 0.8
    assert trained.confusion.sum() == trained.total == sum(trained.counts["testing"])
    assert np.trace(trained.confusion) == trained.right
    assert trained.counts["all"] == [24, 20, 30]
    assert trained.unreadable == ()
    model = trained.classifier
    assert model.labels is not None
    assert model.labels.names == trained.classes
    rng = np.random.default_rng(seed)
    for label, colour in COLOURS.items():
        answers = model.classify([drawn(colour, rng) for _ in range(10)])
        assert sum(answer[0].label == label for answer in answers) >= 8


def test_the_file_answers_as_trunk_and_head_do(trained: ki.Retrained, weights: Path, tmp_path: Path) -> None:
    """An oracle of its own: the network of the file read back, its features by NumPy's product with the saved weights."""
    old, new = ki.load(weights), ki.load(trained.path)
    photo = sorted((tmp_path / "photos" / "plum").iterdir())[0]
    features = old.session.run("pooled", {"input": old.prepare([photo])}).astype(np.float64)
    weights_, biases = (new.session.run(f"retrained/{n}").astype(np.float64) for n in ("weights", "biases"))
    logits = features @ weights_ + biases
    expected = np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum()
    assert np.allclose(new.probabilities([photo]), expected, atol=1e-5)
    assert {op.name for op in new.graph.operations} & {"w3", "logits", "scores"} == set()


def test_other_commands_take_it(trained: ki.Retrained, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model, photo = str(trained.path), str(sorted((tmp_path / "photos" / "lime").iterdir())[0])
    assert main(["classify", photo, "--weights", model, "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["images"][0]["labels"][0]["label"] in COLOURS
    assert said["model"]["labelled"]
    other = str(tmp_path / "mine.onnx")
    assert main(["convert", model, "-o", other]) == 0
    assert main(["verify", model, other]) == 0
    (tmp_path / "mine.pb.card.json").unlink()
    assert [label.label for label in ki.load(model).classify(photo, top=1)]  # by the names of nodes and mine_labels.txt
    assert ki.load(model).label_source == "mine_labels.txt"


def test_the_command(draw: Draw, weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, out = draw(lemon=12, plum=12), tmp_path / "out dir" / "m.pb"
    (folder / "plum" / "bad.jpg").write_bytes(b"this is no image")
    (folder / "plum" / "cut.png").write_bytes((folder / "plum" / "plum 0.3.png").read_bytes()[:300])
    command = ["retrain", str(folder), "-o", str(out), "--weights", str(weights), "--testing", "30"]
    assert main(command) == 2
    assert "no such folder" in capsys.readouterr().err
    out.parent.mkdir()
    assert main(command) == 1  # two files are no photographs
    said = capsys.readouterr()
    assert re.search(r"accuracy: [\d.]+ % \(\d+ of \d+\); 95 % interval [\d.]+ to [\d.]+ %", said.out)
    assert "rows: classes; columns: answers" in said.out
    assert "bad.jpg" in said.err
    assert "cut.png" in said.err
    names = ["m.pb", "m.pb.card.json", "m.retrain.json", "m_labels.txt", "m_report.html"]
    assert sorted(p.name for p in out.parent.iterdir()) == names
    before = out.read_bytes()
    assert main([*command, "--json"]) == 1
    again = json.loads(capsys.readouterr().out)
    assert again["classes"] == ["lemon", "plum"]
    assert main([*command, "--l2", "0.5"]) == 2
    assert "was made of other photographs, weights or options" in capsys.readouterr().err
    assert main([*command, "--l2", "0.5", "--force"]) == 1
    assert out.read_bytes() != before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-o", "m.onnx"], "ends in .pb"),
        (["-o", "m.pb", "--testing", "95"], "expected a percentage"),
        (["-o", "m.pb", "--testing", "60", "--validation", "40"], "less than a tenth"),
        (["-o", "m.pb", "--l2", "0"], "expected a number above 0"),
        (["-o", "m.pb", "--l2", "nan"], "expected a number above 0"),
        (["-o", "m.pb", "--augment", "33"], "0 to 32"),
        (["-o", "m.pb", "--bottleneck", "nowhere"], "no operation 'nowhere'"),
        (["-o", "m.pb", "--bottleneck", "w1"], "does not depend on the image"),
        ([], "required: -o"),
    ],
)
def test_wrong_usage(
    draw: Draw, weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
    arguments: list[str], message: str,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    assert main(["retrain", str(draw(lemon=2, plum=2)), "--weights", str(weights), *arguments]) == 2
    assert message in capsys.readouterr().err
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(("m", ".m"))] == []


def test_without_weights_and_network(draw: Draw, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["retrain", str(draw(lemon=2, plum=2)), "-o", str(tmp_path / "m.pb"), "--no-download"]) == 2
    assert "no weights" in capsys.readouterr().err


@pytest.mark.parametrize(("batch", "layout"), [(1, "NHWC"), (None, "NCHW"), (4, "NCHW")])
def test_layouts_and_fixed_batches(draw: Draw, tmp_path: Path, batch: int | None, layout: str) -> None:
    path = tmp_path / "net.pb"
    ki.save_graph(network(batch, layout), path)
    folder = draw(lemon=10, plum=10)
    result = ki.retrain(folder, weights=path, output=tmp_path / "m.pb", testing=0.3)
    model = result.classifier
    photos = sorted((folder / "plum").iterdir())[:3]
    assert model.card is not None
    assert model.card.layout == layout
    assert model.fixed_batch is None  # the old graph's number of images is gone with its last reshape
    assert [a[0].label for a in model.classify(photos)] == ["plum"] * 3
    plain = ki.retrain(folder, weights=save_plain(tmp_path), output=tmp_path / "n.pb", testing=0.3)
    assert np.allclose(model.probabilities(photos), plain.classifier.probabilities(photos), atol=1e-5)


def save_plain(folder: Path) -> Path:
    ki.save_graph(network(), folder / "plain.pb")
    return folder / "plain.pb"


def test_another_bottleneck(draw: Draw, weights: Path, tmp_path: Path) -> None:
    result = ki.retrain(draw(lemon=10, plum=10), weights=weights, output=tmp_path / "m.pb", bottleneck="last")
    same = ki.retrain(draw(lemon=10, plum=10), weights=weights, output=tmp_path / "n.pb")
    assert (result.bottleneck, same.bottleneck) == ("last:0", "pooled:0")  # "last" is averaged: the same features
    photos = sorted((tmp_path / "photos" / "plum").iterdir())
    assert np.allclose(result.classifier.probabilities(photos), same.classifier.probabilities(photos), atol=1e-4)


def test_features_are_computed_once(draw: Draw, weights: Path, tmp_path: Path) -> None:
    folder = draw(lemon=10, plum=10)
    trunk = find_trunk(ki.load(weights))
    calls: list[int] = []

    def counted(images: np.ndarray) -> np.ndarray:
        calls.append(len(images))
        return trunk.features(images)

    from kigraph.retraining.photos import collect

    items = [Item(p.path, p.digest) for p in collect(folder).photos]
    store = Store.of(trunk_key(trunk), (trunk.count,))
    first = compute(trunk, items, store, counted)
    assert (sum(calls), max(calls), first.kept) == (20, 8, 0)
    again = compute(trunk, items[::-1], store, counted)
    assert (sum(calls), again.kept) == (20, 20)
    assert np.array_equal(again.features[::-1], first.features)
    # A damaged file, a cut one and one under another's name are computed again.
    kept = sorted(p for p in store.folder.rglob("*") if p.is_file())
    damaged = bytearray(kept[0].read_bytes())
    damaged[5] ^= 1
    kept[0].write_bytes(damaged)
    kept[1].write_bytes(kept[1].read_bytes()[:20])
    kept[2].write_bytes(kept[3].read_bytes())
    third = compute(trunk, items, store, counted)
    assert (sum(calls), third.kept) == (23, 17)
    assert np.array_equal(third.features, first.features)
    one = trunk.features(trunk.prepared(trunk.pixels(Path(items[7].path).read_bytes(), "x"))[None])
    assert np.array_equal(one[0], first.features[7])


def test_a_cache_that_cannot_be_written(
    draw: Draw, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("KIGRAPH_CACHE_DIR", str(tmp_path / "file"))
    result = ki.retrain(draw(lemon=6, plum=6), weights=weights, output=tmp_path / "m.pb")
    assert result.classes == ("lemon", "plum")
    assert sum("features are not kept" in r.message for r in caplog.records) == 1


def test_a_photograph_that_changes_meanwhile(draw: Draw, weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = draw(lemon=4, plum=4)
    trunk = find_trunk(ki.load(weights))
    from kigraph.retraining.photos import collect

    items = [Item(p.path, p.digest) for p in collect(folder).photos]
    Image.new("RGB", (30, 30)).save(items[2].path)
    os.unlink(items[5].path)
    found = compute(trunk, items, Store.of("k", (trunk.count,)))
    assert [os.path.basename(item.path) for item, _ in found.errors] == ["lemon 0.2.png", "plum 0.1.png"]
    assert "changed meanwhile" in found.errors[0][1]
    assert "No such file" in found.errors[1][1]
    assert len(found.items) == len(found.features) == 6


def test_classes_with_any_names(draw: Draw, weights: Path, tmp_path: Path) -> None:
    folder = draw(lemon=4, lime=4, plum=4)
    for old, new in (("lemon", "0 лимон"), ("lime", "1 ライム"), ("plum", "2 <b>برقوق")):
        os.rename(folder / old, folder / new)
    result = ki.retrain(folder, weights=weights, output=tmp_path / "m.pb")
    expected = ("0 лимон", "1 ライム", "2 <b>برقوق")
    assert result.classes == expected
    (tmp_path / "m.pb.card.json").unlink()  # the file of labels alone says the same: not "лимон" without its number
    labels = ki.load(tmp_path / "m.pb").labels
    assert labels is not None
    assert labels.names == expected
    page = result.page.read_text(encoding="utf-8")
    assert "2 &lt;b&gt;برقوق" in page
    assert "<b>برقوق" not in page


def test_the_output_may_lie_among_the_photographs(draw: Draw, weights: Path) -> None:
    folder = draw(lemon=6, plum=6)
    for place in (folder, folder / "plum"):
        result = ki.retrain(folder, weights=weights, output=place / "m.pb")
        assert ki.retrain(folder, weights=weights, output=place / "m.pb").resumed
        assert result.classes == ("lemon", "plum")


def test_what_is_there_is_not_overwritten(draw: Draw, weights: Path, tmp_path: Path) -> None:
    folder, out = draw(lemon=4, plum=4), tmp_path / "m.pb"
    out.write_bytes(b"mine")
    with pytest.raises(KigraphError, match="there already: no run of retrain"):
        ki.retrain(folder, weights=weights, output=out)
    assert out.read_bytes() == b"mine"
    out.unlink()
    (tmp_path / "m_labels.txt").write_text("mine")
    with pytest.raises(KigraphError, match=r"m_labels.txt: the file is there already"):
        ki.retrain(folder, weights=weights, output=out)
    assert (tmp_path / "m_labels.txt").read_text() == "mine"
    ki.retrain(folder, weights=weights, output=out, force=True)
    out.unlink()
    os.mkfifo(out)
    with pytest.raises(KigraphError, match="not a regular file"):
        ki.retrain(folder, weights=weights, output=out, force=True)


def test_no_photographs_for_testing(draw: Draw, weights: Path, tmp_path: Path) -> None:
    result = ki.retrain(draw(lemon=4, plum=4), weights=weights, output=tmp_path / "m.pb", testing=0, validation=0)
    assert result.accuracy is None
    assert any("the accuracy is not known" in note for note in result.notes)
    assert "unknown" in result.page.read_text(encoding="utf-8")


def test_variants_are_the_photograph_s_own(draw: Draw, weights: Path, tmp_path: Path) -> None:
    folder = draw(lemon=8, plum=8)
    first = ki.retrain(folder, weights=weights, output=tmp_path / "a.pb", augment=3)
    (tmp_path / "cache").rename(tmp_path / "old cache")
    os.rename(folder / "plum" / "plum 0.0.png", folder / "plum" / "zz.png")
    again = ki.retrain(folder, weights=weights, output=tmp_path / "b.pb", augment=3, threads=1)
    plain = ki.retrain(folder, weights=weights, output=tmp_path / "c.pb")
    assert first.path.read_bytes() == again.path.read_bytes()
    assert first.path.read_bytes() != plain.path.read_bytes()
    assert first.counts == plain.counts


def test_the_page_asks_for_nothing(trained: ki.Retrained) -> None:
    page = trained.page.read_text(encoding="utf-8")
    assert re.findall(r"""(?:src|href)=["'](?!data:)""", page) == []
    assert "http" not in page.replace("http-equiv", "")
    assert "default-src 'none'" in page
    assert "prefers-color-scheme: dark" in page
    assert 'name="viewport"' in page
    assert page.count("data:image/jpeg;base64,") == min(trained.total - trained.right, 24)
    for label, count in zip(trained.classes, trained.counts["all"], strict=True):
        assert re.search(rf">{label}</td><td>{count}</td>", page)


def test_the_example(draw: Draw, weights: Path, tmp_path: Path) -> None:
    folder = draw(lemon=20, plum=20)
    photo = sorted((folder / "plum").iterdir())[0]
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(
        [sys.executable, str(root / "examples" / f"{EXAMPLE}.py"), str(folder), str(photo), "--weights", str(weights)],
        cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(root)}, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "  plum: 20 photographs" in done.stdout
    assert re.search(r"right: \d+ of \d+ that it has never seen", done.stdout)
    assert done.stdout.splitlines()[-2].split()[-1] == "plum"
    assert (tmp_path / "mine.pb").exists()
