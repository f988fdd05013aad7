"""kigraph as a backend of the ``onnx`` package: prepare, run_model, run_node, supports_device.

    import kigraph.onnx_backend as backend
    outputs = backend.run_model(onnx.load("model.onnx"), [image])

It follows onnx.backend.base, so that programs written for it, and onnx's own conformance tests, run with kigraph. This is the
only module that imports ``onnx``; to read a file none is needed (``kigraph.load``).
"""

from __future__ import annotations

import tempfile
from collections.abc import Hashable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .errors import KigraphError, UnsupportedOpError

if TYPE_CHECKING:
    from .graph.session import Session

try:
    import onnx
    from onnx import helper, numpy_helper
    from onnx.backend.base import Backend, BackendRep, namedtupledict
except ImportError as e:
    raise ImportError("kigraph.onnx_backend needs the package onnx: pip install onnx") from e

__all__ = ["KigraphBackend", "KigraphRep", "is_compatible", "prepare", "run_model", "run_node", "supports_device"]


#: Inputs of up to so many elements may decide shapes: axes, sizes, scales.
_SMALL = 64


class KigraphRep(BackendRep):
    """A model that was prepared: a graph and a session.

    Where an op needs the value of a small input (axes, sizes) to be converted, the model is read again with that input as a
    constant, once for each value that it is given.
    """

    def __init__(self, model: onnx.ModelProto, backend: str | None = None) -> None:
        from .graph.signatures import SERVING_DEFAULT

        self._model, self._backend = model, backend
        self.session = _session(model, backend)
        signature = self.session.graph.signatures[SERVING_DEFAULT]
        self.inputs, self.outputs = list(signature.inputs), list(signature.outputs)
        self._special: dict[Hashable, Session] = {}

    def run(self, inputs: Any, **kwargs: Any) -> tuple[Any, ...]:
        """The outputs, in the model's order, also by name. ``inputs``: in the model's order, or {name: array}."""
        given = inputs if isinstance(inputs, dict) else dict(zip(self.inputs, inputs, strict=False))
        feeds = {name: np.asarray(value) for name, value in given.items()}
        try:
            found = self.session.run(self.outputs, feeds)
        except UnsupportedOpError:
            types = {i.name: i.type.tensor_type.elem_type for i in self._model.graph.input}
            fixed = {
                k: v for k, v in list(feeds.items())[1:]
                if v.size <= _SMALL and v.dtype != object and helper.np_dtype_to_tensor_dtype(v.dtype) == types.get(k)
            }  # fmt: skip
            if not fixed:
                raise
            rest = {k: v for k, v in feeds.items() if k not in fixed}
            found = self._specialized(fixed).run(self.outputs, rest)
        result: tuple[Any, ...] = namedtupledict("Outputs", self.outputs)(*found)
        return result

    def _specialized(self, fixed: dict[str, np.ndarray[Any, Any]]) -> Session:
        """A session of the model with these inputs as constants."""
        key = tuple((name, value.dtype.str, value.shape, value.tobytes()) for name, value in fixed.items())
        if key not in self._special:
            model = onnx.ModelProto()
            model.CopyFrom(self._model)
            model.graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in fixed.items())
            self._special[key] = _session(model, self._backend)
        return self._special[key]


def _session(model: onnx.ModelProto, backend: str | None) -> Session:
    from .graph.loaders import load
    from .graph.session import Session

    with tempfile.TemporaryDirectory() as folder:  # an open file stays readable without its name
        path = Path(folder) / "model.onnx"
        path.write_bytes(model.SerializeToString())
        return Session(load(path).graph, backend=backend)


class KigraphBackend(Backend):
    """The functions of onnx.backend.base."""

    @classmethod
    def is_compatible(cls, model: onnx.ModelProto, device: str = "CPU", **kwargs: Any) -> bool:
        """Whether everything that the outputs need is supported."""
        from .graph.opdefs import OPDEFS

        try:
            graph = KigraphRep(model, _backend_of(device)).session.graph
        except KigraphError:
            return False
        return all(op.type in OPDEFS for op in graph.operations)

    @classmethod
    def prepare(cls, model: onnx.ModelProto, device: str = "CPU", **kwargs: Any) -> KigraphRep:
        """A model that can be run. Raises kigraph's LoadError for one that cannot be read."""
        return KigraphRep(model, _backend_of(device))

    @classmethod
    def run_node(
        cls,
        node: onnx.NodeProto,
        inputs: Any,
        device: str = "CPU",
        outputs_info: Sequence[tuple[np.dtype[Any], tuple[int, ...]]] | None = None,
        **kwargs: Any,
    ) -> tuple[Any, ...]:
        """The outputs of one node. ``opset_version``: the version of ONNX's operators; default: the newest."""
        arrays = {name: np.asarray(value) for name, value in zip(filter(None, node.input), inputs, strict=True)}
        given = [
            helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)
            for name, array in arrays.items()
        ]
        outputs = [helper.make_empty_tensor_value_info(name) for name in node.output if name]
        newest = onnx.defs.onnx_opset_version() if node.domain in ("", "ai.onnx") else 1
        version = kwargs.get("opset_version") or newest
        graph = helper.make_graph([node], "node", given, outputs)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid(node.domain, version)])
        return cls.prepare(model, device).run(arrays)

    @classmethod
    def supports_device(cls, device: str) -> bool:
        """'CPU', and 'CUDA' where the backend cupy can be used."""
        try:
            name = _backend_of(device)
        except KigraphError:
            return False
        if name is None:
            return True
        from .kernels.backends import available_backends

        return name in available_backends()


def _backend_of(device: str) -> str | None:
    """kigraph's backend for a device such as 'CPU' or 'CUDA:0'; None: the first that can be used."""
    kind = device.partition(":")[0].upper()
    if kind == "CPU":
        return None
    if kind == "CUDA":
        return "cupy"
    raise KigraphError(f"device {device!r} is not supported; expected 'CPU' or 'CUDA'")


is_compatible = KigraphBackend.is_compatible
prepare = KigraphBackend.prepare
run_model = KigraphBackend.run_model
run_node = KigraphBackend.run_node
supports_device = KigraphBackend.supports_device
