"""2-D convolution: NHWC implicit GEMM in three precisions (cuda/conv2d.cu, cuda/conv2d_mma.cu)."""

from __future__ import annotations

from ..contracts.conv2d import CONV2D, Conv2DParams
from ..contracts.geometry import WindowGeometry
from ..kernel import Constants, Kernel, Prepared, Query
from .implicit_gemm import BUILDS, PRECISIONS, GemmPrepared, Precision, conv_shape
from .launch import ACTIVATIONS, MAX_ELEMENTS, Launcher, float32_only, launched
from .windows import reaches_too_far, window_fields

__all__ = ["BUILDS", "KERNELS"]


def _prepare(launcher: Launcher, precision: Precision, query: Query[Conv2DParams], constants: Constants) -> Prepared:
    params = query.params
    g = WindowGeometry.of(query.inputs, query.outputs, params)
    shape = conv_shape(
        n=g.images,
        cin=g.channels,
        cout=query.outputs[0].dims[3],
        activation=ACTIVATIONS[params.activation],
        **window_fields(g),
    )
    return GemmPrepared(launcher, precision, shape, constants, 1 in query.constants)


def _supports(query: Query[Conv2DParams]) -> str | None:
    g = WindowGeometry.of(query.inputs, query.outputs, query.params)
    far = reaches_too_far(g)
    if far is None and (g.size[0] + g.window[0] * g.dilations[0]) * g.size[1] * g.channels > MAX_ELEMENTS:
        far = f"taps of a filter of {g.window[0]} rows with dilation {g.dilations[0]} are 2^31 or more elements apart"
    return float32_only(query) or far


KERNELS: tuple[Kernel, ...] = tuple(
    Kernel(
        CONV2D,
        "cupy",
        f"f32_conv2d_igemm_{p.name}",
        prepare=launched(_prepare, p),
        supports=_supports,
        precision=p.name,
        strided_outputs=True,
        strided_inputs=True,
    )
    for p in PRECISIONS.values()
)
