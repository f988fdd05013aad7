"""Saver: the values of variables in a file, and the note of which checkpoint of a folder is the latest.

A checkpoint PREFIX is one file, PREFIX.npz (kigraph.train's form), written so that it is there as a whole or not at all.
Checkpoints that TensorFlow wrote (PREFIX.index and its data files) are restored, too.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import numpy as np

from ....errors import LoadError
from ....graph.loaders import load
from ....kernels.atomic_files import replacing
from ....train.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from ..errors import DataLossError, FailedPreconditionError, InvalidArgumentError, NotFoundError
from ..graph import GraphKeys, get_default_graph
from ..variables import Variable

__all__ = ["Saver", "checkpoint_exists", "get_checkpoint_state", "latest_checkpoint"]

_SUFFIX = ".npz"


class Saver:
    """Saves and restores variables.

    var_list: variables, or a dict of names in the file to variables; default: all variables of the default graph.
    max_to_keep: checkpoints beyond this number are deleted, oldest first; 0 or None keeps all.
    """

    def __init__(
        self, var_list: Any = None, reshape: bool = False, sharded: bool = False, max_to_keep: int | None = 5,
        keep_checkpoint_every_n_hours: float = 10000.0, name: str | None = None, restore_sequentially: bool = False,
        saver_def: Any = None, builder: Any = None, defer_build: bool = False, allow_empty: bool = False, write_version: Any = 2,
        pad_step_number: bool = False, save_relative_paths: bool = False, filename: str | None = None,
    ) -> None:  # fmt: skip
        for what, value in (("saver_def", saver_def), ("builder", builder), ("reshape", reshape)):
            if value:
                raise ValueError(f"Saver: {what} is not supported by kigraph.compat.v1")
        keys = (GraphKeys.GLOBAL_VARIABLES,)
        found = [v for k in keys for v in get_default_graph().get_collection(k)] if var_list is None else var_list
        named = dict(found) if isinstance(found, dict) else {v.op.name: v for v in found}
        wrong = [v for v in named.values() if not isinstance(v, Variable)]
        if wrong:
            raise TypeError(f"Saver: variables are needed, got {wrong[0]!r}")
        if not named and not allow_empty:
            raise ValueError("No variables to save")
        self._variables: dict[str, Variable] = named
        self._most = max_to_keep
        self.last_checkpoints: list[str] = []

    def save(
        self, sess: Any, save_path: str, global_step: Any = None, latest_filename: str | None = None, meta_graph_suffix: str = "meta",
        write_meta_graph: bool = True, write_state: bool = True, strip_default_attrs: bool = False, save_debug_info: bool = False,
    ) -> str:  # fmt: skip
        """Writes the session's values to the checkpoint ``save_path`` (with '-STEP' for a global step); its name."""
        if global_step is not None:
            step = global_step if isinstance(global_step, (int, np.integer)) else sess.run(global_step)
            save_path = f"{save_path}-{int(step)}"
        folder = Path(save_path).parent
        if not folder.is_dir():
            raise ValueError(f"Parent directory of {save_path} doesn't exist, can't save.")
        missing = [v.op.name for v in self._variables.values() if not sess.core.has_value(v.op.name)]
        if missing:
            raise FailedPreconditionError(None, None, f"Attempting to use uninitialized value {missing[0]}")
        values = {key: sess.core.variable_value(v.op.name) for key, v in self._variables.items()}
        save_checkpoint(f"{save_path}{_SUFFIX}", Checkpoint(values, {}))
        if save_path in self.last_checkpoints:
            self.last_checkpoints.remove(save_path)
        self.last_checkpoints.append(save_path)
        while self._most and len(self.last_checkpoints) > self._most:
            Path(f"{self.last_checkpoints.pop(0)}{_SUFFIX}").unlink(missing_ok=True)
        if write_state:
            _write_state(folder / (latest_filename or "checkpoint"), self.last_checkpoints)
        return save_path

    def restore(self, sess: Any, save_path: str) -> None:
        """Gives the variables the values of a checkpoint: all of them or, if one does not fit, none."""
        if save_path is None:
            raise ValueError("Can't load save_path when it is None.")
        if not checkpoint_exists(save_path):
            raise ValueError(f"The passed save_path is not a valid checkpoint: {save_path}")
        try:
            theirs = _values(str(save_path), self._variables)
        except KeyError as error:
            raise NotFoundError(None, None, f"Key {error.args[0]} not found in checkpoint {save_path}") from None
        except LoadError as error:
            raise DataLossError(None, None, str(error)) from error
        values = {}
        for key, variable in self._variables.items():
            array = theirs[key]
            if not variable.shape.is_compatible_with(array.shape) or variable.dtype != array.dtype:
                raise InvalidArgumentError(
                    None, None,
                    f"Assign requires shapes of both tensors to match. variable {variable.op.name} has {variable.dtype.name} "
                    f"{variable.shape}, the checkpoint {save_path} has {array.dtype} {array.shape}",
                )  # fmt: skip
            values[variable.op.name] = array
        sess.load_variables(values)

    def export_meta_graph(self, *args: Any, **kwargs: Any) -> Any:
        """Refused: graphs are written by Graph.as_graph_def."""
        raise NotImplementedError(
            "Saver.export_meta_graph is not in kigraph.compat.v1; tf.get_default_graph().as_graph_def() is"
        )


def _values(path: str, wanted: Any) -> dict[str, Any]:
    """The arrays of a checkpoint; KeyError for a name that it does not have."""
    if os.path.exists(f"{path}{_SUFFIX}"):
        found = load_checkpoint(f"{path}{_SUFFIX}").variables
        return {key: found[key] for key in wanted}
    weights = load(f"{path}.index").weights
    if weights is None:
        raise LoadError(f"{path}.index: not a checkpoint of variables")
    for key in wanted:
        if key not in weights.tensors:
            raise KeyError(key)
    return {key: weights.read(key) for key in wanted}


def checkpoint_exists(checkpoint_prefix: Any) -> bool:
    """Whether there is such a checkpoint."""
    return any(os.path.isfile(f"{os.fspath(checkpoint_prefix)}{suffix}") for suffix in (_SUFFIX, ".index"))


def _quoted(path: str) -> str:
    return "".join(
        f"\\{chr(b)}" if b in b'"\\' else chr(b) if 32 <= b < 127 else f"\\{b:03o}" for b in os.fsencode(path)
    )


def _write_state(path: Path, checkpoints: list[str]) -> None:
    """TensorFlow's note: the latest checkpoint, and all that are kept; names in the same folder without it."""
    names = [p if Path(p).is_absolute() else Path(p).name for p in checkpoints]
    lines = [
        f'model_checkpoint_path: "{_quoted(names[-1])}"',
        *(f'all_model_checkpoint_paths: "{_quoted(n)}"' for n in names),
    ]
    with replacing(path) as file:
        file.write("\n".join([*lines, ""]).encode())


class CheckpointState:
    """What a folder's note says: the latest checkpoint, and all that are kept."""

    def __init__(self, model_checkpoint_path: str, all_model_checkpoint_paths: list[str]) -> None:
        self.model_checkpoint_path = model_checkpoint_path
        self.all_model_checkpoint_paths = all_model_checkpoint_paths


_LINE = re.compile(rb'(model_checkpoint_path|all_model_checkpoint_paths): "((?:[^"\\]|\\.)*)"')
_ESCAPE = re.compile(rb"\\([0-7]{3}|.)")


def get_checkpoint_state(checkpoint_dir: Any, latest_filename: str | None = None) -> CheckpointState | None:
    """The note of a folder, or None."""
    path = Path(checkpoint_dir) / (latest_filename or "checkpoint")
    if not path.is_file():
        return None
    found: dict[bytes, list[str]] = {}
    for key, text in _LINE.findall(path.read_bytes()):
        raw = _ESCAPE.sub(lambda m: bytes([int(m[1], 8)]) if len(m[1]) == 3 else m[1], text)
        found.setdefault(key, []).append(os.path.join(checkpoint_dir, os.fsdecode(raw)))
    latest = found.get(b"model_checkpoint_path")
    return None if not latest else CheckpointState(latest[0], found.get(b"all_model_checkpoint_paths", []))


def latest_checkpoint(checkpoint_dir: Any, latest_filename: str | None = None) -> str | None:
    """The name of the folder's latest checkpoint, or None."""
    state = get_checkpoint_state(checkpoint_dir, latest_filename)
    found = state is not None and checkpoint_exists(state.model_checkpoint_path)
    return state.model_checkpoint_path if state is not None and found else None
