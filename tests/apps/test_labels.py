"""Label sets and label files."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from kigraph.errors import LabelError
from kigraph.vision import Label, LabelSet, label_set, read_label_file
from kigraph.vision.labels import LABEL_SETS, numbered


def test_sizes_and_order() -> None:
    thousand, with_background, graph_2015 = (label_set(n) for n in LABEL_SETS)
    assert (len(thousand), len(with_background), len(graph_2015)) == (1000, 1001, 1008)
    assert thousand.names[0] == "tench, Tinca tinca"
    assert thousand.names[999].startswith("toilet tissue")
    assert list(thousand.synsets) == sorted(thousand.synsets, key=str)
    assert with_background.names[0] == "background"
    assert with_background.names[1:] == thousand.names
    # The panda of classify_image.py's default picture is node 169; military uniform is 653 of 1001.
    assert graph_2015.names[169].startswith("giant panda")
    assert with_background.names[653] == "military uniform"


def test_2015_is_a_permutation_with_eight_unused() -> None:
    graph_2015 = label_set("imagenet-2015")
    used = [s for s in graph_2015.synsets if s is not None]
    assert sorted(used) == list(label_set("imagenet-1000").synsets)
    unused = [i for i, s in enumerate(graph_2015.synsets) if s is None]
    assert unused == [0, *range(1001, 1008)]


def test_facts_equal_their_source(shared: Path) -> None:
    lines = (shared / "labels" / "mobilenet_labels_1001.txt").read_text().splitlines()
    assert [line.split(":", 1)[1] for line in lines] == list(label_set("imagenet-1001").names)
    text = (shared / "labels" / "imagenet_2012_challenge_label_map_proto.pbtxt").read_text()
    graph_2015 = label_set("imagenet-2015")
    for entry in text.split("entry {")[1:]:
        node, synset = entry.split("target_class:")[1].split()[0], entry.split('"')[1]
        assert graph_2015.synsets[int(node)] == synset


def test_data_file_names_its_origin() -> None:
    import kigraph.vision.labels as module

    data = json.loads((Path(module.__file__).parent.parent / "data" / "imagenet.json").read_text())
    assert "Apache License 2.0" in data["note"]


def test_unknown_set() -> None:
    with pytest.raises(LabelError, match="imagenet-1000, imagenet-1001, imagenet-2015"):
        label_set("coco")


def test_top() -> None:
    labels = LabelSet("abc", ("a", "b", "c", "d"))
    top = labels.top(np.array([0.1, 0.4, 0.1, 0.4], np.float32), 3)
    assert [t.label for t in top] == ["b", "d", "a"]
    assert [t.index for t in top] == [1, 3, 0]
    assert len(labels.top(np.zeros(4), 100)) == 4
    with pytest.raises(LabelError, match="4 names"):
        labels.top(np.zeros(5), 1)


def test_label_is_shown_and_serialised() -> None:
    label = Label("giant panda", 0.89107, 169, "n02510455")
    assert str(label) == " 89.11%  giant panda"
    assert json.loads(json.dumps(label.to_json()))["synset"] == "n02510455"


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("daisy\ndandelion\n\n", ["daisy", "dandelion"]),
        ("\ufeffdaisy\r\ndandelion\r\n", ["daisy", "dandelion"]),
        ("0:background\n1:tench, Tinca tinca\n", ["background", "tench, Tinca tinca"]),
        ('["a", "b"]', ["a", "b"]),
        ('{"0": ["n1", "great_white"], "1": ["n2", "b"]}', ["great white", "b"]),
        ("ok\x1b[31mred\x07\n", ["ok[31mred"]),
    ],
)
def test_label_files(text: str, names: list[str], tmp_path: Path) -> None:
    file = tmp_path / "labels.txt"
    file.write_bytes(text.encode())
    assert list(read_label_file(file).names) == names


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "no labels"),
        (b"\n\n", "no labels"),
        (b"\xff\xfe\x00", "UTF-8"),
        (b"0:a\n2:b\n", "number 2, expected 1"),
        (b"[1, 2]", "entry 0"),
        (b'{"1": "a"}', "keys"),
        (b'["a", ["n", "b"]]', "some entries"),
        (b"[" * 100000, "not valid JSON"),
        (b"x" * (5 * 2**20), "limit"),
    ],
)
def test_bad_label_files(content: bytes, message: str, tmp_path: Path) -> None:
    file = tmp_path / "labels.txt"
    file.write_bytes(content)
    with pytest.raises(LabelError, match=message):
        read_label_file(file)


def test_missing_label_file(tmp_path: Path) -> None:
    with pytest.raises(LabelError, match="cannot be read"):
        read_label_file(tmp_path / "none.txt")


def test_numbered() -> None:
    assert numbered(3).names == ("class 0", "class 1", "class 2")
