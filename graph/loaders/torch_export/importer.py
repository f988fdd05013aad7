"""The calls of a program in order: arguments decoded, outputs named, and the graph's inputs and outputs."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from ....kernels.errors import KigraphError
from ... import ops
from ...builder import Graph, Tensor
from ...errors import LoadError
from ...formats.limits import Budget, brief
from ...ir import UNKNOWN
from ...signatures import SERVING_DEFAULT, Signature
from . import functions, math, nn, recurrent, resize, selection, shapes, windows
from .call import Call, Converter
from .program import Program, tensor_type
from .views import VIEWS, Views

__all__ = ["Importer"]

_TARGET = re.compile(r"torch\.ops\.aten\.(\w+)\.(\w+)|(?:torch\.ops\.)?_?operator\.(\w+)|_operator\.(\w+)")
_CONVERTERS: dict[str, Converter] = {
    name: convert
    for module in (nn, windows, resize, recurrent, math, functions, selection, shapes)
    for name, convert in module.CONVERTERS.items()
}
#: Calls that check sizes and compute nothing.
_CHECKS = re.compile(r"(_assert\w*|sym_constrain\w*|_check\w*)")
_UNKNOWN = "a program of torch.export"


class Importer:
    """Builds one graph."""

    def __init__(self, program: Program, budget: Budget) -> None:
        self._program, self._budget = program, budget
        self._graph = Graph()
        #: Tensors, lists of tensors and sizes by the program's names.
        self._values: dict[str, Any] = {}
        self._views = Views()

    def run(self) -> Graph:
        nodes = self._program.graph.get("nodes")
        if not isinstance(nodes, list):
            raise self._budget.error("the program", brief(nodes), "a list of nodes")
        self._budget.item("nodes", 0, len(nodes))
        with self._graph.as_default():
            inputs = self._inputs()
            for number, node in enumerate(nodes):
                self._node(node, f"node {number}")
            outputs = self._outputs()
        self._graph.signatures[SERVING_DEFAULT] = Signature(
            {n: t.name for n, t in inputs.items()}, {n: t.name for n, t in outputs.items()}
        )
        self._graph.metadata.update(family="torch-export")
        return self._graph

    # --- inputs and outputs -------------------------------------------------------------------------------------------

    def _inputs(self) -> dict[str, Tensor]:
        """Constants for parameters and buffers; placeholders for the rest, which are returned."""
        found: dict[str, Tensor] = {}
        for spec in self._specs("input_specs"):
            self._budget.nodes("the program's inputs")
            (kind, content), *_ = spec.items() if isinstance(spec, dict) and spec else [("", None)]
            name = self._argument_name(content)
            if kind == "user_input":
                if name is None:
                    continue  # a constant of Python
                type_ = tensor_type(self._tensor_values().get(name), f"input {brief(name)}", self._budget)
                self._bind(name, ops.placeholder(type_.dtype, type_.shape, name=_legal(name)))
                found[name] = self._values[name]
                continue
            array = next(
                (content[k] for k in ("parameter_name", "buffer_name", "tensor_constant_name") if isinstance(content, dict) and isinstance(content.get(k), str)), None
            )  # fmt: skip
            if name is None or array is None:
                raise self._budget.error("an input of the program", brief(spec), "a parameter, a buffer or an input")
            value = self._program.values.get(array)
            if value is None:
                raise self._budget.error(
                    f"input {brief(name)}", f"no array {brief(array)}", "its values in the archive"
                )
            self._bind(
                name,
                self._graph.create_op("Const", (), {"dtype": value.dtype, "value": value}, _legal(array)).outputs[0],
            )
        return found

    def _outputs(self) -> dict[str, Tensor]:
        found: dict[str, Tensor] = {}
        for number, spec in enumerate(self._specs("output_specs")):
            if not isinstance(spec, dict) or "user_output" not in spec:
                continue  # buffers that the program would change
            name = self._argument_name(spec["user_output"])
            value = self._values.get(name or "")
            if not isinstance(value, Tensor):
                continue
            key = "output" if number == 0 and not found else f"output_{number}"
            found[key] = ops.identity(value, name=key)
            self._graph.aliases.setdefault(key, found[key].name)
        if not found:
            raise self._budget.error("the program", "no outputs", "at least one tensor")
        return found

    def _specs(self, key: str) -> list[Any]:
        found = self._program.signature.get(key)
        if not isinstance(found, list):
            raise self._budget.error(f"the signature's {key}", brief(found), "a list")
        self._budget.item(key, 0, len(found))
        return found

    def _tensor_values(self) -> dict[str, Any]:
        found = self._program.graph.get("tensor_values")
        return found if isinstance(found, dict) else {}

    @staticmethod
    def _argument_name(content: Any) -> str | None:
        """The name in {"arg": {"name": n}} or {"arg": {"as_tensor": {"name": n}}}."""
        inner = content.get("arg") if isinstance(content, dict) else None
        if isinstance(inner, dict) and isinstance(inner.get("as_tensor"), dict):
            inner = inner["as_tensor"]
        name = inner.get("name") if isinstance(inner, dict) else None
        return name if isinstance(name, str) else None

    # --- nodes --------------------------------------------------------------------------------------------------------

    def _bind(self, name: str, value: Any) -> None:
        if name in self._values:
            raise self._budget.error(f"value {brief(name)}", "a second value of that name", "unique names")
        self._values[name] = value
        if isinstance(value, Tensor):
            self._graph.aliases.setdefault(name, value.name)

    def _node(self, node: Any, where: str) -> None:
        target, given, made = (node.get(k) if isinstance(node, dict) else None for k in ("target", "inputs", "outputs"))
        if not isinstance(target, str) or not isinstance(given, list) or not isinstance(made, list):
            raise self._budget.error(where, brief(node), "a call with target, inputs and outputs")
        outputs = [self._output_names(o, where) for o in made]
        names = [name for several in outputs for name in several]
        self._budget.nodes(where, max(len(names), 1))
        match = _TARGET.fullmatch(target)
        op, overload = ("", "") if match is None else (match[1] or match[3] or match[4], match[2] or "default")
        if _CHECKS.fullmatch(op) or not outputs:
            return
        arguments = self._arguments(given, where)
        call = Call(op or target, overload, names[0] if names else where, arguments, len(outputs), self._budget)
        values = self._made(
            call, _CONVERTERS.get(op) or _CONVERTERS.get(op.removesuffix("_")), arguments, outputs, where
        )
        if values is not None:
            self._bind_outputs(outputs, values, where)
            self._note_aliases(op, given, names)

    def _arguments(self, entries: list[Any], where: str) -> dict[str, Any]:
        """By the names of the op's schema; by position for operators of Python, which have none."""
        found: dict[str, Any] = {}
        for i, entry in enumerate(entries):
            name, value = (entry.get("name"), entry.get("arg")) if isinstance(entry, dict) else (None, None)
            found[name if isinstance(name, str) and name else str(i)] = self._decode(value, where)
        return found

    def _made(
        self, call: Call, converter: Converter | None, arguments: dict[str, Any], outputs: list[list[str]], where: str
    ) -> Any:
        """What the converter makes; None where the call stays in the graph as an op that is not served."""
        given = [t for a in arguments.values() for t in (a if isinstance(a, list) else [a])]
        if converter is None or any(isinstance(t, Tensor) and t.dtype == UNKNOWN for t in given):
            return self._keep_unknown(call, arguments, outputs)
        try:
            with self._graph.name_scope(_legal(call.name)):
                return converter(call)
        except LoadError as error:
            raise self._budget.error(where, str(error), _UNKNOWN) from None
        except KigraphError as error:
            return self._keep_unknown(call, arguments, outputs, str(error))
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
            raise self._budget.error(f"{where} (aten.{call.target})", str(error), _UNKNOWN) from None

    def _note_aliases(self, op: str, given: list[Any], outputs: list[str]) -> None:
        """A view shares memory with what it views. An op in place (relu_) changes its tensor, and so every view of it."""
        source = _tensor_name(given[0].get("arg")) if given and isinstance(given[0], dict) else None
        if source is None:
            return
        if op.endswith("_") and not op.startswith("_"):
            self._views.change(source)
            if outputs:
                self._values[source] = self._values[outputs[0]]
                self._views.join(source, outputs[0])
        elif op in VIEWS:
            for output in outputs:
                self._views.join(source, output)

    def _bind_outputs(self, outputs: list[list[str]], made: Any, where: str) -> None:
        values = list(made) if isinstance(made, list | tuple) else [made]
        if len(outputs) == 1 and len(outputs[0]) > 1:  # one list of tensors
            outputs = [[name] for name in outputs[0]]
        for names, value in zip(outputs, values, strict=False):
            for name in names:
                self._bind(name, self._not_made(name) if value is None else value)
        if len(values) < len(outputs):
            raise self._budget.error(where, f"{len(outputs)} outputs", f"at most {len(values)}")

    def _keep_unknown(self, call: Call, arguments: dict[str, Any], outputs: list[list[str]], why: str = "") -> None:
        """An op that is not served stays in the graph, so that the file loads and a tensor behind it can be fed."""
        flat = [n for names in outputs for n in names]
        flat_inputs = (t for a in arguments.values() for t in (a if isinstance(a, list) else [a]))
        inputs = [t for t in flat_inputs if isinstance(t, Tensor)]
        attrs = {"why": why} if why else {}
        name = self._graph.unique_name(_legal(call.name))
        made = self._graph.create_op(
            f"aten.{call.target}", inputs, attrs, name, num_outputs=max(len(flat), 1), exact_name=True
        )
        for output, tensor in zip(flat, made.outputs, strict=False):
            self._bind(output, tensor)

    def _not_made(self, name: str) -> Tensor:
        """A further output that no converter makes: places of maxima, statistics of training. Only its readers are refused."""
        attrs = {"why": "this output of the op is not computed"}
        unique = self._graph.unique_name(_legal(name))
        return self._graph.create_op("aten.output", (), attrs, unique, num_outputs=1, exact_name=True).outputs[0]

    def _output_names(self, output: Any, where: str) -> list[str]:
        inner = next(iter(output.values()), None) if isinstance(output, dict) and output else None
        entries = inner if isinstance(inner, list) else [inner]
        names = [e.get("name") or e.get("as_name") if isinstance(e, dict) else None for e in entries]
        if isinstance(inner, dict) and not any(names):
            return []  # no value, as for a check
        if not all(isinstance(n, str) for n in names):
            raise self._budget.error(where, f"output {brief(output)}", "the name of a value")
        return [n for n in names if isinstance(n, str)]

    def _decode(self, argument: Any, where: str) -> Any:
        """The Python value of an argument: tensors and computed sizes by their names."""
        if not isinstance(argument, dict) or len(argument) != 1:
            raise self._budget.error(where, f"argument {brief(argument)}", "one value with its kind")
        ((kind, value),) = argument.items()
        if kind == "as_none":
            return None
        if kind == "as_tensor":
            return self._named(value, where)
        if kind in ("as_tensors", "as_optional_tensors", "as_nested_tensors"):
            return [None if "as_none" in v else self._named(v.get("as_tensor", v), where) for v in _list(value)]
        if kind in ("as_sym_int", "as_sym_float", "as_sym_bool"):
            return self._symbol(value, where)
        if kind in ("as_sym_ints", "as_sym_floats", "as_sym_bools"):
            return [self._symbol(v, where) for v in _list(value)]
        if kind in ("as_int", "as_float", "as_bool", "as_string", "as_ints", "as_floats", "as_bools", "as_strings"):
            return _special(value)
        if kind in ("as_scalar_type", "as_memory_format", "as_layout", "as_device"):
            return value
        raise self._budget.error(where, f"an argument of kind {brief(kind)}", "tensors, numbers and texts")

    def _named(self, value: Any, where: str) -> Any:
        name = value.get("name") if isinstance(value, dict) else None
        if not isinstance(name, str) or name not in self._values:
            raise self._budget.error(where, f"the value {brief(name)}", "the name of an earlier value")
        if self._views.is_stale(name):
            raise self._budget.error(
                where, f"the value {brief(name)}, which was changed in place through another view", "a program without such changes",
                "Export it with torch.export.export(...).run_decompositions(), which takes them out.",
            )  # fmt: skip
        return self._values[name]

    def _symbol(self, value: Any, where: str) -> Any:
        """A size: a number, or the tensor that computes it."""
        if isinstance(value, dict) and "as_name" in value:
            return self._named({"name": value["as_name"]}, where)
        number = next(iter(value.values()), None) if isinstance(value, dict) and value else None
        if type(number) not in (int, float, bool):
            raise self._budget.error(where, f"size {brief(value)}", "a number or the name of one")
        return number


def _tensor_name(argument: Any) -> str | None:
    inner = argument.get("as_tensor") if isinstance(argument, dict) else None
    name = inner.get("name") if isinstance(inner, dict) else None
    return name if isinstance(name, str) else None


def _list(value: Any) -> list[Any]:
    return [v for v in value if isinstance(v, dict)] if isinstance(value, list) else []


def _special(value: Any) -> Any:
    """Infinities and NaN are texts in JSON."""
    return (
        {"Infinity": np.inf, "-Infinity": -np.inf, "NaN": np.nan}.get(value, value) if isinstance(value, str) else value
    )


def _legal(name: str) -> str:
    """The name with what an operation's name cannot have replaced."""
    text = re.sub(r"[^A-Za-z0-9_./-]", "_", name)[:200]
    return text if re.match(r"[A-Za-z0-9.]", text) else f"n{text}"
