"""The network to be quantised, as an ONNX file has it: everything that can be folded is in its convolutions and products."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from ..graph.builder import Graph
from ..graph.formats.onnx import NodeProto
from ..graph.ir import Graph as Frozen
from ..graph.passes import optimize
from ..graph.passes.fold_affine import FUSED
from ..graph.plan.cut import cut
from ..graph.rewrite import Rewriter
from ..graph.writers.onnx import onnx_model
from ..graph.writers.onnx_prepare import thawed
from .net import Array, Net, made

__all__ = ["folded_net"]

#: Passes that make ops which ONNX lacks, or that suit float kernels alone.
_LEFT_OUT = ("fuse_activations", "commute_pools", "merge_siblings")


def folded_net(graph: Graph, inputs: Sequence[str], outputs: Sequence[str], names: Mapping[str, str]) -> Net:
    """What ``outputs`` need of a graph from ``inputs`` on: batch norms and biases are parts of convolutions and products.

    names: what a tensor ('op:index') is called in the file. Raises GraphError for an op that ONNX lacks.
    """
    frozen = graph.freeze()
    starts, ends = ([graph.tensor(n) for n in wanted] for wanted in (inputs, outputs))
    part = cut(frozen, [t.port for t in ends], (), {t.port: t.type for t in starts})
    simple = _apart(optimize(part.graph, _LEFT_OUT))
    simple, stands = _renamed(simple, [part.feeds[t.port].node for t in starts])
    whole = thawed(graph, simple)
    called = {stands[part.feeds[t.port].node] + ":0": _name(t.name, names) for t in starts}
    wanted = [f"{p.node}:{p.index}" for p in simple.outputs]
    called |= {w: _name(t.name, names) for w, t in zip(wanted, ends, strict=True) if w not in called}
    net = Net.of(onnx_model(whole, wanted, [n for n in called if n.removesuffix(":0") in stands.values()], called))
    _simplify(net, whole)
    return net


def _name(tensor: str, names: Mapping[str, str]) -> str:
    return names.get(tensor) or tensor.removesuffix(":0")


def _renamed(graph: Frozen, wished: Sequence[str]) -> tuple[Frozen, dict[str, str]]:
    """The placeholders under names that a graph may have (a fed port's is 'op:0'), and what each of them is called."""
    called: dict[str, str] = {}
    taken = set(graph.nodes)
    for old in wished:
        name, count = old.replace(":", "_"), 0
        while name != old and name in taken:
            count += 1
            name = f"{old.replace(':', '_')}_{count}"
        taken.add(name)
        called[old] = name
    nodes = {}
    for node in graph:
        inputs = tuple(p._replace(node=called.get(p.node, p.node)) for p in node.inputs)
        name = called.get(node.name, node.name)
        nodes[name] = replace(node, name=name, inputs=inputs)
    outputs = tuple(p._replace(node=called.get(p.node, p.node)) for p in graph.outputs)
    return Frozen(nodes, outputs), called


def _apart(graph: Frozen) -> Frozen:
    """A convolution or product with a bias as the two ops that ONNX's writer knows."""
    edit, plain = Rewriter(graph), {fused: op for op, fused in FUSED.items()}
    for node in graph:
        if node.op not in plain:
            continue
        x, w, *bias = edit.node(node.name).inputs
        if not bias:
            edit.put(node.name, plain[node.op], (x, w), node.attrs)
            continue
        sums = edit.put(edit.fresh(f"{node.name}/products"), plain[node.op], (x, w), node.attrs)
        edit.put(node.name, "BiasAdd", (sums.ports[0], bias[0]), {})
    return edit.finish()


def _simplify(net: Net, graph: Graph) -> None:
    """Conv with its bias, Gemm for MatMul with a bias, GlobalAveragePool for a mean over height and width."""
    _pools(net, graph)
    readers = net.readers()
    gone: set[int] = set()
    for i, node in enumerate(net.nodes):
        behind = readers.get(node.output[0], [])
        if node.op_type not in ("Conv", "MatMul") or len(node.input) > 2 or node.output[0] in net.ends:
            continue
        if len(behind) != 1 or behind[0].op_type != "Add":
            continue
        (add,) = behind
        bias = _bias(net, graph, node, next((n for n in add.input if n != node.output[0]), ""))
        if bias is None:
            continue
        name = net.constant(f"{add.output[0]}/bias", bias)
        kind = "Conv" if node.op_type == "Conv" else "Gemm"
        joined = replace(node, op_type=kind, input=[*node.input, name], output=add.output, name=add.name)
        net.nodes[next(k for k, other in enumerate(net.nodes) if other is add)] = joined
        gone.add(i)
    net.nodes[:] = [n for i, n in enumerate(net.nodes) if i not in gone]


def _bias(net: Net, graph: Graph, node: NodeProto, added: str) -> Array | None:
    """What is added to a node's result, if it is one constant for each output channel."""
    weights, bias = net.float_constant(node.input[1]), net.float_constant(added)
    if weights is None or bias is None:
        return None
    if node.op_type == "Conv":
        fits = bias.shape == (1, weights.shape[0], 1, 1)
    else:
        fits = bias.shape in ((weights.shape[-1],), (1, weights.shape[-1])) and _is_matrix(graph, node)
    return np.ascontiguousarray(bias.reshape(-1)) if fits else None


def _is_matrix(graph: Graph, node: NodeProto) -> bool:
    """Whether a MatMul is one of matrices, and not of stacks of them."""
    return node.name in graph and graph.operation(node.name).type == "MatMul"


def _pools(net: Net, graph: Graph) -> None:
    nodes = []
    for node in net.nodes:
        image = (
            node.op_type == "ReduceMean" and node.name in graph and graph.operation(node.name).inputs[0].type.rank == 4
        )
        axes = net.constants.get(node.input[1]) if image and len(node.input) > 1 else None
        if axes is None or sorted(int(a) % 4 for a in axes.ravel()) != [2, 3]:
            nodes.append(node)
        elif next((a.i for a in node.attribute if a.name == "keepdims"), 1):
            nodes.append(made("GlobalAveragePool", node.input[:1], node.output[0]))
        else:
            mean = net.fresh(f"{node.output[0]}/mean")
            nodes += [made("GlobalAveragePool", node.input[:1], mean), made("Flatten", [mean], node.output[0], axis=1)]
    net.nodes[:] = nodes
