"""What the compiler makes of the hot kernels: no spills in a main loop, and no more instructions in it than today."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

pytest.importorskip("cupy", reason="CuPy is not installed: pip install 'kigraph[cupy]'")

from kigraph.kernels.cupy.binding import nvrtc
from kigraph.kernels.cupy.implicit_gemm import TILES
from kigraph.kernels.cupy.launch import Build
from kigraph.kernels.errors import BackendError

sass = pytest.importorskip("benchmarks.gpu.sass", reason="needs the checkout, not an installed copy")

ROOT = Path(__file__).resolve().parents[2]
NVDISASM = sass.find_nvdisasm()
pytestmark = pytest.mark.skipif(NVDISASM is None, reason="no nvdisasm: pip install nvidia-cuda-nvdisasm")
#: The NVRTC that PyTorch 2.11 brings along; `make test` puts it there.
OLDER = Path(sys.prefix, "nvrtc-13.0.88", "nvidia", "cu13", "lib", "libnvrtc.so.13")

Version = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Budget:
    """Of one pass of a K-step's loop: exact counts, and by NVRTC the most instructions of (products' loop, K-step)."""

    products: int
    ldsm: int
    ldgsts: int
    most: dict[Version, tuple[int, int]]


def budget(products: int, ldsm: int, ldgsts: int, v130: tuple[int, int], v135: tuple[int, int]) -> Budget:
    return Budget(products, ldsm, ldgsts, {(13, 0): v130, (13, 5): v135})


#: For sm_90, as compiled today; "scalar": A gathered float by float. With all addresses computed from the indices in
#: every step NVRTC 13.0.88 made 309 of bf16 128x128, 389 of bf16 128x64, 478 of tf32 128x128; the last two spilled.
BUDGETS = {
    "fp32 128x128": budget(512, 0, 8, (563, 689), (564, 673)),
    "fp32 128x64": budget(512, 0, 12, (559, 734), (563, 718)),
    "fp32 64x64": budget(256, 0, 8, (299, 424), (294, 413)),
    "fp32 64x64 scalar": budget(256, 0, 20, (296, 571), (294, 587)),
    "fp32 64x32": budget(128, 0, 6, (158, 278), (158, 272)),
    "fp32 64x32 scalar": budget(128, 0, 18, (160, 427), (158, 508)),
    "tf32 128x128": budget(64, 24, 8, (351, 351), (363, 363)),
    "tf32 128x64": budget(64, 24, 12, (391, 391), (409, 409)),
    "tf32 64x64": budget(32, 16, 8, (242, 242), (238, 238)),
    "tf32 64x64 scalar": budget(32, 16, 20, (383, 383), (406, 406)),
    "tf32 64x32": budget(16, 12, 6, (213, 213), (234, 234)),
    "tf32 64x32 scalar": budget(16, 12, 18, (357, 357), (384, 384)),
    "bf16 128x128": budget(32, 20, 6, (212, 212), (225, 225)),
    "bf16 128x64": budget(32, 20, 10, (250, 250), (270, 270)),
    "bf16 64x64": budget(16, 12, 6, (162, 162), (183, 183)),
    "bf16 64x64 scalar": budget(16, 12, 18, (306, 306), (333, 333)),
    "bf16 64x32": budget(8, 10, 5, (146, 146), (142, 142)),
    "bf16 64x32 scalar": budget(8, 10, 17, (288, 288), (310, 310)),
}
#: What an NVRTC of another version may take more than the larger of the two known ones.
SLACK = 1.05
HOT = {
    f"{tile.precision.name} {tile.bm}x{tile.bn}{'' if vector == 4 else ' scalar'}": tile.function(vector).build
    for tiles in TILES.values()
    for tile in tiles
    for vector in (4, 1)
    if tile.function(vector).build in sass.HOT_BUILDS
}


def limits(name: str, version: Version) -> tuple[int, int]:
    known = BUDGETS[name].most
    if version in known:
        return known[version]
    loop, step = (max(both) for both in zip(*known.values(), strict=True))
    return int(loop * SLACK), int(step * SLACK)


def spills(found: sass.Measured) -> list[str]:
    return [f"{found.step[opcode]} {opcode} in the main loop" for opcode in ("LDL", "STL") if found.step.get(opcode)]


def objections(name: str, found: sass.Measured, version: Version | None = None) -> list[str]:
    """What is wrong with a kernel's main loop; its length only if NVRTC's version is given, and for sm_90."""
    wanted = BUDGETS[name]
    product = "FFMA" if name.startswith("fp32") else "HMMA"
    counts = (
        (product, found.loop.get(product, 0), wanted.products),
        ("LDSM", found.step.get("LDSM", 0), wanted.ldsm),
        ("LDGSTS", found.step.get("LDGSTS", 0), wanted.ldgsts),
    )
    wrong = spills(found) + [f"{n} {opcode}, expected {exact}" for opcode, n, exact in counts if n != exact]
    if version is not None:
        sizes = sum(found.loop.values()), sum(found.step.values())
        for what, size, most in zip(("products'", "K-step's"), sizes, limits(name, version), strict=True):
            if size > most:
                wrong.append(f"{size} instructions per {wanted.products} {product} in the {what} loop; at most {most}")
    return wrong


def measured(build: Build, arch: str) -> sass.Measured:
    assert NVDISASM is not None
    try:
        (found,) = sass.measure([build], arch, NVDISASM)
    except BackendError as error:
        pytest.skip(str(error))
    return found


def test_every_hot_build_has_a_budget() -> None:
    assert list(BUDGETS) == list(HOT)
    assert set(HOT.values()) == {build for build in sass.HOT_BUILDS if build.source != "conv2d_pack.cu"}


@pytest.mark.parametrize("name", BUDGETS)
def test_main_loop_on_hopper(name: str) -> None:
    found = measured(HOT[name], "sm_90")
    assert objections(name, found, nvrtc().getVersion()) == [], name


@pytest.mark.parametrize("arch", ["sm_80", "sm_100"])
@pytest.mark.parametrize("name", [name for name in BUDGETS if "scalar" not in name])
def test_main_loop_elsewhere(name: str, arch: str) -> None:
    assert objections(name, measured(HOT[name], arch)) == [], name


@pytest.mark.skipif(not OLDER.is_file(), reason=f"no second NVRTC: {OLDER} is missing; make test installs it")
def test_main_loops_by_the_older_compiler() -> None:
    """All of them in one process, since CuPy keeps to the first NVRTC that it has loaded."""
    command = [sys.executable, "-m", "benchmarks.gpu.sass", "--json", "--arch", "sm_90", "--nvrtc", str(OLDER)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["nvrtc"] == [13, 0]
    found = {record["build"]: sass.Measured(**record) for record in result["kernels"]}
    assert len(found) == len(HOT)
    wrong = {name: objections(name, found[str(build)], (13, 0)) for name, build in HOT.items()}
    assert {name: words for name, words in wrong.items() if words} == {}


def test_a_planted_spill_is_found() -> None:
    """bf16 128x128 with 64 registers per thread: four blocks of 256 threads."""
    build = HOT["bf16 128x128"]
    defines = tuple((name, 4 if name == "RESIDENT" else value) for name, value in build.defines)
    found = measured(dataclasses.replace(build, defines=defines), "sm_90")
    assert found.registers == 64
    words = objections("bf16 128x128", found, nvrtc().getVersion())
    assert any("LDL in the main loop" in word for word in words), words
    assert any("STL in the main loop" in word for word in words), words


def test_a_longer_loop_is_found() -> None:
    found = measured(HOT["bf16 64x32"], "sm_90")
    more = {**found.step, "IMAD": found.step["IMAD"] + 12, "LDGSTS": 4}
    words = objections("bf16 64x32", dataclasses.replace(found, loop=more, step=more), (13, 5))
    size = sum(found.step.values()) + 12 - 1
    assert words == [
        "4 LDGSTS, expected 5",
        f"{size} instructions per 8 HMMA in the products' loop; at most 142",
        f"{size} instructions per 8 HMMA in the K-step's loop; at most 142",
    ]


def test_an_unknown_compiler_has_some_slack() -> None:
    assert limits("bf16 128x64", (13, 0)) == (250, 250)
    assert limits("bf16 128x64", (13, 9)) == (283, 283)
    assert limits("fp32 64x32", (12, 9)) == (165, 291)


# --- the parser ------------------------------------------------------------------------------------------------------

TEXT = """
\t.section\t.text.first,"ax",@progbits
.text.first:
        /*0000*/                   LDC R1, c[0x0][0x28] ;
        /*0010*/              @!P0 BRA `(.L_x_9) ;
.L_x_1:
        /*0020*/                   LDGSTS.E.BYPASS.128 [R41], desc[UR10][R36.64], P5 ;
.L_x_2:
.L_x_3:
        /*0030*/                   HMMA.1688.F32.TF32 R4, R8, R12, R4 ;
        /*0040*/              @UP1 HMMA.1688.F32.TF32 R4, R8, R14, R4 ;
        /*0050*/               @P1 BRA `(.L_x_3) ;
        /*0060*/                   LDL.64 R94, [R1]                      (*"SpillRefill
        /*0070*/                   BRA.U UP0, `(.L_x_1) ;
.L_x_9:
        /*0080*/                   EXIT ;
.L_x_10:
        /*0090*/                   BRA `(.L_x_10);
\t.section\t.text.second,"ax",@progbits
.text.second:
        /*0000*/                   FADD R1, R2, R3 ;
"""


def test_the_parser_finds_nested_loops() -> None:
    first, second = sass.parse(TEXT)
    assert (first.name, second.name) == ("first", "second")
    assert sass.main_loop(second) is None
    found = sass.main_loop(first)
    assert found is not None
    inner, step = found
    assert (inner.first, inner.last, dict(inner.opcodes)) == (0x30, 0x50, {"HMMA": 2, "BRA": 1})
    assert (step.first, step.last, step.instructions) == (0x20, 0x70, 6)
    assert step.opcodes["LDL"] == step.opcodes["LDGSTS"] == 1


def test_registers_are_read_from_the_log() -> None:
    log = (
        "ptxas info    : Compiling entry function 'a' for 'sm_90'\n"
        "ptxas info    : Used 168 registers, used 1 barriers\n"
        "ptxas info    : Compiling entry function 'b' for 'sm_90'\nptxas info    : Used 40 registers\n"
    )
    assert sass.registers(log) == {"a": 168, "b": 40}


def test_the_table_has_a_line_per_kernel(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sass, "HOT_BUILDS", (HOT["bf16 64x32"], HOT["fp32 64x32"]))
    assert sass.main(["--arch", "sm_90"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("sm_90, NVRTC ")
    assert [line.split()[0] for line in lines[2:]] == ["conv2d_bf16", "conv2d_fp32"]
    counts = dict(zip(lines[1].split()[5:], lines[2].split()[-len(lines[1].split()[5:]) :], strict=True))
    assert (counts["HMMA"], counts["LDSM"], counts["LDL"]) == ("8", "10", "0")
    monkeypatch.setattr(sass, "find_nvdisasm", lambda: None)
    assert sass.main([]) == 1
    assert "pip install nvidia-cuda-nvdisasm" in capsys.readouterr().err
