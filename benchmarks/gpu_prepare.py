"""Writes .gpu/, all that a bare machine with a GPU needs beside the checkout: ``make gpu-pack``.

    python -m benchmarks.gpu_prepare --python /path/to/python3.12    # an interpreter with the device's CuPy and NVRTC

Models and photographs (shared/), cubins (cache/), the simplejpeg wheel (whl/), the float64 reference, the commit and a
list of all files with their hashes. What is already right is kept. Ends with 1 if checkout and .gpu/ are over the size
limits.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
import zipfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from kigraph.kernels.cupy import compiler

from .gpu import reference
from .gpu.builds import compile_builds, float_builds
from .gpu.environment import sources
from .gpu.golden import PHOTOS, PREPARED, ROOT, photographs

__all__ = ["Pack", "main"]

#: Size limits of what is copied to such a machine: the checkout with .gpu/, and .gpu/ alone.
MOST_BYTES, MOST_PREPARED = 64 << 20, 60_000_000
#: NVRTC of the machines with a GPU (their PyTorch pins 13.0.88). A cubin is found by the NVRTC that made it only.
DEVICE_NVRTC = "13.0"
MODELS = {
    "mobilenet_v1_0.25_224": ("frozen_graph.pb", "golden_tensorflow.npz", "golden_top5_tensorflow.json", "labels.txt"),
    "inception_v3_flowers": (
        "frozen.pb.xz",
        "checksum.json",
        "golden_tensorflow.npz",
        "golden_activations.npz",
        "labels.txt",
    ),
}
PLATFORMS = ("manylinux_2_28_x86_64", "manylinux_2_27_x86_64", "manylinux2014_x86_64", "manylinux_2_17_x86_64")
#: Folders of the pack that hold nothing but what a step has written.
OWNED = ("shared", "cache", "whl")


def digest(path: Path) -> str:
    """SHA-256 of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def size_text(size: int) -> str:
    return f"{size / 1e6:.1f} MB"


def report(step: str, text: str, warning: bool = False) -> None:
    """The line of a step."""
    from rich.console import Console  # late: another interpreter compiles with this file, and may lack it
    from rich.text import Text

    Console(soft_wrap=True, highlight=False).print(
        Text.assemble((f"{step:<12}", "bold"), (text, "yellow" if warning else ""))
    )


@dataclass
class Pack:
    """The folder that is written. ``files``: hashes of what belongs to it so far; ``versions``: of what made it."""

    folder: Path
    files: dict[str, str] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)

    def put(self, source: Path, name: str) -> bool:
        """Copies a file to ``name``, unless it is there with the same content; whether it was copied."""
        target, wanted = self.folder / name, digest(source)
        self.files[name] = wanted
        if target.is_file() and target.stat().st_size == source.stat().st_size and digest(target) == wanted:
            return False
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
        return True

    def made(self, name: str) -> None:
        """A step has written that file."""
        self.files[name] = digest(self.folder / name)

    def drop(self, name: str) -> None:
        """Takes a file out of the pack."""
        del self.files[name]
        (self.folder / name).unlink()

    def size(self, names: Iterable[str] | None = None) -> int:
        """Bytes of these files; default: of everything in the folder, files of others too."""
        paths = (self.folder / n for n in names) if names is not None else self.folder.rglob("*")
        return sum(path.stat().st_size for path in paths if path.is_file())

    def prune(self) -> list[str]:
        """Removes what earlier runs left in OWNED; the names."""
        there = [path for name in OWNED for path in (self.folder / name).rglob("*") if path.is_file()]
        old = [path for path in there if path.relative_to(self.folder).as_posix() not in self.files]
        for path in old:
            path.unlink()
        return [path.relative_to(self.folder).as_posix() for path in old]


# --- steps: each adds its files to the pack and says what it did ---------------------------------------------------


def add_reference(pack: Pack) -> None:
    """Seeded Inception v3 in float64: 3 s."""
    path, started = pack.folder / "reference.npz", time.perf_counter()
    kept = reference.Reference.load(path) is not None
    if not kept:
        reference.compute().save(path)
    pack.made("reference.npz")
    how = "kept" if kept else f"computed in {time.perf_counter() - started:.1f} s"
    report("reference", f"{size_text(path.stat().st_size)}, {how}")


def add_models(pack: Pack, shared: Path) -> None:
    """The golden models, the single photographs, and those of the flowers that part 4 runs."""
    if not (shared / "models").is_dir():
        return report("models", f"none: {shared} has no models (KIGRAPH_SHARED or --shared names the folder)", True)
    wanted = [f"models/{model}/{file}" for model, files in MODELS.items() for file in files]
    golden = shared / "models" / "inception_v3_flowers" / "golden_tensorflow.npz"
    flowers: list[str] = []
    if golden.is_file():
        with np.load(golden) as arrays:
            files = [str(file) for file in arrays["files"]]
        flowers = [f"photos/flowers/{files[i]}" for i in photographs(files)]
        # Their licence asks for the credits.
        wanted += ["photos/flowers/ATTRIBUTION.txt", *flowers]
    wanted += [f"photos/{photo}" for photo in PHOTOS]
    there = [name for name in wanted if (shared / name).is_file()]
    copied = [name for name in there if pack.put(shared / name, f"shared/{name}")]
    total = size_text(pack.size(f"shared/{name}" for name in there))
    report("models", f"{total}, {len(there)} files with {len(set(flowers) & set(there))} flowers, {len(copied)} copied")
    if missing := sorted(set(wanted) - set(there)):
        report("models", f"missing in {shared}: {', '.join(missing)}", True)


def compile_all(arch: str) -> int:
    """In the interpreter whose NVRTC is used: fills the cache of KIGRAPH_CACHE_DIR and prints one JSON object."""
    try:
        version = ".".join(map(str, compiler._nvrtc().getVersion()))
    except Exception as error:
        print(json.dumps({"error": f"NVRTC cannot be loaded: {error}"}))
        return 1
    packages = {d.metadata["Name"].lower(): d.version for d in metadata.distributions() if d.metadata["Name"]}
    package = next((v for name, v in packages.items() if name.startswith("nvidia-cuda-nvrtc")), "unknown")
    builds = float_builds()
    done = sorted(compile_builds(builds, arch), key=lambda compiled: builds.index(compiled.build))
    files, errors = [d.path for d in done if d.path], [f"{d.build}: {d.error}" for d in done if d.error]
    print(json.dumps({"version": version, "package": package, "files": files, "errors": errors}))
    return 0


def add_cubins(pack: Pack, python: str, arch: str) -> None:
    """Every float build by the NVRTC of that interpreter: 10 s on two cores, nothing if they are there."""
    cache, started = pack.folder.resolve() / "cache", time.perf_counter()
    there = {path.name for path in cache.rglob("*.cubin")}
    done = subprocess.run(
        [python, "-m", "benchmarks.gpu_prepare", "--compile-only", arch],
        cwd=ROOT,
        env=os.environ | {"KIGRAPH_CACHE_DIR": str(cache), "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    try:
        found: dict[str, Any] = json.loads(done.stdout.strip().rpartition("\n")[2])
    except ValueError:
        found = {"error": (done.stderr.strip() or "no output").rpartition("\n")[2]}
    if "error" in found:
        return report("cubins", f"none: {python}: {found['error']}", True)
    names = [Path(path).relative_to(cache.parent).as_posix() for path in found["files"]]
    for name in names:
        pack.made(name)
    pack.versions |= {"nvrtc": found["version"], "nvrtc package": found["package"], "cubins": arch}
    new = sum(Path(name).name not in there for name in names)
    text = f"{size_text(pack.size(names))}, {len(names)} for {arch} by NVRTC {found['package']}"
    report("cubins", f"{text}, {new} compiled in {time.perf_counter() - started:.1f} s")
    for error in found["errors"]:
        report("cubins", str(error), True)
    if found["version"] != DEVICE_NVRTC:
        report(
            "cubins",
            f"NVRTC {found['version']} made them, and no other finds them; machines with a GPU are expected to have "
            f"{DEVICE_NVRTC}: give an interpreter that has it by --python",
            True,
        )


def add_wheel(pack: Pack) -> None:
    """The one run-time dependency that the machine lacks, for Python 3.12 there."""
    pyproject = tomllib.loads((ROOT / "pyproject.toml").read_text())
    requirement = next(text for text in pyproject["project"]["dependencies"] if text.startswith("simplejpeg"))
    folder = pack.folder / "whl"
    kept = sorted(path for path in folder.glob("simplejpeg-*-cp312-*.whl") if zipfile.is_zipfile(path))
    if not kept:
        with tempfile.TemporaryDirectory() as place:
            command = [sys.executable, "-m", "pip", "download", "--quiet", "--dest", place, "--no-deps"]
            command += ["--only-binary=:all:", "--python-version", "3.12", "--implementation", "cp", "--abi", "cp312"]
            for tag in PLATFORMS:
                command += ["--platform", tag]
            done = subprocess.run([*command, requirement], capture_output=True, text=True, check=False)
            wheels = list(Path(place).glob("*.whl"))
            if done.returncode or not wheels:
                return report("wheel", f"none: pip download '{requirement}' ended with {done.returncode}", True)
            pack.put(wheels[0], f"whl/{wheels[0].name}")
            kept = [folder / wheels[0].name]
    pack.made(f"whl/{kept[-1].name}")
    pack.versions["simplejpeg"] = kept[-1].name.split("-")[1]
    report("wheel", f"{size_text(kept[-1].stat().st_size)}, {kept[-1].name}")


def git(*arguments: str) -> str | None:
    """What git prints about the checkout; None if there is no git or no repository."""
    try:
        done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    except OSError:
        return None
    return done.stdout if done.returncode == 0 else None


def add_commit(pack: Pack) -> None:
    """For a machine to which the repository was not copied; with a hash of the sources, which may change."""
    described = (git("describe", "--always", "--dirty", "--abbrev=12") or "unknown").strip()
    text = f"{described} {datetime.now(UTC).isoformat(timespec='seconds')}"
    (pack.folder / "commit").write_text(f"{text}\n{sources()}\n")
    pack.made("commit")
    report("commit", text)


def write_manifest(pack: Pack) -> None:
    """All files with size and SHA-256, and the versions of what made them."""
    versions = {"python": platform.python_version(), "numpy": np.__version__} | pack.versions
    files = {n: {"bytes": pack.size([n]), "sha256": pack.files[n]} for n in sorted(pack.files)}
    text = json.dumps({"versions": versions, "files": files}, indent=1)
    (pack.folder / "manifest.json").write_text(text + "\n")


# --- does it fit? --------------------------------------------------------------------------------------------------


def checkout_sizes(pack: Pack) -> dict[str, int]:
    """Bytes of the checkout's own files: tracked, and untracked but not ignored."""
    listed = git("ls-files", "-z", "--cached", "--others", "--exclude-standard")
    if listed is None:
        report("size", "no git here: the checkout's own files are not counted", True)
        return {}
    paths = {name: ROOT / name for name in listed.split("\0") if name}
    inside = pack.folder.resolve()
    return {
        name: path.lstat().st_size
        for name, path in paths.items()
        if os.path.lexists(path) and not path.is_dir() and not path.resolve().is_relative_to(inside)
    }


def fit(pack: Pack, checkout: int, most: int = MOST_BYTES, most_prepared: int = MOST_PREPARED) -> bool:
    """Whether all fits; photographs of flowers go first, the largest before the others."""
    flowers = [n for n in pack.files if n.startswith("shared/photos/flowers/") and n.endswith(".jpg")]
    flowers.sort(key=lambda name: pack.size([name]))
    while (over := pack.size() > most_prepared or pack.size() + checkout > most) and flowers:
        name = flowers.pop()
        report("size", f"too large: {name} is left out", True)
        pack.drop(name)
        write_manifest(pack)
    return not over


def show(pack: Pack, checkout: dict[str, int], fits: bool) -> None:
    """A table of the parts; if it does not fit, of the largest files as well."""
    from rich.console import Console
    from rich.table import Table

    table = Table("part", "files", "MB", title=str(pack.folder))
    for column in table.columns[1:]:
        column.justify = "right"
    everything = {
        p.relative_to(pack.folder).as_posix(): p.stat().st_size for p in pack.folder.rglob("*") if p.is_file()
    }
    groups: dict[str, list[int]] = {}
    for name, size in everything.items():
        parts = name.split("/")
        groups.setdefault("/".join(parts[:2]) if len(parts) > 2 else parts[0], []).append(size)
    for group, sizes in sorted(groups.items()):
        table.add_row(group, str(len(sizes)), f"{sum(sizes) / 1e6:.2f}")
    total = sum(everything.values())
    table.add_section()
    table.add_row(f"all, of {MOST_PREPARED / 1e6:.1f} MB", str(len(everything)), f"{total / 1e6:.2f}")
    table.add_row("checkout", str(len(checkout)), f"{sum(checkout.values()) / 1e6:.2f}")
    table.add_row(f"both, of {MOST_BYTES / 1e6:.1f} MB", "", f"{(total + sum(checkout.values())) / 1e6:.2f}")
    if not fits:
        table.add_section()
        largest = sorted(
            {**{f".gpu: {n}": s for n, s in everything.items()}, **checkout}.items(), key=lambda row: -row[1]
        )
        for name, size in largest[:10]:
            table.add_row(name, "", f"{size / 1e6:.2f}")
    Console().print(table)


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=PREPARED, help="folder to write (default: .gpu in the checkout)")
    parser.add_argument("--arch", default="sm_90", help="architecture of the cubins (default: %(default)s)")
    parser.add_argument(
        "--python",
        default=sys.executable,
        help="interpreter whose CuPy and NVRTC compile the cubins; default: this one",
    )
    shared = Path(os.environ.get("KIGRAPH_SHARED") or ROOT.parent / "shared")
    parser.add_argument("--shared", type=Path, default=shared, help="models and photographs (default: %(default)s)")
    parser.add_argument("--compile-only", metavar="ARCH", help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Writes the pack; 1 if it is too large, or if the folder holds something else."""
    args = parse(arguments)
    if args.compile_only:
        return compile_all(args.compile_only)
    pack = Pack(args.output)
    # A wrong --output must not lose anybody's files: OWNED is emptied of what is not ours.
    ours = pack.folder.name == PREPARED.name or (pack.folder / "manifest.json").is_file()
    if not ours and pack.folder.is_dir() and any(pack.folder.iterdir()):
        print(f"{pack.folder} has files and was not written by this command; give another --output", file=sys.stderr)
        return 1
    pack.folder.mkdir(parents=True, exist_ok=True)
    if not (pack.folder / "manifest.json").is_file():
        write_manifest(pack)
    add_models(pack, args.shared)
    add_reference(pack)
    add_cubins(pack, args.python, args.arch)
    add_wheel(pack)
    add_commit(pack)
    if old := pack.prune():
        report("old", f"{len(old)} files of earlier runs removed")
    write_manifest(pack)
    checkout = checkout_sizes(pack)
    fits = fit(pack, sum(checkout.values()))
    show(pack, checkout, fits)
    return 0 if fits else 1


if __name__ == "__main__":
    sys.exit(main())
