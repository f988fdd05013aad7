"""Which variables a layer has, in the order in which Keras makes them, and which layers are inside of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

__all__ = ["STATES", "kids_of", "variables_of"]

Config = Mapping[str, Any]
#: (name, whether it is trained)
Variables = tuple[tuple[str, bool], ...]

#: States of random generators: nothing at inference depends on them.
STATES = ("StateVar", "seed_generator_state")


def _with_bias(*names: str) -> Callable[[Config], Variables]:
    def variables(config: Config) -> Variables:
        found = [(n, True) for n in names]
        return (*found, ("bias", True)) if config.get("use_bias", True) else tuple(found)

    return variables


def _einsum(config: Config) -> Variables:
    return (("kernel", True), ("bias", True)) if config.get("bias_axes") else (("kernel", True),)


def _scaled(config: Config) -> Variables:
    pairs = (("scale", "gamma"), ("center", "beta"))
    return tuple((name, True) for key, name in pairs if config.get(key, True))


def _batch_norm(config: Config) -> Variables:
    return (*_scaled(config), ("moving_mean", False), ("moving_variance", False))


def _layer_norm(config: Config) -> Variables:
    return (("gamma", True),) if config.get("rms_scaling") else _scaled(config)


def _normalization(config: Config) -> Variables:
    return () if config.get("mean") is not None else (("mean", False), ("variance", False), ("count", False))


def _attention(config: Config) -> Variables:
    scale: Variables = (("scale", True),) if config.get("use_scale") else ()
    return (*scale, ("concat_score_weight", True)) if config.get("score_mode") == "concat" else scale


def _one(name: str, trained: bool = True) -> Callable[[Config], Variables]:
    return lambda config: ((name, trained),)


_kernel = _with_bias("kernel")
_cell = _with_bias("kernel", "recurrent_kernel")
_VARIABLES: dict[str, Callable[[Config], Variables]] = {
    "Dense": _kernel,
    "EinsumDense": _einsum,
    **{f"{kind}{n}D{tail}": _kernel for kind, tail in (("Conv", ""), ("Conv", "Transpose")) for n in (1, 2, 3)},
    "Convolution1D": _kernel,
    "Convolution2D": _kernel,
    "DepthwiseConv1D": _with_bias("depthwise_kernel"),
    "DepthwiseConv2D": _with_bias("depthwise_kernel"),
    "SeparableConv1D": _with_bias("depthwise_kernel", "pointwise_kernel"),
    "SeparableConv2D": _with_bias("depthwise_kernel", "pointwise_kernel"),
    "BatchNormalization": _batch_norm,
    "BatchNormalizationV1": _batch_norm,
    "SyncBatchNormalization": _batch_norm,
    "LayerNormalization": _layer_norm,
    "GroupNormalization": _scaled,
    "RMSNormalization": _one("scale"),
    "Normalization": _normalization,
    "SpectralNormalization": _one("vector_u", False),
    "PReLU": _one("alpha"),
    "LayerScale": _one("gamma"),
    "Embedding": _one("embeddings"),
    "LSTMCell": _cell,
    "GRUCell": _cell,
    "SimpleRNNCell": _cell,
    "Attention": _attention,
    "AdditiveAttention": lambda config: (("scale", True),) if config.get("use_scale", True) else (),
}

#: Attributes of a config that hold a layer -> the attribute of the layer.
_INSIDE: dict[str, tuple[tuple[str, str], ...]] = {
    "TimeDistributed": (("layer", "layer"),),
    "SpectralNormalization": (("layer", "layer"),),
    "Bidirectional": (("layer", "forward_layer"), ("backward_layer", "backward_layer")),
    "RNN": (("cell", "cell"),),
}


def variables_of(kind: str, config: Config) -> Variables:
    """The variables of a layer itself, without those of the layers inside."""
    found = _VARIABLES.get(kind)
    return () if found is None else found(config)


def kids_of(kind: str, config: Config) -> list[tuple[str, Any]]:
    """(attribute, config) of the layers inside one that is no model."""
    if kind in ("LSTM", "GRU", "SimpleRNN"):
        return [("cell", {"class_name": f"{kind}Cell", "config": {**config, "name": f"{kind.lower()}_cell"}})]
    if kind == "MultiHeadAttention":
        bias = "abc" if config.get("use_bias", True) else None
        names = (
            ("query_dense", "query"),
            ("key_dense", "key"),
            ("value_dense", "value"),
            ("output_dense", "attention_output"),
        )
        trained = config.get("trainable", True)
        return [
            (a, {"class_name": "EinsumDense", "config": {"name": n, "bias_axes": bias, "trainable": trained}})
            for a, n in names
        ]
    found = []
    for key, attribute in _INSIDE.get(kind, ()):
        inner = config.get(key)
        if inner is None and key == "backward_layer":
            inner = _backward(config.get("layer"))
        found.append((attribute, inner))
    return found


def _backward(layer: Any) -> Any:
    """The backward layer of Bidirectional where its config has none: the forward one, the other way."""
    if not isinstance(layer, dict) or not isinstance(layer.get("config"), dict):
        return layer
    config = layer["config"]
    name = str(config.get("name", "rnn")).removeprefix("forward_")
    turned = {**config, "go_backwards": not config.get("go_backwards", False), "name": f"backward_{name}"}
    return {k: v for k, v in layer.items() if k != "shared_object_id"} | {"config": turned}
