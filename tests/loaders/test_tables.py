"""Lookup tables of TensorFlow's files: classes as strings, words as numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import kigraph as ki
from kigraph.graph.errors import LoadError, UnsupportedOpError
from kigraph.graph.formats import saved_model as sm
from kigraph.graph.formats import tensorflow as tf
from kigraph.graph.loaders import load
from tests.loaders import bundle_files as made
from tests.loaders.graph_files import called, function, library, node, save
from tests.loaders.saved_files import text

STRING, I64 = np.dtype(object), np.dtype(np.int64)
RESOURCE = tf.AttrValue(type=20)
CLASSES = text("daisy", "rose", "sun flower")
QUERY = np.array([[2, 7], [0, 1]])
EXPECTED = [[b"sun flower", b"?"], [b"daisy", b"rose"]]


def one(value: bytes) -> Any:
    """A scalar string."""
    return np.array(value, STRING)


def find(keys: Any = I64, values: Any = STRING, default: Any = None) -> list[tf.NodeDef]:
    """A table that nothing fills, and a node that finds in it."""
    return [
        node("ids", "Placeholder", dtype=keys, shape=(None, None)),
        node("table", "HashTableV2", key_dtype=keys, value_dtype=values),
        node("default", "Const", value=one(b"?") if default is None else default),
        node("found", "LookupTableFindV2", "table", "ids", "default", Tin=keys, Tout=values),
    ]


def filled(keys: Any, values: Any) -> list[tf.NodeDef]:
    return [
        node("keys", "Const", value=keys), node("values", "Const", value=values),
        node("init", "LookupTableImportV2", "table", "keys", "values"),
    ]  # fmt: skip


def run(path: Path, query: Any, output: str = "found:0") -> Any:
    graph = load(path).graph
    assert graph is not None
    return ki.Session(graph, backend="numpy").run(output, {"ids:0": query})


def written(folder: Path, nodes: list[tf.NodeDef], functions: Any = None, **options: Any) -> Path:
    ends = {"serving_default": ({"ids": "ids:0"}, {"found": "found:0"})}
    graph = made.meta_graph(nodes, ends, functions, options.pop("restore", ""))
    for name, file in options.pop("assets", {}).items():
        graph.asset_file_def.append(sm.AssetFile(sm.TensorRef(name=name), file))
    return made.saved_model(folder, graph, **options)


def test_a_table_that_constants_fill(tmp_path: Path) -> None:
    nodes = [*find(), *filled(np.arange(3), CLASSES)]
    for path in (save(tmp_path / "m.pb", *nodes), written(tmp_path / "m", nodes)):
        found = run(path, QUERY)
        assert found.tolist() == EXPECTED
        assert run(path, QUERY[:0]).shape == (0, 2)


def test_strings_to_numbers(tmp_path: Path) -> None:
    nodes = [*find(STRING, I64, np.int64(-1)), *filled(CLASSES, np.array([5, 6, 7]))]
    words = np.array([[b"rose", b"\xff\n"], [b"", b"daisy"]], object)
    assert run(save(tmp_path / "m.pb", *nodes), words).tolist() == [[6, -1], [-1, 5]]


def test_a_function_fills_it(tmp_path: Path) -> None:
    """As TensorFlow 2 saves it: the signature's function gets the handle, and so does the one that runs first."""
    asks = function(
        "asks", {"ids": I64, "t": I64}, {"y": "find:values:0"},
        node("default", "Const", value=one(b"?")),
        node("find", "LookupTableFindV2", "t", "ids", "default:output:0", Tin=I64, Tout=STRING),
    )  # fmt: skip
    fills = function("fills", {"t": I64}, {}, *filled(np.arange(3), CLASSES)[:2],
        node("init", "LookupTableImportV2", "t", "keys:output:0", "values:output:0"))  # fmt: skip
    for made_function in (asks, fills):
        assert made_function.signature is not None
        made_function.signature.input_arg[-1].type = 20
    nodes = [
        *find()[:2],
        node("found", "StatefulPartitionedCall", "ids", "table", f=called("asks")),
        node("first", "StatefulPartitionedCall", "table", f=called("fills")),
    ]
    assert run(written(tmp_path / "m", nodes, library(asks, fills)), QUERY).tolist() == EXPECTED


def test_a_table_of_the_checkpoint(tmp_path: Path) -> None:
    nodes = [
        *find(), node("size", "LookupTableSizeV2", "table"),
        node("file", "Placeholder", dtype=STRING, shape=()), node("names", "Const", value=text("a-keys", "a-values")),
        node("slices", "Const", value=text("", "")), node("RestoreV2", "RestoreV2", "file", "names", "slices"),
        node("init", "LookupTableImportV2", "table", "RestoreV2", "RestoreV2:1"), node("restore", "NoOp", "^init"),
    ]  # fmt: skip
    nodes[1] = node("table", "MutableHashTableV2", key_dtype=I64, value_dtype=STRING)
    arrays = {"a-keys": np.arange(3), "a-values": CLASSES}
    assert run(written(tmp_path / "m", nodes, restore="restore", arrays=arrays), QUERY).tolist() == EXPECTED
    graph = load(written(tmp_path / "n", nodes, restore="restore", arrays={"other": np.zeros(1)})).graph
    assert graph is not None
    with pytest.raises(UnsupportedOpError, match="checkpoint has no content"):
        ki.Session(graph).run("found:0", {"ids:0": QUERY})


def of_file(folder: Path, content: bytes, key: int = -1, value: int = -2, **more: Any) -> Path:
    nodes = [
        *find(),
        node("path", "Placeholder", dtype=STRING, shape=()),
        node("kept", "VarHandleOp", dtype=STRING, shape=()),
        node("assign", "AssignVariableOp", "kept", "path"),
        node("read", "ReadVariableOp", "kept", dtype=STRING),
        node("init", "InitializeTableFromTextFileV2", "table", "read", key_index=key, value_index=value, **more),
    ]
    path = written(folder, nodes, assets={"path:0": "words file.txt"}, arrays={"v": np.zeros(1)})
    (folder / "assets").mkdir()
    (folder / "assets/words file.txt").write_bytes(content)
    return path


def test_a_table_of_a_text_file(tmp_path: Path) -> None:
    assert run(of_file(tmp_path / "a", b"daisy\r\nrose\nsun flower\n"), QUERY).tolist() == EXPECTED
    assert (
        run(of_file(tmp_path / "b", b"0;daisy\n1;rose\n2;sun flower", 0, 1, delimiter=";"), QUERY).tolist() == EXPECTED
    )
    assert run(of_file(tmp_path / "c", b"a\nb\nc\n", offset=1), QUERY).tolist() == [[b"b", b"?"], [b"?", b"a"]]
    assert run(of_file(tmp_path / "d", b"a\nb\nc\n", vocab_size=2), QUERY).tolist() == [[b"?", b"?"], [b"a", b"b"]]


@pytest.mark.parametrize(
    ("content", "options", "reason"),
    [
        (b"x\ty\n", {"key": 0, "value": 1}, "no whole numbers"),
        (b"1\n", {"key": 0, "value": 1}, "line 1 of its text file has no column 1"),
        (b"1\n", {"vocab_size": 5}, "1 lines, fewer than 5"),
        (b"99999999999999999999\ta\n", {"key": 0, "value": 1}, "no whole numbers"),
    ],
)
def test_text_files_that_are_no_tables(content: bytes, options: Any, reason: str, tmp_path: Path) -> None:
    graph = load(of_file(tmp_path / "m", content, **options)).graph
    assert graph is not None
    with pytest.raises(UnsupportedOpError, match=reason):
        ki.Session(graph).run("found:0", {"ids:0": QUERY})


def test_an_asset_is_a_file_of_the_folder(tmp_path: Path) -> None:
    path = of_file(tmp_path / "m", b"daisy\n")
    file = path / "assets/words file.txt" if path.is_dir() else path.parent / "assets/words file.txt"
    file.unlink()
    with pytest.raises(LoadError, match=r"the asset 'words file\.txt'"):
        load(path)
    (tmp_path / "secret").write_bytes(b"rose\n")
    file.symlink_to(tmp_path / "secret")
    with pytest.raises(LoadError, match="symbolic link"):
        load(path)


def test_tables_that_are_not_known_are_fed_past(tmp_path: Path) -> None:
    changes = node("more", "LookupTableInsertV2", "table", "keys", "values")
    reasons = {
        "nothing in the file fills it": find(),
        "'more' .LookupTableInsertV2. changes it": [*find(), *filled(np.arange(3), CLASSES), changes],
        "none of the model's assets": [
            *find(), node("path", "Const", value=one(b"/etc/passwd")),
            node("init", "InitializeTableFromTextFileV2", "table", "path", key_index=-1, value_index=-2),
        ],
    }  # fmt: skip
    for i, (reason, nodes) in enumerate(reasons.items()):
        nodes = [*nodes, node("joined", "StringJoin", "found", "found", N=2)]
        graph = load(save(tmp_path / f"{i}.pb", *nodes)).graph
        assert graph is not None
        with pytest.raises(UnsupportedOpError, match=reason):
            ki.Session(graph).run("joined:0", {"ids:0": QUERY})
        assert ki.Session(graph).run("joined:0", {"found:0": np.array([b"a"], object)}).tolist() == [b"aa"]
