"""The network with QuantizeLinear and DequantizeLinear nodes, as ONNX Runtime, OpenVINO and kigraph read them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np

from ..graph.formats.onnx import NodeProto
from .net import Array, Net, made
from .places import COMPUTES, Places, clip_top, data_inputs
from .ranges import Scale
from .weights import average_inputs, rounded_weights

__all__ = ["quantized_net"]

#: Value -> its mean over photographs, without the batch axis; None if it is not known.
Means = Callable[[str], Array | None]


class _Writer:
    def __init__(self, net: Net, places: Places, scales: Mapping[str, Scale], means: Means | None) -> None:
        self.source, self.places, self.scales, self.means = net, places, scales, means
        self.net = net.copy()
        self.net.nodes = []
        self.inputs = {v.name for v in net.inputs}
        self.parameters: dict[Scale, tuple[str, str]] = {}
        #: Value -> the name under which the integers' real values are read.
        self.real: dict[str, str] = {}

    def write(self) -> Net:
        for value in self.source.inputs:
            if value.name in self.scales:
                self._round_trip(value.name, value.name, self.net.fresh(f"{value.name}/rounded"))
        skipped = self._absorbed()
        for node in self.source.nodes:
            name = node.output[0]
            if name in skipped:
                continue
            output = skipped_to if (skipped_to := self._ends.get(name)) is not None else name
            integer = name in self.places.integer
            inputs = [self.real.get(v, v) for v in node.input]
            if integer and node.op_type in COMPUTES:
                inputs[1:] = self._weights(node)
            outputs = [output, *node.output[1:]]
            if output in self.scales:
                outputs[0] = self.net.fresh(f"{output}/float")
            self.net.nodes.append(replace(node, input=inputs, output=outputs, name=outputs[0]))
            if output in self.scales:
                self._round_trip(output, outputs[0], output)
        return self.net

    def _absorbed(self) -> set[str]:
        """Activations that the integers' range does: what is below 0, or above the bound, has no integer of its own."""
        gone: set[str] = set()
        self._ends: dict[str, str] = {}
        for name, activation in self.places.activation.items():
            result, top = activation.output[0], clip_top(self.source, activation)
            scale = self.scales.get(result)
            if scale is None or top is None or scale.zero != 0:
                continue
            if np.rint(np.float32(top) / np.float32(scale.step)) >= 255:
                gone.add(result)
                self._ends[name] = result
        return gone

    def _round_trip(self, value: str, given: str, result: str) -> None:
        step, zero = self._parameters(self.scales[value])
        whole = self.net.fresh(f"{value}/quantized")
        self.net.nodes.append(made("QuantizeLinear", [given, step, zero], whole))
        self.net.nodes.append(made("DequantizeLinear", [whole, step, zero], result))
        self.real[value] = result

    def _parameters(self, scale: Scale) -> tuple[str, str]:
        if scale not in self.parameters:
            number = len(self.parameters)
            self.parameters[scale] = (
                self.net.constant(f"scale_{number}", np.array(scale.step, np.float32)),
                self.net.constant(f"zero_{number}", np.array(scale.zero, np.uint8)),
            )
        return self.parameters[scale]

    def _weights(self, node: NodeProto) -> list[str]:
        """Adds a node's weights and bias as integers; the names of their real values."""
        weights = self.source.constants[node.input[1]]
        bias = self.source.constants[node.input[2]] if len(node.input) > 2 else None
        step = self.scales[data_inputs(node)[0]].step
        if node.op_type != "MatMul":
            bias = self._corrected(node, weights, bias, step)
        found = rounded_weights(node, weights, bias, step)
        base = node.input[1]
        steps = self.net.constant(f"{base}/scale", found.steps)
        zeros = self.net.constant(f"{base}/zero", np.zeros(found.steps.shape, np.int8))
        whole = self.net.constant(f"{base}/quantized", np.ascontiguousarray(found.values))
        names = [self.net.fresh(f"{base}/real")]
        self.net.nodes.append(made("DequantizeLinear", [whole, steps, zeros], names[0], axis=found.axis))
        if bias is not None:
            base = node.input[2] if len(node.input) > 2 else f"{node.output[0]}/bias"
            unit = found.steps * np.float32(step)
            counted = np.rint(bias.astype(np.float64) / unit.astype(np.float64))
            number = np.clip(counted, -(2**31), 2**31 - 1).astype(np.int32)
            inputs = [
                self.net.constant(f"{base}/quantized", number),
                self.net.constant(f"{base}/scale", unit),
                self.net.constant(f"{base}/zero", np.zeros(unit.shape, np.int32)),
            ]
            names.append(self.net.fresh(f"{base}/real"))
            self.net.nodes.append(made("DequantizeLinear", inputs, names[1], axis=0))
        return names

    def _corrected(self, node: NodeProto, weights: Array, bias: Array | None, step: float) -> Array | None:
        """The bias less what the rounded weights add to the result on average."""
        mean = None if self.means is None else self.means(data_inputs(node)[0])
        seen = None if mean is None else average_inputs(self.source, node, mean)
        if seen is None:
            return bias
        found = rounded_weights(node, weights, bias, step)
        others = tuple(i for i in range(weights.ndim) if i != found.axis)
        extra = ((found.real().astype(np.float64) - weights) * seen).sum(axis=others)
        result: Array = ((0.0 if bias is None else bias.astype(np.float64)) - extra).astype(np.float32)
        return result


def quantized_net(net: Net, places: Places, scales: Mapping[str, Scale], means: Means | None = None) -> Net:
    """scales: of every value of ``places.scaled``. means: with them biases are corrected."""
    return _Writer(net, places, scales, means).write()
