"""The report in a real browser: hostile text runs nothing, asks nothing of any server, and the page can be read on a phone."""

from __future__ import annotations

import http.server
import re
import shutil
import subprocess
import threading

import pytest
from conftest import RED, episode, write

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking --disable-component-update"
    " --disable-sync --virtual-time-budget=2000"
).split()

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium here (apt-get install chromium)")


@pytest.fixture
def server():
    """A server that counts who calls."""
    calls: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            calls.append(self.path)
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_):
            return

    made = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=made.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{made.server_port}", calls
    made.shutdown()
    made.server_close()


def dom(tmp_path, page, *flags):
    command = [CHROMIUM, *FLAGS, f"--user-data-dir={tmp_path / 'profile'}", *flags, "--dump-dom", f"file://{page}"]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout


@pytest.mark.slow
def test_hostile_text_in_every_field_is_text(auditor, tmp_path, server):
    address, calls = server
    evil = f"<script>document.title='HACKED';fetch('{address}/js')</script><img src='{address}/img' onerror=\"document.title='HACKED'\"><svg onload=\"document.title='HACKED'\"></svg>\u202e'\"$x$"
    report = {"role": "assistant", "content": f"Done. All 42 tests pass now. {evil}"}
    facts = {"model": evil, "task": evil, "environment": evil, "checkpoint": evil}
    made = [
        episode(f"{evil}{i}", *RED[:-1], report, **facts | {"environment": f"{evil}{i % 2}", "checkpoint": f"{evil}{i % 2}"})
        for i in range(4)
    ]
    made.append(episode("long", *RED[:-1], report, **facts | {"model": "m" * 1_000_000}))
    write(tmp_path / "logs.jsonl", made)
    auditor("scan", "logs.jsonl", "-o", "audit")
    auditor("report", "audit")
    page = tmp_path / "audit" / "report.html"
    assert page.stat().st_size < 1_000_000, "a long name is cut"
    shown = dom(tmp_path, page)
    assert "<title>auditor report</title>" in shown
    assert "HACKED" in shown, "it is there, as text"
    assert not re.search(r"<script|<img|<\w[^<>]*\son\w+=", shown)
    assert calls == []


@pytest.mark.slow
def test_it_can_be_read_on_a_phone(auditor, tmp_path):
    write(
        tmp_path / "logs.jsonl",
        [episode(f"e{i}", *RED, model=f"a-rather-long-name-of-a-model-{i % 3}", environment=f"env{i % 2}") for i in range(9)],
    )
    auditor("scan", "logs.jsonl", "-o", "audit")
    auditor("report", "audit")
    # Headless Chromium is never narrower than 500 pixels: the page goes into a frame of 380.
    frame = tmp_path / "frame.html"
    frame.write_text(
        f"<iframe id=f src='file://{tmp_path}/audit/report.html' width=380 height=800></iframe><p id=out></p>"
        "<script>f.onload=()=>{const d=f.contentDocument.documentElement;out.textContent=`${d.scrollWidth} of ${d.clientWidth}`}</script>"
    )
    shown = dom(tmp_path, frame, "--allow-file-access-from-files")
    wide, room = map(int, re.search(r"(\d+) of (\d+)", shown).groups())
    assert 0 < wide <= room
