"""State dicts of torchvision's networks, with its names and shapes: what kigraph.graph.models.torch builds them from."""

from __future__ import annotations

from .seeded import BRANCH, State

__all__ = [
    "convnext_tiny",
    "densenet_121",
    "efficientnet_b0",
    "mobilenet_v2",
    "mobilenet_v3_large",
    "mobilenet_v3_small",
    "resnet_50",
    "vgg_16",
    "vit_b_16",
]

CLASSES = 1000


def vgg_16() -> State:
    """138 million parameters."""
    state, at, channels = State("vgg-16"), 0, 3
    for width, count in ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)):
        for _ in range(count):
            state.conv(f"features.{at}", width, channels, 3, bias=True)
            channels, at = width, at + 2
        at += 1
    for number, out, taken in ((0, 4096, 512 * 49), (3, 4096, 4096), (6, CLASSES, 4096)):
        state.linear(f"classifier.{number}", out, taken)
    return state


def resnet_50() -> State:
    """Bottlenecks, the stride in the 3x3 convolution (version 1.5)."""
    state, channels = State("resnet-50"), 64
    state.conv_norm("conv1", "bn1", 64, 3, 7)
    for layer, (width, count) in enumerate(((64, 3), (128, 4), (256, 6), (512, 3)), 1):
        for block in range(count):
            name = f"layer{layer}.{block}"
            state.conv_norm(f"{name}.conv1", f"{name}.bn1", width, channels)
            state.conv_norm(f"{name}.conv2", f"{name}.bn2", width, width, 3)
            state.conv_norm(f"{name}.conv3", f"{name}.bn3", 4 * width, width, scale=BRANCH)
            if block == 0:
                state.conv_norm(f"{name}.downsample.0", f"{name}.downsample.1", 4 * width, channels)
            channels = 4 * width
    state.linear("fc", CLASSES, channels, gain=1.0)
    return state


def densenet_121() -> State:
    state, channels, growth = State("densenet-121"), 64, 32
    state.conv_norm("features.conv0", "features.norm0", channels, 3, 7)
    for block, count in enumerate((6, 12, 24, 16), 1):
        for layer in range(1, count + 1):
            name = f"features.denseblock{block}.denselayer{layer}"
            state.norm(f"{name}.norm1", channels)
            state.conv(f"{name}.conv1", 4 * growth, channels)
            state.norm(f"{name}.norm2", 4 * growth)
            state.conv(f"{name}.conv2", growth, 4 * growth, 3)
            channels += growth
        if block < 4:
            name = f"features.transition{block}"
            state.norm(f"{name}.norm", channels)
            state.conv(f"{name}.conv", channels // 2, channels)
            channels //= 2
    state.norm("features.norm5", channels)
    state.linear("classifier", CLASSES, channels, gain=1.0)
    return state


def mobilenet_v2() -> State:
    state, channels, at = State("mobilenet-v2"), 32, 1
    state.conv_norm("features.0.0", "features.0.1", channels, 3, 3)
    for expand, width, count in (
        (1, 16, 1), (6, 24, 2), (6, 32, 3), (6, 64, 4), (6, 96, 3), (6, 160, 3), (6, 320, 1),
    ):  # fmt: skip
        for _ in range(count):
            name, inner, part = f"features.{at}.conv", channels * expand, 0
            if expand > 1:
                state.conv_norm(f"{name}.0.0", f"{name}.0.1", inner, channels)
                part = 1
            state.conv_norm(f"{name}.{part}.0", f"{name}.{part}.1", inner, 1, 3)
            state.conv_norm(f"{name}.{part + 1}", f"{name}.{part + 2}", width, inner)
            channels, at = width, at + 1
    state.conv_norm(f"features.{at}.0", f"features.{at}.1", 1280, channels)
    state.linear("classifier.1", CLASSES, 1280, gain=1.0)
    return state


#: Window, width inside, width, squeezed.
_LARGE = (
    (3, 16, 16, 0), (3, 64, 24, 0), (3, 72, 24, 0), (5, 72, 40, 1), (5, 120, 40, 1), (5, 120, 40, 1), (3, 240, 80, 0),
    (3, 200, 80, 0), (3, 184, 80, 0), (3, 184, 80, 0), (3, 480, 112, 1), (3, 672, 112, 1), (5, 672, 160, 1), (5, 960, 160, 1),
    (5, 960, 160, 1),
)  # fmt: skip
_SMALL = (
    (3, 16, 16, 1), (3, 72, 24, 0), (3, 88, 24, 0), (5, 96, 40, 1), (5, 240, 40, 1), (5, 240, 40, 1), (5, 120, 48, 1),
    (5, 144, 48, 1), (5, 288, 96, 1), (5, 576, 96, 1), (5, 576, 96, 1),
)  # fmt: skip


def mobilenet_v3_large() -> State:
    return _mobilenet_v3("mobilenet-v3-large", _LARGE, 960, 1280, 1.8)


def mobilenet_v3_small() -> State:
    return _mobilenet_v3("mobilenet-v3-small", _SMALL, 576, 1024, 2.2)


def _mobilenet_v3(name: str, rows: tuple[tuple[int, int, int, int], ...], last: int, hidden: int, gain: float) -> State:
    state, channels = State(name, gain), 16
    state.conv_norm("features.0.0", "features.0.1", channels, 3, 3)
    for at, (window, inner, width, squeezed) in enumerate(rows, 1):
        block, part = f"features.{at}.block", 0
        if inner != channels:
            state.conv_norm(f"{block}.0.0", f"{block}.0.1", inner, channels)
            part = 1
        state.conv_norm(f"{block}.{part}.0", f"{block}.{part}.1", inner, 1, window)
        if squeezed:
            part += 1
            small = max(8, (inner // 4 + 4) // 8 * 8)
            _squeeze(state, f"{block}.{part}", inner, small + 8 * (small < 0.9 * inner / 4))
        state.conv_norm(f"{block}.{part + 1}.0", f"{block}.{part + 1}.1", width, inner)
        channels = width
    at = len(rows) + 1
    state.conv_norm(f"features.{at}.0", f"features.{at}.1", last, channels)
    state.linear("classifier.0", hidden, last)
    state.linear("classifier.3", CLASSES, hidden, gain=1.0)
    return state


def _squeeze(state: State, name: str, channels: int, small: int) -> None:
    state.conv(f"{name}.fc1", small, channels, bias=True)
    state.conv(f"{name}.fc2", channels, small, bias=True)


def efficientnet_b0() -> State:
    state, channels = State("efficientnet-b0", gain=2.4), 32
    state.conv_norm("features.0.0", "features.0.1", channels, 3, 3)
    stages = (
        (1, 3, 16, 1),
        (6, 3, 24, 2),
        (6, 5, 40, 2),
        (6, 3, 80, 3),
        (6, 5, 112, 3),
        (6, 5, 192, 4),
        (6, 3, 320, 1),
    )
    for stage, (expand, window, width, count) in enumerate(stages, 1):
        for number in range(count):
            block, inner, part = f"features.{stage}.{number}.block", channels * expand, 0
            if expand > 1:
                state.conv_norm(f"{block}.0.0", f"{block}.0.1", inner, channels)
                part = 1
            state.conv_norm(f"{block}.{part}.0", f"{block}.{part}.1", inner, 1, window)
            _squeeze(state, f"{block}.{part + 1}", inner, channels // 4)
            state.conv_norm(f"{block}.{part + 2}.0", f"{block}.{part + 2}.1", width, inner)
            channels = width
    state.conv_norm("features.8.0", "features.8.1", 1280, channels)
    state.linear("classifier.1", CLASSES, 1280, gain=1.0)
    return state


def convnext_tiny() -> State:
    state, channels = State("convnext-tiny"), 96
    state.conv("features.0.0", channels, 3, 4, bias=True)
    state.layer_norm("features.0.1", channels)
    for stage, (width, count) in enumerate(((96, 3), (192, 3), (384, 9), (768, 3))):
        if stage:
            state.layer_norm(f"features.{2 * stage}.0", channels)
            state.conv(f"features.{2 * stage}.1", width, channels, 2, bias=True)
        channels = width
        for block in range(count):
            name = f"features.{2 * stage + 1}.{block}"
            state.vector(f"{name}.layer_scale", width, 1, 1, mean=BRANCH)
            state.conv(f"{name}.block.0", width, 1, 7, bias=True)
            state.layer_norm(f"{name}.block.2", width)
            state.linear(f"{name}.block.3", 4 * width, width)
            state.linear(f"{name}.block.5", width, 4 * width)
    state.layer_norm("classifier.0", channels)
    state.linear("classifier.2", CLASSES, channels, gain=1.0)
    return state


def vit_b_16() -> State:
    """Images of 224x224."""
    state, width = State("vit-b-16", gain=1.0), 768
    state.vector("class_token", 1, 1, width, deviation=1.0)
    state.conv("conv_proj", width, 3, 16, bias=True)
    state.vector("encoder.pos_embedding", 1, 197, width, deviation=0.5)
    for layer in range(12):
        name = f"encoder.layers.encoder_layer_{layer}"
        state.layer_norm(f"{name}.ln_1", width)
        state.weight(f"{name}.self_attention.in_proj_weight", 3 * width, width)
        state.vector(f"{name}.self_attention.in_proj_bias", 3 * width)
        state.linear(f"{name}.self_attention.out_proj", width, width)
        state.layer_norm(f"{name}.ln_2", width)
        state.linear(f"{name}.mlp.0", 4 * width, width)
        state.linear(f"{name}.mlp.3", width, 4 * width)
    state.layer_norm("encoder.ln", width)
    state.linear("heads.head", CLASSES, width)
    return state
