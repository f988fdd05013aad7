"""kigraph: a tensor kernel library with a graph executor.

::

    import kigraph as ki

    model = ki.load("classify_image_graph_def.pb")
    print(model.classify("dog.jpg", top=5))

This module is only the list of public names and where each of them lives. A name is imported when it is first used
(PEP 562), so ``import kigraph`` costs nothing: not even NumPy is loaded.
"""

# ruff: noqa: I001  (it would make one import statement of every name)

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .dtypes import (
        bool_ as bool_,
        complex64 as complex64,
        float16 as float16,
        float32 as float32,
        float64 as float64,
        int8 as int8,
        int16 as int16,
        int32 as int32,
        int64 as int64,
        string as string,
        uint8 as uint8,
        uint16 as uint16,
        uint32 as uint32,
        uint64 as uint64,
    )
    from .errors import (
        BackendError as BackendError,
        CardError as CardError,
        DeviceError as DeviceError,
        DTypeError as DTypeError,
        FeedError as FeedError,
        FetchError as FetchError,
        GraphError as GraphError,
        ImageError as ImageError,
        KernelError as KernelError,
        KigraphError as KigraphError,
        LabelError as LabelError,
        LoadError as LoadError,
        MissingNameError as MissingNameError,
        OutOfMemoryError as OutOfMemoryError,
        RunError as RunError,
        SettingsError as SettingsError,
        ShapeError as ShapeError,
        UnsupportedOpError as UnsupportedOpError,
        WeightsError as WeightsError,
    )
    from .graph.builder import (
        Graph as Graph,
        Operation as Operation,
        Tensor as Tensor,
        control_dependencies as control_dependencies,
        get_default_graph as get_default_graph,
        name_scope as name_scope,
        reset_default_graph as reset_default_graph,
    )
    from .graph.draw import to_dot as to_dot, to_html as to_html, to_svg as to_svg
    from .graph.gradients import gradients as gradients
    from .graph.loaders import LoadLimits as LoadLimits
    from .graph.ops import (
        abs as abs,
        add as add,
        argmax as argmax,
        argmin as argmin,
        as_string as as_string,
        assign as assign,
        assign_add as assign_add,
        assign_sub as assign_sub,
        avg_pool as avg_pool,
        batch_normalization as batch_normalization,
        bias_add as bias_add,
        broadcast_to as broadcast_to,
        cast as cast,
        ceil as ceil,
        concat as concat,
        constant as constant,
        conv2d as conv2d,
        cos as cos,
        decode_image as decode_image,
        decode_jpeg as decode_jpeg,
        decode_png as decode_png,
        depthwise_conv2d as depthwise_conv2d,
        divide as divide,
        encode_jpeg as encode_jpeg,
        encode_png as encode_png,
        equal as equal,
        erf as erf,
        exp as exp,
        expand_dims as expand_dims,
        fill as fill,
        floor as floor,
        floordiv as floordiv,
        floormod as floormod,
        fused_batch_norm as fused_batch_norm,
        gather as gather,
        greater as greater,
        greater_equal as greater_equal,
        group as group,
        identity as identity,
        less as less,
        less_equal as less_equal,
        log as log,
        log1p as log1p,
        log_softmax as log_softmax,
        logical_and as logical_and,
        logical_not as logical_not,
        logical_or as logical_or,
        matmul as matmul,
        max_pool as max_pool,
        maximum as maximum,
        minimum as minimum,
        moments as moments,
        multiply as multiply,
        negative as negative,
        no_op as no_op,
        not_equal as not_equal,
        ones as ones,
        ones_like as ones_like,
        pad as pad,
        placeholder as placeholder,
        placeholder_with_default as placeholder_with_default,
        pow as pow,
        range as range,
        rank as rank,
        reciprocal as reciprocal,
        reduce_all as reduce_all,
        reduce_any as reduce_any,
        reduce_max as reduce_max,
        reduce_mean as reduce_mean,
        reduce_min as reduce_min,
        reduce_prod as reduce_prod,
        reduce_sum as reduce_sum,
        relu as relu,
        relu6 as relu6,
        reshape as reshape,
        resize_bilinear as resize_bilinear,
        round as round,
        rsqrt as rsqrt,
        shape as shape,
        sigmoid as sigmoid,
        sign as sign,
        sin as sin,
        size as size,
        slice as slice,
        softmax as softmax,
        softmax_cross_entropy_with_logits as softmax_cross_entropy_with_logits,
        softplus as softplus,
        sparse_softmax_cross_entropy_with_logits as sparse_softmax_cross_entropy_with_logits,
        split as split,
        sqrt as sqrt,
        square as square,
        squared_difference as squared_difference,
        squeeze as squeeze,
        stack as stack,
        stop_gradient as stop_gradient,
        strided_slice as strided_slice,
        string_join as string_join,
        subtract as subtract,
        tanh as tanh,
        tile as tile,
        top_k as top_k,
        transpose as transpose,
        unstack as unstack,
        variable as variable,
        where as where,
        zeros as zeros,
        zeros_like as zeros_like,
    )
    from .graph.profile import Profile as Profile
    from .graph.session import Session as Session
    from .kernels.backends import (
        available_backends as available_backends,
        set_backend as set_backend,
        using_backend as using_backend,
    )
    from .kernels.numerics import using_numerics as using_numerics
    from .classifier import Classifier as Classifier, Prediction as Prediction, load as load
    from .saving import save_graph as save_graph
    from .train import layers as layers
    from .train.model import Model as Model
    from .vision.labels import Label as Label, LabelSet as LabelSet
    from .vision.normalize import Normalization as Normalization, Preprocessing as Preprocessing
    from .weights.cards import Card as Card

__version__ = "0.1.0"

#: The public names of each module. A new name goes here and into the imports for type checkers above; a test compares.
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
    "graph.ops": """
        abs add argmax argmin as_string assign assign_add assign_sub avg_pool batch_normalization bias_add
        broadcast_to cast ceil concat constant conv2d cos decode_image decode_jpeg decode_png depthwise_conv2d divide
        encode_jpeg encode_png equal erf exp expand_dims fill floor floordiv floormod fused_batch_norm gather greater
        greater_equal group identity less less_equal log log1p log_softmax logical_and logical_not logical_or matmul
        max_pool maximum minimum moments multiply negative no_op not_equal ones ones_like pad placeholder
        placeholder_with_default pow range rank reciprocal reduce_all reduce_any reduce_max reduce_mean reduce_min
        reduce_prod reduce_sum relu relu6 reshape resize_bilinear round rsqrt shape sigmoid sign sin size slice
        softmax softmax_cross_entropy_with_logits softplus sparse_softmax_cross_entropy_with_logits split sqrt square
        squared_difference squeeze stack stop_gradient strided_slice string_join subtract tanh tile top_k transpose
        unstack variable where zeros zeros_like
    """,
    "graph.profile": "Profile",
    "graph.session": "Session",
    "kernels.backends": "available_backends set_backend using_backend",
    "kernels.numerics": "using_numerics",
    "classifier": "Classifier Prediction load",
    "saving": "save_graph",
    "train": "layers",
    "train.model": "Model",
    "vision.labels": "Label LabelSet",
    "vision.normalize": "Normalization Preprocessing",
    "weights.cards": "Card",
}
_HOME = {name: module for module, names in _MODULES.items() for name in names.split()}
#: Packages and modules that are public themselves, as ``ki.vision``.
_SUBMODULES = ("dtypes", "errors", "graph", "kernels", "train", "vision", "weights")

__all__ = ["__version__", *_HOME, *_SUBMODULES]  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        value = getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
        globals()[name] = value  # the next use finds it without coming here
        return value
    if name in _SUBMODULES:
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
