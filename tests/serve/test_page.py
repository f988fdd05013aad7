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


def test_images_get_labels_with_bars_and_an_error_is_shown(
    service: tuple[subprocess.Popen[str], str], image: Callable[..., bytes], tmp_path: Path
) -> None:
    _, url = service
    (tmp_path / "photo.png").write_bytes(image("PNG"))
    (tmp_path / "b & <i>.jpg").write_bytes(image())
    (tmp_path / "broken.png").write_bytes(image("PNG")[:60])
    problems: list[str] = []
    requests: list[str] = []
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=_ARGUMENTS)
        page = browser.new_page(viewport={"width": 900, "height": 600})
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("request", lambda request: requests.append(request.url))
        page.goto(url)
        page.set_input_files("#file", [tmp_path / name for name in ("photo.png", "b & <i>.jpg", "broken.png")])
        page.locator("#status", has_text="2 of 3 classified, 1 failed.").wait_for()
        cards = page.locator("#results article")
        assert cards.count() == 3
        first = cards.nth(0)
        rows = first.locator("li").all_inner_texts()
        widths = first.locator(".fill").evaluate_all("bars => bars.map(bar => bar.getBoundingClientRect().width)")
        assert {row.split("\n")[0] for row in rows} <= {"cat", "dog"}
        assert not any("0.0 %" in row.split("\n") for row in rows)
        assert widths == sorted(widths, reverse=True)
        assert widths[0] > 0
        text = first.inner_text()
        assert all(word in text for word in ("photo.png", "decode", "queue", "compute", "model.pb, version 1"))
        assert cards.nth(1).locator("h2").inner_text() == "b & <i>.jpg"
        assert "can be decoded" in cards.nth(2).locator(".bad").inner_text()
        assert cards.nth(2).locator("img").count() == 0  # no broken icon
        assert page.inner_text("#curl").endswith(f"'{url}/v1/classify'")
        assert page.screenshot().startswith(b"\x89PNG")
        page.keyboard.press("Tab")
        page.click("#clear")
        assert cards.count() == 0
        assert page.locator("#file:focus").count() == 1
        browser.close()
    assert problems == []
    assert all(r.startswith((url, f"blob:{url}")) for r in requests), requests  # nothing from elsewhere
