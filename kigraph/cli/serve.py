"""``kigraph serve``: the HTTP service."""

from __future__ import annotations

import argparse
import io
import ipaddress
import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ..errors import ImageError, KigraphError, SettingsError
from ..kernels.atomic_files import open_regular
from ..kernels.settings import SERVE, Setting
from .options import Commands, add_command, add_model_options, open_model
from .output import note

if TYPE_CHECKING:
    from ..classifier import Classifier
    from ..serve.model_list import ModelSpec

__all__ = ["register", "run"]

_EXAMPLES = """
kigraph serve
kigraph serve --weights my_graph.pb --labels labels.txt --port 9000
kigraph serve --models models.toml
kigraph serve --models models/ --admin-token-file token.txt
KIGRAPH_SERVE_PORT=9000 KIGRAPH_SERVE_LOG=json kigraph serve --weights my_graph.pb
curl --data-binary @dog.jpg -H 'Content-Type: image/jpeg' http://127.0.0.1:8080/v1/classify
"""
_SETTINGS: dict[str, Setting[Any]] = {s.name.partition("_SERVE_")[2].lower(): s for s in SERVE}
#: Which of the settings are flags of every command that opens a model.
_OF_MODELS = ("labels", "card", "no_download")
_GROUPS = {
    "address": {"host": "ADDRESS", "port": "PORT", "max_connections": "N", "allowed_hosts": "NAMES", "allowed_origins": "ORIGINS"},
    "limits": {"queue": "N", "timeout": "S", "max_image_mb": "MB", "max_megapixels": "MP", "max_images": "N", "max_request_mb": "MB"},
    "speed": {"workers": "N", "decoders": "N", "batch": "N", "batch_wait": "MS"},
    "several models": {"models": "PATH", "admin_token_file": "FILE"},
    "log": {"log": "KIND"},
}  # fmt: skip


def register(commands: Commands) -> None:
    parser = add_command(commands, "serve", "answer image requests over HTTP", _EXAMPLES)
    for title, names in _GROUPS.items():
        group = parser.add_argument_group(title)
        for name, metavar in names.items():
            setting = _SETTINGS[name]
            known = f" ({', '.join(setting.allowed)})" if setting.allowed else ""
            default = "" if setting.default is None else f"; default: {setting.default}"
            group.add_argument(
                f"--{name.replace('_', '-')}", metavar=metavar, help=f"{setting.help}{known} [{setting.name}{default}]"
            )  # fmt: skip
    add_model_options(parser)
    of_models = ", ".join(_SETTINGS[name].name for name in _OF_MODELS)
    parser.epilog = (
        f"Every flag can be set in the environment: its variable is named beside it; those of the model are {of_models}, "
        f"KIGRAPH_WEIGHTS, KIGRAPH_BACKEND and KIGRAPH_NUM_THREADS. A flag wins.\n\n{parser.epilog}"
    )
    parser.set_defaults(run=run)


def _value(setting: Setting[Any], name: str, given: Any) -> Any:
    """What a flag says, else the environment, else the default."""
    if given is None or given is False:
        return setting.get()
    if given is True or name in _OF_MODELS:
        return given
    try:
        return setting.parse(given)
    except ValueError as error:
        raise SettingsError(f"--{name.replace('_', '-')} {given!r} is not valid: {error} ({setting.help})") from None


def run(args: argparse.Namespace) -> int:
    try:
        from ..serve.app import Options, create_app
        from ..serve.protocol import ConnectionLimits
        from ..serve.requestlog import access_log
        from ..serve.server import bind, connection_limit, run_server
    except ImportError as error:
        raise KigraphError(f"the service needs {error.name}; remedy: pip install 'kigraph[serve]'") from None
    for name, setting in _SETTINGS.items():
        setattr(args, name, _value(setting, name, getattr(args, name)))
    options = Options(
        max_image_bytes=args.max_image_mb << 20, max_pixels=args.max_megapixels * 1_000_000, queue_size=args.queue,
        queue_bytes=max(64, args.max_image_mb, args.max_request_mb) << 20, workers=args.workers, timeout=float(args.timeout),
        images=args.max_images, request_bytes=args.max_request_mb << 20, decoders=_or_auto(args.decoders),
        batch=_or_auto(args.batch), batch_wait=args.batch_wait / 1000, admin_token=_token(args.admin_token_file),
        allowed_hosts=_hosts(args.host, args.allowed_hosts), allowed_origins=args.allowed_origins or (), log=args.log,
    )  # fmt: skip
    limits = ConnectionLimits(connections=connection_limit(args.max_connections), exchange=2 * options.timeout + 15)
    # Before the model is loaded, which may take seconds.
    sockets = bind(args.host, args.port)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    args.json = False
    image = canary()
    specs, models = _several(args, image) if args.models is not None else ([], _one(args, image))
    for one in sockets:
        host, port = one.getsockname()[:2]
        what = f"{len(models)} models" if isinstance(models, list) else repr(models)
        note(f"{what}; http://{f'[{host}]' if ':' in host else host}:{port}/")
    app = create_app(models, image, options, specs)
    del models  # or a model that is unloaded would stay in memory
    with access_log(args.log):
        return run_server(app, sockets, limits)


def _one(args: argparse.Namespace, image: bytes) -> Classifier:
    """The model of --weights, which can classify an image."""
    model, resolved = open_model(args)
    _check(model, str(resolved.path), image)
    _say(f"{resolved.path}", model)
    return model


def _several(args: argparse.Namespace, image: bytes) -> tuple[list[ModelSpec], list[tuple[ModelSpec, Classifier]]]:
    """The models of --models: what may be loaded, and what is loaded now."""
    from ..serve.model_list import open_spec, read_models

    for name in ("weights", "labels", "card"):
        if getattr(args, name) is not None:
            raise SettingsError(
                f"--{name} is for one model, and --models names several; their TOML file says it for each"
            )
    specs = read_models(args.models)
    models = []
    for spec in specs:
        if spec.load:
            spec = replace(
                spec, backend=spec.backend or args.backend, threads=spec.threads or args.threads,
                precision=spec.precision or args.precision,
            )  # fmt: skip
            model = open_spec(spec)
            _check(model, str(spec.file), image)
            _say(f"{spec.name} version {spec.version}: {spec.file}", model)
            models.append((spec, model))
    return specs, models


def _say(which: str, model: Classifier) -> None:
    """Which model answers, and what is assumed of it."""
    note(f"{which}: {model!r}")
    if model.card is not None and model.card.note:
        note(f"  {model.card.note}")


def _check(model: Classifier, path: str, image: bytes) -> None:
    try:
        model.classify(image, top=1)
    except ImageError as error:
        raise KigraphError(f"{path}: the model cannot classify an image: {error}") from None


def _or_auto(text: str) -> int | None:
    return None if text == "auto" else int(text)


def _token(path: str | None) -> str | None:
    """The token in a file, which nobody but its owner should be able to read."""
    if path is None:
        return None
    try:
        with open_regular(path) as file:
            text = file.read(4097).decode("ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(
            f"--admin-token-file {path[:200]!r}: cannot be read: {getattr(error, 'strerror', None) or 'not ASCII'}"
        ) from None
    if not 16 <= len(text) <= 4096 or not text.isprintable() or " " in text:
        raise SettingsError(
            f"--admin-token-file {path[:200]!r}: expected one word of at least 16 characters; remedy: openssl rand -hex 32 > FILE"
        )
    return text


def _hosts(bound: str, allowed: tuple[str, ...] | None) -> tuple[str, ...] | None:
    """The host names that are answered: those that were given; else on a loopback address only its own, elsewhere any.

    On a loopback address nobody expects other names than localhost, and a page of another site that makes its own name
    resolve to 127.0.0.1 (DNS rebinding) must not reach the service through the user's browser.
    """
    if allowed is not None:
        return None if "*" in allowed else allowed
    try:
        loopback = ipaddress.ip_address(bound).is_loopback
    except ValueError:
        loopback = bound.lower() == "localhost" or bound.lower().endswith(".localhost")
    return () if loopback else None


def canary() -> bytes:
    """A small JPEG that every service classifies before it says that it is ready."""
    from PIL import Image

    file = io.BytesIO()
    Image.linear_gradient("L").convert("RGB").save(file, "JPEG")
    return file.getvalue()
