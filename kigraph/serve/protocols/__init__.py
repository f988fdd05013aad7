"""The protocols of other servers, by which their clients can call this one.

tfs.py      TensorFlow Serving's REST API: /v1/models/NAME...
oip.py      the Open Inference Protocol (v2) over HTTP with binary tensors: /v2...
oip_body.py its requests and answers as bytes
values.py   JSON values to arrays and back
calls.py    what both have in common: signatures, photographs for an input of pixels, calls in parts
"""

from __future__ import annotations

__all__: list[str] = []
