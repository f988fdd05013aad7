"""The Dockerfile's steps, run in a clean folder without an engine.

Every stage gets a virtual environment for its Python and a folder for its file system: COPY copies into it, RUN runs there
with absolute paths moved inside. Two steps need a container and are only checked for their form: installing Debian packages
and making the user.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCKERFILE = ROOT / "Dockerfile"

pytestmark = pytest.mark.skipif(not DOCKERFILE.exists(), reason="needs the source tree")

#: What needs a container's root user or its package manager.
_CONTAINER_ONLY = re.compile(
    r"^(apt-get update && apt-get install [a-z0-9 -]+ && rm -rf /var/lib/apt/lists/\*|useradd [-a-z0-9 /]+)$"
)


@dataclass
class Stage:
    """One FROM: its folder, its environment, and where its commands run."""

    root: Path
    workdir: str = "/"
    env: dict[str, str] = field(default_factory=dict)

    def inside(self, path: str) -> Path:
        joined = path if path.startswith("/") else f"{self.workdir.rstrip('/')}/{path}"
        return self.root / joined.lstrip("/")


def _instructions() -> list[tuple[str, str]]:
    text = DOCKERFILE.read_text().replace("\\\n", " ")
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return [(word.upper(), rest.strip()) for word, _, rest in (line.partition(" ") for line in lines)]


def _new_stage(root: Path) -> Stage:
    subprocess.run([sys.executable, "-m", "venv", root / "python"], check=True)
    return Stage(root)


def _copy(stage: Stage, stages: dict[str, Stage], arguments: list[str]) -> None:
    source_root = ROOT
    if arguments[0].startswith("--from="):
        source_root = stages[arguments.pop(0).removeprefix("--from=")].root
    source, target = source_root / arguments[0].lstrip("/"), stage.inside(arguments[1])
    ignored = (ROOT / ".dockerignore").read_text().split()
    if source_root == ROOT:
        tracked = subprocess.run(
            ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False
        ).stdout.split("\n")
        if not any(tracked):
            pytest.skip("needs a git checkout, to know which files belong to the project")
        assert ".git" in ignored
        for name in filter(None, tracked):
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            if (ROOT / name).exists():
                shutil.copy2(ROOT / name, target / name, follow_symlinks=False)
    else:
        shutil.copytree(source, target, symlinks=True)


def _run(stage: Stage, command: str) -> None:
    if _CONTAINER_ONLY.match(command):
        return
    for part in command.split("&&"):
        # Absolute paths of the image become paths below the stage's folder.
        moved = re.sub(r"(?<![\w.])/(wheels|src|models)\b", lambda m: str(stage.root / m[1]), part.strip())
        moved = re.sub(r"\$(\w+)", lambda m: stage.env[m[1]], moved)
        path = f"{stage.root / 'python' / 'bin'}{os.pathsep}{os.environ['PATH']}"
        done = subprocess.run(
            shlex.split(moved), cwd=stage.inside(stage.workdir), env={**os.environ, **stage.env, "PATH": path},
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"RUN {part}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"


def test_the_image_is_built_as_a_service_should_be() -> None:
    steps = _instructions()
    words = [word for word, _ in steps]
    assert words.count("FROM") == 2, "one stage builds, another runs"
    last = steps[len(words) - 1 - words[::-1].index("FROM") :]
    final = dict(last)
    assert final["USER"].isdecimal()  # a number, so that an orchestrator can see that it is not root
    assert int(final["USER"]) > 0
    assert final["EXPOSE"] == "8080"
    assert "/readyz" in final["HEALTHCHECK"]
    assert final["ENTRYPOINT"].startswith('["')  # no shell in between: SIGTERM reaches the service
    assert "gcc" not in " ".join(rest for _, rest in last)  # no compiler in the image that runs


def test_its_steps_run_in_a_clean_folder(tmp_path: Path, model_path: Path, image: Callable[..., bytes]) -> None:
    stages: dict[str, Stage] = {}
    stage: Stage | None = None
    entrypoint: list[str] = []
    check: list[str] = []
    for word, rest in _instructions():
        if word == "FROM":
            base, _, name = rest.partition(" AS ")
            assert base.startswith("python:3.")
            stage = _new_stage(tmp_path / f"stage{len(stages)}")
            stages[name or "final"] = stage
            continue
        assert stage is not None
        if word == "WORKDIR":
            stage.workdir = rest
            stage.inside(".").mkdir(parents=True, exist_ok=True)
        elif word == "COPY":
            _copy(stage, stages, rest.split())
        elif word == "RUN":
            _run(stage, rest)
        elif word in ("ENV", "ARG"):
            stage.env |= dict(item.split("=", 1) for item in shlex.split(rest))
        elif word == "ENTRYPOINT":
            entrypoint = json.loads(rest)
        elif word == "HEALTHCHECK":
            check = json.loads(rest[rest.index("[") :])
        else:
            assert word in ("USER", "EXPOSE", "STOPSIGNAL"), word
    assert stage is not None
    _serve(stage, entrypoint, check, tmp_path, model_path, image())


def _serve(
    stage: Stage, entrypoint: list[str], check: list[str], tmp_path: Path, model_path: Path, image: bytes
) -> None:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = str(s.getsockname()[1])
    binaries = stage.root / "python" / "bin"
    command = [str(binaries / entrypoint[0]), *entrypoint[1:]]
    assert stage.env["KIGRAPH_SERVE_HOST"] == "0.0.0.0"
    assert stage.env["KIGRAPH_SERVE_PORT"] == "8080"
    # A test may listen on the loopback address only.
    stage.env |= {"KIGRAPH_SERVE_HOST": "127.0.0.1", "KIGRAPH_SERVE_PORT": port}
    env = {**os.environ, **stage.env, "KIGRAPH_WEIGHTS": str(model_path), "KIGRAPH_CACHE_DIR": str(tmp_path / "cache")}
    process = subprocess.Popen(
        command, env=env, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    probe = [str(binaries / check[0]), *check[1:]]
    try:
        for _ in range(200):
            if subprocess.run(probe, env=env, capture_output=True, check=False).returncode == 0:
                break
            assert process.poll() is None, process.stdout and process.stdout.read()
            time.sleep(0.2)
        else:
            pytest.fail("the health check never passed")
        request = urllib.request.Request(f"http://127.0.0.1:{port}/v1/classify", image, {"Content-Type": "image/jpeg"})
        with urllib.request.urlopen(request, timeout=30) as response:
            assert len(json.load(response)["labels"]) == 2
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
        with pytest.raises(urllib.error.URLError):
            urllib.request.urlopen(request, timeout=5)
    finally:
        process.kill()
