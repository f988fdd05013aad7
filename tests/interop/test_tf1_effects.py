"""Random programs with variables and branches: TensorFlow 1 itself gives what the statements give one after the other."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(not importlib.util.find_spec("tensorflow"), reason="needs tensorflow")

# Without its optimizers: they make x * 1 an alias of a variable, which later assignments change.
_CHECK = """
import tensorflow.compat.v1 as tf
from tests.compat.random_effects import Program, by_hand, by_module
tf.disable_v2_behavior()
config = tf.ConfigProto(intra_op_parallelism_threads=1, inter_op_parallelism_threads=1)
config.graph_options.rewrite_options.disable_meta_optimizer = True
config.graph_options.optimizer_options.opt_level = -1
wrong = [s for s in range(60) if by_module(tf, Program(s), config) != by_hand(Program(s))]
assert not wrong, wrong
"""


def test_the_machine_gives_what_tensorflow_gives() -> None:
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", _CHECK], cwd=root, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
