"""What a bug report needs: Python, packages, processor, backends with reasons, caches and settings."""

from __future__ import annotations

import os
import platform
import sys
from typing import Any, TypeAlias

from .errors import KigraphError
from .kernels.backends import get_backend, resolve_choice
from .kernels.settings import SETTINGS, cache_folder, unknown_names
from .machine import backend_status, cpu_flags, describe

__all__ = ["Used", "show_versions", "used_settings", "versions"]

#: Packages that kigraph uses where they are installed, by their names in the package index.
_PACKAGES = (
    "numpy", "pillow", "simplejpeg", "rich", "numba", "llvmlite", "cupy-cuda13x", "cupy-cuda12x", "cuda-core", "h11", "starlette",
    "uvicorn", "prometheus-client", "python-multipart", "matplotlib", "pyarrow", "ray", "tensorboardX", "onnx", "onnxruntime",
    "torch", "tensorflow", "keras", "jax", "scikit-learn", "ipython", "Cython", "setuptools", "pip",
)  # fmt: skip

#: Name, value, where it comes from ('environment' or 'default'), meaning.
Used: TypeAlias = tuple[str, object, str, str]


def used_settings() -> list[Used]:
    """Every setting as it is now; the value of an invalid one begins with 'invalid: '."""
    found: list[Used] = []
    for setting in SETTINGS:
        try:
            value: object = setting.get()
        except KigraphError as error:
            value = f"invalid: {error}"
        source = "environment" if os.environ.get(setting.name, "").strip() else "default"
        found.append((setting.name, value, source, setting.help))
    return found


def versions() -> dict[str, Any]:
    """What ``show_versions`` prints, as plain data for ``json.dumps``.

    Keys: kigraph, python, system, cpu, packages (name -> version of what is installed), backends (a list with the reason and the
    remedy of each that cannot be used), choice (what sessions use, or None), problem (why not), cache, settings (those that are not
    the default), unknown_settings (variables that look like settings and are none -> the nearest one, or '').
    """
    from . import __file__ as home
    from . import __version__

    machine = describe()
    try:
        choice, problem = str(resolve_choice()), ""
    except KigraphError as error:
        choice, problem = "", str(error)
    return {
        "kigraph": {"version": __version__, "folder": os.path.dirname(home)},
        "python": {
            "version": platform.python_version(), "implementation": platform.python_implementation(), "executable": sys.executable,
        },
        "system": {"platform": platform.platform(), "libc": "-".join(platform.libc_ver()).strip("-"), "machine": platform.machine()},
        "cpu": {"name": machine.cpu, "cpus": machine.cpus, "isa": machine.isa, "flags": list(cpu_flags())},
        "packages": _packages(),
        "backends": [
            b.to_json() | {"target": _target(b.name, b.available), "precisions": _precisions(b.name, b.available)}
            for b in backend_status()
        ],
        "choice": choice or None,
        "problem": problem or None,
        "cache": _cache(),
        "settings": {name: value for name, value, source, _ in used_settings() if source == "environment"},
        "unknown_settings": unknown_names(),
    }  # fmt: skip


def show_versions() -> None:
    """Prints what a bug report needs; ``versions`` gives the same as a dict. No value of another program's variable is shown."""
    found = versions()
    print(f"kigraph: {found['kigraph']['version']} in {found['kigraph']['folder']}")
    for title, key in (("Python", "python"), ("System", "system")):
        print(f"\n{title}")
        _print_pairs(found[key])
    cpu = found["cpu"]
    _print_pairs({"cpu": cpu["name"], "cpus": cpu["cpus"], "isa": cpu["isa"], "flags": " ".join(cpu["flags"])})
    print("\nPackages")
    _print_pairs(found["packages"])
    print("\nBackends")
    for backend in found["backends"]:
        state = "usable" if backend["available"] else "not usable"
        target = f", {backend['target']}" if backend["target"] else ""
        print(f"  {backend['name']}: {state}{target}: {backend['detail']}")
        if backend["precisions"]:
            print(f"    precisions: {', '.join(backend['precisions'])}")
        if backend["remedy"]:
            print(f"    remedy: {backend['remedy']}")
    print(f"  sessions use: {found['choice'] or found['problem']}")
    print("\nCache")
    _print_pairs(found["cache"])
    print("\nSettings")
    _print_pairs(found["settings"] or {"all": "default"})
    for name, near in found["unknown_settings"].items():
        print(f"  {name}: no setting of kigraph{f'; did you mean {near}?' if near else ''}")


def _print_pairs(pairs: dict[str, Any]) -> None:
    width = max(map(len, pairs), default=0)
    for name, value in pairs.items():
        text = "".join(c if c.isprintable() else "?" for c in str(value))
        print(f"  {name:<{width}}  {text}".rstrip())


def _packages() -> dict[str, str]:
    from importlib import metadata

    found = {}
    for name in _PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
        except Exception as error:  # damaged metadata of another package is no reason to say nothing at all
            found[name] = f"unknown: {type(error).__name__}"
    return found


def _target(name: str, available: bool) -> str:
    try:
        return get_backend(name).target() if available else ""
    except KigraphError as error:
        return str(error)


def _precisions(name: str, available: bool) -> list[str]:
    try:
        return list(get_backend(name).precisions()) if available else []
    except KigraphError:
        return []  # ``target`` has the reason


def _cache() -> dict[str, Any]:
    """The cache folder and what is in it: files and bytes of each folder. A folder that cannot be read counts as it is."""
    try:
        folder = cache_folder()
    except KigraphError as error:
        return {"folder": f"none: {error}"}
    found: dict[str, Any] = {"folder": str(folder)}
    try:
        entries = sorted(e.name for e in os.scandir(folder) if e.is_dir(follow_symlinks=False))
    except FileNotFoundError:
        return found | {"state": "not there yet"}
    except OSError as error:
        return found | {"state": f"cannot be read: {error.strerror}"}
    for name in entries:
        count = size = 0
        for path, _, files in os.walk(folder / name):
            for file in files:
                try:
                    size += os.lstat(os.path.join(path, file)).st_size
                except OSError:
                    continue
                count += 1
        found[name] = f"{count} files, {size} bytes"
    return found
