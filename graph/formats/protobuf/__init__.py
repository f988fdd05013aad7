"""Protocol Buffers. wire.py: messages as records; reader.py reads them, numbers.py packed numbers, write.py writes them."""

from __future__ import annotations

__all__: list[str] = []
