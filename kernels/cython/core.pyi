from typing import Any

DTYPES: tuple[str, ...]
TABLE: object
ISA_IN_USE: str
ISAS: tuple[str, ...]
F32_LANES: int
F64_LANES: int
TILE_MR: tuple[int, ...]
OUTER_MR: tuple[int, ...]

def helpers() -> int: ...
def probe_flops(rounds: int) -> float: ...
def probe_read(x: Any) -> float: ...
