"""Options of `kigraph retrain` that mean nothing, or lie outside of their range: refused before anything is read."""

from __future__ import annotations

from pathlib import Path

import pytest

from kigraph.cli import main


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["--epochs", "2"], "--epochs is of fine-tuning: add --fine-tune BLOCKS"),
        (["--learning-rate", "0.1"], "--learning-rate is of fine-tuning"),
        (["--fine-tune", "1", "--learning-rate", "1e10"], "above 0, such as 0.001, up to 10, got '1e10'"),
        (["--fine-tune", "1", "--learning-rate", "nan"], "up to 10, got 'nan'"),
        (["--l2", "1e300"], "up to 1,000,000, got '1e300'"),
        (["--l2", "0"], "above 0"),
    ],
)
def test_refused(given: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["retrain", str(tmp_path), "-o", str(tmp_path / "m.pb"), "-w", "demo", *given]) == 2
    assert said in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
