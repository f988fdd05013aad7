"""What the compiler made of the hot kernels: the instructions of their main loops, counted in the disassembly.

    python -m benchmarks.gpu.sass [--arch sm_90] [--nvrtc FILE] [--json]

Needs CuPy, NVRTC and nvdisasm (the wheel nvidia-cuda-nvdisasm, or a CUDA toolkit on PATH), but no GPU. The main loop of
a kernel is the innermost loop that holds its products (HMMA, HGMMA or FFMA); what it runs once per K-step is the
smallest loop around that which also starts copies (LDGSTS): the same loop, unless products have one of their own.
"""

from __future__ import annotations

import argparse
import ctypes
import dataclasses
import functools
import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from kigraph.kernels.cupy.binding import nvrtc
from kigraph.kernels.cupy.compiler import compile_with_log
from kigraph.kernels.cupy.implicit_gemm import BUILDS
from kigraph.kernels.cupy.launch import Build

__all__ = [
    "HOT_BUILDS",
    "Kernel",
    "Loop",
    "Measured",
    "compiled",
    "disassemble",
    "find_nvdisasm",
    "main_loop",
    "measure",
    "parse",
    "preload",
    "registers",
]

#: The builds that nearly all time of a convolutional network goes into.
HOT_BUILDS: tuple[Build, ...] = tuple(build for build, _ in BUILDS)
_PRODUCTS = ("HMMA", "HGMMA", "FFMA")
#: Columns of the table.
_SHOWN = ("HMMA", "HGMMA", "FFMA", "LDSM", "LDS", "LDGSTS", "LDL", "STL", "LDC", "IMAD", "F2FP", "F2F")
_KERNEL = re.compile(r"^\.text\.(\w+):")
_LABEL = re.compile(r"^(\.L_x_\w+):")
_INSTRUCTION = re.compile(r"^\s*/\*([0-9a-f]{4,})\*/\s+(?:@!?U?P\w+\s+)?([A-Z][\w.]*)([^;]*)")
_TARGET = re.compile(r"`\((\.L_x_\w+)\)")


@dataclass(frozen=True, slots=True)
class Loop:
    """From a label to the branch back to it: byte offsets in the kernel, and how often each opcode stands there."""

    first: int
    last: int
    opcodes: Counter[str]

    @property
    def instructions(self) -> int:
        return self.opcodes.total()


@dataclass(frozen=True, slots=True)
class Kernel:
    """A disassembled kernel: the place and opcode of each instruction, and its backward branches (from, to)."""

    name: str
    instructions: tuple[tuple[int, str], ...]
    back: tuple[tuple[int, int], ...]

    def loops(self) -> list[Loop]:
        """Smallest first."""
        found = [
            Loop(to, at, Counter(opcode for place, opcode in self.instructions if to <= place <= at))
            for at, to in self.back
        ]
        return sorted(found, key=lambda loop: loop.last - loop.first)


@dataclass(frozen=True, slots=True)
class Measured:
    """A kernel of a build: registers of a thread, the loop of the products, and that of the K-steps around it."""

    build: str
    kernel: str
    registers: int
    loop: dict[str, int]
    step: dict[str, int]


@functools.cache
def compiled(build: Build, arch: str) -> tuple[bytes, str]:
    """The cubin and NVRTC's log, compiled once per process."""
    return compile_with_log(build, arch)


def find_nvdisasm() -> str | None:
    """The wheel's nvdisasm, else the one on PATH."""
    for folder in sys.path:
        for found in Path(folder or ".").glob("nvidia/cu*/bin/nvdisasm"):
            return str(found)
    return shutil.which("nvdisasm")


def disassemble(cubin: bytes, nvdisasm: str) -> str:
    """The text of all kernels. Raises subprocess.CalledProcessError with nvdisasm's words if it refuses the file."""
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        done = subprocess.run([nvdisasm, "-c", file.name], capture_output=True, text=True, check=True)
    return done.stdout


def parse(text: str) -> list[Kernel]:
    """The kernels in what nvdisasm printed."""
    kernels: list[Kernel] = []
    name: str | None = None
    labels: dict[str, int] = {}
    waiting: list[str] = []
    instructions: list[tuple[int, str]] = []
    branches: list[tuple[int, str]] = []

    def finish() -> None:
        if name is not None:
            back = tuple((at, labels[to]) for at, to in branches if labels.get(to, at + 1) < at)
            kernels.append(Kernel(name, tuple(instructions), back))

    for line in text.splitlines():
        if match := _KERNEL.match(line):
            finish()
            name, labels, waiting, instructions, branches = match[1], {}, [], [], []
        elif match := _LABEL.match(line):
            waiting.append(match[1])
        elif match := _INSTRUCTION.match(line):
            at, opcode = int(match[1], 16), match[2].split(".")[0]
            labels.update(dict.fromkeys(waiting, at))
            waiting.clear()
            instructions.append((at, opcode))
            if opcode == "BRA" and (target := _TARGET.search(match[3])):
                branches.append((at, target[1]))
    finish()
    return kernels


def main_loop(kernel: Kernel) -> tuple[Loop, Loop] | None:
    """The innermost loop that holds most of the products, and the K-step's around it; None if there are no products."""
    loops = kernel.loops()
    for product in _PRODUCTS:
        most = max((loop.opcodes[product] for loop in loops), default=0)
        if most:
            inner = next(loop for loop in loops if loop.opcodes[product] == most)
            around = (loop for loop in loops if loop.first <= inner.first and inner.last <= loop.last)
            return inner, next((loop for loop in around if loop.opcodes["LDGSTS"]), inner)
    return None


def registers(log: str) -> dict[str, int]:
    """Registers of a thread of each kernel, by NVRTC's log."""
    found = re.findall(r"Compiling entry function '(\w+)'.*?Used (\d+) registers", log, re.DOTALL)
    return {name: int(count) for name, count in found}


def measure(builds: Iterable[Build], arch: str, nvdisasm: str) -> list[Measured]:
    """Compiles, and measures every kernel that has a main loop."""
    results: list[Measured] = []
    for build in builds:
        cubin, log = compiled(build, arch)
        used = registers(log)
        for kernel in parse(disassemble(cubin, nvdisasm)):
            if (found := main_loop(kernel)) is not None:
                loop, step = found
                results.append(
                    Measured(str(build), kernel.name, used[kernel.name], dict(loop.opcodes), dict(step.opcodes))
                )
    return results


def preload(library: str) -> None:
    """Makes CuPy take this libnvrtc; only before it has loaded one in this process."""
    for builtins in Path(library).parent.glob("libnvrtc-builtins.so.*"):
        ctypes.CDLL(str(builtins), mode=ctypes.RTLD_GLOBAL)
    ctypes.CDLL(library, mode=ctypes.RTLD_GLOBAL)


def _table(results: Iterable[Measured]) -> str:
    head = f"{'kernel':12} {'build':70} {'regs':>4} {'loop':>5} {'step':>5}" + "".join(f" {c:>6}" for c in _SHOWN)
    lines = [head]
    for r in results:
        macros = r.build.partition(" ")[2]
        counts = "".join(f" {r.step.get(c, 0):6}" for c in _SHOWN)
        sizes = f"{r.registers:4} {sum(r.loop.values()):5} {sum(r.step.values()):5}"
        lines.append(f"{r.kernel:12} {macros:70} {sizes}{counts}")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--arch", default="sm_90")
    parser.add_argument("--nvrtc", help="the libnvrtc.so to compile with; default: the one that CuPy finds")
    parser.add_argument("--json", action="store_true", help="all counts, and NVRTC's version")
    args = parser.parse_args(arguments)
    nvdisasm = find_nvdisasm()
    if nvdisasm is None:
        print("nvdisasm is missing. Remedy: pip install nvidia-cuda-nvdisasm", file=sys.stderr)
        return 1
    if args.nvrtc:
        preload(args.nvrtc)
    results = measure(HOT_BUILDS, args.arch, nvdisasm)
    version = nvrtc().getVersion()
    if args.json:
        print(json.dumps({"nvrtc": version, "kernels": [dataclasses.asdict(r) for r in results]}))
    else:
        print(
            f"{args.arch}, NVRTC {'.'.join(map(str, version))}; counts of opcodes in a K-step's loop\n{_table(results)}"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
