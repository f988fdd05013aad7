"""Small PyTorch networks as users define them: ``NETS[name]()`` is a module and a tuple of inputs for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn

__all__ = ["NETS", "randomize"]

F: Any = nn.functional


def randomize(module: Any, seed: int) -> None:
    """Values as training leaves them, batch norm statistics too."""
    rng = np.random.default_rng(seed)
    for name, value in module.state_dict().items():
        if not value.is_floating_point():
            continue
        shape = tuple(value.shape)
        if name.endswith("running_var"):
            new = rng.uniform(0.4, 1.6, shape)
        elif name.endswith("running_mean") or "bias" in name:
            new = rng.normal(0, 0.2, shape)
        elif value.ndim < 2:
            new = rng.uniform(0.6, 1.4, shape)
        else:
            new = rng.normal(0, (1.5 / max(int(np.prod(shape[1:])), 1)) ** 0.5, shape)
        value.copy_(torch.tensor(new, dtype=value.dtype))


class _Function(nn.Module):
    """A network of some layers and a function of these and the inputs."""

    def __init__(self, call: Callable[..., Any], **layers: nn.Module) -> None:
        super().__init__()
        self.call = call
        for name, layer in layers.items():
            self.add_module(name, layer)

    def forward(self, *x: Any) -> Any:
        return self.call(self, *x)


def _image(*shape: int) -> Any:
    return torch.tensor(np.random.default_rng(3).normal(0, 1, shape).astype(np.float32))


def _words(high: int, *shape: int) -> Any:
    return torch.tensor(np.random.default_rng(4).integers(0, high, shape))


def convolutions() -> Any:
    net = nn.Sequential(
        nn.Conv2d(3, 6, 3, 2, 1, bias=False), nn.BatchNorm2d(6), nn.ReLU6(), nn.Conv2d(6, 6, 3, padding="same", groups=6), nn.Hardswish(),
        nn.MaxPool2d(3, 2, 1, ceil_mode=True), nn.Conv2d(6, 8, (1, 3), dilation=(1, 2)), nn.SiLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Dropout(), nn.Linear(8, 5),
    )  # fmt: skip
    return net, (_image(2, 3, 25, 23),)


def residual() -> Any:
    def call(s: Any, x: Any) -> Any:
        x = s.bn(s.a(x))
        x = F.leaky_relu(x + s.b(F.relu(x)), 0.1)
        return s.fc(torch.flatten(F.adaptive_avg_pool2d(x, (2, 2)), 1))

    layers = {
        "a": nn.Conv2d(3, 4, 3),
        "b": nn.Conv2d(4, 4, 3, padding=1),
        "bn": nn.BatchNorm2d(4),
        "fc": nn.Linear(16, 3),
    }
    return _Function(call, **layers), (_image(2, 3, 10, 10),)


def decoder() -> Any:
    def call(s: Any, x: Any) -> Any:
        y = s.up(s.down(x))
        z = F.interpolate(x[:, :4], scale_factor=2, mode="bilinear", align_corners=False)
        z = F.interpolate(z, size=(12, 12), mode="nearest")
        return torch.sigmoid(y), s.norm(z), F.interpolate(x, size=(9, 7), mode="bilinear", align_corners=True)

    layers = {
        "down": nn.Conv2d(4, 6, 2, 2),
        "up": nn.ConvTranspose2d(6, 4, 3, 2, 1, output_padding=1),
        "norm": nn.InstanceNorm2d(4, affine=True),
    }
    return _Function(call, **layers), (_image(2, 4, 8, 8),)


def shuffled() -> Any:
    def call(s: Any, x: Any) -> Any:
        y = F.pixel_shuffle(s.c(F.pad(x, (1, 2, 0, 1), mode="reflect")), 2)
        return F.gelu(F.group_norm(y, 2)) + F.pad(x, (0, 5, 1, 0), mode="replicate").mean() * torch.tanh(y)

    return _Function(call, c=nn.Conv2d(3, 16, 3, groups=1)), (_image(2, 3, 7, 7),)


def encoder() -> Any:
    def call(s: Any, x: Any) -> Any:
        h = s.layer(s.words(x) + s.places.weight[: x.shape[1]])
        return s.head(h.mean(1))

    layers = {
        "words": nn.Embedding(30, 8), "places": nn.Embedding(16, 8), "head": nn.Linear(8, 3),
        "layer": nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, activation="gelu", norm_first=True),
    }  # fmt: skip
    return _Function(call, **layers), (_words(30, 2, 9),)


def attention() -> Any:
    def call(s: Any, x: Any) -> Any:
        q, k, v = s.qkv(x).reshape(x.shape[0], x.shape[1], 3, 2, 4).permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return s.out(F.layer_norm(y.transpose(1, 2).flatten(2), (8,))), torch.einsum("bhid,bhjd->bhij", q, k).softmax(
            -1
        )

    return _Function(call, qkv=nn.Linear(8, 24), out=nn.Linear(8, 8)), (_image(2, 6, 8),)


def lstm() -> Any:
    def call(s: Any, x: Any) -> Any:
        y, (h, _) = s.rnn(s.words(x))
        return s.head(torch.cat([y[:, -1], h[-1]], 1))

    layers = {
        "words": nn.Embedding(30, 6),
        "rnn": nn.LSTM(6, 5, 2, batch_first=True, bidirectional=True),
        "head": nn.Linear(15, 3),
    }
    return _Function(call, **layers), (_words(30, 2, 7),)


def gru() -> Any:
    def call(s: Any, x: Any) -> Any:
        return s.head(s.rnn(x)[0][:, -1]).log_softmax(-1)

    return _Function(call, rnn=nn.GRU(3, 5, batch_first=True), head=nn.Linear(5, 2)), (_image(2, 7, 3),)


def tabular() -> Any:
    def call(s: Any, x: Any, kind: Any) -> Any:
        y = torch.cat([s.norm(x), s.kinds(kind)], 1)
        y = F.elu(s.a(y)) * F.softplus(y[:, :1]) + F.selu(y[:, 1:2]).abs().sqrt()
        return {"score": s.b(y), "class": s.b(y).argmax(1)}["score"], torch.clamp(y, -0.5, 0.5), s.b(y).argmax(1)

    layers = {"norm": nn.BatchNorm1d(4), "kinds": nn.Embedding(5, 2), "a": nn.Linear(6, 8), "b": nn.Linear(8, 3)}
    return _Function(call, **layers), (_image(3, 4), _words(5, 3))


def selection() -> Any:
    def call(s: Any, x: Any) -> Any:
        values, places = torch.topk(x, 3, dim=1)
        chosen = torch.gather(x, 1, places.flip(1))
        mask = torch.where(x > 0, x, -x.square()).cumsum(1)
        return (
            values,
            places,
            chosen,
            mask,
            x.max(1)[0],
            x.std(1),
            torch.stack(x.chunk(2, 1), 0)[:, :, ::2],
            x.norm(dim=1),
        )

    return _Function(call), (_image(3, 8),)


def signals() -> Any:
    net = nn.Sequential(
        nn.Conv1d(2, 4, 5, padding=2), nn.BatchNorm1d(4), nn.PReLU(4), nn.MaxPool1d(2), nn.ConvTranspose1d(4, 3, 4, 2), nn.AvgPool1d(3, 2, 1),
        nn.Mish(), nn.Flatten(), nn.Linear(24, 2), nn.Softmax(-1),
    )  # fmt: skip
    return net, (_image(2, 2, 15),)


def volumes() -> Any:
    net = nn.Sequential(
        nn.Conv3d(2, 4, 3, padding=1), nn.BatchNorm3d(4), nn.ReLU(), nn.MaxPool3d(2), nn.AdaptiveAvgPool3d(1), nn.Flatten(), nn.Linear(4, 2)
    )  # fmt: skip
    return net, (_image(2, 2, 4, 6, 6),)


def windows() -> Any:
    def call(s: Any, x: Any) -> Any:
        y = torch.roll(x, (1, -1), (2, 3)).unfold(2, 4, 4).unfold(3, 4, 4)
        return s.c(x * torch.sigmoid(y.mean((4, 5)).repeat(1, 1, 4, 4))), F.avg_pool2d(
            x, 3, 2, 1, count_include_pad=False
        )

    return _Function(call, c=nn.Conv2d(3, 2, 3, padding=1, padding_mode="circular")), (_image(2, 3, 8, 8),)


def half() -> Any:
    def call(s: Any, x: Any) -> Any:
        return s.c(x.half().float()).to(torch.float64).sum((2, 3)), (x > 0) & (x < 1), x.to(torch.int32)

    return _Function(call, c=nn.Conv2d(3, 4, 3)), (_image(2, 3, 6, 6),)


NETS: dict[str, Callable[[], Any]] = {
    f.__name__: f
    for f in (
        convolutions, residual, decoder, shuffled, encoder, attention, lstm, gru, tabular, selection, signals, volumes, windows, half
    )
}  # fmt: skip
