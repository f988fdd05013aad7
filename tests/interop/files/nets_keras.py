"""Small networks as users define them, for Keras 3 and tf_keras alike: ``NETS[name](keras)``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

__all__ = ["KERAS_3_ONLY", "NETS", "NO_TFLITE"]


def _model(keras: Any, inputs: Any, outputs: Any) -> Any:
    return keras.Model(inputs, outputs)


def text_average(keras: Any) -> Any:
    L = keras.layers
    return keras.Sequential(
        [keras.Input((12,), dtype="int32"), L.Embedding(50, 8), L.GlobalAveragePooling1D(), L.Dropout(0.5), L.Dense(1, "sigmoid")]
    )  # fmt: skip


def text_masked_lstm(keras: Any) -> Any:
    L = keras.layers
    x = keras.Input((12,), dtype="int32")
    y = L.Embedding(50, 8, mask_zero=True)(x)
    return _model(keras, x, L.Dense(3, "softmax")(L.LSTM(7)(L.LSTM(6, return_sequences=True)(y))))


def text_any_length(keras: Any) -> Any:
    L = keras.layers
    x = keras.Input((None,), dtype="int32")
    y = L.Bidirectional(L.LSTM(5, return_sequences=True))(L.Embedding(40, 6, mask_zero=True)(x))
    return _model(keras, x, L.Dense(2)(L.GRU(4)(y)))


def text_masked_attention(keras: Any) -> Any:
    L = keras.layers
    x = keras.Input((9,), dtype="int32")
    y = L.Embedding(40, 8, mask_zero=True)(x)
    y = L.LayerNormalization()(L.Add()([y, L.MultiHeadAttention(2, 4)(y, y)]))
    return _model(keras, x, L.Dense(2)(L.GlobalAveragePooling1D()(y)))


def text_both_ways(keras: Any) -> Any:
    L = keras.layers
    x = keras.Input((10,), dtype="int32")
    y = L.Bidirectional(L.GRU(5, return_sequences=True))(L.Embedding(40, 6)(x))
    y = L.Bidirectional(L.LSTM(4), merge_mode="sum")(y)
    return _model(keras, x, L.Dense(2)(y))


def text_conv(keras: Any) -> Any:
    L = keras.layers
    x = keras.Input((15,), dtype="int32")
    e = L.Embedding(40, 6)(x)
    y = L.Concatenate()(
        [L.GlobalMaxPooling1D()(L.Conv1D(4, k, activation="relu", padding="same")(e)) for k in (2, 3, 5)]
    )
    return _model(keras, x, L.Dense(4, "softmax")(y))


def transformer(keras: Any) -> Any:
    L = keras.layers
    x = keras.Input((9, 8))
    a = L.MultiHeadAttention(2, 4)(x, x)
    y = L.LayerNormalization(epsilon=1e-6)(L.Add()([x, a]))
    y = L.LayerNormalization(epsilon=1e-6)(L.Add()([y, L.Dense(8)(L.Dense(16, "gelu")(y))]))
    return _model(keras, x, L.Dense(3)(L.GlobalAveragePooling1D()(y)))


def attention(keras: Any) -> Any:
    L = keras.layers
    q, v = keras.Input((4, 6)), keras.Input((7, 6))
    return _model(
        keras, [q, v], L.Dense(2)(L.Flatten()(L.Concatenate()([L.Attention()([q, v]), L.AdditiveAttention()([q, v])])))
    )


def tabular(keras: Any) -> Any:
    L = keras.layers
    a, b = keras.Input((5,), name="numbers"), keras.Input((1,), dtype="int32", name="kind")
    n = L.Normalization()
    n.adapt(np.random.default_rng(1).normal(3, 2, (50, 5)).astype(np.float32))
    y = L.Concatenate()([n(a), L.Flatten()(L.Embedding(6, 3)(b))])
    for act in ("relu", "selu", "swish", "tanh"):
        y = L.BatchNormalization()(L.Dense(9, act)(y))
    return _model(keras, [a, b], [L.Dense(1, name="price")(y), L.Dense(3, "softmax", name="class")(y)])


def activations(keras: Any) -> Any:
    L = keras.layers
    x = keras.Input((8,))
    ys = [
        L.Activation(a)(x)
        for a in ("elu", "softplus", "softsign", "hard_sigmoid", "exponential", "relu6", "mish", "linear")
    ]
    y = L.Concatenate()([*ys, L.LeakyReLU()(x), L.PReLU()(x), L.ELU(0.7)(x), L.ReLU(2.0, 0.1, 0.3)(x), L.Softmax()(x)])
    return _model(keras, x, L.UnitNormalization()(y))


def lenet(keras: Any) -> Any:
    L = keras.layers
    return keras.Sequential([
        keras.Input((20, 21, 1)), L.Rescaling(1 / 255), L.RandomFlip(), L.Conv2D(4, 3, activation="relu"), L.MaxPooling2D(),
        L.Conv2D(6, 3, strides=2, padding="same", dilation_rate=1), L.BatchNormalization(), L.ReLU(), L.AveragePooling2D(2, padding="same"),
        L.Flatten(), L.Dense(12, "relu"), L.Dropout(0.2), L.Dense(5, "softmax"),
    ])  # fmt: skip


def squeeze_excite(keras: Any) -> Any:
    L = keras.layers
    x = keras.Input((None, None, 3))
    y = L.SeparableConv2D(8, 3, padding="same", activation="swish")(x)
    s = L.Dense(8, "hard_sigmoid")(L.Dense(2, "relu")(L.GlobalAveragePooling2D(keepdims=True)(y)))
    y = L.DepthwiseConv2D(3, strides=2, padding="same", depth_multiplier=2)(L.Multiply()([y, s]))
    return _model(keras, x, L.Dense(4)(L.GlobalMaxPooling2D()(y)))


def unet(keras: Any) -> Any:
    L = keras.layers
    x = keras.Input((16, 16, 3))
    a = L.Conv2D(4, 3, padding="same", activation="relu")(x)
    b = L.Conv2D(6, 3, padding="same", dilation_rate=2)(L.MaxPooling2D()(a))
    c = L.Conv2DTranspose(4, 3, strides=2, padding="same")(b)
    d = L.UpSampling2D(interpolation="bilinear")(b)
    y = L.Concatenate()([a, c, d, L.UpSampling2D()(b)])
    return _model(keras, x, L.Conv2D(2, 1, activation="sigmoid")(L.Cropping2D(1)(L.ZeroPadding2D((2, 1))(y))))


def patches(keras: Any) -> Any:
    L = keras.layers
    x = keras.Input((16, 16, 3))
    y = L.Reshape((16, 8))(L.Conv2D(8, 4, strides=4)(x))
    y = L.Add()([y, L.MultiHeadAttention(2, 3)(L.LayerNormalization()(y), L.LayerNormalization()(y))])
    return _model(keras, x, L.Dense(4)(L.Flatten()(L.Permute((2, 1))(y))))


def nested(keras: Any) -> Any:
    L = keras.layers
    inner = keras.Sequential(
        [keras.Input((8, 8, 3)), L.Conv2D(4, 3), L.BatchNormalization(), L.GlobalAveragePooling2D()]
    )
    a, b = keras.Input((8, 8, 3)), keras.Input((8, 8, 3))
    y = L.Subtract()([inner(a), inner(b)])
    return _model(
        keras, [a, b], L.Dense(1, "sigmoid")(L.Concatenate()([y, L.Dot(1, normalize=True)([inner(a), inner(b)])]))
    )


def frames(keras: Any) -> Any:
    L = keras.layers
    x = keras.Input((4, 10, 10, 3))
    y = L.TimeDistributed(L.Conv2D(3, 3, activation="relu"))(x)
    y = L.TimeDistributed(L.Flatten())(L.TimeDistributed(L.MaxPooling2D())(y))
    return _model(keras, x, L.Dense(2)(L.SimpleRNN(5)(y)))


def volume(keras: Any) -> Any:
    L = keras.layers
    x = keras.Input((6, 8, 8, 2))
    y = L.MaxPooling3D()(L.Conv3D(4, 3, padding="same", activation="relu")(x))
    return _model(keras, x, L.Dense(3)(L.GlobalAveragePooling3D()(y)))


def signal(keras: Any) -> Any:
    L = keras.layers
    x = keras.Input((30, 2))
    y = L.Conv1D(4, 3, padding="causal", dilation_rate=2, activation="relu")(x)
    y = L.MaxPooling1D(2)(L.SeparableConv1D(5, 3)(y))
    y = L.Conv1DTranspose(3, 3, strides=2)(L.AveragePooling1D(2)(y))
    return _model(keras, x, L.GRU(4, reset_after=True)(L.UpSampling1D(2)(y)))


def groups(keras: Any) -> Any:
    L = keras.layers
    x = keras.Input((9, 9, 4))
    y = L.GroupNormalization(2)(L.Conv2D(8, 3, groups=2, padding="same")(x))
    return _model(keras, x, L.Dense(3)(L.Flatten()(L.SpatialDropout2D(0.2)(y))))


def conv_lstm(keras: Any) -> Any:
    L = keras.layers
    x = keras.Input((3, 6, 6, 2))
    return _model(keras, x, L.Dense(2)(L.Flatten()(L.ConvLSTM2D(3, 3, padding="same")(x))))


def encoder_decoder(keras: Any) -> Any:
    L = keras.layers
    a, b = keras.Input((6, 3)), keras.Input((5, 3))
    _, h, c = L.LSTM(4, return_state=True)(a)
    y = L.LSTM(4, return_sequences=True)(b, initial_state=[h, c])
    return _model(keras, [a, b], L.TimeDistributed(L.Dense(3, "softmax"))(y))


def arithmetic(keras: Any) -> Any:
    L = keras.layers
    x = keras.Input((6, 6, 3))
    y = keras.ops.relu(x * 2.0 - 1.0) + keras.ops.mean(x, axis=-1, keepdims=True)
    y = keras.ops.reshape(y, (-1, 36, 3))
    y = keras.ops.matmul(y, keras.ops.transpose(y, (0, 2, 1))) / 6.0
    return _model(keras, x, L.Dense(2)(keras.ops.max(y, axis=1)))


NETS: dict[str, Callable[[Any], Any]] = {
    f.__name__: f
    for f in (
        text_average, text_masked_lstm, text_any_length, text_masked_attention, text_both_ways, text_conv, transformer, attention, tabular, activations, lenet, squeeze_excite,
        unet, patches, nested, frames, volume, signal, groups, conv_lstm, encoder_decoder, arithmetic,
    )
}  # fmt: skip
#: Networks that use what tf_keras lacks.
KERAS_3_ONLY = {"activations", "arithmetic"}
#: Networks that TensorFlow's converter refuses without TensorFlow's own kernels in the runtime; of masked attention the runtime's
#: integer kernels are far from the float model.
NO_TFLITE = {"conv_lstm", "text_both_ways", "encoder_decoder", "text_any_length", "text_masked_attention"}
