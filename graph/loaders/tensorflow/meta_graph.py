"""A MetaGraphDef to a Graph: functions in place of their calls, values in place of variables, signatures by name."""

from __future__ import annotations

from collections.abc import Mapping

from ...builder import Graph
from ...errors import MissingNameError
from ...formats.limits import Budget
from ...formats.protobuf.reader import Reader
from ...formats.saved_model import MetaGraph, Saver, SignatureDef
from ...formats.source import Source
from ...formats.tensorflow import GraphDef, NodeDef
from ...signatures import SERVING_DEFAULT, Signature
from ..graphdef import build_graph
from ..weights import TensorInfo
from .assets import Assets
from .bundle import Bundle
from .edges import ancestors, apart, is_data, node_of, single
from .functions import Library, inline
from .objects import full_names
from .restore import Strings, restored, values_of
from .tables import Stored, with_tables
from .variables import VARIABLES, updated, used, with_values, with_values_inside, without_training

__all__ = ["graph_of"]

#: Signatures that are no way to call a model.
_INIT = "__saved_model_init_op"
_NOT_CALLED = (_INIT, "__saved_model_train_op")
_MOST_SIGNATURES = 64


def graph_of(meta: MetaGraph, bundle: Bundle | None, reader: Reader, source: Source, budget: Budget) -> Graph:
    """The graph with its variables' values. ``bundle``: the checkpoint, None if there is none. Raises LoadError."""
    proto = meta.graph_def or GraphDef()
    if not proto.node:
        raise budget.error("the graph", "no nodes", "a graph", "Was the model saved as a whole?")
    saver = meta.saver_def or Saver()
    library = Library.of(proto.library.function if proto.library else (), reader, budget)
    joined = _inlined(proto, node_of(saver.save_tensor_name), library, budget)
    strings = Strings(joined, reader, source, budget)
    assets = Assets.of(meta, source, budget)
    joined = with_tables(joined, reader, budget, _stored(strings, bundle), assets.lines)
    nodes = apart(joined)
    signatures = _callable(joined, nodes, meta.signature_def, budget)
    fetched = [text for s in signatures.values() for text in _texts(s)]
    ends = [node_of(t) for text in fetched for t in (text, single(nodes, text))]
    kept = used(nodes, ends) if ends else without_training(nodes)
    strings = Strings(nodes, reader, source, budget)
    values = _values(kept, saver.restore_op_name, strings, bundle, budget)
    plain = GraphDef(with_values(kept, values, budget), None, proto.version, proto.versions)
    graph = build_graph(plain, library.changed(with_values_inside), source, fetched)
    for key, signature in signatures.items():
        place = f"signature '{key[:200]}'"
        inputs = _tensors(graph, {k: t.name or "" for k, t in signature.inputs.items()}, place, budget)
        outputs = _tensors(graph, {k: single(nodes, t.name or "") for k, t in signature.outputs.items()}, place, budget)
        graph.signatures[key] = Signature(inputs, outputs)
    _name_ends(graph)
    graph.metadata["companions"] = assets.files
    return graph


def _inlined(proto: GraphDef, saves: str, library: Library, budget: Budget) -> dict[str, NodeDef]:
    """The nodes by name with functions in place of calls. The one that saves is left out: it needs the most of all."""
    read = {node_of(text) for node in proto.node for text in node.input}
    nodes: dict[str, NodeDef] = {}
    for node in inline([n for n in proto.node if n.name != saves or n.name in read], library):
        if node.name in nodes:
            raise budget.error(f"node '{node.name[:200]}'", "a second node of that name", "unique names")
        nodes[node.name] = node
    return nodes


def _stored(strings: Strings, bundle: Bundle | None) -> Stored:
    """What RestoreV2 gives at one of its outputs."""

    def tensor(node: NodeDef, index: int) -> TensorInfo | None:
        keys = strings.of_input(node.input[1]) if len(node.input) > 1 else []
        return bundle.part(keys[index], "") if bundle is not None and index < len(keys) else None

    return tensor


def _callable(
    joined: Mapping[str, NodeDef], nodes: Mapping[str, NodeDef], signatures: Mapping[str, SignatureDef], budget: Budget
) -> dict[str, SignatureDef]:
    """The signatures of plain tensors that leave as they are the variables that their results depend on.

    ``joined`` has all control inputs, ``nodes`` are those that stand ``apart``.
    """
    if len(signatures) > _MOST_SIGNATURES:
        raise budget.error("the signatures", f"{len(signatures)} of them", f"at most {_MOST_SIGNATURES}")
    found: dict[str, SignatureDef] = {}
    left_out: list[str] = []
    for key, signature in signatures.items():
        if key in _NOT_CALLED or not signature.outputs:
            continue
        if not all(_texts(signature)):
            left_out.append(f"'{key[:80]}' takes or gives sparse or ragged tensors")
            continue
        budget.item(f"signature '{key[:80]}'", 0, len(joined))  # what it needs is looked for in all nodes
        outputs = [t.name or "" for t in signature.outputs.values()]
        data = ancestors(nodes, [node_of(single(nodes, text)) for text in outputs], is_data)
        changed = updated(joined, data, ancestors(joined, map(node_of, outputs)))
        if changed:
            left_out.append(f"'{key[:80]}' changes the variable '{min(changed)[:80]}' whenever it runs")
        else:
            found[key] = signature
    if not found and _INIT in signatures and not left_out:
        raise budget.error(
            "the signatures",
            "none, only functions for Python",
            "a signature",
            "Save it with one: tf.saved_model.save(model, FOLDER, signatures=FUNCTION.get_concrete_function(...)).",
        )
    if left_out and not found:
        raise budget.error(
            "the signatures",
            left_out[0],
            "one of plain tensors that changes no variable it reads",
            "Random layers (RandomFlip, say) are on in a folder that model.export writes; save the model as .keras, or sign "
            "tf.function(lambda x: model(x, training=False)).",
        )
    return found


def _texts(signature: SignatureDef) -> list[str]:
    """The tensors of a signature, '' for a value of several."""
    return [end.name or "" for end in (*signature.inputs.values(), *signature.outputs.values())]


def _values(
    nodes: Mapping[str, NodeDef], restore: str, strings: Strings, bundle: Bundle | None, budget: Budget
) -> dict[str, TensorInfo]:
    """Variable -> value, of those that the nodes have."""
    variables = {n.name for n in nodes.values() if n.op in VARIABLES}
    if not variables:
        return {}
    if bundle is None:
        raise budget.error(
            f"variable '{min(variables)[:200]}'",
            f"{len(variables)} variables and no checkpoint beside the graph",
            "the files that were saved with it",
            "Copy the whole folder, not this file alone.",
        )
    found = values_of(restored(restore, strings), strings, bundle.part, full_names(bundle))
    return {name: value for name, value in found.items() if name in variables}


def _name_ends(graph: Graph) -> None:
    """The names that the signature to take has for inputs and outputs; a name of both is that of neither."""
    called = graph.signatures
    if SERVING_DEFAULT not in called and len(called) == 1:
        called[SERVING_DEFAULT] = next(iter(called.values()))
    default = called.get(SERVING_DEFAULT)
    if default is not None:
        both = {k for k in default.inputs if default.outputs.get(k, default.inputs[k]) != default.inputs[k]}
        graph.aliases.update({k: v for k, v in {**default.inputs, **default.outputs}.items() if k not in both})


def _tensors(graph: Graph, ends: Mapping[str, str], place: str, budget: Budget) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, text in ends.items():
        try:
            found[name] = graph.tensor(text).name
        except MissingNameError as e:
            raise budget.error(f"{place}, '{name[:200]}'", str(e), "a tensor of the graph") from None
    return found
