"""kigraph: a tensor kernel library with a graph executor.

::

    import kigraph as ki

    model = ki.load("classify_image_graph_def.pb")
    print(model.classify("dog.jpg", top=5))

This module only says where each public name is defined. A name is imported when it is first used (PEP 562), so
``import kigraph`` costs nothing: not even NumPy is loaded. The functions of ops are those that the ``__all__`` of their
modules lists (``graph/ops``). Type checkers read ``__init__.pyi``; a test compares.
"""

from __future__ import annotations

import importlib
import importlib.util
from typing import Any

__version__ = "0.1.0"

#: The public names of each module, but for the functions of ops.
_MODULES: dict[str, str] = {
    "dtypes": "bool_ complex64 float16 float32 float64 int8 int16 int32 int64 string uint8 uint16 uint32 uint64",
    "errors": """
        BackendError CardError DTypeError DeviceError FeedError FetchError GraphError ImageError KernelError KigraphError
        LabelError LoadError MissingNameError OutOfMemoryError RunError SettingsError ShapeError UnsupportedOpError
        WeightsError
    """,
    "graph.builder": "Graph Operation Tensor control_dependencies get_default_graph name_scope reset_default_graph",
    "graph.draw": "to_dot to_html to_svg",
    "graph.gradients": "gradients",
    "graph.loaders": "LoadLimits",
    "graph.profile": "Profile",
    "graph.session": "Session",
    "kernels.backends": "available_backends set_backend using_backend",
    "kernels.numerics": "using_numerics",
    "archive.run": "classify_folder",
    "classifier": "Classified Classifier Prediction load",
    "converting": "convert save",
    "machine": "backend_status",
    "quantizing": "Quantized quantize",
    "retraining": "Retrained retrain",
    "saving": "save_graph",
    "train": "layers",
    "train.model": "Model",
    "environment": "show_versions versions",
    "vision.labels": "Label LabelSet",
    "vision.normalize": "Normalization Preprocessing",
    "weights.cards": "Card",
}
_HOME = {name: module for module, names in _MODULES.items() for name in names.split()}
#: Packages and modules that are public themselves, as ``ki.vision``.
_SUBMODULES = ("dtypes", "errors", "graph", "kernels", "train", "vision", "weights")


def _ops() -> list[str]:
    names: list[str] = importlib.import_module(f"{__name__}.graph.ops").__all__
    return names


def _is_op(name: str) -> bool:
    """Asked last: it loads NumPy. ``from kigraph import cli`` asks for every module's name first."""
    if name.startswith("_") or not name.isidentifier() or importlib.util.find_spec(f"{__name__}.{name}") is not None:
        return False
    return name in _ops()


def __getattr__(name: str) -> Any:
    if name == "__all__":
        return ["__version__", *_HOME, *_SUBMODULES, *_ops()]
    if name in _SUBMODULES:
        return importlib.import_module(f"{__name__}.{name}")
    home = _HOME.get(name)
    if home is None and _is_op(name):
        home = "graph.ops"
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{home}"), name)
    globals()[name] = value  # the next use finds it without coming here
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__getattr__("__all__")})
