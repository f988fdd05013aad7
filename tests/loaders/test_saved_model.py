"""SavedModels and graphs with a checkpoint beside them: variables, functions, signatures, and folders that are hostile."""

from __future__ import annotations

import os
import shutil
import zipfile
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import kigraph as ki
from kigraph.graph.errors import LoadError, UnsupportedOpError
from kigraph.graph.formats import saved_model as sm
from kigraph.graph.loaders import LoadLimits, load
from tests.loaders import bundle_files as made
from tests.loaders.graph_files import F32, I32, called, function, library, node
from tests.loaders.saved_files import (
    CALL,
    ENDS,
    KEYS,
    RESOURCE,
    RESOURCES,
    RNG,
    B,
    W,
    X,
    reference,
    reference_model,
    resource_model,
    resource_nodes,
    text,
)


def run(path: Path, output: str, /, **feeds: Any) -> Any:
    graph = load(path).graph
    assert graph is not None
    return ki.Session(graph, backend="numpy").run(output, feeds)


def test_reference_variables(tmp_path: Path) -> None:
    folder = reference_model(tmp_path / "m")
    for path in (folder, folder / "saved_model.pb"):
        np.testing.assert_allclose(run(path, "scores", images=X), X @ W + B, rtol=1e-6)
        np.testing.assert_allclose(run(path, "y:0", x=X), X @ W + B, rtol=1e-6)
    loaded = load(folder)
    assert loaded.graph is not None
    assert loaded.inputs == ("images",)
    assert loaded.outputs == ("scores",)
    assert loaded.graph.metadata["family"] == "savedmodel"
    assert {op.type for op in loaded.graph.operations} == {"Placeholder", "Const", "Identity", "MatMul", "BiasAdd"}


def test_resource_variables_and_functions(tmp_path: Path) -> None:
    folder = resource_model(tmp_path / "m")
    np.testing.assert_allclose(run(folder, "y", x=X), X @ W + B, rtol=1e-6)
    graph = load(folder).graph
    assert graph is not None
    assert graph.signatures["serving_default"].inputs == {"x": "serving_default_x:0"}
    assert "saver_filename" not in graph


def test_weights_stay_in_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from kigraph.graph.formats.source import Source

    large = RNG.standard_normal((3000, 100)).astype("f4")
    nodes = [node("x", "Placeholder", shape=(None, 3000)), node("w", "VariableV2", dtype=F32, shape=(3000, 100)), node("y", "MatMul", "x", "w", T=F32)]  # fmt: skip
    folder = made.saved_model(tmp_path / "m", made.meta_graph(nodes, {"serving_default": ({"x": "x:0"}, {"y": "y:0"})}), arrays={"w": large})  # fmt: skip
    read, count = Source.read_into, 0

    def counted(source: Source, offset: int, buffer: memoryview) -> None:
        nonlocal count
        count += len(buffer)
        read(source, offset, buffer)

    monkeypatch.setattr(Source, "read_into", counted)
    loaded = load(folder)
    assert count < 20_000
    assert loaded.graph is not None
    assert loaded.size == sum(f.stat().st_size for f in folder.rglob("*") if f.is_file())
    x = RNG.standard_normal((2, 3000)).astype("f4")
    np.testing.assert_allclose(
        ki.Session(loaded.graph, backend="numpy").run("y", {"x": x}), x @ large, rtol=1e-3, atol=1e-3
    )
    os.truncate(folder / "variables" / "variables.data-00000-of-00001", 5000)
    with pytest.raises(LoadError, match="changed on disk"):
        loaded.graph.operation("w").attrs["value"].array()


def test_the_digest_is_that_of_sha256sum(tmp_path: Path) -> None:
    folder = reference_model(tmp_path / "m")
    names = sorted(f.relative_to(folder).as_posix() for f in folder.rglob("*") if f.is_file())
    lines = [f"{sha256((folder / n).read_bytes()).hexdigest()}  {n}\n" for n in names]
    assert len(names) == 3
    assert load(folder).sha256 == sha256("".join(lines).encode()).hexdigest() == load(folder / "saved_model.pb").sha256
    assert load(folder).remembered_sha256 == load(folder).sha256


def test_parts_of_a_variable(tmp_path: Path) -> None:
    """A partitioned variable: each part is a variable of its own, all have the tensor's key."""
    nodes = [
        node("x", "Placeholder", shape=(None, 3)),
        node("w/part_0", "VariableV2", dtype=F32, shape=(2, 2)),
        node("w/part_1", "VariableV2", dtype=F32, shape=(1, 2)),
        node("axis", "Const", value=np.int32(0)),
        node("w", "ConcatV2", "w/part_0", "w/part_1", "axis", T=F32, N=2, Tidx=I32),
        node("y", "MatMul", "x", "w", T=F32),
        node("f", "Const", value=text("model")),
        node("names", "Const", value=text("w", "w")),
        node("slices", "Const", value=text("3 2 0,2:-", "3 2 2,1:-")),
        node("r", "RestoreV2", "f", "names", "slices"),
        node("a", "Assign", "w/part_0", "r", T=F32),
        node("a_1", "Assign", "w/part_1", "r:1", T=F32),
        node("restore", "NoOp", "^a", "^a_1"),
    ]
    ends = {"serving_default": ({"x": "x:0"}, {"y": "y:0"})}
    for parts in ({}, {"w": (2, 1)}):
        graph = made.meta_graph(nodes, ends, restore="restore")
        folder = made.saved_model(tmp_path / f"m{len(parts)}", graph, arrays={"w": W}, parts=parts)
        np.testing.assert_allclose(run(folder, "y", x=X), X @ W, rtol=1e-6)


def test_what_reads_a_variable(tmp_path: Path) -> None:
    nodes, functions = resource_nodes()
    ids = np.array([2, 0], "i4")
    nodes += [
        node("ids", "Placeholder", dtype=I32, shape=(None,)),
        node("rows", "ResourceGather", "kernel", "ids", dtype=F32, Tindices=I32, batch_dims=0, validate_indices=True),
        node("sizes", "VariableShape", "kernel", out_type=I32),
        node("there", "VarIsInitializedOp", "kernel"),
        node("handle", "Identity", "kernel", T=RESOURCE),
        node("again", "ReadVariableOp", "handle", "^there", dtype=F32),
    ]
    outputs = {k: f"{k}:0" for k in ("rows", "sizes", "there", "again")}
    graph = made.meta_graph(nodes, {"serving_default": ({"ids": "ids:0"}, outputs)}, functions, "restore")
    folder = made.saved_model(tmp_path / "m", graph, arrays=RESOURCES)
    np.testing.assert_array_equal(run(folder, "rows", ids=ids), W[ids])
    np.testing.assert_array_equal(run(folder, "sizes"), [3, 2])
    assert run(folder, "there")
    np.testing.assert_array_equal(run(folder, "again"), W)


def test_variables_that_the_graph_changes(tmp_path: Path) -> None:
    """Counting calls has no effect on the scores; an output that depends on what is changed is no function of the file."""
    step = [
        node("one", "Const", value=np.float32([1, 1])),
        node("count", "AssignAddVariableOp", "bias", "one", dtype=F32),
    ]
    counts = [*step, node("late", "ReadVariableOp", "bias", "^count", dtype=F32)]
    both = {**CALL, "next": ({}, {"late": "late:0"})}
    graph = load(resource_model(tmp_path / "a", *counts, ends=both)).graph
    assert graph is not None
    assert set(graph.signatures) == {"serving_default"}
    only = {"serving_default": ({}, {"late": "late:0"})}
    with pytest.raises(LoadError, match="'serving_default' changes the variable 'bias' whenever it runs"):
        load(resource_model(tmp_path / "b", *counts, ends=only))
    aside = [*step, node("out", "Identity", "StatefulPartitionedCall", "^other", T=F32)]
    aside += [
        node("n", "VarHandleOp", dtype=F32, shape=(), shared_name="n"),
        node("other", "AssignAddVariableOp", "n", "one"),
    ]
    ends = {"serving_default": ({"x": "serving_default_x:0"}, {"y": "out:0"})}
    np.testing.assert_allclose(run(resource_model(tmp_path / "c", *aside, ends=ends), "y", x=X), X @ W + B, rtol=1e-6)


def test_a_variable_without_a_value(tmp_path: Path) -> None:
    folder = resource_model(tmp_path / "m", arrays={"vars/0/.ATTRIBUTES/VARIABLE_VALUE": W})
    with pytest.raises(UnsupportedOpError, match="its checkpoint has no value for it"):
        run(folder, "y", x=X)
    (folder / "variables").rename(tmp_path / "elsewhere")
    with pytest.raises(LoadError, match=r"2 variables and no checkpoint.*Copy the whole folder"):
        load(folder)


def test_names_when_nothing_restores(tmp_path: Path) -> None:
    """TensorFlow Hub's first modules: the checkpoint has the variables' names, and one signature 'default'."""
    graph = made.meta_graph(reference()[:7], {"default": ENDS["serving_default"]}, tags=())
    train = made.meta_graph(reference()[:7], {"default": ENDS["serving_default"]}, tags=("train",))
    folder = made.saved_model(tmp_path / "m", train, graph, arrays={"w": W, "b": B})
    (folder / "tfhub_module.pb").write_bytes(b"\x08\x03")
    np.testing.assert_allclose(run(folder, "scores", images=X), X @ W + B, rtol=1e-6)


def test_which_graph_is_for_serving(tmp_path: Path) -> None:
    def model(*tags: tuple[str, ...]) -> Path:
        graphs = [made.meta_graph(reference(), ENDS, restore="save/restore_all", tags=t) for t in tags]
        return made.saved_model(tmp_path / "m", *graphs, arrays=KEYS)

    for tags in (
        (("train",), ("serve",)),
        (("serve", "gpu"), ("serve",)),
        (("train",), ("serve", "gpu")),
        (("other",),),
    ):
        load(model(*tags))
    with pytest.raises(LoadError, match="2 graphs with the tags train; eval; expected one with the tag 'serve'"):
        load(model(("train",), ("eval",)))
    with pytest.raises(LoadError, match="2 graphs with the same tags"):
        load(model(("serve",), ("serve",)))


def test_signatures(tmp_path: Path) -> None:
    graph = load(reference_model(tmp_path / "m")).graph
    assert graph is not None
    missing = {"serving_default": ({"x": "x:0"}, {"y": "no:0"})}
    with pytest.raises(LoadError, match=r"signature 'serving_default', 'y': found .*no operation 'no'"):
        load(made.saved_model(tmp_path / "a", made.meta_graph(reference(), missing), arrays=KEYS))
    sparse = made.meta_graph(reference(), ENDS)
    sparse.signature_def["serving_default"].inputs["images"] = sm.TensorRef(coo_sparse=sm.Several())
    with pytest.raises(LoadError, match="takes or gives sparse or ragged tensors"):
        load(made.saved_model(tmp_path / "b", sparse, arrays=KEYS))
    many = made.meta_graph(reference(), {f"s{i}": ENDS["serving_default"] for i in range(65)})
    with pytest.raises(LoadError, match="65 of them"):
        load(made.saved_model(tmp_path / "c", many, arrays=KEYS))


def test_results_of_a_function_stand_apart(tmp_path: Path) -> None:
    """One result can be had though another one cannot; both have the names that the signature and the graph have."""
    two = function(
        "two",
        {"x": F32},
        {"a": "r:activations:0", "b": "m:what:0"},
        node("r", "Relu", "x", T=F32),
        node("m", "Mystery", "x"),
    )
    nodes = [node("x", "Placeholder", shape=(None, 3)), node("call", "PartitionedCall", "x", f=called("two"))]
    nodes += [node("twice", "AddV2", "call", "call", T=F32)]
    outputs = {"a": "call:0", "b": "call:1", "twice": "twice:0"}
    graph = made.meta_graph(nodes, {"serving_default": ({"x": "x:0"}, outputs)}, library(two))
    folder = made.saved_model(tmp_path / "m", graph)
    np.testing.assert_array_equal(run(folder, "a", x=X), np.maximum(X, 0))
    np.testing.assert_array_equal(run(folder, "twice", x=X), 2 * np.maximum(X, 0))
    with pytest.raises(UnsupportedOpError, match="Mystery"):
        run(folder, "b", x=X)
    loaded = load(folder).graph
    assert loaded is not None
    assert loaded.tensor("call:1").op.type == "IdentityN"


def test_functions_for_python_alone(tmp_path: Path) -> None:
    nodes, functions = resource_nodes()
    graph = made.meta_graph(nodes[:2], {"__saved_model_init_op": ({}, {"op": "kernel:0"})}, functions)
    with pytest.raises(LoadError, match=r"none, only functions for Python.*signatures=FUNCTION"):
        load(made.saved_model(tmp_path / "m", graph, arrays=RESOURCES))


def test_what_does_not_fit_the_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(
        LoadError, match=r"variable 'w': found a tensor of shape \(2, 2\) in the checkpoint; expected \(3, 2\)"
    ):
        load(reference_model(tmp_path / "a", arrays=KEYS | {"scope/w": W[:2]}))
    with pytest.raises(LoadError, match="found a tensor of float64 in the checkpoint; expected float32"):
        load(reference_model(tmp_path / "b", arrays=KEYS | {"scope/b": B.astype("f8")}))
    main = reference_model(tmp_path / "c") / "saved_model.pb"
    main.write_bytes(main.read_bytes() + b"\x08\x02")
    with pytest.raises(LoadError, match="schema version 2"):
        load(main)
    with pytest.raises(LoadError, match="no nodes"):
        load(made.saved_model(tmp_path / "d", made.meta_graph([])))


def test_links_in_the_folder(tmp_path: Path) -> None:
    folder = reference_model(tmp_path / "m")
    os.symlink(folder, tmp_path / "link")
    load(tmp_path / "link")  # the user's own path may be one
    (folder / "variables").rename(tmp_path / "elsewhere")
    os.symlink(tmp_path / "elsewhere", folder / "variables")
    with pytest.raises(LoadError, match="a symbolic link"):
        load(folder)
    (folder / "variables").unlink()
    shutil.copytree(tmp_path / "elsewhere", folder / "variables")
    load(folder)
    (folder / "saved_model.pb").rename(tmp_path / "s.pb")
    os.symlink(tmp_path / "s.pb", folder / "saved_model.pb")
    with pytest.raises(LoadError, match=r"a link, or no regular file; expected a regular file\. Copy"):
        load(folder)


def test_functions_that_call_themselves(tmp_path: Path) -> None:
    loop = function(
        "loop", {"x": F32}, {"y": "c:output:0"}, node("c", "StatefulPartitionedCall", "x", f=called("loop"))
    )
    nodes = [node("x", "Placeholder"), node("c", "StatefulPartitionedCall", "x", f=called("loop"))]
    graph = made.meta_graph(nodes, {"serving_default": ({"x": "x:0"}, {"y": "c:0"})}, library(loop))
    with pytest.raises(UnsupportedOpError, match="calls itself"):
        run(made.saved_model(tmp_path / "m", graph), "y", x=X)
    twice = [
        function(f"f{i}", {"x": F32}, {"y": "b:output:0"}, node("a", "PartitionedCall", "x", f=called(f"f{i + 1}")), node("b", "PartitionedCall", "a:output:0", f=called(f"f{i + 1}")))
        for i in range(40)
    ]  # fmt: skip
    last = function("f40", {"x": F32}, {"y": "x"})
    nodes = [node("x", "Placeholder"), node("c", "PartitionedCall", "x", f=called("f0"))]
    graph = made.meta_graph(nodes, {"serving_default": ({"x": "x:0"}, {"y": "c:0"})}, library(*twice, last))
    with pytest.raises(LoadError, match=r"nodes.*LoadLimits"):
        load(made.saved_model(tmp_path / "n", graph), LoadLimits(max_nodes=5000))


def test_limits_count_all_files(tmp_path: Path) -> None:
    folder = reference_model(tmp_path / "m", arrays=KEYS | {"more": np.zeros(9000, "f4")})
    with pytest.raises(LoadError, match="max_bytes"):
        load(folder, LoadLimits(max_bytes=30_000))


def training_run(folder: Path) -> Path:
    """What TensorFlow 1 writes while it trains; returns the prefix of its files."""
    nodes = [
        *reference(),
        node("labels", "Placeholder", shape=(None, 2)),
        node("loss", "Sub", "y", "labels", T=F32),
        node("gradients/grad", "MatMul", "x", "loss", transpose_a=True, transpose_b=False, T=F32),
        node("rate", "Const", value=np.float32(0.1)),
        node("update", "ApplyGradientDescent", "w", "rate", "gradients/grad", T=F32),
        node("slot", "VariableV2", dtype=F32, shape=(3, 2)),
        node("slot/read", "Identity", "slot", T=F32),
        node("tag", "Const", value=text("loss")),
        node("log", "ScalarSummary", "tag", "loss", T=F32),
        node("after", "Identity", "update", T=F32),
        node("train", "NoOp", "^update", "^after"),
    ]
    made.bundle(folder / "model.ckpt-7", KEYS | {"slot": W})
    (folder / "model.ckpt-7.meta").write_bytes(made.packed(made.meta_graph(nodes, restore="save/restore_all", tags=())))
    return folder / "model.ckpt-7"


@pytest.mark.parametrize("suffix", [".meta", ".index", ""])
def test_a_training_run(tmp_path: Path, suffix: str) -> None:
    prefix = training_run(tmp_path)
    loaded = load(f"{prefix}{suffix}")
    assert loaded.graph is not None
    assert {op.name for op in loaded.graph.operations} == {
        "x",
        "labels",
        "w",
        "w/read",
        "b",
        "b/read",
        "mul",
        "y",
        "loss",
    }
    assert loaded.outputs == ("loss:0",)
    assert loaded.inputs == ("x:0", "labels:0")
    assert loaded.size == sum(f.stat().st_size for f in tmp_path.iterdir())
    assert loaded.sha256 == load(f"{prefix}.meta").sha256
    np.testing.assert_allclose(run(Path(f"{prefix}{suffix}"), "y:0", **{"x:0": X}), X @ W + B, rtol=1e-6)


def test_a_training_run_without_its_checkpoint(tmp_path: Path) -> None:
    prefix = training_run(tmp_path)
    meta = prefix.with_name(f"{prefix.name}.meta")
    (tmp_path / "elsewhere").mkdir()
    moved = meta.rename(tmp_path / "elsewhere" / meta.name)
    weights = load(prefix.with_name(f"{prefix.name}.index")).weights
    assert weights is not None
    np.testing.assert_array_equal(weights.read("scope/w"), W)
    with pytest.raises(LoadError, match="2 variables and no checkpoint beside the graph"):
        load(moved)
    (tmp_path / "checkpoint").write_text('model_checkpoint_path: "model.ckpt-7"\n')
    with pytest.raises(LoadError, match=r"a folder; .*Give the \.meta or \.index file inside it"):
        load(tmp_path)


def test_other_files_of_the_folder_are_refused_by_name(tmp_path: Path) -> None:
    folder = reference_model(tmp_path / "m")
    (tmp_path / "empty").mkdir()
    with pytest.raises(LoadError, match="found a folder"):
        load(tmp_path / "empty")
    for name in ("keras_metadata.pb", "fingerprint.pb", "tfhub_module.pb"):
        (folder / name).write_bytes(b"\x08\x03")
        with pytest.raises(LoadError, match=r"a part of a TensorFlow SavedModel.*Give the folder"):
            load(folder / name)
    with pytest.raises(LoadError, match="the data of a TensorFlow checkpoint"):
        load(folder / "variables" / "variables.data-00000-of-00001")
    with zipfile.ZipFile(tmp_path / "m.zip", "w") as archive:
        for file in folder.rglob("*"):
            archive.write(file, file.relative_to(tmp_path))
    with pytest.raises(LoadError, match=r"a zipped TensorFlow SavedModel.*unzip FILE -d FOLDER"):
        load(tmp_path / "m.zip")
