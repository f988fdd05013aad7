"""TensorFlow 1's while loops: Enter, Merge, Switch, NextIteration and Exit around a frame become one node for each loop.

A frame's nodes are those that its Enters lead to, up to its Exits. Of each loop variable there is a Merge (of the Enter and
the NextIteration) and a Switch, whose output 1 goes into the body and whose output 0 leaves through an Exit; LoopCond is the
predicate of all Switches (https://arxiv.org/abs/1805.01772). What is built otherwise stays as it is, and cannot be run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import field
from typing import TypeAlias

from ....kernels.records import dataclass
from ...formats.limits import Budget
from ...formats.tensorflow import NodeDef
from ...ir import Port

__all__ = ["Edges", "Loop", "Region", "find_loops"]

Frame: TypeAlias = tuple[str, ...]
_ENTERS, _EXITS = frozenset(["Enter", "RefEnter"]), frozenset(["Exit", "RefExit"])
_NEXT, _MERGES = frozenset(["NextIteration", "RefNextIteration"]), frozenset(["Merge", "RefMerge"])
_SWITCHES = frozenset(["Switch", "RefSwitch"])


@dataclass(frozen=True, slots=True)
class Edges:
    """What a node reads, and the nodes that run before it."""

    inputs: tuple[Port, ...]
    control: tuple[str, ...]


@dataclass(slots=True)
class Region:
    """Nodes with their edges. ``loops``: of the nodes that stand for loops, their parts."""

    definitions: dict[str, NodeDef]
    edges: dict[str, Edges]
    loops: dict[str, Loop] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Loop:
    """``names``: what cond and body call the loop node's inputs; of the first ``count`` the body gives new values."""

    names: tuple[str, ...]
    count: int
    cond: Region
    cond_output: Port
    body: Region
    body_outputs: tuple[Port, ...]


class _IrregularError(Exception):
    """A frame is not a while loop of the usual form."""


def find_loops(
    definitions: dict[str, NodeDef], edges: dict[str, Edges], budget: Budget, frame_of: Callable[[NodeDef], str]
) -> Region:
    """The nodes with each loop as one node of type KiWhile. ``frame_of``: the attribute frame_name of an Enter."""
    region = Region(definitions, edges)
    if not any(node.op in _ENTERS for node in definitions.values()):
        return region
    try:
        _check(region)
        frames = _frames(region, frame_of, budget)
    except _IrregularError:
        return region
    readers: dict[str, list[str]] = {}
    for name, e in edges.items():
        for source in {*(p.node for p in e.inputs), *e.control}:
            readers.setdefault(source, []).append(name)
    inside: dict[Frame, list[str]] = {}
    for name, frame in frames.items():
        inside.setdefault(frame, []).append(name)
    for frame in sorted((f for f in inside if f), key=len, reverse=True):
        budget.depth(len(frame), "frames of loops", 0)
        try:
            loop_name = _Frame(region, frames, frame, inside[frame], readers).replace()
        except _IrregularError:
            continue
        inside.setdefault(frame[:-1], []).append(loop_name)
    return region


def _check(region: Region) -> None:
    """The ops of loops have the inputs that they must have."""
    for name, node in region.definitions.items():
        count = len(region.edges[name].inputs)
        single = node.op in _ENTERS or node.op in _EXITS or node.op in _NEXT or node.op == "LoopCond"
        if (single and count != 1) or (node.op in _SWITCHES and count != 2) or (node.op in _MERGES and not count):
            raise _IrregularError(f"{node.op} of {count} inputs")


def _frames(region: Region, frame_of: Callable[[NodeDef], str], budget: Budget) -> dict[str, Frame]:
    """Node -> the frame in which its outputs are."""
    frames: dict[str, Frame] = {}
    for name in _order(region):
        node, edges = region.definitions[name], region.edges[name]
        # A Merge's second input comes from the end of the loop, which is in the same frame.
        sources = {*(p.node for p in edges.inputs), *edges.control}
        known = {frames[s] for s in sources if s in frames}
        frame: Frame = max(known, key=len, default=())
        if any(f != frame[: len(f)] for f in known):
            raise _IrregularError("a node reads from two loops")
        if node.op in _ENTERS:
            frame = (*frame, frame_of(node))
            budget.depth(len(frame), "frames of loops", 0)
        elif node.op in _EXITS:
            frame = frame[:-1]
        frames[name] = frame
    return frames


def _order(region: Region) -> Iterator[str]:
    """Producers first, without the edges from NextIteration to Merge."""

    def needs(name: str) -> Iterator[str]:
        edges = region.edges[name]
        back = region.definitions[name].op in _MERGES
        for source in (*(p.node for p in edges.inputs), *edges.control):
            if not (back and region.definitions[source].op in _NEXT):
                yield source

    state: dict[str, int] = {}
    for root in region.definitions:
        if root in state:
            continue
        state[root] = 1
        stack = [(root, needs(root))]
        while stack:
            name, pending = stack[-1]
            for need in pending:
                if state.get(need) == 1:
                    raise _IrregularError("a cycle that no loop explains")
                if need not in state:
                    state[need] = 1
                    stack.append((need, needs(need)))
                    break
            else:
                stack.pop()
                state[name] = 2
                yield name


class _Frame:
    """One loop while it is recognised."""

    def __init__(
        self,
        region: Region,
        frames: dict[str, Frame],
        frame: Frame,
        names: list[str],
        readers: Mapping[str, list[str]],
    ) -> None:
        self.region, self.frames, self.frame, self.names, self.readers = region, frames, frame, names, readers
        ops = region.definitions
        self.enters = [n for n in names if ops[n].op in _ENTERS]
        conds = [n for n in names if ops[n].op == "LoopCond"]
        if len(conds) != 1:
            raise _IrregularError(f"{len(conds)} conditions")
        self.cond = conds[0]
        #: Merge -> its Enter and NextIteration.
        self.variables = self._variables()
        self.switches = {
            n: p[0].node
            for n in names
            if ops[n].op in _SWITCHES
            and (p := region.edges[n].inputs)[1:] == (Port(self.cond),)
            and p[0].node in self.variables
        }
        #: What of outside the frame is read without an Enter.
        self.captured: dict[Port, str] = {}

    def _variables(self) -> dict[str, tuple[str, str]]:
        ops, found = self.region.definitions, {}
        for name in self.names:
            sources = [p.node for p in self.region.edges[name].inputs if p.node in ops]
            if ops[name].op in _MERGES and len(sources) == 2:
                starts = [s for s in sources if ops[s].op in _ENTERS]
                ends = [s for s in sources if ops[s].op in _NEXT and self.frames[s] == self.frame]
                if starts and ends:
                    found[name] = (starts[0], ends[0])
        return found

    def replace(self) -> str:
        """Puts one node in place of the frame's; gives its name."""
        ops, edges = self.region.definitions, self.region.edges
        ends = {m: self._where(edges[n].inputs[0]) for m, (_, n) in self.variables.items()}
        constant = [m for m, end in ends.items() if self._origin(end) == Port(m)]
        changing = [m for m in self.variables if m not in constant]
        body = self._part([ends[m] for m in changing], into_body=True)
        cond_output = self._where(edges[self.cond].inputs[0])
        cond = self._part([cond_output], into_body=False)
        starts = {m: e for m, (e, _) in self.variables.items()}
        alone = [e for e in self.enters if e not in starts.values()]
        names = [*changing, *constant, *alone, *self.captured.values()]
        inputs = [edges[starts.get(n, n)].inputs[0] for n in (*changing, *constant, *alone)] + list(self.captured)
        loop = Loop(tuple(names), len(changing), cond, cond_output, body, tuple(ends[m] for m in changing))
        before = dict.fromkeys(c for e in self.enters for c in edges[e].control)
        variables = [*changing, *constant]
        for name in self._exits():
            variable = self.switches[edges[name].inputs[0].node]
            at = variables.index(variable)
            self._exit(name, Port(self.cond, at) if at < len(changing) else inputs[at])
        for name in self.names:
            del ops[name], edges[name]
            self.region.loops.pop(name, None)
        ops[self.cond] = NodeDef(self.cond, "KiWhile", [str(p) for p in inputs])
        edges[self.cond] = Edges(tuple(inputs), tuple(before))
        self.region.loops[self.cond] = loop
        self.frames[self.cond] = self.frame[:-1]
        return self.cond

    def _exits(self) -> list[str]:
        """The Exits of the frame, all of which must be of loop variables. Nothing else reads the frame from outside."""
        ops, edges, inside, found = self.region.definitions, self.region.edges, set(self.names), []
        for name in self.names:
            for reader in self.readers.get(name, ()):
                if reader in inside or reader not in ops:
                    continue
                port = edges[reader].inputs[0] if ops[reader].op in _EXITS else Port(reader)
                if port.node not in self.switches or port.index:
                    raise _IrregularError("an Exit of something else than a loop variable")
                found.append(reader)
        return list(dict.fromkeys(found))

    def _exit(self, name: str, new: Port) -> None:
        """An Exit becomes an Identity of what the loop gives, or of what it did not change."""
        ops, edges = self.region.definitions, self.region.edges
        types = {k: v for k, v in ops[name].attr.items() if k == "T"}
        ops[name] = NodeDef(name, "Identity", [str(new)], "", types)
        edges[name] = Edges((new,), edges[name].control)

    def _where(self, port: Port) -> Port:
        """Where a part of the loop has a port: Switches of loop variables are the variables there."""
        if port.node in self.switches and port.index == 1:
            return Port(self.switches[port.node])
        return port

    def _origin(self, port: Port) -> Port:
        for _ in range(64):  # a chain of Identities is short
            if port.node not in self.region.definitions or self.region.definitions[port.node].op != "Identity":
                break
            if self.frames[port.node] != self.frame:
                break
            port = self._where(self.region.edges[port.node].inputs[0])
        return port

    def _part(self, wanted: Iterable[Port], into_body: bool) -> Region:
        """The nodes that lead to ports of the frame, with the loop's variables and inputs left out."""
        ops, edges = self.region.definitions, self.region.edges
        part = Region({}, {})
        left_out = {*self.variables, *self.enters, *self.switches, self.cond, *(n for _, n in self.variables.values())}
        stack = [self._node(p, into_body) for p in wanted]
        while stack:
            name = stack.pop()
            if name is None or name in part.definitions:
                continue
            inputs = tuple(self._where(p) for p in edges[name].inputs)
            stack += [self._node(p, into_body) for p in inputs]
            inputs = tuple(Port(self.captured[p]) if p in self.captured else p for p in inputs)
            control = tuple(c for c in edges[name].control if self.frames[c] == self.frame and c not in left_out)
            stack += control
            part.definitions[name] = ops[name]
            part.edges[name] = Edges(inputs, control)
            if name in self.region.loops:
                part.loops[name] = self.region.loops[name]
        order: Mapping[str, None] = dict.fromkeys(n for n in self.names if n in part.definitions)
        return Region({n: part.definitions[n] for n in order}, {n: part.edges[n] for n in order}, part.loops)

    def _node(self, port: Port, into_body: bool) -> str | None:
        """The node of a port, if it belongs to the part: not a variable, nor from outside."""
        name = port.node
        if name in self.variables or name in self.enters:
            return None
        if name in self.switches:
            raise _IrregularError("the body reads what leaves the loop")
        if self.frames[name] != self.frame:
            self.captured.setdefault(port, f"{port}")
            return None
        op = self.region.definitions[name].op
        if op in _NEXT or op == "LoopCond" or op in _EXITS:
            raise _IrregularError(f"a part of the loop reads {op}")
        return name
