"""--precision and precision=: every command that runs a model takes it, says it, and refuses it with a remedy."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import kigraph as ki
from kigraph.cli import main
from kigraph.cli.options import offering
from kigraph.errors import KigraphError
from kigraph.graph.quantized import QUANTIZED_OPS, precision_text
from kigraph.kernels.backends import available_backends, get_backend
from kigraph.kernels.bfloat16 import round_to_bfloat16
from kigraph.kernels.errors import SettingsError
from kigraph.kernels.numerics import Numerics
from kigraph.weights.store import EMBEDDED

NDArray = np.ndarray[Any, Any]


@pytest.fixture(scope="module")
def photo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from PIL import Image

    pixels = np.random.default_rng(5).integers(0, 256, (48, 64, 3), np.uint8)
    path = tmp_path_factory.mktemp("precision") / "a b.png"
    Image.fromarray(pixels).save(path)
    return path


def _ran(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, str]:
    code = main([str(w) for w in words])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_classify_says_in_which_precision_it_answered(photo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scores = {}
    for precision in ("fp32", "bf16"):
        code, out, _ = _ran(capsys, "classify", photo, "-w", "demo", "-b", "numpy", "--precision", precision, "--json")
        found = json.loads(out)
        assert (code, found["model"]["precision"]) == (0, precision)
        scores[precision] = [p["probability"] for p in found["images"][0]["labels"]]
    assert scores["fp32"] != scores["bf16"]
    np.testing.assert_allclose(sorted(scores["fp32"]), sorted(scores["bf16"]), atol=0.05)


@pytest.mark.parametrize("precision", ["int8", "tf32", "fp16"])
def test_a_precision_that_cannot_be_had_is_one_error(
    precision: str, photo: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = _ran(capsys, "classify", photo, "-w", "demo", "-b", "numpy", "--precision", precision)
    assert (code, out) == (2, "")
    assert f"precision '{precision}'" in err
    assert "emedy:" in err
    assert "Traceback" not in err


@pytest.mark.parametrize("command", ["bench", "classify", "demo", "profile", "retrain", "serve", "tune"])
def test_help_has_it_with_the_same_words(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = _ran(capsys, command, "--help")
    text = " ".join(out.split())
    assert code == 0
    assert "--precision NAME" in text
    assert "a quantised model always runs in its integers" in text


def test_profile_and_explain_say_it(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = _ran(
        capsys, "profile", EMBEDDED, "-b", "numpy", "--precision", "bf16", "--runs", 1, "--top", 2, "--json"
    )
    found = json.loads(out)
    assert (code, found["precision"]) == (0, "bf16")
    assert any(step["kernel"] == "numpy.bf16_conv2d_in_f32" for step in found["steps"])
    model = ki.load(EMBEDDED, backend="numpy", precision="bf16", threads=1)
    assert model.session.precision == "bf16"
    assert model.explain().splitlines()[0].endswith("1 thread, precision bf16")
    assert "bf16" in model._repr_html_()
    assert repr(model.plan()).endswith("1 thread, bf16>")
    profile = model.session.profile(model.require_card().output, {model.require_card().input: model.noise(1)}, runs=1)
    assert ", 1 thread, bf16" in profile.summary()


def test_comparisons_leave_out_what_does_not_offer_it(capsys: pytest.CaptureFixture[str]) -> None:
    with_it = [n for n in available_backends() if "bf16" in get_backend(n).precisions()]
    assert offering("bf16", available_backends()) == with_it
    err = capsys.readouterr().err
    for name in set(available_backends()) - set(with_it):
        assert f"{name} is left out: it does not offer bf16" in err
    assert offering("fp32", available_backends()) == list(available_backends())
    assert offering("fp16", ["numpy"]) == ["numpy"]  # the session refuses it, with the reason
    assert capsys.readouterr().err == ""
    code, out, _ = _ran(capsys, "bench", "-w", "demo", "-b", "numpy", "--precision", "bf16", "-n", 1, "--json")
    found = json.loads(out)
    assert (code, found["precision"], [r["backend"] for r in found["results"]]) == (0, "bf16", ["numpy"])


def test_the_refusal_says_what_the_processor_lacks() -> None:
    if "bf16" in get_backend("cython").precisions():
        pytest.skip("this processor has the instructions, or KIGRAPH_ISA is set")
    with pytest.raises(SettingsError, match=r"AVX512_BF16 or AMX-BF16.*take fp32"):
        ki.load(EMBEDDED, backend="cython", precision="bf16")


def test_two_precisions_of_one_graph_share_no_packed_weights(seed: int) -> None:
    """Both orders; the session of fp32 must not get rounded weights, nor the other exact ones."""
    rng = np.random.default_rng(seed)
    x, w = (rng.standard_normal(s).astype(np.float32) for s in ((3, 40), (40, 8)))
    exact, rounded = (
        a.astype(np.float64) @ b.astype(np.float64) for a, b in ((x, w), (round_to_bfloat16(x), round_to_bfloat16(w)))
    )
    for order in (("fp32", "bf16"), ("bf16", "fp32")):
        for backend in ("numpy", *(n for n in ("cython",) if "bf16" in get_backend(n).precisions())):
            with ki.Graph().as_default() as graph:
                ki.matmul(ki.placeholder(ki.float32, [None, 40], name="x"), ki.constant(w), name="y")
            for precision in order:
                found = ki.Session(graph, backend, precision=precision).run("y", {"x:0": x})
                wanted = exact if precision == "fp32" else rounded
                np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=2e-5)
                other = rounded if precision == "fp32" else exact
                assert np.abs(found - other).max() > 1e-3


def test_an_archive_is_of_one_precision(photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = tmp_path / "rows.csv"
    words = ("classify", photo, "-w", "demo", "-b", "numpy", "-o", rows)
    assert _ran(capsys, *words, "--precision", "bf16")[0] == 0
    assert _ran(capsys, *words, "--precision", "bf16", "--resume")[0] == 0
    code, _, err = _ran(capsys, *words, "--precision", "fp32", "--resume")
    assert code == 2
    assert "card or labels (or the precision)" in err


def test_a_bug_report_has_the_precisions_of_the_backends() -> None:
    from kigraph.environment import versions

    found = {b["name"]: b["precisions"] for b in versions()["backends"]}
    assert found["numpy"] == ["fp32", "bf16", "int8"]
    assert "fp32" in found["cython"] or not found["cython"]


def test_int8_is_for_quantised_graphs() -> None:
    with ki.Graph().as_default() as graph:
        x = ki.placeholder(ki.float32, [None, 4], name="x")
        ki.matmul(x, np.eye(4, dtype=np.float32), name="y")
    with pytest.raises(SettingsError, match=r"no op on quantised tensors.*kigraph quantize"):
        ki.Session(graph, "numpy", precision="int8")
    graph.metadata["exact_products"] = True
    for precision in ("int8", "bf16", "fp32", None):
        session = ki.Session(graph, "numpy", precision=precision)
        assert session.precision == "fp32"  # whole numbers of steps, but no bytes
        assert session.numerics.multiplies == "fp32"
        odd = np.float32([[257, 1, 513, -129]])  # more bits than bfloat16 has: steps of 16-bit integers
        assert session.run("y", {"x:0": odd}).tolist() == odd.tolist()


@pytest.mark.parametrize("op", sorted(QUANTIZED_OPS))
def test_the_word_for_a_graph(op: str) -> None:
    assert precision_text(Numerics(), ["Conv2D"]) == "fp32"
    assert precision_text(Numerics(precision="bf16"), ["Conv2D"]) == "bf16"
    assert precision_text(Numerics(), ["Relu", op]) == "int8"
    assert precision_text(Numerics(precision="bf16"), [op]) == "int8+bf16"
    assert precision_text(Numerics(precision="int8"), [op]) == "int8"


def test_models_of_a_service_have_their_own(tmp_path: Path) -> None:
    from kigraph.serve.model_list import open_spec, read_models

    file = tmp_path / "models.toml"
    (tmp_path / "m.pb").write_bytes(Path(EMBEDDED).read_bytes())
    tables = '[[model]]\nname = "a"\nfile = "m.pb"\nbackend = "numpy"\nprecision = "bf16"\n'
    file.write_text(tables)
    (spec,) = read_models(str(file))
    assert open_spec(spec).session.precision == "bf16"
    file.write_text(tables.replace("bf16", "half"))
    with pytest.raises(
        KigraphError, match=r"model 1 .*precision = 'half': expected one of fp32, tf32, bf16, fp16, int8"
    ):
        read_models(str(file))
