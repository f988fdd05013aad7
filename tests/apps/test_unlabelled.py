"""A model without labels says so: once in the log, in JSON, and in Python. And a graph without a card names the remedy."""

from __future__ import annotations

import json
import logging
import re
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import kigraph as ki
from kigraph.cli import main
from kigraph.vision.labels import LabelSet, read_label_file

Models = dict[str, Path]
Pictures = dict[str, Path]
Capture = pytest.CaptureFixture[str]


@pytest.fixture
def bare(models: Models, tmp_path: Path) -> Path:
    """A model that needs a label file, alone in its folder."""
    path = tmp_path / "alone" / "own.pb"
    path.parent.mkdir()
    path.write_bytes(models["retrained"].read_bytes())
    return path


def _warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [r.getMessage() for r in caplog.records if r.name == "kigraph" and r.levelno >= logging.WARNING]


def test_one_warning_however_often_it_answers(bare: Path, pictures: Pictures, caplog: pytest.LogCaptureFixture) -> None:
    model = ki.load(bare, backend="numpy")
    assert (model.name, model.labelled, model.label_source) == ("own.pb", False, None)
    assert _warnings(caplog) == [], "a graph that is only run need not have labels"
    assert model.classify(str(pictures["blue"]))[0].label == "class 2"
    threads = [threading.Thread(target=model.classify, args=(str(pictures["red"]),)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    model.classify([str(pictures["red"]), str(pictures["green"])])
    (text,) = _warnings(caplog)
    assert text == model.label_note
    assert "\n" not in text
    for part in ("own.pb has no labels", "own_labels.txt or labels.txt beside", "labels=", "--labels FILE"):
        assert part in text


def test_a_model_with_labels_is_silent(models: Models, pictures: Pictures, caplog: pytest.LogCaptureFixture) -> None:
    for name, source in (("retrained", "labels.txt"), ("2015", "imagenet-2015"), ("slim", "imagenet-1001")):
        model = ki.load(models[name], backend="numpy")
        model.classify(str(pictures["red"]))
        assert (model.labelled, model.label_source, model.label_note) == (True, source, "")
    given = ki.load(models["retrained"], backend="numpy", labels=["r", "g", "b"])
    assert given.label_source == "given"
    assert _warnings(caplog) == []


def test_a_label_file_that_does_not_fit_is_named(
    bare: Path, pictures: Pictures, caplog: pytest.LogCaptureFixture
) -> None:
    (bare.parent / "labels.txt").write_text("a\nb\n")
    model = ki.load(bare, backend="numpy")
    model.classify(str(pictures["blue"]))
    (text,) = _warnings(caplog)
    assert "(labels.txt beside it has 2 names, but final_result:0 has 3 outputs)" in text
    for labels in (["a", "b"], str(bare.parent / "labels.txt")):
        with pytest.raises(ki.LabelError, match="has 2 names, but final_result:0 has 3 outputs"):
            ki.load(bare, labels=labels)


def test_the_command_says_it(bare: Path, pictures: Pictures, capsys: Capture) -> None:
    arguments = ["classify", str(pictures["blue"]), str(pictures["red"]), "-w", str(bare), "-b", "numpy"]
    assert main([*arguments, "--json"]) == 0
    out, err = capsys.readouterr()
    model = json.loads(out)["model"]
    assert (model["name"], model["labelled"], model["labels"]) == ("own.pb", False, None)
    assert "own.pb has no labels" in model["note"]
    assert err.count("kigraph: warning: own.pb has no labels") == 1
    assert main(arguments) == 0
    assert capsys.readouterr().err.count("has no labels") == 1
    (bare.parent / "own_labels.txt").write_text("red\ngreen\nblue\n")
    assert main([*arguments, "--json"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert json.loads(out)["model"]["labels"] == "own_labels.txt"


@pytest.mark.parametrize("labels", [5, b"abc", [1, 2, 3], {"a", "b", "c"}, 1.5, [None] * 3], ids=repr)
def test_labels_of_another_kind(labels: Any, bare: Path) -> None:
    with pytest.raises(ki.LabelError, match="labels must be a label file"):
        ki.load(bare, labels=labels)


def test_label_files_that_end_lines_oddly(tmp_path: Path) -> None:
    """What str.splitlines takes for an end of a line may be in a name, and would shift all that follow."""
    file = tmp_path / "labels.txt"
    for odd in "\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029":
        file.write_bytes(f"a{odd}b\r\nc\rd\n".encode())
        assert read_label_file(file).names == ("ab", "c", "d")
    file.write_text(f"{'9' * 5000}: a\n")
    assert len(read_label_file(file)) == 1
    file.write_text("1: a\n2: b\n")
    with pytest.raises(ki.LabelError, match="line 1 has number 1, expected 0"):
        read_label_file(file)


def test_names_inside_of_a_graph_have_no_control_characters(tmp_path: Path) -> None:
    from kigraph.weights.embedded import CARD_NODE, card_text, embedded_labels

    def labels(text: str) -> LabelSet | None:
        graph = ki.Graph()
        with graph.as_default():
            ki.constant(text.encode(), name=CARD_NODE)
        return embedded_labels(graph)

    text = card_text(
        input="a:0", output="b:0", size=(4, 4), mean=0.0, std=1.0, rule="half_pixel", classes=["\x1b[2Jx", "\ud800y", "z"],
        title="t",
    )  # fmt: skip
    assert labels(text) == LabelSet("embedded", ("[2Jx", "y", "z"))
    for damaged in (text.replace('"mean": 0.0', f'"mean": 1{"0" * 400}'), "[" * 90_000, text[:-1], "{}", "null", '"x"'):
        with pytest.raises(ki.CardError, match="the card in node"):
            labels(damaged)


# --- graphs without a card --------------------------------------------------------------------------------------------


@pytest.fixture
def cardless(tmp_path: Path) -> Path:
    graph = ki.Graph()
    with graph.as_default():
        x = ki.placeholder(ki.float32, [None, None, None, None], name="pictures")  # nothing says that these are images
        weights = ki.constant(20 * np.eye(3, dtype=np.float32))
        ki.softmax(ki.matmul(ki.reduce_mean(x, [1, 2]), weights), name="guesses")
    return ki.save_graph(graph, tmp_path / "own.pb")


def test_the_error_names_the_ends_and_the_way_out(cardless: Path, pictures: Pictures, capsys: Capture) -> None:
    for command in (
        ["classify", str(pictures["red"])],
        ["serve", "--port", "1"],
        ["bench", "-n", "1"],
        ["profile"],
        ["tune"],
    ):
        if command[0] == "serve":
            pytest.importorskip("uvicorn")
        assert main([*command, "-w", str(cardless), "-b", "numpy"]) == 2
        err = capsys.readouterr().err
        assert "no weights card is known for this graph (inputs: pictures:0; outputs: guesses:0)" in err
        assert "--card" in err
        assert "ki.load(FILE" in err
        assert "Traceback" not in err


def test_what_the_error_says_works(cardless: Path, pictures: Pictures) -> None:
    model = ki.load(cardless, backend="numpy")
    with pytest.raises(ki.CardError) as caught:
        model.classify(str(pictures["red"]))
    code = re.search(r"ki\.load\(FILE.*'file'\)\)", str(caught.value))
    assert code is not None
    values = {
        "FILE": cardless,
        "INPUT": "pictures:0",
        "OUTPUT": "guesses:0",
        "HEIGHT": 16,
        "WIDTH": 16,
        "MEAN": 0,
        "STD": 255,
    }
    text = code[0].replace("labels=[...]", "labels=['red', 'green', 'blue']")
    own = eval(text, {"ki": ki, **values})
    assert [own.classify(str(pictures[c]))[0].label for c in ("red", "green", "blue")] == ["red", "green", "blue"]
    with pytest.raises(ki.CardError, match=r"card 'mine' does not fit this graph.*inputs: pictures:0"):
        eval(text, {"ki": ki, **values, "INPUT": "nonsense:0"})


@pytest.mark.parametrize("card", [5, b"x", ["retrained"]], ids=repr)
def test_a_card_of_another_kind(card: Any, cardless: Path) -> None:
    with pytest.raises(ki.CardError, match=r"card must be a ki\.Card"):
        ki.load(cardless, card=card)
