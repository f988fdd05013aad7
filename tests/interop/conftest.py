"""How TensorFlow is set up before any of these tests imports it."""

from __future__ import annotations

import os

#: oneDNN's QuantizeV2 rounds otherwise than TensorFlow's own and gives other ranges. Read when TensorFlow is imported.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
