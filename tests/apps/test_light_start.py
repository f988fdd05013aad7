"""What the first answer of a model does not import: counted, because times on a shared machine say little."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.loaders.graph_files import F32, node, save


def test_a_loaded_model_brings_nothing_that_draws(tmp_path: Path) -> None:
    path = save(tmp_path / "g.pb", node("x", "Placeholder", dtype=F32), node("y", "Neg", "x", T=F32))
    program = (
        "import sys, kigraph as ki; model = ki.load(sys.argv[1]); model.session.run('y:0', {'x:0': [1.0]}); "
        "print(sorted(name for name in sys.modules if (name + '.').find('graph.draw.') > 0 or name.endswith('.notebook'))); "
        "print('y' in model._repr_html_())"
    )
    done = subprocess.run([sys.executable, "-c", program, path], stdout=subprocess.PIPE, text=True, check=True)
    assert done.stdout.split("\n")[:2] == ["[]", "True"]
