"""Quantising to 32 bits, next to what TensorFlow 2.21 gives (without oneDNN)."""

from __future__ import annotations

import numpy as np
import pytest

import kigraph as ki

VALUES = np.array([-2, -0.3, -0.06, 0.1, 0.75, 1.5, 3, -np.inf, np.inf], np.float32)
#: TensorFlow's numbers; beyond the range its SCALED and MIN_COMBINED overflow to the least number, and kigraph's end at the greatest.
MOST = 2147483520
FOUND = {
    "MIN_FIRST": [-2147483648, -663767680, -288934112, -39045088, 976129024, MOST, MOST, -2147483648, MOST],
    "SCALED": [-2147483648, -429496768, -85899344, 143165584, 1073741824, MOST, MOST, -2147483648, MOST],
    "MIN_COMBINED": [-2147483648, -663767680, -288934016, -39045120, 976129024, MOST, MOST, -2147483648, MOST],
}


@pytest.mark.parametrize("mode", FOUND)
def test_numbers_of_32_bits(mode: str) -> None:
    with ki.Graph().as_default() as graph:
        low, high = ki.constant(np.float32(-1.25)), ki.constant(np.float32(1.5))
        made = graph.create_op("QuantizeV2", [ki.constant(VALUES), low, high], {"T": np.dtype("int32"), "mode": mode})
        with ki.Session() as session:
            found = session.run(made.outputs[0])
    assert np.asarray(found).tolist() == FOUND[mode]
