"""What no file may do, as a table: each threat with the tests that hold it off. The limits of LoadLimits in every family."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

import fuzz_open
import fuzz_seeds
import numpy as np
import pytest

from kigraph.graph.errors import LoadError
from kigraph.graph.loaders import LoadLimits, load
from kigraph.opening import open_file
from tests.loaders import export_files, graph_files

TESTS = Path(__file__).parents[1]
#: Threat -> tests, as FILE::FUNCTION below the folder of tests.
GUARDS = {
    "HDF5: external storage, links, virtual datasets, references": (
        "loaders/test_keras_h5.py::test_hostile", "loaders/test_keras_h5.py::test_layers_that_are_links",
        "loaders/test_hdf5.py::test_other_indexes_and_filters_are_named", "loaders/test_hdf5.py::test_types_that_are_shared_are_named",
    ),
    "HDF5: groups and trees that contain themselves": (
        "loaders/test_keras_h5.py::test_a_group_that_contains_itself", "loaders/test_keras_h5.py::test_a_group_that_is_linked_into_itself",
        "loaders/test_hdf5.py::test_a_tree_that_is_its_own_child", "loaders/test_hdf5.py::test_a_header_that_continues_in_itself",
        "loaders/test_hdf5.py::test_what_keeps_libhdf5_busy_ends",
    ),
    "declared exabytes, and content that expands": (
        "loaders/test_keras_h5.py::test_compression_bomb", "loaders/test_hdf5.py::test_chunks_beyond_the_edge_are_counted",
        "loaders/test_keras_zip.py::test_what_is_inflated_is_counted_first", "loaders/test_torch.py::test_a_zip_bomb_is_never_inflated",
        "loaders/test_graphdef.py::test_many_middling_constants_are_one_huge_one", "loaders/test_tflite.py::test_constants_are_checked",
        "loaders/test_bundle.py::test_huge_counts_are_refused_before_anything_is_allocated",
        "loaders/test_onnx_files.py::test_declared_sizes_are_checked_before_anything_is_made",
        "loaders/test_export_guards.py::test_what_does_not_fit_is_named", "loaders/test_guards.py::test_what_expands_counts",
        "loaders/test_graphdef.py::test_shapes_worked_out_at_load_time_are_bounded",
        "loaders/test_export_guards.py::test_pieces_and_constants_are_counted_before_they_are_made",
        "apps/test_hostile_archives.py::test_*",
    ),
    "zip: names that climb, duplicates, overlaps, compression": (
        "loaders/test_torch.py::test_climbing_names_are_refused", "loaders/test_torch.py::test_duplicate_members_are_refused",
        "loaders/test_torch.py::test_overlapping_members_are_refused", "loaders/test_torch.py::test_compressed_members_are_refused",
        "loaders/test_torch.py::test_crc_is_checked", "loaders/test_keras_zip.py::test_hostile",
    ),
    "Keras: classes and functions named by a config": (
        "models/test_keras_refusals.py::test_what_is_refused", "models/test_keras_refusals.py::test_damaged_configs",
        "loaders/test_guards.py::test_nothing_is_imported_by_name",
    ),
    "Keras: models in models, shared parts, calls without end": (
        "models/test_keras_refusals.py::test_models_inside_each_other_without_end",
        "models/test_keras_structure.py::test_models_that_call_each_other_often_are_bounded",
        "models/test_keras_structure.py::test_shared_objects_do_not_multiply",
        "models/test_keras_structure.py::test_the_last_layer_is_looked_for_without_end",
    ),
    "pickle: instructions that run code, and what they build": (
        "loaders/test_torch.py::test_os_system_is_never_run", "loaders/test_torch.py::test_forbidden_and_malformed_pickles",
        "loaders/test_torch.py::test_hostile_tensors", "loaders/test_torch.py::test_stack_is_bounded",
        "loaders/test_torch.py::test_shared_containers_do_not_take_exponential_time", "loaders/test_sniff.py::test_pickle_is_never_imported",
        "loaders/test_torch.py::test_legacy_storage_counts",
    ),
    "Protocol Buffers: depth, counts, sizes that contradict": (
        "loaders/test_wire.py::test_depth_is_bounded", "loaders/test_wire.py::test_count_of_elements_is_bounded",
        "loaders/test_wire.py::test_malformed", "loaders/test_graphdef.py::test_hostile_constants",
        "loaders/test_graphdef.py::test_structure_errors", "loaders/test_graphdef.py::test_a_long_chain_does_not_recurse",
        "loaders/test_graphdef.py::test_stated_numbers_of_outputs_are_bounded",
    ),
    "functions that call themselves or multiply, bodies of loops that do not fit": (
        "loaders/test_functions.py::test_expansion_is_bounded", "loaders/test_saved_model.py::test_functions_that_call_themselves",
        "loaders/test_onnx_files.py::test_functions_that_never_end", "loaders/test_loops.py::test_functions_that_do_not_fit",
        "loaders/test_loops.py::test_what_is_no_loop_loads_and_says_so", "loaders/test_functions.py::test_functions_of_one_name_are_refused",
    ),
    "files beside a model: links, hard links, devices, other folders": (
        "loaders/test_saved_model.py::test_links_in_the_folder", "loaders/test_onnx_files.py::test_external_data_stays_in_the_folder",
        "loaders/test_bundle.py::test_the_data_must_be_a_file_of_the_folder", "loaders/test_sniff.py::test_folders_devices_and_missing_files",
        "loaders/test_guards.py::test_no_other_file_is_opened",
    ),
    "tables, blocks and snappy": (
        "loaders/test_bundle.py::test_tables_that_are_damaged", "loaders/test_bundle.py::test_snappy_that_is_damaged",
        "loaders/test_bundle.py::test_entries_that_do_not_fit", "loaders/test_bundle.py::test_parts_that_do_not_make_a_whole",
        "loaders/test_bundle.py::test_strings_that_are_damaged", "loaders/test_old_checkpoint.py::test_damaged_files",
    ),
    "FlatBuffers: offsets, counts, shared tables, FlexBuffers": (
        "loaders/test_flatbuffers.py::test_offsets_are_checked", "loaders/test_flatbuffers.py::test_counts_are_checked_before_anything_is_read",
        "loaders/test_flatbuffers.py::test_shared_tables_cost_what_they_would_alone", "loaders/test_flatbuffers.py::test_damaged_flexbuffers",
        "loaders/test_tflite.py::test_indices_are_checked",
    ),
    "safetensors: ranges, names, headers": (
        "loaders/test_safetensors.py::test_hostile", "loaders/test_safetensors.py::test_absurd_header_lengths_are_no_safetensors",
        "loaders/test_safetensors.py::test_names_that_cannot_be_printed",
    ),
    "JSON of 100 MB, or nested without end": (
        "loaders/test_export_guards.py::test_json_is_bounded", "loaders/test_guards.py::test_json_is_counted_before_it_is_parsed",
        "models/test_keras_refusals.py::test_text_that_is_no_model",
    ),
    "images": ("apps/test_hostile_images.py::test_*", "apps/test_decode.py::test_*"),
    "ops that touch files, network or code": ("loaders/test_guards.py::test_ops_that_reach_outside_are_not_served",),
    "files that change while they are read": ("loaders/test_changed_meanwhile.py::test_*", "loaders/test_deferred.py::test_*"),
    "a reader that is wrong after all": ("apps/test_untrusted.py::test_*", "loaders/test_fuzz.py::test_*", "loaders/test_found.py::test_*"),
    "paths in answers over HTTP": ("serve/test_app.py::test_an_unexpected_error_tells_an_id_and_nothing_else", "serve/test_app.py::test_wrong_requests_have_their_status",
                                   "serve/test_app.py::test_corrupted_images_only_give_4xx"),
}  # fmt: skip


@cache
def functions_of(file: str) -> frozenset[str]:
    tree = ast.parse((TESTS / file).read_text())
    return frozenset(n.name for n in ast.walk(tree) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef))


@pytest.mark.parametrize("threat", GUARDS)
def test_every_threat_has_its_tests(threat: str) -> None:
    assert GUARDS[threat]
    for test in GUARDS[threat]:
        file, _, name = test.partition("::")
        if not (TESTS / file).exists():
            pytest.skip(f"{file} is not here")
        names = functions_of(file)
        assert any(n.startswith("test_") for n in names) if name == "test_*" else name in names, test


# --- limits -----------------------------------------------------------------------------------------------------------

MODELS = [f for f in fuzz_seeds.FAMILIES if f.split("-")[0] not in fuzz_open.OPENERS]
#: Families where a limit has nothing to count: no nodes, no containers in containers, no arrays.
NOTHING = {
    "max_nodes": {"torch", "torch-pickle", "torch-legacy"},
    "max_depth": {"torch", "torch-pickle", "torch-legacy", "tflite"},
    "max_tensors": {"keras", "keras-config"},
}
TIGHT = {"max_bytes": 60, "max_tensors": 0, "max_nodes": 0, "max_depth": 0}


@pytest.fixture(scope="module")
def seeds(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, list[bytes]]]:
    folder = tmp_path_factory.mktemp("seeds")
    return folder, fuzz_seeds.make(folder)


@pytest.mark.parametrize("family", MODELS)
def test_every_limit_holds_in_every_family(family: str, seeds: tuple[Path, dict[str, list[bytes]]]) -> None:
    folder, files = seeds
    path = folder / "case"
    data = files[family][0]
    path.write_bytes(fuzz_seeds.PACKERS.get(family, bytes)(data))
    open_file(path)
    for limit, value in TIGHT.items():
        if family not in NOTHING.get(limit, ()):
            with pytest.raises(LoadError, match=rf"LoadLimits\.{limit}"):
                open_file(path, LoadLimits(**{limit: value}))


@pytest.mark.parametrize("family", ["graphdef", "torch", "torch-export"])
def test_what_expands_counts(family: str, tmp_path: Path) -> None:
    """256 MiB of an array that is one number in the file."""
    import conftest as files

    path = tmp_path / "case"
    if family == "graphdef":
        one = graph_files.node("c", "Const", value=np.zeros((), np.float32))
        shape = graph_files.tf.TensorShape(dim=[graph_files.tf.Dim(size=1 << 26)])
        one.attr["value"].tensor.tensor_shape = shape
        graph_files.save(path, one)
    elif family == "torch":
        tensors = {"a": files.strided("0", "float32", 6, 0, (1 << 26,), (0,))}
        path.write_bytes(files.torch_zip(tensors, {"0": bytes(24)}))
    else:
        model, config, arrays = export_files.seed()
        config["config"]["conv.bias"]["tensor_meta"].update(sizes=[{"as_int": 1 << 26}], strides=[{"as_int": 0}])
        path.write_bytes(export_files.archive(model, config, arrays))
    with pytest.raises(LoadError, match=r"LoadLimits\.max_expansion"):
        load(path)


def test_json_is_counted_before_it_is_parsed(tmp_path: Path) -> None:
    for text, limit in ((b'{"a":' + b"[[]," * 300_000, "max_nodes"), (b'{"a":' + b"[" * 5000, "max_depth")):
        path = tmp_path / "case"
        path.write_bytes(len(text).to_bytes(8, "little") + text)
        with pytest.raises(LoadError, match=rf"LoadLimits\.{limit}"):
            load(path, LoadLimits(max_nodes=10_000, max_depth=1 << 20) if limit == "max_nodes" else None)


# --- nothing outside --------------------------------------------------------------------------------------------------


def test_no_other_file_is_opened(seeds: tuple[Path, dict[str, list[bytes]]], tmp_path: Path) -> None:
    """In a process of its own: a hook that listens to what is opened cannot be taken off."""
    import subprocess
    import sys

    code = (
        "import sys; from pathlib import Path; sys.path[:0] = sys.argv[2:]\n"
        "import fuzz_open, fuzz_seeds\n"
        "folder = Path(sys.argv[1]); seeds = fuzz_seeds.make(folder); path = folder / 'case'\n"
        "def every():\n"
        "    for family in fuzz_seeds.HERE:\n"
        "        path.write_bytes(fuzz_seeds.PACKERS.get(family, bytes)(seeds[family][0]))\n"
        "        fuzz_open.OPENERS.get(family.split('-')[0], fuzz_open.open_model)(path)\n"
        "every(); seen = fuzz_open.watch(folder); every()\n"
        "assert not seen, seen\n"
        "open('/etc/hostname', 'rb').close() if Path('/etc/hostname').exists() else None\n"
        "assert seen or not Path('/etc/hostname').exists()\n"
    )
    places = [str(Path(__file__).parent), str(TESTS.parent)]
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path), *places], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", ["Lambda", "kigraph_trap>Layer", "kigraph_trap.Layer", "os.system"])
def test_nothing_is_imported_by_name(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "kigraph_trap.py").write_text("raise SystemExit('imported')")
    monkeypatch.syspath_prepend(str(tmp_path))
    path = tmp_path / "case"
    for config in fuzz_seeds.KERAS_CONFIGS:
        for word in (b'"Rescaling"', b'"Multiply"', b'"ReLU"'):
            changed = config.replace(
                word, b'"%b", "module": "kigraph_trap", "registered_name": "kigraph_trap>Layer"' % name.encode()
            )
            if changed != config:
                path.write_bytes(fuzz_seeds.PACKERS["keras-config"](changed))
                with pytest.raises(LoadError):
                    open_file(path, strict=True)


OUTSIDE = ("ReadFile", "WriteFile", "MatchingFiles", "PyFunc", "PyFuncStateless", "EagerPyFunc", "SaveV2", "RestoreV2", "MergeV2Checkpoints",
           "DecodeAndRunModule", "XlaLaunch", "RemoteCall", "TextLineDataset", "FixedLengthRecordReader", "ImageSummary")  # fmt: skip


@pytest.mark.parametrize("op", OUTSIDE)
def test_ops_that_reach_outside_are_not_served(op: str, tmp_path: Path) -> None:
    """Such a node loads, and is an error of kigraph when its value is asked for."""
    import kigraph as ki

    name = graph_files.node("name", "Const", value=np.array(str(tmp_path / "made").encode(), object))
    graph_files.save(tmp_path / "case", name, graph_files.node("y", op, "name", "name"))
    loaded = load(tmp_path / "case")
    assert loaded.graph is not None
    with pytest.raises(ki.KigraphError), ki.Session(loaded.graph, backend="numpy") as session:
        session.run("y:0")
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize("op", ["OneHot", "TopK", "TopK-1"])
def test_numbers_of_64_bits_are_not_cut_to_32(op: str, tmp_path: Path) -> None:
    """2^40 would be 0: an empty result without a word."""
    from tests.loaders import onnx_files

    node, huge = onnx_files.node, np.array([1 << 40])
    image = {"x": ("int64" if op == "OneHot" else "float32", (4,))}
    nodes, arrays, version = {
        "OneHot": ([node("OneHot", ["x", "n", "v"], ["y"])], {"n": huge, "v": np.array([0, 1], np.float32)}, 13),
        "TopK": ([node("TopK", ["x", "n"], ["y", "i"])], {"n": huge}, 11),
        "TopK-1": ([node("TopK", ["x"], ["y", "i"], k=1 << 40)], {}, 9),
    }[op]
    (tmp_path / "case").write_bytes(onnx_files.model(nodes, image, ["y"], arrays, opset=version))
    with pytest.raises(LoadError, match=r"1099511627776.*expected a number of 32 bits"):
        load(tmp_path / "case")


@pytest.mark.parametrize("number", ["1" + "0" * 400, "NaN", "Infinity", "true", '"1"', "[1]"])
def test_numbers_beside_weights(number: str, tmp_path: Path) -> None:
    """config.json of timm: whole numbers of JSON may be beyond any float."""
    from kigraph.weights.timm_config import read_timm_config

    text = '{"architecture": "inception_v3", "mean": [%s, 1, 1], "std": [1, 1, 1]}'
    (tmp_path / "config.json").write_text(text % number)
    with pytest.raises(LoadError, match="mean: found"):
        read_timm_config(tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(text % "0.5")
    assert read_timm_config(tmp_path / "model.safetensors") is not None
