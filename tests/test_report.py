"""The report says what the audit holds, and hostile text stays text."""

from __future__ import annotations

import html.parser

from conftest import GREEN, RED, episode, write

from auditor import report
from auditor.store import Audit


class Tags(html.parser.HTMLParser):
    """Collects what a browser would load or run."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))


EVIL = "<script>alert(1)</script><img src=x onerror=alert(2)>\u202e|`*[x](http://e.vil)"


def made(auditor, tmp_path, **facts):
    quote = [*RED[:-1], {"role": "assistant", "content": f"Done. All 42 tests pass {EVIL}"}]
    write(tmp_path / "logs.jsonl", [episode("red" + EVIL, *quote, **{"task": EVIL, **facts}), episode("green", *GREEN)])
    auditor("scan", "logs.jsonl", "-o", "audit")
    return report.facts(Audit.open(tmp_path / "audit"))


def test_numbers_are_those_of_the_audit(auditor, tmp_path):
    data = made(auditor, tmp_path)
    (model,) = data["models"]
    rate = next(r for r in model["rates"] if r["rubric"] == "concealment")
    assert (rate["k"], rate["n"], rate["tier"]) == (1, 2, "candidate")
    gaming = next(r for r in model["rates"] if r["rubric"] == "grader_gaming")
    assert (gaming["n"], gaming["unknown"]) == (1, {"no_reasoning": 1})
    assert "not a verdict" in report.html(data)
    assert "1/2" in report.markdown(data)


def test_hostile_text_runs_nothing_and_asks_nothing(auditor, tmp_path):
    data = made(auditor, tmp_path, model=EVIL)
    page = Tags()
    page.feed(report.html(data))
    assert {"script", "img", "link", "iframe", "a"}.isdisjoint(tag for tag, _ in page.found)
    assert not any(name.startswith("on") or name in ("src", "href") for _, attrs in page.found for name in attrs)
    text = report.markdown(data)
    assert "<script>" not in text
    assert "[x](" not in text
    assert "\u202e" not in text
    assert "\u202e" not in report.html(data)


def test_unnamed_models_are_told_how_to_be_named(auditor, tmp_path):
    data = made(auditor, tmp_path, model=None)
    assert "--join" in report.html(data)
    assert data["models"][-1]["model"] == "unknown"
