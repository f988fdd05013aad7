"""Writes docs/compat-v1.md: what kigraph.compat.v1 has of TensorFlow 1, and what it has not. ``python docs/compat_v1.py``"""

from __future__ import annotations

from pathlib import Path
from textwrap import fill

from kigraph.compat.tf1.missing import MISSING
from kigraph.compat.tf1.names import NAMES, Namespace

__all__ = ["TARGET", "render"]

TARGET = Path(__file__).with_name("compat-v1.md")

HEAD = """# TensorFlow 1's names

```python
import kigraph.compat.v1 as tf
```

Programs for TensorFlow 1 run after this one change, as far as they use what is listed below. Names of operations, shapes,
the order of effects, the formulas of optimizers and numbers of seeded operations are TensorFlow's; more than thirty programs are
held against TensorFlow's results (`tests/compat`), and run beside TensorFlow itself with `make interop`.
`python docs/compat_v1.py` writes this file.

What differs, apart from what is not there:

- A read of a variable sees the assignments that must come before it (by data or control dependencies). TensorFlow leaves
  the others to chance; here the read gives the value from the run's start, and a variable that is *fetched* the one at its end.
  Two assignments of one variable in no order are an `InvalidArgumentError`.
- A run that fails assigns nothing.
- The operations in the condition and the body of `tf.while_loop` are in graphs of their own, so they have no names in the graph
  around them; variables cannot be assigned in them, and no gradient flows through a loop.
- Functions that are made of several operations (`tf.nn.moments`, `tf.linspace`, gradients) may have other operations inside.
- With a seed of the graph alone (`tf.set_random_seed`) numbers are those of `tensorflow.compat.v1`, where the random
  operations are made in the same order. TensorFlow 1.x itself counted all operations, and so drew others.
  `tf.random_shuffle` refuses a seed.
- `Tensor.set_shape` adds an operation that checks the shape in a run.
- A checkpoint `PREFIX` is one file, `PREFIX.npz`. Checkpoints that TensorFlow wrote are restored, too.
- `tf.read_file` reads when the graph runs; a graph from a file cannot.
- `dynamic_rnn`, `map_fn` and `scan` (up to 256 elements) add operations for each step, so that gradients flow; the number of
  steps of `dynamic_rnn` must be known while the graph is built.
- `tf.data`: elements are made in the session's process when a run takes them; `get_next` on a side of a `tf.cond` takes one
  whichever side runs; tensors from outside of a `map` function have the value of when the iterator began. `shuffle` refuses
  a seed.
- Gradients are dense. Momentum and RMSProp leave the rows of a table that a step did not read, as TensorFlow's do, where
  `minimize` or `compute_gradients` made the gradient and `tf.gather` or `tf.nn.embedding_lookup` alone read the table; a
  gradient that was clipped or made by `tf.gradients` moves all rows.
- Candidate samplers draw TensorFlow's classes in the first run of a session only.
- `tf.device` is accepted and chooses nothing.
- `tf.Session(config=...)` takes `intra_op_parallelism_threads` as its threads and ignores the rest. `tf.Session(backend=...)`
  and `KIGRAPH_BACKEND` choose the kernels. `sess.core` and `graph.core` are kigraph's own session and graph.
"""


def _listed(names: list[str]) -> str:
    return fill(", ".join(f"`{name}`" for name in sorted(names, key=str.lower)), 126, break_on_hyphens=False)


def render() -> str:
    """The text of the file."""
    spaces = {name: value for name, value in NAMES.items() if isinstance(value, Namespace)}
    others = {"app": ["run"], "flags": dir(NAMES["flags"]), "logging": dir(NAMES["logging"])}
    plain = [name for name in NAMES if name not in spaces and name not in others]
    parts = [HEAD, "## What there is", "", _listed(plain), ""]
    for name in sorted({*spaces, *others}):
        inside = [n for n in (others.get(name) or dir(spaces[name])) if not n.startswith("_")]
        parts += [f"**tf.{name}**: {_listed(inside)}", ""]
    parts += ["## What there is not", "", "| name | in its place |", "| --- | --- |"]
    parts += [f"| `{name}` | {remedy.replace('|', '/')} |" for name, remedy in sorted(MISSING.items())]
    return "\n".join([*parts, "", "Any other name is an AttributeError that lists similar ones.", ""])


if __name__ == "__main__":
    TARGET.write_text(render(), encoding="utf-8")
