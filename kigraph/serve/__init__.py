"""The HTTP service: POST an image, get labels. Starlette and uvicorn (extra ``serve``).

app.py       the application: routes, and the answers to errors; errors.py: all that a client learns of an error
service.py   what is done for each route of its own; exchange.py: from the head of a request to its answer
protocols    the routes of TensorFlow Serving and of the Open Inference Protocol
front.py     middleware around the routes: hosts and origins, refusals, headers of every answer, the request log
bodies.py    raw, multipart and JSON bodies, bounded while they are read, taken apart in a worker
documents.py JSON of which long strings and arrays are cut out unparsed
models.py    the models, each with its queue and threads; model_list.py: the folder or TOML file that names them
engine.py    a bounded queue for worker threads: inference never runs on the event loop
work.py      what a worker does with a request; network.py: the threads of the network, which batches what is ready
batching.py  how many images go through a network together, by measurement
requestlog.py  the request log, written by a thread of its own
uploads.py   how many bodies are received at once
memory.py    how many pixels are decoded at once, and that memory of large images goes back to the system
metrics.py   Prometheus
openapi.py   the description at /openapi.json; openapi_schemas.py: its schemas
options.py   limits
page.html    the page at /
protocol.py  uvicorn's protocol with deadlines, a cap on connections, and ambiguous requests refused
server.py    sockets, uvicorn, a clean drain
"""

from __future__ import annotations

__all__: list[str] = []
