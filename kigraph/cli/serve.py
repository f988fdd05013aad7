"""``kigraph serve``: the HTTP service."""

from __future__ import annotations

import argparse
import io
import logging
import socket

from ..errors import KigraphError
from .options import Commands, add_command, add_model_options, filled, open_model, positive, whole
from .output import note

__all__ = ["register", "run"]

_EXAMPLES = """
kigraph serve
kigraph serve --weights my_graph.pb --labels labels.txt --port 9000
curl --data-binary @dog.jpg -H 'Content-Type: image/jpeg' http://127.0.0.1:8080/v1/classify
"""


def register(commands: Commands) -> None:
    parser = add_command(commands, "serve", "answer image requests over HTTP", _EXAMPLES)
    parser.add_argument(
        "--host",
        type=filled,
        default="127.0.0.1",
        help="address to listen on (default: 127.0.0.1; a container: 0.0.0.0)",
    )
    parser.add_argument("--port", type=whole(1, 65535), default=8080, help="port, 1 to 65535 (default: 8080)")
    limits = parser.add_argument_group("limits")
    limits.add_argument("--workers", type=positive, default=1, metavar="N", help="images at once (default: 1)")
    limits.add_argument("--queue", type=positive, default=64, metavar="N", help="images that may wait (default: 64)")
    limits.add_argument(
        "--max-image-mb", type=positive, default=10, metavar="MB", help="size of an image file (default: 10)"
    )
    limits.add_argument("--timeout", type=positive, default=15, metavar="S", help="seconds for an answer (default: 15)")
    add_model_options(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    try:
        from ..serve.app import Options, create_app
        from ..serve.server import run_server
    except ImportError as error:
        raise KigraphError(f"the service needs {error.name}; remedy: pip install 'kigraph[serve]'") from None
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    args.json = False
    model, resolved = open_model(args)
    check_address(args.host, args.port)
    model.classify(canary(), 1)  # what classify refuses (no card, say) is refused now, not at every request
    options = Options(
        max_image_bytes=args.max_image_mb << 20, queue_size=args.queue, queue_bytes=max(64, args.max_image_mb) << 20,
        workers=args.workers, timeout=float(args.timeout),
    )  # fmt: skip
    note(f"{model!r} from {resolved.path}; http://{args.host}:{args.port}/")
    return run_server(create_app(model, canary(), options), args.host, args.port)


def check_address(host: str, port: int) -> None:
    """KigraphError if nothing can listen there: the port is taken or not allowed, or the host is no address of this machine."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with socket.socket(family, kind, protocol) as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            listener.listen(
                1
            )  # a port that another process listens on with SO_REUSEADDR can be bound, but not listened on
    except (OSError, UnicodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "no possible name of a host"
        raise KigraphError(
            f"cannot listen on {host[:80]!r}, port {port}: {reason}; choose with --host and --port"
        ) from None


def canary() -> bytes:
    """A small JPEG that every service classifies before it says that it is ready."""
    from PIL import Image

    file = io.BytesIO()
    Image.linear_gradient("L").convert("RGB").save(file, "JPEG")
    return file.getvalue()
