"""The HTTP service: POST an image, get labels. Starlette and uvicorn (extra ``serve``).

app.py       the application: routes, and the answers to errors; errors.py: all that a client learns of an error
service.py   one model with one queue: what is done for each route
front.py     middleware around the routes: hosts and origins, refusals, headers of every answer, the request log
bodies.py    raw, multipart and JSON bodies, bounded while they are read, taken apart in a worker
requestlog.py  the request log, written by a thread of its own
uploads.py   how many bodies are received at once
engine.py    a bounded queue for worker threads: inference never runs on the event loop
memory.py    memory of large images goes back to the system
metrics.py   Prometheus
openapi.py   the description at /openapi.json
options.py   limits
page.html    the page at /
protocol.py  uvicorn's protocol with deadlines, a cap on connections, and ambiguous requests refused
server.py    sockets, uvicorn, a clean drain
"""

from __future__ import annotations

__all__: list[str] = []
