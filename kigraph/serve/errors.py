"""The answer to a client when something is wrong: a status, one sentence, an id. Paths and addresses stay in the log."""

from __future__ import annotations

from dataclasses import dataclass, field

__all__ = ["Refused"]


@dataclass(slots=True)
class Refused(Exception):  # noqa: N818 - an answer, not a failure of the program
    """An answer other than 200."""

    status: int
    code: str
    message: str
    headers: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.status} {self.code}: {self.message}"
