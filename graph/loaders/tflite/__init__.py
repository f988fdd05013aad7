"""TensorFlow Lite models (.tflite) to a Graph of TensorFlow's ops.

    __init__.py      looks_like_tflite, read_tflite: inputs, operators in their order, outputs, names
    integers.py      operators on int8 and uint8 tensors, in these integers
    table.py         operator -> converter; windows.py, activations.py, elementwise.py, arrays.py, control.py, detection.py:
                     the converters
    build.py         the file's tensors while the graph is built, and an operator as its converter sees it
    nodes.py         what the conversion adds
    constants.py     constants as literals that stay in the file; sparse.py: those of which the zeros are left out
    quantization.py  integers that stand for reals
    metadata.py      normalisation and labels

Operators that kigraph lacks stay in the graph: it loads, can be inspected and drawn, and runs with a feed past them.
Only the layout of weights changes; inputs and outputs have the shapes and element types of the file.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

from ....kernels.errors import KigraphError
from ....kernels.tensor import Shape, is_int
from ...builder import Graph, Tensor
from ...errors import LoadError
from ...formats.flatbuffers.tflite import MAGIC, ModelDef, OperatorDef, TensorDef, read_model
from ...formats.limits import Budget
from ...formats.source import Source
from ...signatures import SERVING_DEFAULT, Signature
from .arrays import MOVES
from .batches import takes_any_batch
from .build import Build, Refused, Use
from .integers import INTEGERS, MOVED
from .metadata import describe
from .nodes import legal
from .table import CONVERTERS, CUSTOM

__all__ = ["looks_like_tflite", "read_tflite"]

_NOTE = (
    "quantised layers run in the file's integers; operators that have no integer kernel compute in float32 and round to whole steps "
    "where the runtime rounds, so a step at the edge of two may differ"
)


def looks_like_tflite(head: bytes, size: int) -> bool:
    """A FlatBuffer with TensorFlow Lite's mark whose root is in the file."""
    return head[4:8] == MAGIC and struct.unpack("<I", head[:4])[0] < size


def read_tflite(source: Source, budget: Budget) -> Graph:
    """Parses the file and builds the graph. Weights above 4 KiB are read from the file when they are used."""
    model = read_model(source, budget)
    try:
        return _build(model, source, budget)
    except LoadError:
        raise
    except (KigraphError, ArithmeticError, LookupError, TypeError, ValueError) as error:
        raise LoadError(f"{budget.file}: {error}") from error


def _build(model: ModelDef, source: Source, budget: Budget) -> Graph:
    graph = Graph()
    refused: list[str] = []
    builds = {}
    for number, subgraph in model.subgraphs.items():
        place = "" if len(model.subgraphs) == 1 else f"subgraph {number}, "
        builds[number] = Build(graph, subgraph, place, source, budget)
        _with_inner(builds[number], model, refused, ())
        refused += _convert(builds[number])
    graph.metadata.update(family="tflite", description=model.description)
    if any(q.quantized_grid for q in builds.values()):
        graph.metadata.update(note=_NOTE, exact_products=True)
    if refused:
        graph.metadata["unsupported"] = tuple(refused)
    _name(graph, model, builds, budget)
    describe(graph, model, source, budget)
    return graph


def _with_inner(build: Build, model: ModelDef, refused: list[str], open: tuple[int, ...]) -> None:
    """Lets the operators of a subgraph refer to others. ``open``: those that it is inside of."""

    def inner(number: int, graph: Graph) -> Build:
        found = Build(graph, model.inner(number), f"subgraph {number}, ", build.source, build.budget)
        _with_inner(found, model, refused, (*open, number))
        return found

    def enclosed(number: int, shapes: Sequence[Shape]) -> Build:
        if number in open:
            raise Refused(f"subgraph {number}, which is inside of itself")
        found = inner(number, Graph())
        refused.extend(r for r in _convert(found, shapes) if r not in refused)
        return found

    build.enclosed, build.setting = enclosed, lambda number: inner(number, build.graph)


def _convert(build: Build, shapes: Sequence[Shape] | None = None) -> list[str]:
    """Adds all operators in their order; what cannot run, and why. shapes: of the inputs, if another subgraph gives them."""
    model = build.model
    if shapes is None:
        ones = bool(model.inputs) and all(_fixed_to_one(build.tensor(i)) for i in model.inputs)
        build.free = ones and takes_any_batch(build)
        shapes = [_fed_shape(build.tensor(i), build.free) for i in model.inputs]
    for index, shape in dict(zip(model.inputs, shapes, strict=False)).items():
        build.feed(index, shape)
    refused = []
    for operator in model.operators:
        try:
            reason = _add(build, operator)
        except LoadError:
            raise
        except (KigraphError, ArithmeticError, LookupError, TypeError, ValueError) as error:
            raise LoadError(f"{build.budget.file}: {build.place}{operator}: {error}") from error
        if reason:
            refused.append(f"{build.place}{operator}: {reason}")
    for index in model.outputs:
        build.result(index)
    return refused


def _fixed_to_one(tensor: TensorDef) -> bool:
    """A batch of one item, as far as the file says: models that were converted without a batch axis of any size."""
    return len(tensor.shape) > 1 and tensor.shape[0] == 1 and -1 not in tensor.signature


def _fed_shape(tensor: TensorDef, free: bool) -> tuple[int | None, ...] | None:
    """What may be fed: unknown sizes where the signature says so, and any batch if that is ``free``."""
    sizes = tensor.signature or tensor.shape
    if not sizes:
        return () if tensor.has_rank else None  # files do not tell a scalar from a tensor of unknown rank
    if free:
        return (None, *sizes[1:])
    return tuple(None if d == -1 else d for d in sizes)


def _add(build: Build, operator: OperatorDef) -> str:
    """Adds an operator's results; '' or why it cannot run."""
    if operator.name == "DEQUANTIZE" and _derive(build, operator):
        return ""
    if operator.name == "DENSIFY" and _derive(build, operator):
        return ""
    use = Use(build, operator)
    if not operator.custom and operator.name in INTEGERS and _in_integers(use):
        return ""
    use.whole = operator.name in MOVED and _one_grid(build, operator) and _bytes(build, operator)
    use.stepwise = not use.whole and operator.name in MOVES and _one_grid(build, operator)
    reason = ""
    convert = (CUSTOM if operator.custom else CONVERTERS).get(operator.name)
    try:
        if convert is None:
            raise Refused("a custom operator" if operator.custom else "no converter")
        made = convert(use)
        values = made if isinstance(made, tuple) else (made,)
        if len(values) < len(operator.outputs):
            raise Refused(f"{len(operator.outputs)} results, where {len(values)} are known")
    except Refused as refusal:
        reason, use.stepwise, use.whole = str(refusal), False, False
        values = _unknown(use)
    for index, value in zip(operator.outputs, values, strict=False):
        _once(build, operator, index)
        _store(use, index, value, bool(reason))
    return reason


def _in_integers(use: Use) -> bool:
    """Adds an operator that has an integer op for its element types; False if it has not."""
    build, operator = use.build, use.operator
    if len(operator.outputs) != 1 or not build.byte_grid(operator.outputs[0]):
        return False
    try:
        made = INTEGERS[operator.name](use)
    except Refused:  # its converter for reals says so, too
        return False
    if made is None:
        return False
    _once(build, operator, operator.outputs[0])
    build.store_as_filed(operator.outputs[0], made)
    return True


def _once(build: Build, operator: OperatorDef, index: int) -> None:
    if build.has_value(index):
        raise build.budget.error(
            f"{build.place}{operator}", f"tensor {index}, which has a value", "one operator for each"
        )


def _bytes(build: Build, operator: OperatorDef) -> bool:
    """Whether all inputs and results that have a grid are int8 or uint8."""
    indices = (i for i in (*operator.inputs, *operator.outputs) if i >= 0)
    return all(build.byte_grid(i) for i in indices if build.tensor(i).quantization is not None)


def _store(use: Use, index: int, value: Tensor, refused: bool) -> None:
    """A result of an operator as the tensor of that index."""
    build = use.build
    if (use.stored or (use.whole and build.byte_grid(index))) and not refused:
        build.store_as_filed(index, value)
    elif use.stepwise and build.activation_grid(index):
        build.steps[index] = value
    elif refused:
        build.given[index] = value
    else:
        build.store(index, value, use.halves)


def _derive(build: Build, operator: OperatorDef) -> bool:
    """Halves, integers or sparse weights that the model expands itself are expanded where they are read."""
    constant = build.constant(operator.inputs[0]) if operator.inputs and operator.inputs[0] >= 0 else None
    if constant is None or len(operator.outputs) != 1 or constant.shape != build.tensor(operator.outputs[0]).shape:
        return False
    build.derive(operator.outputs[0], constant)
    return True


def _unknown(use: Use) -> tuple[Tensor, ...]:
    """An operator that cannot run, with its inputs and outputs."""
    operator = use.operator
    op = legal(operator.name).replace("/", "_") if operator.custom else f"TFLite_{operator.name}"
    inputs = [use.x(i) for i in range(use.count) if use.has(i)]
    return use.all(op, inputs, {}, len(operator.outputs))


def _one_grid(build: Build, operator: OperatorDef) -> bool:
    """Whether all inputs and results that have a grid have the same."""
    grids = {
        (q.scale.tobytes(), q.zero_point.tobytes(), build.tensor(i).kind)
        for i in (*operator.inputs, *operator.outputs)
        if i >= 0 and (q := build.tensor(i).quantization) is not None
    }
    return len(grids) == 1 and any(build.activation_grid(i) for i in operator.outputs)


def _name(graph: Graph, model: ModelDef, builds: dict[int, Build], budget: Budget) -> None:
    """The file's names of tensors, and those of signatures where they are free and mean one tensor."""
    main = builds[0]
    _name_tensors(graph, main)
    _note_grids(graph, main)
    meant: dict[str, set[str]] = {}
    for signature in model.signatures:
        build = builds[signature.subgraph]
        for name, index in (*signature.inputs, *signature.outputs):
            if index >= len(build.model.tensors):
                raise budget.error(
                    f"signature {signature.key[:80]!r}", f"{name[:80]!r} is tensor {index}", "one of the subgraph"
                )
        graph.signatures[signature.key] = found = Signature(
            {name: build.feedable(index).name for name, index in signature.inputs},
            {name: build.result(index).name for name, index in signature.outputs},
        )
        for name, tensor_name in (*found.inputs.items(), *found.outputs.items()):
            meant.setdefault(name, set()).add(tensor_name)
    for name, tensor_names in meant.items():
        if len(tensor_names) == 1:
            graph.aliases.setdefault(name, *tensor_names)
    if SERVING_DEFAULT not in graph.signatures:  # what an interpreter runs if no signature is named
        ends = [[(main.tensor(i).name or t.name, t.name) for i, t in of.items()] for of in _ends(main)]
        graph.signatures[SERVING_DEFAULT] = Signature(dict(ends[0]), dict(ends[1]))


def _note_grids(graph: Graph, main: Build) -> None:
    """For who compares with real numbers: tensor -> (scale, zero point) of the integers that are fed and given out."""
    grids = {}
    for of in _ends(main):
        for index, tensor in of.items():
            q = main.tensor(index).quantization
            if q is not None and is_int(tensor.dtype) and q.scale.size == q.zero_point.size == 1:
                grids[tensor.name] = (float(q.scale.item()), int(q.zero_point.item()))
    if grids:
        graph.metadata["quantization"] = grids


def _ends(build: Build) -> tuple[dict[int, Tensor], dict[int, Tensor]]:
    """What is fed, and what is given out."""
    return {i: build.fed[i] for i in build.model.inputs}, {i: build.result(i) for i in build.model.outputs}


def _name_tensors(graph: Graph, build: Build) -> None:
    """Of tensors with the same name those that are fed or given out are meant. What is in steps only has no name: see Build.steps."""
    owners: dict[str, list[Tensor]] = {}
    filed = {i: t for i, t in build.given.items() if i not in build.steps} | build.integers
    for index, tensor in filed.items():
        owners.setdefault(build.tensor(index).name, []).append(tensor)
    for name, tensors in owners.items():
        if name and len(tensors) == 1:
            graph.aliases[name] = tensors[0].name
    inputs, outputs = _ends(build)
    for index, tensor in {**outputs, **inputs}.items():
        if build.tensor(index).name:
            graph.aliases[build.tensor(index).name] = tensor.name
