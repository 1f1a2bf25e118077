"""The report in `docs/` is that of the sample transcripts as they are now."""

from __future__ import annotations

import re

from conftest import REPO

HOW = "auditor scan transcripts/ -o AUDIT && auditor report AUDIT -o docs/sample-report.html"


def plain(page: str) -> str:
    """Without what differs from run to run: the time, and where the logs lie."""
    page = re.sub(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+\d:]*", "TIME", page)
    return re.sub(r"<code>[^<]*/transcripts</code>", "<code>transcripts</code>", page)


def test_it_is_what_the_command_makes(auditor, tmp_path):
    auditor("scan", REPO / "transcripts", "-o", "audit")
    auditor("report", "audit", "-o", "sample-report.html")
    made, kept = ((folder / "sample-report.html").read_text() for folder in (tmp_path, REPO / "docs"))
    assert plain(made) == plain(kept), f"make it again: {HOW}"
