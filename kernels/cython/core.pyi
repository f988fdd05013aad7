from typing import Any

DTYPES: tuple[str, ...]
TABLE: object
ISA_IN_USE: str
BF16_NATIVE: bool
DOTS: tuple[str, ...]
DOT_IN_USE: str
DOT_TABLES: dict[str, tuple[object, str, bool]]
ISAS: tuple[str, ...]
L2_BYTES: int
F32_LANES: int
F64_LANES: int
TILE_MR: tuple[int, ...]
OUTER_MR: tuple[int, ...]

def helpers() -> int: ...
def probe_flops(rounds: int) -> float: ...
def probe_read(x: Any) -> float: ...
