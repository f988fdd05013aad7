"""Which function, class or value each name of kigraph.compat.v1 is, its namespaces (tf.nn, tf.train) included."""

from __future__ import annotations

from collections.abc import Mapping
from types import ModuleType
from typing import Any

from ...graph import ops
from . import (
    array,
    augmenting,
    building,
    control,
    data,
    dtypes,
    entropy,
    errors,
    files,
    graph,
    image,
    importing,
    initializers,
    iterators,
    layers,
    losses,
    mapping,
    math,
    metrics,
    nn,
    norms,
    parts,
    random,
    rnn,
    rnn_cell,
    running,
    sampling,
    scopes,
    session,
    shapes,
    summary,
    variables,
)
from .missing import refuse
from .train import optimizers, saver, schedules

__all__ = ["NAMES", "Namespace"]

#: What graphs have for their as_graph_def: importing is above graph.
graph.Graph.as_graph_def = lambda self, from_version=None, add_shapes=False: importing.GraphDef(self.core)  # type: ignore[attr-defined]


class Namespace:
    """Names under a name, as tf.nn."""

    def __init__(self, name: str, names: Mapping[str, Any]) -> None:
        self.__name__ = name
        self.__dict__.update(names)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        refuse(f"{self.__name__}.{name}", tuple(self.__dict__))

    def __dir__(self) -> list[str]:
        return [name for name in self.__dict__ if name != "__name__"]

    def __repr__(self) -> str:
        return f"<kigraph.compat.v1.{self.__name__}>"


def _of(module: ModuleType, *but: str) -> dict[str, Any]:
    return {name: getattr(module, name) for name in module.__all__ if name not in but}


def _through(*names: str) -> dict[str, Any]:
    """Functions that are kigraph's own, of the same signature, under TensorFlow's names."""
    return {name: _called(name) for name in names}


def _called(name: str) -> Any:
    function = getattr(ops, name)

    def call(*args: Any, name: str | None = None, **kwargs: Any) -> Any:
        return building.via(function, *args, name=name, **kwargs)

    call.__name__, call.__doc__ = name, function.__doc__
    return call


_F = math.FUNCTIONS
_OWN = _through(
    "as_string", "batch_to_space_nd", "bitcast", "decode_raw", "depth_to_space", "fake_quant_with_min_max_args",
    "fake_quant_with_min_max_vars", "matrix_band_part", "matrix_determinant", "matrix_diag", "matrix_diag_part", "matrix_inverse",
    "matrix_set_diag", "reverse_sequence", "segment_max", "segment_mean", "segment_min", "segment_prod", "segment_sum",
    "space_to_batch_nd", "space_to_depth", "string_join", "unique_with_counts", "unravel_index", "unsorted_segment_max",
    "unsorted_segment_sum",
)  # fmt: skip
#: Functions that are in tf.nn only, or in namespaces of their own.
_ELSEWHERE = (
    "elu",
    "l2_loss",
    "relu",
    "relu6",
    "selu",
    "softplus",
    "softsign",
    "bitwise_and",
    "bitwise_or",
    "bitwise_xor",
)
_MATH = {
    **{name: function for name, function in _F.items() if name not in _ELSEWHERE},
    **{n: getattr(math, n) for n in math.__all__ if n not in ("FUNCTIONS",)},
    **_of(norms),
}
_ARRAY = {**_of(array), **_of(parts, "getitem", "top_k")}
_INITIALIZERS = {
    "constant_initializer": initializers.Constant, "identity_initializer": initializers.Identity, "ones_initializer": initializers.Ones,
    "random_normal_initializer": initializers.RandomNormal, "random_uniform_initializer": initializers.RandomUniform,
    "truncated_normal_initializer": initializers.TruncatedNormal, "uniform_unit_scaling_initializer": initializers.UniformUnitScaling,
    "variance_scaling_initializer": initializers.VarianceScaling, "zeros_initializer": initializers.Zeros,
    "glorot_normal_initializer": initializers.glorot_normal_initializer,
    "glorot_uniform_initializer": initializers.glorot_uniform_initializer,
}  # fmt: skip
_NN = {
    **_of(nn),
    **_of(rnn),
    **_of(sampling),
    "rnn_cell": Namespace("nn.rnn_cell", _of(rnn_cell)),
    **_of(entropy),
    **{n: _F[n] for n in ("elu", "relu", "relu6", "selu", "softplus", "softsign", "sigmoid", "tanh", "l2_loss")},
    "lrn": nn.local_response_normalization, "top_k": parts.top_k, "silu": nn.swish, "depthwise_conv2d_native": nn.depthwise_conv2d,
    "max_pool2d": nn.max_pool, "avg_pool2d": nn.avg_pool, "depth_to_space": _OWN["depth_to_space"],
    "space_to_depth": _OWN["space_to_depth"],
}  # fmt: skip
_GFILE = _of(files)
_IMAGE = {
    **_of(image, "read_file"), **_of(augmenting), "transpose": augmenting.transpose_image, "resize": image.resize_images, "crop_and_resize": _called("crop_and_resize"),
    "encode_jpeg": _called("encode_jpeg"), "encode_png": _called("encode_png"),
}  # fmt: skip
_TRAIN = {
    **_of(optimizers, "gradients"), **_of(saver), **_of(schedules), "cosine_decay": schedules.cosine_decay,
}  # fmt: skip
_LOGGING = running.LOGGING
_GRAPH_UTIL = Namespace(
    "graph_util",
    {
        "convert_variables_to_constants": importing.convert_variables_to_constants,
        "extract_sub_graph": importing.extract_sub_graph,
        "import_graph_def": importing.import_graph_def,
    },
)
_LINALG = {
    "matmul": math.matmul, "norm": norms.norm, "trace": math.trace, "einsum": math.einsum, "tensordot": math.tensordot, "eye": array.eye,
    "transpose": array.matrix_transpose, "inv": _OWN["matrix_inverse"], "det": _OWN["matrix_determinant"],
    "band_part": _OWN["matrix_band_part"], "diag": _OWN["matrix_diag"], "diag_part": _OWN["matrix_diag_part"],
    "set_diag": _OWN["matrix_set_diag"], "l2_normalize": nn.l2_normalize, "global_norm": norms.global_norm,
}  # fmt: skip


def _collected(name: str) -> Any:
    return lambda *args, **kwargs: getattr(graph.get_default_graph(), name)(*args, **kwargs)


#: Every public name.
NAMES: dict[str, Any] = {
    **dtypes.DTYPES, **_MATH, **_ARRAY, **_OWN, **_INITIALIZERS, **_of(variables, "PROBES", "lifted"), **_of(scopes, "slot_name"), **_of(session, "ITERATORS"), **_of(mapping),
    **control.assert_ops(),
    **{n: getattr(graph, n) for n in ("Graph", "GraphKeys", "Operation", "Tensor", "control_dependencies", "get_default_graph",
                                      "name_scope", "reset_default_graph")},
    **{n: getattr(random, n) for n in ("random_normal", "random_shuffle", "random_uniform", "set_random_seed", "truncated_normal")},
    **{n: getattr(control, n) for n in ("Assert", "Print", "case", "cond", "while_loop")},
    **{n: getattr(running, n) for n in ("ConfigProto", "GPUOptions", "OptimizerOptions", "RunMetadata", "RunOptions")},
    **{n: getattr(importing, n) for n in ("AttrValue", "GraphDef", "NodeDef", "import_graph_def")},
    **{n: _collected(n) for n in ("add_to_collection", "get_collection", "get_collection_ref")},
    "DType": dtypes.DType, "as_dtype": dtypes.as_dtype, "Dimension": shapes.Dimension, "TensorShape": shapes.TensorShape,
    "OpError": errors.OpError, "constant": building.constant, "convert_to_tensor": building.convert, "gradients": optimizers.gradients,
    "bitwise": Namespace("bitwise", {n: _F[n] for n in ("bitwise_and", "bitwise_or", "bitwise_xor")}),
    "device": lambda name: graph.get_default_graph().device(name),
    "random_crop": augmenting.random_crop, "newaxis": None, "read_file": image.read_file, "uint8": dtypes.DTYPES["uint8"],
    "op_scope": lambda values, name=None, default_name=None: graph.name_scope(name, default_name),
    "nn": Namespace("nn", _NN), "train": Namespace("train", _TRAIN), "layers": Namespace("layers", _of(layers)),
    "losses": Namespace("losses", _of(losses, "METRICS", "counter", "l2_regularizer")), "metrics": Namespace("metrics", {**losses.METRICS, **_of(metrics)}),
    "errors": Namespace("errors", _of(errors, "translated")), "gfile": Namespace("gfile", _GFILE),
    "image": Namespace("image", _IMAGE), "summary": Namespace("summary", _of(summary)), "graph_util": _GRAPH_UTIL,
    "app": running.APP, "flags": running.flags, "logging": _LOGGING,
    "math": Namespace("math", {**_MATH, "sigmoid": _F["sigmoid"], "top_k": parts.top_k, "l2_normalize": nn.l2_normalize,
                               "softplus": _F["softplus"], "log_softmax": nn.log_softmax, "in_top_k": nn.in_top_k,
                               "segment_sum": _OWN["segment_sum"], "unsorted_segment_sum": _OWN["unsorted_segment_sum"]}),
    "random": Namespace("random", {"normal": random.random_normal, "uniform": random.random_uniform, "shuffle": random.random_shuffle,
                                   "truncated_normal": random.truncated_normal, "set_random_seed": random.set_random_seed}),
    "data": Namespace("data", {
        "Dataset": data.Dataset, "Iterator": iterators.DataIterator,
        "make_one_shot_iterator": iterators.make_one_shot_iterator,
        "make_initializable_iterator": iterators.make_initializable_iterator}),
    "initializers": Namespace("initializers", {
        "constant": initializers.Constant, "identity": initializers.Identity, "ones": initializers.Ones, "zeros": initializers.Zeros,
        "random_normal": initializers.RandomNormal, "random_uniform": initializers.RandomUniform,
        "truncated_normal": initializers.TruncatedNormal, "variance_scaling": initializers.VarianceScaling,
        "glorot_normal": initializers.glorot_normal_initializer, "glorot_uniform": initializers.glorot_uniform_initializer,
        "he_normal": initializers.he_normal, "he_uniform": initializers.he_uniform, "lecun_normal": initializers.lecun_normal,
        "lecun_uniform": initializers.lecun_uniform}),
    "linalg": Namespace("linalg", _LINALG),
    "io": Namespace("io", {"read_file": image.read_file, "gfile": Namespace("io.gfile", {"GFile": files.GFile, "exists": files.Exists,
                                                                                        "glob": files.Glob, "makedirs": files.MakeDirs}),
                           "decode_raw": _OWN["decode_raw"], "decode_jpeg": image.decode_jpeg, "decode_png": image.decode_png,
                           "decode_image": image.decode_image}),
    "disable_v2_behavior": lambda: None, "disable_eager_execution": lambda: None, "disable_resource_variables": lambda: None,
    "executing_eagerly": lambda: False,
}  # fmt: skip
