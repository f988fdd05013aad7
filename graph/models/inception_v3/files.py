"""Which network a weights file means: every array of it is accounted for, or the file is refused.

torchvision's names do not say the activation after the last layer, so its output is taken as it is (logits). 1008
classes without an auxiliary classifier are the network of 2015 under torchvision's names (pytorch-fid): average pools that
leave the padding out, and a maximum in the last block.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

from ...formats.limits import load_error
from ...ir import Literal
from ...loaders.weights import WeightsFile
from ..steps import Dense, GlobalPool, Softmax, Step
from .layers import FEATURES
from .network import InceptionNetwork, Options, classifier
from .weights import (
    SAVE_WHOLE,
    TORCHVISION_FIRST,
    ConvWeights,
    InceptionWeights,
    canonical_convs,
    find_naming,
    keras_convs,
    left_over,
    literal,
    torchvision_convs,
)

__all__ = ["OPTIONS", "network_of"]

#: Whose names a weights file has -> how its network differs.
OPTIONS: dict[str, Options] = {
    "torchvision": Options(count_padding=True),
    "keras": Options(),
    "kigraph": Options(),
}
_CLASSES_2015 = 1008


def network_of(file: WeightsFile) -> InceptionNetwork:
    """The network and the weights of a file. LoadError for what is missing, does not fit, or is left over."""
    naming = find_naming(file)
    if naming == "torchvision":
        return _torchvision(file)
    if naming == "kigraph":
        return _canonical(file)
    return _keras_weights(file)


# --- kigraph ------------------------------------------------------------------------------------------------------------


def _canonical(file: WeightsFile) -> InceptionNetwork:
    convs, used = canonical_convs(file)
    kernel = literal(file, "logits/kernel", (FEATURES, None))
    bias = literal(file, "logits/bias", (kernel.shape[1],))
    unused = left_over(file, used | {"logits/kernel", "logits/bias"})
    if unused:
        raise load_error(
            file.file, "the arrays", unused, "those of kigraph's Inception v3", "Save them in a file without these."
        )
    return InceptionNetwork(convs, classifier(InceptionWeights(convs, kernel, bias)))


# --- torchvision and what has its names ---------------------------------------------------------------------------------

_PLAIN = ("fc", "last_linear")
_WRAPPED = re.compile(r"fc((?:\.\w+)+)\.(?:weight|bias)")
_OWN_HEAD = (
    "A state dict does not say how its layers are connected, nor their activations. Keep one linear layer 'fc' after the "
    "network, or export it from its library with these weights as ONNX or SavedModel."
)


def _without_prefix(file: WeightsFile) -> WeightsFile:
    """Names as torchvision has them: without the module that the network was a part of (model., module., _orig_mod.)."""
    prefixes = sorted({n.removesuffix(TORCHVISION_FIRST) for n in file.tensors if n.endswith(TORCHVISION_FIRST)})
    if len(prefixes) > 1:
        raise load_error(
            file.file, "the names", f"{len(prefixes)} networks, in {', '.join(repr(p[:80]) for p in prefixes[:5])}", "one",
            "Save the state dict of the one that is meant.",
        )  # fmt: skip
    (prefix,) = prefixes
    # torch.optim.swa_utils.AveragedModel counts in 'n_averaged'.
    tensors = {
        (name.removeprefix(prefix) if prefix else name): info
        for name, info in file.tensors.items()
        if not (prefix and name == "n_averaged" and info.shape == ())
    }
    if not prefix:
        return file
    inside = sum(name.startswith(prefix) for name in file.tensors)
    outside = [n for n in file.tensors if not n.startswith(prefix) and n != "n_averaged"]
    if outside:
        raise load_error(
            file.file, "the names", f"{', '.join(repr(n[:80]) for n in outside[:5])} outside of '{prefix[:80]}'",
            f"all names under '{prefix[:80]}', where the network is", _OWN_HEAD,
        )  # fmt: skip
    if len(tensors) != len(file.tensors) and len(tensors) < inside:
        raise load_error(file.file, "the names", f"the same names with and without '{prefix[:80]}'", "unique names")
    return replace(file, tensors=MappingProxyType(tensors))


def _torchvision(file: WeightsFile) -> InceptionNetwork:
    file = _without_prefix(file)
    convs, used = torchvision_convs(file)
    auxiliary = _auxiliary(file)
    used |= auxiliary
    rest = [name for name in file.tensors if name not in used]
    if not rest:
        return _features(file, convs, bool(auxiliary))
    top = _linear(file, rest)
    kernel = literal(file, f"{top}.weight", (None, FEATURES), turned=(1, 0))
    bias = literal(file, f"{top}.bias", (kernel.shape[1],)) if f"{top}.bias" in file.tensors else None
    dense = Dense("logits", kernel, bias)
    options = OPTIONS["torchvision"]
    metadata = (
        {"assumed": f"'{top[:80]}' gives logits; what precedes and follows it in 'fc' has no weights and is left out"}
        if top not in _PLAIN
        else {}
    )
    if dense.kernel.shape[1] == _CLASSES_2015 and not auxiliary:
        options = Options(last_pool="max", count_padding=False)
        metadata = {"variant": "2015"}
    head: tuple[Step, ...] = (GlobalPool("pool_3"), dense)
    if dense.kernel.shape[1] > 1:
        head = (*head, Softmax("predictions"))
    else:
        metadata["assumed"] = "the number is what the last layer gives; the file does not say which activation follows"
    return InceptionNetwork(convs, head, options, metadata=metadata)


#: torchvision's InceptionAux: two convolutions with batch norm and a linear layer, for training only.
_AUXILIARY: Mapping[str, tuple[int | None, ...]] = {
    **{f"AuxLogits.conv{i}.bn.{n}": (c,) for i, c in ((0, 128), (1, 768))
       for n in ("weight", "bias", "running_mean", "running_var")},
    **{f"AuxLogits.conv{i}.bn.num_batches_tracked": () for i in (0, 1)},
    "AuxLogits.conv0.conv.weight": (128, 768, 1, 1), "AuxLogits.conv1.conv.weight": (768, 128, 5, 5),
    "AuxLogits.fc.weight": (None, 768), "AuxLogits.fc.bias": (None,),
}  # fmt: skip


def _auxiliary(file: WeightsFile) -> set[str]:
    """The arrays of the auxiliary classifier, if it is there as a whole; others of that name are left over."""
    found = {
        name
        for name, shape in _AUXILIARY.items()
        if name in file.tensors
        and len(shape) == len(file.tensors[name].shape)
        and all(a in (None, b) for a, b in zip(shape, file.tensors[name].shape, strict=True))
    }
    needed = {name for name in _AUXILIARY if not name.endswith(("num_batches_tracked", "fc.bias"))}
    return found if needed <= found else set()


def _linear(file: WeightsFile, rest: list[str]) -> str:
    """The name of the one linear layer that ``rest`` is: fc, or alone inside of a Sequential fc."""
    base = set(file) - set(rest)
    top = next((n for n in _PLAIN if f"{n}.weight" in rest), None)
    if top is None:
        inside = {match[1] for name in rest if (match := _WRAPPED.fullmatch(name))}
        if len(inside) != 1 or f"fc{next(iter(inside))}.weight" not in rest:
            raise load_error(file.file, "the head", left_over(file, base), "one linear layer 'fc'", _OWN_HEAD)
        top = f"fc{inside.pop()}"
    unused = left_over(file, base | {f"{top}.weight", f"{top}.bias"})
    if unused:
        expected = f"those of Inception v3 with one linear layer '{top[:80]}'"
        raise load_error(file.file, "the arrays", unused, expected, _OWN_HEAD)
    return top


def _features(file: WeightsFile, convs: dict[str, ConvWeights], auxiliary: bool) -> InceptionNetwork:
    """No classifier: fc was replaced by Identity."""
    if not auxiliary:
        raise load_error(
            file.file, "the arrays", "the 94 convolutions of Inception v3, no 'fc' and no 'AuxLogits'",
            "one of them: without it, nothing distinguishes torchvision's average pools from those of 2015 (pytorch-fid)",
            "Save the state dict before 'fc' is replaced.",
        )  # fmt: skip
    return InceptionNetwork(convs, (GlobalPool("pool_3"),), OPTIONS["torchvision"])


# --- Keras, weights only --------------------------------------------------------------------------------------------------

#: Layers without weights in Inception v3 as Keras names them, and those after it that do not change the result.
_PASSIVE = re.compile(
    r"(?:input|input_layer|conv2d|batch_normalization|activation|max_pooling2d|average_pooling2d|concatenate|dropout"
    r"|global_average_pooling2d)(?:_\d+)?|input_layer_\w+|mixed\d+(?:_\d+)?|avg_pool"
)
_AVERAGE = re.compile(r"avg_pool|global_average_pooling2d(?:_\d+)?")


def _keras_weights(file: WeightsFile) -> InceptionNetwork:
    """Keras' own head (average, one dense layer, softmax), or none. The list of layers, if the file has one, must agree."""
    convs, used = keras_convs(file)
    layers = file.metadata.get("layers", {})
    passive = [name for name, arrays in layers.items() if not arrays]
    nested = any(len(arrays) > _MOST_OF_A_LAYER for arrays in layers.values())
    _check_passive(file, passive, nested)
    average = any(_AVERAGE.fullmatch(name) for name in passive)
    if used.issuperset(file.tensors):
        if not passive or (nested and not average):
            found = "weights without top, and no list of the layers that pool"
            raise load_error(file.file, "the head", found, "a classifier, or what pools", _sentence(SAVE_WHOLE))
        head: tuple[Step, ...] = (GlobalPool("pool_3"),) if average else ()
        return InceptionNetwork(convs, head)
    top, kernel, bias = _keras_dense(file, used)
    if (passive or nested) and not average:
        raise load_error(file.file, "'layer_names'", "no global average pooling", "avg_pool", _sentence(SAVE_WHOLE))
    weights = InceptionWeights(convs, kernel, literal(file, bias, (kernel.shape[1],)))
    if weights.classes == 1:
        raise load_error(
            file.file,
            f"array '{top[:100]}'",
            "one output, without its activation",
            "two classes or more",
            _sentence(SAVE_WHOLE),
        )
    own = "predictions" in top
    metadata = {} if own else {"assumed": f"average pooling and softmax; {_KERAS_SCALE}"}
    return InceptionNetwork(convs, classifier(weights), metadata=metadata)


def _keras_dense(file: WeightsFile, used: set[str]) -> tuple[str, Literal, str]:
    """The one dense layer that the other arrays are: the name of its kernel, the kernel, the name of its bias."""
    rest = [name for name in file.tensors if name not in used]
    top = [name for name in rest if file.tensors[name].shape[0:1] == (FEATURES,) and len(file.tensors[name].shape) == 2]
    expected = "one dense layer of 2048 inputs after Inception v3"
    if len(top) != 1 or "kernel" not in top[0].rsplit("/", 1)[-1]:
        raise load_error(file.file, "the head", left_over(file, used), expected, _sentence(SAVE_WHOLE))
    kernel = literal(file, top[0], (FEATURES, None))
    bias = "bias".join(top[0].rsplit("kernel", 1))
    unused = left_over(file, used | {top[0], bias})
    if unused or bias not in file.tensors:
        raise load_error(file.file, "the head", unused or f"no '{bias[:100]}'", expected, _sentence(SAVE_WHOLE))
    return top[0], kernel, bias


#: Arrays of the layer that has most, batch normalisation.
_MOST_OF_A_LAYER = 4


def _check_passive(file: WeightsFile, passive: list[str], nested: bool) -> None:
    """Refuses layers without weights that Keras' Inception v3 does not have: they change what the file computes."""
    strange = [name for name in passive if not _PASSIVE.fullmatch(name)]
    for kind, count in (("activation", 94), ("average_pooling2d", 9), ("max_pooling2d", 4)):
        found = [name for name in passive if re.fullmatch(rf"{kind}(?:_\d+)?", name)]
        if passive and len(found) != (0 if nested else count):
            strange += found[-1:] or [f"{kind} (none)"]
    if strange:
        names = ", ".join(repr(n[:80]) for n in strange[:5])
        expected = "the layers of Keras' Inception v3 alone"
        raise load_error(file.file, "'layer_names'", f"{names}, without a description", expected, _sentence(SAVE_WHOLE))


_KERAS_SCALE = "pixels scaled to [-1, 1], as keras.applications does; the file does not say"


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."
