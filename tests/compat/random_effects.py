"""Random programs with variables, branches and control dependencies, in TensorFlow 1's words, and what they give by hand.

What conflicts (a read and an assignment of one variable, or two assignments) is ordered, so a program has one result: that of
its statements one after the other, as far as the fetched ones need them.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any

import numpy as np

__all__ = ["Program", "by_hand", "by_module"]

Value = np.ndarray[Any, Any]
State = list[Value]


@dataclass
class Statement:
    """``kind``: assign, add, sub, read or cond. Operands: ('v', variable), ('s', statement), ('c', constant) or ('p', 0)."""

    kind: str
    variable: int
    operands: list[tuple[str, Any]]
    waits: list[int]
    sides: list[list[Statement]] = field(default_factory=list)

    def touched(self) -> tuple[set[int], set[int]]:
        """The variables that it reads, and those that it assigns."""
        reads = {at for what, at in self.operands if what == "v"}
        writes = {self.variable} if self.kind in ("assign", "add", "sub") else set()
        for inner in (s for side in self.sides for s in side):
            reads, writes = reads | inner.touched()[0], writes | inner.touched()[1]
        return reads, writes


class Program:
    """``statements``, and ``runs``: of each the numbers of the statements that are fetched, and the value fed to 'p'."""

    def __init__(self, seed: int) -> None:
        self._choose = random.Random(seed)
        self.variables = self._choose.randint(1, 3)
        self.statements = self._block(self._choose.randint(3, 8), 0)
        numbers = range(len(self.statements))
        self.runs = [
            (sorted(self._choose.sample(numbers, self._choose.randint(1, 3))), self._choose.choice([-3.0, 5.0]))
            for _ in range(2)
        ]

    def _block(self, count: int, depth: int) -> list[Statement]:
        made: list[Statement] = []
        #: Of each statement those that are before it in any order: before all of it, and before its end.
        begins: list[set[int]] = []
        ends: list[set[int]] = []
        for number in range(count):
            for attempt in range(50):
                s = self._statement(number, depth)
                s.waits = list(range(number)) if attempt == 49 else s.waits
                begin = {w for at in s.waits for w in (at, *ends[at])}
                end = begin | {w for what, at in s.operands if what == "s" for w in (at, *ends[at])}
                if all(self._ordered(s, other, i in begin, i in end) for i, other in enumerate(made)):
                    break
            made.append(s)
            begins.append(begin)
            ends.append(end)
        return made

    @staticmethod
    def _ordered(s: Statement, other: Statement, begins: bool, ends: bool) -> bool:
        (reads, writes), (read, written) = s.touched(), other.touched()
        if s.kind == "cond" and not begins:  # what is inside waits for the condition, which may read before
            ends = False
        return (begins or not (reads & written)) and (ends or not (writes & (read | written)))

    def _statement(self, number: int, depth: int) -> Statement:
        choose = self._choose
        kind = choose.choice(["assign", "add", "sub", "read", "read", "cond" if depth < 2 else "read"])
        waits = [i for i in range(number) if choose.random() < (0.7 if i == number - 1 else 0.2)]
        operands = [self._operand(number) for _ in range(choose.randint(1, 2))]
        made = Statement(kind, choose.randrange(self.variables), operands, waits)
        if kind == "cond":
            made.sides = [self._block(choose.randint(1, 3), depth + 1) for _ in range(2)]
        return made

    def _operand(self, number: int) -> tuple[str, Any]:
        at = self._choose.random()
        if at < 0.45:
            return ("v", self._choose.randrange(self.variables))
        if at < 0.75 and number:
            return ("s", self._choose.randrange(number))
        return ("p", 0) if at < 0.85 else ("c", float(self._choose.randint(-3, 3)))


def _start(variables: int) -> State:
    return [np.array([i + 1.0, 2.0 * i - 1], np.float32) for i in range(variables)]


def by_hand(program: Program) -> list[list[list[float]]]:
    """Of each run the fetched values, then the variables."""
    state, found = _start(program.variables), []
    for fetched, fed in program.runs:
        needed: set[int] = set()
        stack = list(fetched)
        while stack:
            at = stack.pop()
            needed.add(at)
            s = program.statements[at]
            stack += [*s.waits, *(i for what, i in s.operands if what == "s")]
        values = _run(program.statements, needed, state, fed)
        found += [[values[i].tolist() for i in fetched], [v.tolist() for v in state]]
    return found


def _run(statements: list[Statement], needed: set[int], state: State, fed: float) -> dict[int, Value]:
    made: dict[int, Value] = {}
    for number in sorted(needed):
        s = statements[number]
        terms = [{"v": state, "s": made, "p": [fed]}[w][at] if w != "c" else at for w, at in s.operands]
        value = np.clip(np.float32(terms[0]) - sum(map(np.float32, terms[1:])) + np.zeros(2, np.float32), -50, 50)
        if s.kind == "cond":
            side = s.sides[0 if value.sum() > 0 else 1]
            value = _run(side, set(range(len(side))), state, fed)[len(side) - 1]
        elif s.kind != "read":
            old = state[s.variable]
            value = {"assign": value, "add": old + value, "sub": old - value}[s.kind]
            state[s.variable] = value
        made[number] = value.astype(np.float32)
    return made


def by_module(tf: Any, program: Program, config: Any = None) -> list[list[list[float]]]:
    """As ``by_hand``, by TensorFlow or a module with its names."""
    graph, found = tf.Graph(), []
    with graph.as_default():
        variables = [tf.Variable(v, name=f"v{i}") for i, v in enumerate(_start(program.variables))]
        fed = tf.placeholder(tf.float32, [], "p")
        made = _built(tf, program.statements, variables, fed)
        start = tf.global_variables_initializer()
    with tf.Session(graph=graph, config=config) as sess:
        sess.run(start)
        for fetched, value in program.runs:
            found.append([v.tolist() for v in sess.run([made[i] for i in fetched], {fed: value})])
            found.append([v.tolist() for v in sess.run(variables)])
    return found


def _built(tf: Any, statements: list[Statement], variables: list[Any], fed: Any) -> list[Any]:
    made: list[Any] = []
    for s in statements:
        with tf.control_dependencies([made[i] for i in s.waits]):
            terms = [{"v": variables, "s": made, "p": [fed]}[w][at] if w != "c" else at for w, at in s.operands]
            value = terms[0] * tf.constant(1.0)
            for term in terms[1:]:
                value = value - term
            value = tf.clip_by_value(value + tf.zeros([2]), -50.0, 50.0)
            if s.kind == "cond":
                value = _branch(tf, value, s, variables, fed)
            elif s.kind != "read":
                assign = {"assign": tf.assign, "add": tf.assign_add, "sub": tf.assign_sub}[s.kind]
                value = assign(variables[s.variable], value)
                with tf.control_dependencies([value]):
                    value = value * 1.0  # the value at this time
        made.append(value)
    return made


def _branch(tf: Any, value: Any, s: Statement, variables: list[Any], fed: Any) -> Any:
    def side(statements: list[Statement]) -> Any:
        made = _built(tf, statements, variables, fed)
        with tf.control_dependencies(made):
            return made[-1] * 1.0

    decided = tf.reduce_sum(value) > 0.0
    with tf.control_dependencies([decided]):
        return tf.cond(decided, lambda: side(s.sides[0]), lambda: side(s.sides[1]))
