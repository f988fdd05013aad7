"""Cases of chains of elementwise ops, and of convolutions and matrix products that finish with one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from ...contracts.chains import BINARY_STEPS, CHAIN, UNARY_STEPS, ChainParams
from ...contracts.conv2d import DEPTHWISE_CONV2D
from ...tensor import DType
from ..case import F16, F32, F64, MEMORIES, Case, Memory, tensor
from ..values import normal, positive, scaled, sparse_nan
from .conv2d import conv_case
from .matmul import matmul_case

__all__ = ["ACTIVATIONS", "CASES"]

_SIXTH = repr(1 / 6)
#: Chains of one input that networks have.
ACTIVATIONS = {
    "sigmoid": "sigmoid(x)",
    "swish": "sigmoid(x);mul(x,t0)",
    "swish-first": "sigmoid(x);mul(t0,x)",
    "hard-sigmoid": f"add(x,3.0);relu6(t0);mul(t1,{_SIXTH})",
    "hard-swish": f"add(x,3.0);relu6(t0);mul(t1,{_SIXTH});mul(x,t2)",
    "hard-swish-last": f"add(x,3.0);relu6(t0);mul(x,t1);mul(t2,{_SIXTH})",
    "leaky-relu": "leaky_relu(x,0.2)",
    "gelu": "mul(x,0.7071067690849304);erf(t0);add(t1,1.0);mul(x,0.5);mul(t3,t2)",
    "gelu-tanh": "square(x);mul(x,t0);mul(t1,0.044715);add(x,t2);mul(t3,0.7978846);tanh(t4);add(t5,1.0);mul(x,0.5);mul(t7,t6)",
    "elu": "elu(x)",
    "clip": "maximum(x,-0.5);minimum(t0,0.75)",
    "twice-read": "sigmoid(x);add(t0,1.0);mul(t0,t1)",
}
_SHAPE = (2, 3, 5, 21)
#: Shapes of operands of a tensor of _SHAPE.
_OPERANDS: dict[str, tuple[int, ...]] = {
    "whole": _SHAPE, "one": (), "one-of-rank-4": (1, 1, 1, 1), "channels": (21,), "images": (2, 1, 1, 1),
    "images-channels": (2, 1, 1, 21), "pixels": (3, 5, 1), "pixels-of-images": (2, 3, 5, 1), "pixels-channels": (1, 3, 5, 21),
}  # fmt: skip


def chain_case(
    name: str,
    steps: str,
    shape: Sequence[int] = _SHAPE,
    *operands: Sequence[int],
    tags: tuple[str, ...] = (),
    values: Any = normal,
    dtype: DType = F32,
    memory: Memory = "dense",
    **rest: Any,
) -> Case:
    inputs = [tensor(shape, values, dtype, memory=memory)]
    inputs += [tensor(s, normal, dtype, memory=memory if len(s) > 1 else "dense") for s in operands]
    return Case(CHAIN, name, tuple(inputs), ChainParams(steps), frozenset(tags), memory, **rest)


def _chains() -> Iterator[Case]:
    for op in sorted(UNARY_STEPS):
        yield chain_case(
            f"{op}-step", f"{op}(x);add(t0,1.0)", values=positive if op in ("log", "sqrt", "rsqrt") else normal
        )
    for op in sorted(BINARY_STEPS):
        yield chain_case(f"{op}-number", f"{op}(x,0.5);neg(t0)")
        yield chain_case(f"{op}-mixed", f"mul(x,0.5);{op}(t0,x)")
    for name, steps in ACTIVATIONS.items():
        yield chain_case(name, steps, (3, 4, 130))
        yield chain_case(f"{name}-nan", steps, (3, 4, 37), values=sparse_nan, tags=("nan",))
        yield chain_case(f"{name}-large", steps, (3, 4, 37), values=scaled(30))
    for name, operand in _OPERANDS.items():
        yield chain_case(f"operand-{name}", "add(x,a0);relu(t0)", _SHAPE, operand, tags=("broadcast",))
        yield chain_case(f"operand-{name}-first", "sub(a0,x);sigmoid(t0)", _SHAPE, operand, tags=("broadcast",))
    yield chain_case("operands", "mul(x,a0);add(t0,a1);relu(t1);sub(t2,a0)", _SHAPE, (21,), _SHAPE)
    yield chain_case("rank0", "sigmoid(x);mul(x,t0)", ())
    yield chain_case("rank1", "mul(x,a0);add(t0,a1)", (33,), (33,), ())
    yield chain_case("rank2", "mul(x,a0);add(t0,a1)", (9, 33), (9, 1), (33,))
    yield chain_case("rank5", "mul(x,a0);add(t0,a1)", (2, 3, 2, 2, 5), (2, 1, 1, 1, 5), (3, 2, 2, 1))
    for channels in (1, 3, 15, 16, 17, 1023, 1024, 1025, 3000):
        yield chain_case(f"c{channels}", "add(x,a0);relu(t0)", (2, 3, channels), (channels,), tags=("tail",))
    yield chain_case("empty", "add(x,a0);relu(t0)", (0, 3, 5), (5,), tags=("empty",))
    yield chain_case("empty-channels", "sigmoid(x);mul(x,t0)", (2, 3, 0), tags=("empty",))
    yield chain_case("inplace", "sigmoid(x);mul(x,t0)", tags=("inplace",), inplace=0)
    yield chain_case(
        "threads2", "sigmoid(x);mul(x,t0);add(t1,a0)", (3, 30, 30, 33), (3, 1, 1, 33), threads=2, tags=("threads",)
    )
    for memory in MEMORIES:
        yield chain_case(memory, "mul(x,a0);sigmoid(t0)", _SHAPE, _SHAPE, memory=memory, tags=("strided",))
    for dtype in (F16, F64):
        yield chain_case(f"{dtype}", ACTIVATIONS["hard-swish"], dtype=dtype)
        yield chain_case(f"{dtype}-operand", "sigmoid(x);mul(t0,a0)", _SHAPE, _SHAPE, dtype=dtype)


def _with(case: Case, *operands: Sequence[int], memory: Memory = "dense") -> Case:
    """The case with a chain's operands behind its bias."""
    dtype = case.inputs[0].type.dtype
    return replace(case, inputs=(*case.inputs, *(tensor(s, normal, dtype, memory=memory) for s in operands)))


def _finished() -> Iterator[Case]:
    tags, steps = ("chain",), "add(x,a0);relu(t0)"
    shapes = {"whole": (2, 7, 9, 40), "channels": (40,), "images": (2, 1, 1, 40), "pixels": (1, 7, 9, 1)}
    for depthwise in (False, True):
        options: dict[str, Any] = {"contract": DEPTHWISE_CONV2D} if depthwise else {}
        w = (3, 3, 1) if depthwise else (1, 1, 40)
        for name in ("swish", "hard-swish", "leaky-relu", "gelu"):
            chain = ACTIVATIONS[name]
            yield conv_case(f"chain-{name}", (2, 7, 9, 40), w, padding="SAME", finish=chain, tags=tags, **options)
        chain = ACTIVATIONS["swish"]
        yield conv_case("chain-nan", (1, 7, 9, 40), w, padding="SAME", finish=chain, values=sparse_nan,
                        tags=(*tags, "nan"), **options)  # fmt: skip
        for name, shape in shapes.items():
            case = conv_case(f"chain-{name}", (2, 7, 9, 40), w, padding="SAME", finish=steps, tags=tags, **options)
            yield _with(case, shape)
        case = conv_case("chain-after-relu", (2, 7, 9, 40), w, padding="SAME", activation="relu", finish=steps, tags=tags,
                         threads=2, **options)  # fmt: skip
        yield _with(case, shapes["whole"])
        case = conv_case("chain-slices", (2, 7, 9, 40), w, padding="SAME", finish=steps, tags=tags, x_memory="slice",
                         memory="pitched", **options)  # fmt: skip
        yield _with(case, shapes["whole"], memory="slice")
        case = conv_case(
            "chain-float64", (2, 7, 9, 40), w, padding="SAME", finish=steps, dtype=F64, tags=tags, **options
        )
        yield _with(case, shapes["whole"])
    swish = ACTIVATIONS["swish"]
    for taps, cout in (((3, 3), 33), ((5, 5), 20), ((1, 7), 33), ((7, 1), 17)):
        yield conv_case(
            f"chain-{taps[0]}x{taps[1]}", (1, 11, 13, 20), (*taps, cout), padding="SAME", finish=swish, tags=tags
        )
    yield conv_case("chain-rows", (1, 21, 23, 3), (3, 3, 33), strides=(2, 2), finish=swish, tags=tags)
    yield conv_case("chain-fed", (1, 6, 7, 20), (3, 3, 17), constant=False, finish=swish, tags=tags)
    yield conv_case("chain-deep", (1, 5, 7, 700), (3, 3, 33), finish=swish, tags=tags)  # several passes over the inputs
    for constant in (False, True):
        for m, k, n in ((1, 30, 17), (3, 30, 17), (9, 5, 48), (65, 40, 129)):
            suffix = f"{m}x{k}x{n}{'-weights' if constant else ''}"
            yield matmul_case(
                f"chain-gelu-{suffix}", m, k, n, bias=True, constant=constant, finish=ACTIVATIONS["gelu"], tags=tags
            )
            case = matmul_case(f"chain-sum-{suffix}", m, k, n, bias=True, constant=constant, finish=steps, tags=tags)
            yield _with(case, (m, n))
    case = matmul_case("chain-batch", 5, 9, 20, batch_a=(3,), batch_b=(3,), bias=True, finish=steps, tags=tags)
    yield _with(case, (3, 1, 20))


CASES: tuple[Case, ...] = (*_chains(), *_finished())
