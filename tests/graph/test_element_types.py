"""Element types of tensors are NumPy's own objects, which its fast paths compare by identity."""

from __future__ import annotations

import numpy as np
import pytest

import kigraph as ki


@pytest.mark.parametrize("given", [ki.float32, np.float32, "float32", ">f4", np.dtype("<f4"), np.int64, bool, "string"])
def test_a_placeholder_has_the_own_type_of_numpy(given: object) -> None:
    with ki.Graph().as_default():
        found = ki.placeholder(given, [2]).dtype
    assert found is np.dtype(found.type)
    assert found.isnative
