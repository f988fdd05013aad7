"""Cases of the elementwise ops, with and without broadcasting."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from ...contracts import elementwise as ops
from ...contracts.base import FLOATS, INTEGERS, NUMBERS, Contract, Tolerance
from ...errors import DTypeError
from ...tensor import STRING, DType, TensorType, is_float
from ..case import F16, F32, MEMORIES, Case, Input, Memory, tensor
from ..values import above_one, any_bits, bounded, few, large, nonzero, normal, positive, scaled, sparse_nan, special

__all__ = ["CASES"]

_EXACT = Tolerance(0, 0)
_BOOL = np.dtype(bool)
_ALL = sorted(NUMBERS | {_BOOL, STRING}, key=str)
#: float16 may square a difference before or after rounding it.
_LOOSE_F16 = Tolerance(3e-3, 1e-6)
#: Values keep a distance from poles and from the boundary of a function's domain, except in cases called 'special'.
_VALUES: dict[Contract[Any], Any] = {
    ops.SQRT: positive, ops.RSQRT: positive, ops.LOG: positive, ops.LOG1P: positive, ops.RECIPROCAL: nonzero,
    ops.POW: positive, ops.EXP: scaled(3), ops.SIGMOID: scaled(6), ops.TANH: scaled(2), ops.SOFTPLUS: scaled(6),
    ops.ASIN: bounded, ops.ACOS: bounded, ops.ATANH: bounded, ops.ACOSH: above_one, ops.XLOGY: positive, ops.XLOG1PY: positive,
    ops.TAN: bounded, ops.ERFC: scaled(3), ops.ELU: scaled(3), ops.SELU: scaled(3), ops.SOFTSIGN: scaled(6),
    ops.RELU6: scaled(5), ops.ROUND: scaled(5), ops.FLOOR: scaled(5), ops.CEIL: scaled(5),
}  # fmt: skip
_DIVISIONS = (ops.DIV, ops.FLOORDIV, ops.FLOORMOD, ops.TRUNCDIV, ops.TRUNCMOD, ops.XDIVY)
#: Results of these on huge or tiny numbers depend on the library's argument reduction, which is not tested here.
_NOT_SPECIAL = (ops.SIN, ops.COS, ops.TAN, ops.POW, ops.FLOORMOD, ops.TRUNCMOD, ops.ATAN2)


def _accepts(contract: Contract[Any], dtype: DType) -> bool:
    arity = contract.arity[0]
    try:
        contract.check([TensorType(dtype, (1,))] * arity, contract.params())
    except DTypeError:
        return False
    return True


def _inputs(
    contract: Contract[Any],
    shapes: tuple[tuple[int, ...], ...],
    dtype: DType,
    values: Any = None,
    memory: Memory = "dense",
    constant: int | None = None,
) -> tuple[Input, ...]:
    made = []
    for number, shape in enumerate(shapes):
        make = values or _VALUES.get(contract, normal)
        if number == 1 and values is None and contract in _DIVISIONS:
            make = nonzero
        made.append(
            tensor(shape, make, dtype, memory=memory if len(shape) > 1 else "dense", constant=number == constant)
        )
    return tuple(made)


def _tolerance(contract: Contract[Any], dtype: DType) -> Tolerance | None:
    return _LOOSE_F16 if dtype == F16 and contract is ops.SQUARED_DIFFERENCE else None


def _dtype_cases(contract: Contract[Any]) -> Iterator[Case]:
    """Every element type of the contract; integers over their whole range where nothing forbids it."""
    arity = contract.arity[0]
    for dtype in _ALL:
        if dtype == F32 or not _accepts(contract, dtype):
            continue
        shapes = ((3, 7, 5),) * arity
        inputs = _inputs(contract, shapes, dtype)
        yield Case(contract, f"{'string' if dtype == STRING else dtype}", inputs, tolerance=_tolerance(contract, dtype))
        if dtype in INTEGERS and contract not in (*_DIVISIONS, ops.POW):
            yield Case(
                contract, f"{dtype}-range", _inputs(contract, shapes, dtype, any_bits), tags=frozenset(["large"])
            )
        if dtype in FLOATS and contract.tolerance == _EXACT and contract not in _NOT_SPECIAL:
            inputs = _inputs(contract, shapes, dtype, special)
            yield Case(
                contract, f"{dtype}-special", inputs, tags=frozenset(["nan"]), tolerance=_tolerance(contract, dtype)
            )


def _main(contract: Contract[Any]) -> DType:
    return next(t for t in (F32, _BOOL, np.dtype(np.int32)) if _accepts(contract, t))


def _common(contract: Contract[Any]) -> Iterator[Case]:
    """What ops of one and of two inputs share."""
    arity, dtype = contract.arity[0], _main(contract)

    def case(
        name: str, shape: tuple[int, ...], *tags: str, values: Any = None, memory: Memory = "dense", **rest: Any
    ) -> Case:
        inputs = _inputs(contract, (shape,) * arity, dtype, values, memory)
        return Case(contract, name, inputs, tags=frozenset(tags), memory=memory, **rest)

    yield case("scalar", ())
    for size in (1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 33, 63, 64, 65, 130) if contract.hot else (1, 9, 17, 33, 65):
        yield case(f"n{size}", (size,), "tail")
    yield case("empty", (0,), "empty")
    yield case("empty-inside", (3, 0, 4), "empty")
    yield case("rank4", (2, 3, 5, 7))
    if dtype == F32:
        yield case("nan", (7, 40), "nan", values=sparse_nan)
        if contract not in _NOT_SPECIAL:
            yield case("special", (19, 19), "nan", values=special)
        if contract.tolerance == _EXACT and contract not in _NOT_SPECIAL:
            yield case("large", (6, 33), "large", values=large)
    if contract.inplace:
        yield case("inplace", (5, 33), "inplace", inplace=0)
        if arity == 2:
            yield case("inplace-second", (5, 33), "inplace", inplace=1)
    yield case("threads2", (130, 700), "threads", threads=2)
    for memory in MEMORIES:
        yield case(memory, (4, 5, 21), "strided", memory=memory)
    yield case("inception", (1, 35, 35, 64), "inception")


def _broadcasts(contract: Contract[Any]) -> Iterator[Case]:
    dtype = _main(contract)
    pairs = (
        ((4, 5), (5,)), ((5,), (4, 5)), ((4, 1), (1, 5)), ((1, 5), (4, 1)), ((), (3, 4)), ((3, 4), ()), ((1,), (9,)),
        ((2, 3, 4, 17), (17,)), ((2, 3, 4, 17), (1, 1, 1, 17)), ((17,), (2, 3, 4, 17)), ((2, 3, 4, 17), (2, 1, 1, 17)),
        ((2, 3, 4, 5), (3, 1, 5)), ((2, 1, 4, 1), (3, 1, 5)), ((6, 1), (6, 33)), ((1, 1), (1, 1, 1)), ((0, 4), (4,)), ((1, 4), (0, 4)),
        ((2, 3, 4, 16), (2, 3, 4, 1)), ((1, 3, 1, 16), (2, 1, 4, 1)),
    )  # fmt: skip
    for left, right in pairs:
        name = f"{'x'.join(map(str, left)) or 'scalar'}-with-{'x'.join(map(str, right)) or 'scalar'}"
        yield Case(contract, name, _inputs(contract, (left, right), dtype), tags=frozenset(["broadcast"]))
    if contract.inplace:
        inputs = _inputs(contract, ((6, 33), (33,)), dtype)
        yield Case(contract, "inplace-broadcast", inputs, tags=frozenset(["inplace", "broadcast"]), inplace=0)
    for constant in (0, 1):
        inputs = _inputs(contract, ((6, 33), (6, 33)), dtype, constant=constant)
        yield Case(contract, f"constant{constant}", inputs, tags=frozenset(["constant"]))
    inputs = _inputs(contract, ((2, 9, 33), (33,)), dtype, constant=1)
    yield Case(contract, "constant-row", inputs, tags=frozenset(["constant", "broadcast"]))
    if dtype == F32:
        inputs = _inputs(contract, ((40, 12), (40, 12)), dtype, None if contract in _DIVISIONS else few)
        yield Case(contract, "ties", inputs)


def _leaky_relu() -> Iterator[Case]:
    def case(
        name: str, shape: tuple[int, ...], *tags: str, alpha: float = 0.2, dtype: DType = F32, values: Any = normal,
        memory: Memory = "dense", **rest: Any,
    ) -> Case:  # fmt: skip
        inputs = (tensor(shape, values, dtype, memory=memory),)
        tagged = frozenset(tags)
        return Case(ops.LEAKY_RELU, name, inputs, ops.LeakyReluParams(alpha), tagged, memory=memory, **rest)

    for size in (1, 7, 8, 17, 33, 65):
        yield case(f"n{size}", (size,), "tail")
    for alpha in (0.0, 0.01, 1.0, 2.0, -0.5):
        yield case(f"alpha{alpha}", (5, 33), alpha=alpha)
    for dtype in sorted(FLOATS, key=str):
        yield case(f"{dtype}-special", (19, 19), "nan", dtype=dtype, values=special)
    yield case("scalar", ())
    yield case("empty", (0, 3), "empty")
    yield case("threads2", (130, 700), "threads", threads=2)
    yield case("inplace", (5, 33), "inplace", inplace=0)
    for memory in MEMORIES:
        yield case(memory, (4, 5, 21), "strided", memory=memory)
    yield case("million", (8, 35, 35, 100), measure=True)


def _add_n() -> Iterator[Case]:
    for count in (1, 2, 3, 7):
        yield Case(ops.ADD_N, f"of{count}", (tensor((5, 33), normal),) * count)
    for dtype in sorted(NUMBERS, key=str):
        yield Case(ops.ADD_N, f"{dtype}", (tensor((3, 7, 5), normal, dtype),) * 3)
    for name, shape, values in (("scalar", (), normal), ("nan", (7, 40), sparse_nan), ("tail", (4, 17), normal)):
        yield Case(ops.ADD_N, name, (tensor(shape, values),) * 3, tags=frozenset([name]))
    yield Case(ops.ADD_N, "empty", (tensor((0, 3), normal),) * 3, tags=frozenset(["empty"]))
    yield Case(ops.ADD_N, "threads2", (tensor((130, 700), normal),) * 3, threads=2, tags=frozenset(["threads"]))
    for memory in MEMORIES:
        inputs = (tensor((4, 5, 21), normal, memory=memory), tensor((4, 5, 21), normal), tensor((4, 5, 21), normal))
        yield Case(ops.ADD_N, memory, inputs, memory=memory, tags=frozenset(["strided"]))
    yield Case(ops.ADD_N, "million", (tensor((8, 35, 35, 100), normal),) * 4, measure=True)


def _clip() -> Iterator[Case]:
    shapes: dict[str, tuple[tuple[int, ...], ...]] = {
        "scalars": ((4, 9), (), ()), "same": ((4, 9), (4, 9), (4, 9)), "row": ((4, 9), (9,), ()), "empty": ((0, 9), (), ()),
        "scalar": ((), (), ()), "tail": ((67,), (), ()),
    }  # fmt: skip
    for name, given in shapes.items():
        inputs = (*(tensor(s, sparse_nan if name == "same" else normal) for s in given),)
        yield Case(ops.CLIP, name, inputs, tags=frozenset(["empty"] if name == "empty" else []))
    for dtype in sorted(FLOATS | INTEGERS, key=str):
        yield Case(ops.CLIP, str(dtype), (*(tensor(s, normal, dtype) for s in ((3, 7, 5), (), ())),))
    yield Case(ops.CLIP, "million", (*(tensor(s, normal) for s in ((8, 35, 35, 100), (), ())),), measure=True)


def _approximate_equal() -> Iterator[Case]:
    for dtype in sorted(FLOATS, key=str):
        inputs = (tensor((5, 33), few, dtype), tensor((5, 33), few, dtype))
        yield Case(ops.APPROXIMATE_EQUAL, str(dtype), inputs, ops.ApproximateEqualParams(1.5))
    inputs = (tensor((1000, 1000), normal), tensor((1000, 1000), normal))
    yield Case(ops.APPROXIMATE_EQUAL, "million", inputs, ops.ApproximateEqualParams(0.1), measure=True)


def _select() -> Iterator[Case]:
    def case(name: str, *shapes: tuple[int, ...], dtype: DType = F32, tags: tuple[str, ...] = (), **rest: Any) -> Case:
        condition, x, y = shapes
        values = normal if not is_float(dtype) else sparse_nan
        inputs = (tensor(condition, normal, _BOOL), tensor(x, values, dtype), tensor(y, values, dtype))
        return Case(ops.SELECT, name, inputs, tags=frozenset(tags), typed_by=1, **rest)

    yield case("same", (4, 9), (4, 9), (4, 9))
    yield case("scalars", (4, 9), (), ())
    yield case("million", *((1000, 1000),) * 3, measure=True)
    yield case("condition-row", (9,), (4, 9), (4, 9), tags=("broadcast",))
    yield case("all-broadcast", (4, 1), (9,), (3, 1, 1), tags=("broadcast",))
    yield case("empty", (0,), (0,), (0,), tags=("empty",))
    for dtype in _ALL:
        yield case(f"{'string' if dtype == STRING else dtype}", (4, 3), (4, 3), (4, 3), dtype=dtype)


def _select_rows() -> Iterator[Case]:
    for name, shape, dtype in (
        ("matrix", (9, 4), F32), ("square", (3, 3), F32), ("vector", (5,), F32), ("rank4", (2, 3, 4, 5), F32), ("one", (1, 3), F32),
        ("empty", (0, 3), F32), ("string", (4, 2), STRING), ("bool", (4, 2), _BOOL), ("complex64", (3, 2), np.dtype(np.complex64)),
        ("million", (1000, 1000), F32),
    ):  # fmt: skip
        inputs = (tensor(shape[:1], normal, _BOOL), tensor(shape, normal, dtype), tensor(shape, normal, dtype))
        tags = frozenset(["empty"] if 0 in shape else [])
        yield Case(ops.SELECT_ROWS, name, inputs, tags=tags, typed_by=1, oracle=_rows, measure=name == "million")


def _rows(inputs: Any, params: Any) -> Any:
    condition, x, y = inputs
    result = np.empty(x.shape, x.dtype)
    for i, first in enumerate(condition):
        result[i] = x[i] if first else y[i]
    return (result,)


CASES: tuple[Case, ...] = (
    *(c for op in (*ops.UNARY, *ops.BINARY) for c in _common(op)),
    *(c for op in (*ops.UNARY, *ops.BINARY) for c in _dtype_cases(op)),
    *(c for op in ops.BINARY for c in _broadcasts(op)),
    *_leaky_relu(),
    *_add_n(),
    *_clip(),
    *_approximate_equal(),
    *_select(),
    *_select_rows(),
)
