"""Protocol Buffers. wire.py: messages of a file as records; numbers.py: packed numbers; write.py: records to bytes."""

from __future__ import annotations

__all__: list[str] = []
