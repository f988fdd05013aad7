"""The page at / in a real browser: headless Chromium, driven by playwright; skipped where either is missing."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

sync_api = pytest.importorskip("playwright.sync_api", reason="needs playwright: pip install playwright")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium (Debian: apt-get install chromium)")

_ARGUMENTS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip


def test_an_image_gets_labels_with_bars_and_an_error_is_shown(
    service: tuple[subprocess.Popen[str], str], image: Callable[..., bytes], tmp_path: Path
) -> None:
    _, url = service
    (tmp_path / "photo.png").write_bytes(image("PNG"))
    (tmp_path / "broken.png").write_bytes(image("PNG")[:60])
    problems: list[str] = []
    requests: list[str] = []
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=_ARGUMENTS)
        page = browser.new_page(viewport={"width": 900, "height": 600})
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("request", lambda request: requests.append(request.url))
        page.goto(url)
        page.set_input_files("#file", tmp_path / "photo.png")
        page.wait_for_selector("#labels li")
        rows = page.locator("#labels li").all_inner_texts()
        widths = page.locator("#labels .fill").evaluate_all(
            "bars => bars.map(bar => bar.getBoundingClientRect().width)"
        )
        assert {row.split("\n")[0] for row in rows} == {"cat", "dog"}
        assert widths == sorted(widths, reverse=True)
        assert widths[0] > 0
        assert "photo.png" in page.inner_text("#status")
        assert page.screenshot().startswith(b"\x89PNG")
        page.set_input_files("#file", tmp_path / "broken.png")
        page.wait_for_selector("#status.bad")
        assert "cannot be decoded" in page.inner_text("#status") or "can be decoded" in page.inner_text("#status")
        browser.close()
    assert problems == []
    assert all(r.startswith((url, f"blob:{url}")) for r in requests), requests  # nothing from elsewhere
