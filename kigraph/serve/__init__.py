"""The HTTP service: POST an image, get labels. Starlette and uvicorn (extra ``serve``).

app.py      routes and answers; errors.py: what the client is told, never more
bodies.py   raw, multipart and JSON bodies, bounded while they are read
engine.py   a bounded queue in front of worker threads: inference never runs on the event loop
metrics.py  Prometheus
openapi.py  the description at /openapi.json
page.html   the page at /
server.py   uvicorn with a clean drain
"""

from __future__ import annotations

__all__: list[str] = []
