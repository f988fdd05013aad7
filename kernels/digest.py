"""BLAKE2b without OpenSSL: ``import hashlib`` loads libcrypto, 5 to 7 ms that a start without SHA-256 can save."""

from __future__ import annotations

try:
    from _blake2 import blake2b
except ImportError:  # an interpreter that has it under its public name only
    from hashlib import blake2b

__all__ = ["blake2b"]
