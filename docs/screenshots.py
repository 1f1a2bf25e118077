"""The pictures of `auditor view` in the README, of the sample transcripts: python docs/screenshots.py (needs chromium and playwright)."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright

DOCS = Path(__file__).resolve().parent
AUDITOR = str(Path(sys.executable).with_name("auditor"))
PAGES = {
    "view-list": "/episodes",
    "view-episode": "/episode?id=0b95745a-cb82-79ed-af80-959ba8c71e90&rubric=concealment#e3",
}


def main() -> None:
    """Scan, serve, and take each page at 1200x800."""
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as started:
        audit = f"{folder}/audit"
        subprocess.run([AUDITOR, "scan", str(DOCS.parent / "transcripts"), "-o", audit], check=True, capture_output=True)
        view = subprocess.Popen([AUDITOR, "view", audit, "--no-browser", "--reviewer", "ann"], stderr=subprocess.PIPE, text=True)
        assert view.stderr is not None
        found = re.search(r"(http://\S+)/\?token=\S+", view.stderr.readline())
        assert found is not None
        browser = started.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1200, "height": 800})
        page.goto(found[0])
        page.wait_for_url(found[1] + "/")
        for name, path in PAGES.items():
            page.goto(found[1] + path)
            page.screenshot(path=DOCS / f"{name}.png")
        browser.close()
        view.terminate()
        view.wait()


if __name__ == "__main__":
    main()
