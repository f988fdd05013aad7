"""onnx's own conformance tests with kigraph: python tests/conformance/onnx_nodes.py [--kind KIND ...] [-k TEXT] [-v] [--write]

Every test is a model with inputs and outputs: 1,884 of single nodes (kind node), and those that PyTorch wrote (pytorch-converted,
pytorch-operator, simple), and 9 whole networks (light). Prints passed, failed and unsupported (refused by name) for every op, then the totals. What does not pass
is in onnx_expected.txt: a test that is not there and does not pass, or is refused there and fails now, is a regression (exit status
1). --write renews the list. ``-v`` prints why.
"""

from __future__ import annotations

import argparse
import collections
import sys
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

EXPECTED = Path(__file__).parent / "onnx_expected.txt"
KINDS = ("node", "simple", "pytorch-converted", "pytorch-operator", "light")
#: What convolutional networks are made of: the tests of these ops are counted by themselves.
_CNN = """
    Add And ArgMax ArgMin AveragePool BatchNormalization Cast Ceil Celu Clip Concat Constant ConstantOfShape Conv
    ConvTranspose DepthToSpace Div Dropout Elu Equal Exp Expand Flatten Floor Gather Gelu Gemm GlobalAveragePool GlobalMaxPool
    Greater GroupNormalization HardSigmoid HardSwish Identity InstanceNormalization LRN LayerNormalization LeakyRelu Less Log
    LogSoftmax MatMul Max MaxPool Mean Min Mish Mul Neg PRelu Pad Pow Reciprocal ReduceL1 ReduceL2 ReduceLogSum
    ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum ReduceSumSquare Relu Reshape Resize Selu Shape Sigmoid
    Sign Size Slice Softmax Softplus Softsign SpaceToDepth Split Sqrt Squeeze Sub Sum Swish Tanh ThresholdedRelu TopK
    Transpose Unsqueeze Upsample Where
"""
CNN = frozenset(_CNN.split())
#: Random by definition.
LEFT_OUT = "test_bernoulli"


def cases(kinds: Sequence[str]) -> Iterator[Any]:
    """The tests, with their models and data."""
    from onnx import load
    from onnx.backend.test.loader import load_model_tests

    for kind in kinds:
        if kind == "light":
            yield from _light()
            continue
        for case in load_model_tests(kind=kind):
            if case.name.startswith(LEFT_OUT):
                continue
            if case.model is not None:
                yield case.name, case.model, case.data_sets, case.rtol, case.atol
                continue
            folder = Path(case.model_dir)
            sets = []
            for data in sorted(folder.glob("test_data_set_*")):
                pair = []
                for part in ("input", "output"):
                    count = len(list(data.glob(f"{part}_*.pb")))
                    protos = [(data / f"{part}_{i}.pb").read_bytes() for i in range(count)]
                    pair.append([_array(raw) for raw in protos])
                sets.append(pair)
            yield case.name, load(folder / "model.onnx"), sets, case.rtol, case.atol


def _light() -> Iterator[Any]:
    """Whole networks with weights of one value, and their outputs for a ramp."""
    import onnx.backend.test.loader
    from onnx.backend.test.runner import Runner

    folder = Path(onnx.backend.test.loader.DATA_DIR) / "light"
    for case in onnx.backend.test.loader.load_model_tests(kind="real"):
        path = folder / Path(case.url or "").name
        outputs = sorted(folder.glob(f"{path.stem}_output_*.pb"))
        if not (case.url or "").startswith("onnx/backend/test/data/light/") or not outputs:
            continue
        model = onnx.load(path)
        constants = {tensor.name for tensor in model.graph.initializer}
        inputs = [
            Runner.generate_dummy_data(value, seed=0, name=case.model_name, random=False)
            for value in model.graph.input
            if value.name not in constants
        ]
        yield case.name, model, [(inputs, [_array(p.read_bytes()) for p in outputs])], case.rtol, case.atol


def _array(raw: bytes) -> Any:
    from onnx import TensorProto, numpy_helper

    proto = TensorProto()
    proto.ParseFromString(raw)
    return numpy_helper.to_array(proto)


def is_bfloat16(value: Any) -> bool:
    """Whether two units in the last place of bfloat16 are allowed, as by onnx's own runner of the tests."""
    if hasattr(value, "SerializeToString"):
        return bool(value.data_type == 16)
    return bool(np.asarray(value).dtype.name == "bfloat16")


def widened(value: Any) -> Any:
    """An array of types that NumPy has: what kigraph makes of the smaller ones."""
    if hasattr(value, "SerializeToString"):
        value = _array(value.SerializeToString())
    array = np.asarray(value)
    if array.dtype.kind == "V" or array.dtype.name in ("bfloat16", "int4", "uint4", "int2", "uint2") or array.dtype.name.startswith("float8") or array.dtype.name.startswith("float4"):  # fmt: skip
        kind = "int8" if array.dtype.name in ("int4", "int2") else "uint8" if "uint" in array.dtype.name else "float32"
        return array.astype(kind)
    if array.dtype.kind in "US":
        texts = [v if isinstance(v, bytes) else str(v).encode() for v in array.reshape(-1)]
        return np.array(texts, object).reshape(array.shape)
    if array.dtype == object:
        return np.array([v if isinstance(v, bytes) else str(v).encode() for v in array.reshape(-1)], object).reshape(array.shape)  # fmt: skip
    return array


def outcome(model: Any, sets: Sequence[Any], rtol: float, atol: float) -> tuple[str, str]:
    """('passed', 'failed' or 'unsupported', why)."""
    from kigraph.errors import LoadError, UnsupportedOpError
    from kigraph.onnx_backend import prepare

    try:
        ready = prepare(model)
        for inputs, outputs in sets:
            if any(isinstance(v, list | dict) or v is None for v in (*inputs, *outputs)):
                return "unsupported", "sequences and optional values"
            found = ready.run([widened(v) for v in inputs])
            for got, want in zip(found, outputs, strict=True):
                problem = difference(widened(got), widened(want), max(rtol, 2**-6) if is_bfloat16(want) else rtol, atol)
                if problem:
                    return "failed", problem
    except UnsupportedOpError as e:
        return "unsupported", str(e)
    except LoadError as e:
        return ("unsupported" if "operators of version" in str(e) else "failed"), f"LoadError: {e}"
    except Exception as e:  # whatever it is, it is a finding
        return "failed", f"{type(e).__name__}: {e}"
    return "passed", ""


def difference(got: Any, want: Any, rtol: float, atol: float) -> str:
    """What is different; '' if nothing is."""
    if got.dtype != want.dtype or got.shape != want.shape:
        return f"{got.dtype}{list(got.shape)}, expected {want.dtype}{list(want.shape)}"
    if want.dtype.kind in "fc":
        with np.errstate(all="ignore"):
            if not np.allclose(got, want, rtol, atol, equal_nan=True):
                return f"differs by {np.nanmax(np.abs(got.astype('c16') - want.astype('c16')), initial=0):.3g}"
        return ""
    return "" if np.array_equal(got, want) else f"{np.count_nonzero(got != want)} of {want.size} elements differ"


def _print(ops: Mapping[str, collections.Counter[str]]) -> None:
    """The table by ops and in all."""
    columns = ("passed", "failed", "unsupported")
    print(f"{'op':28}" + "".join(f"{c:>12}" for c in columns))
    for op in sorted(ops):
        print(f"{op:28}" + "".join(f"{ops[op][c]:12}" for c in columns))
    for name, counted in (("convolutional networks", CNN), ("all", set(ops))):
        total = sum((c for op, c in ops.items() if op in counted), collections.Counter())
        print(f"{name:28}" + "".join(f"{total[c]:12}" for c in columns))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kind", nargs="*", choices=KINDS, default=list(KINDS))
    parser.add_argument("-k", default="", help="tests whose name has this text")
    parser.add_argument("-v", action="store_true", help="say why a test does not pass")
    parser.add_argument("--write", action="store_true", help="renew the list of what does not pass")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    expected = dict(line.split()[:2] for line in EXPECTED.read_text().splitlines()) if EXPECTED.is_file() else {}
    found: dict[str, str] = {}
    ops: dict[str, collections.Counter[str]] = collections.defaultdict(collections.Counter)
    regressions, start = [], time.perf_counter()
    for name, model, sets, rtol, atol in cases(arguments.kind):
        if arguments.k not in name:
            continue
        status, why = outcome(model, sets, rtol, atol)
        op = model.graph.node[0].op_type if len(model.graph.node) == 1 else "(several)"
        ops[op][status] += 1
        if status != "passed":
            found[name] = status
            if arguments.v:
                print(f"{name}: {status}: {why[:300]}")
        if status != "passed" and expected.get(name) not in (status, "failed"):
            regressions.append(f"{name}: {expected.get(name, 'passed')} before, {status} now: {why[:200]}")
    _print(ops)
    print(f"{time.perf_counter() - start:.0f} s")
    if arguments.write:
        kept = {} if not arguments.k and set(arguments.kind) == set(KINDS) else expected
        EXPECTED.write_text("".join(f"{n} {s}\n" for n, s in sorted({**kept, **found}.items())))
        return 0
    print("\n".join(regressions))
    return 1 if regressions else 0


if __name__ == "__main__":
    sys.exit(main())
