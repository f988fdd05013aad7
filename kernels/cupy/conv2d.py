"""2-D convolution: NHWC implicit GEMM in three precisions (cuda/conv2d.cu, cuda/conv2d_mma.cu)."""

from __future__ import annotations

from functools import partial

from ..contracts.conv2d import CONV2D, Conv2DParams, explicit_padding
from ..kernel import Constants, Kernel, Prepared, Query
from .implicit_gemm import BUILDS, PRECISIONS, GemmPrepared, Precision, conv_shape
from .launch import ACTIVATIONS, MAX_ELEMENTS, Launcher, float32_only, reaches_too_far

__all__ = ["BUILDS", "kernels"]


def _prepare(launcher: Launcher, precision: Precision, query: Query[Conv2DParams], constants: Constants) -> Prepared:
    params = query.params
    n, h, w, cin = query.inputs[0].dims
    kh, kw, _, cout = query.inputs[1].dims
    _, oh, ow, _ = query.outputs[0].dims
    top, _, left, _ = explicit_padding(params.padding, (h, w), (kh, kw), params.strides, params.dilations)
    shape = conv_shape(
        n=n, h=h, w=w, cin=cin, kh=kh, kw=kw, oh=oh, ow=ow, cout=cout,
        stride_h=params.strides[0], stride_w=params.strides[1],
        dilation_h=params.dilations[0], dilation_w=params.dilations[1],
        pad_top=top, pad_left=left, activation=ACTIVATIONS[params.activation],
    )  # fmt: skip
    return GemmPrepared(launcher, precision, shape, constants, 1 in query.constants)


def _supports(query: Query[Conv2DParams]) -> str | None:
    (_, h, w, cin), (kh, kw, *_) = (t.dims for t in query.inputs[:2])
    params = query.params
    far = reaches_too_far((h, w), (kh, kw), params.strides, params.dilations, params.padding)
    if far is None and (h + kh * params.dilations[0]) * w * cin > MAX_ELEMENTS:
        far = f"taps of a filter of {kh} rows with dilation {params.dilations[0]} lie 2^31 or more elements apart"
    return float32_only(query) or far


def kernels(launcher: Launcher) -> tuple[Kernel, ...]:
    return tuple(
        Kernel(
            CONV2D,
            "cupy",
            f"f32_conv2d_igemm_{p.name}",
            prepare=partial(_prepare, launcher, p),
            supports=_supports,
            precision=p.name,
            strided_outputs=True,
            strided_inputs=True,
        )
        for p in PRECISIONS.values()
    )
