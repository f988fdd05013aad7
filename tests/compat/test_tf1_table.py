"""docs/compat-v1.md is what docs/compat_v1.py writes, and true."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

import kigraph.compat.v1 as tf
from kigraph.compat.tf1.missing import MISSING
from kigraph.compat.tf1.names import NAMES, Namespace

SCRIPT = Path(__file__).parents[2] / "docs" / "compat_v1.py"


@pytest.mark.skipif(not SCRIPT.exists(), reason="needs the sources, not an installed copy")
def test_the_table_is_current() -> None:
    spec = importlib.util.spec_from_file_location("compat_v1", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.TARGET.read_text(encoding="utf-8") == module.render(), (
        "run `python docs/compat_v1.py` and commit the result"
    )


@pytest.mark.parametrize("name", MISSING)
def test_what_is_missing_is_refused_by_name(name: str) -> None:
    *path, last = name.split(".")
    owner = tf
    for part in path:
        owner = getattr(owner, part)
    with pytest.raises(AttributeError, match=f"has no {name}; use instead: "):
        getattr(owner, last)


def test_every_name_is_found_and_says_what_it_is() -> None:
    assert [name for name in NAMES if name not in dir(tf)] == []
    functions = {n: v for n, v in NAMES.items() if callable(v) and not isinstance(v, (type, Namespace))}
    assert len(functions) > 200
    assert [name for name in NAMES if not name.isidentifier()] == []
