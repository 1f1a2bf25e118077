"""Every real log against its golden summary: messages, calls, pairs, reasoning, model, score. Skipped where the logs are absent."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest
from conftest import LOGS

from auditor.errors import InputError
from auditor.readers import Reject, Unit, companion, files, read, sniff

GOLDEN = {
    path: summary
    for golden in sorted((Path(__file__).parent / "golden").glob("*.json"))
    for path, summary in orjson.loads(golden.read_bytes()).items()
}
# Files that hold no episode, and why a person would agree.
NO_EPISODE = {
    "PROVENANCE.tsv": "a list of sources",
    "gen-ai-input-messages.json": "a JSON schema",
    "gen-ai-output-messages.json": "a JSON schema",
    "capture-results.json": "a summary of a capture",
    "spans-by-operation.json": "spans sorted by kind, beside all-spans.json",
}


def summary(path: Path) -> dict[str, object]:
    head = files.head(str(path))
    assert head is not None
    reader = sniff(head)
    episodes, rejects = [], []
    for item in read(Unit((str(path),), reader.name, head.container), reader):
        if isinstance(item, Reject):
            rejects.append([item.line, item.reason])
            continue
        seen: set[str | None] = set()
        paired = 0
        for m in item.messages:
            paired += m.role == "tool" and m.tool_call_id in seen
            seen.update(c.id for c in m.tool_calls if c.id)
        episodes.append(
            {
                "id": item.id, "model": item.model, "task": item.task, "messages": len(item.messages), "paired": paired,
                "tool_calls": sum(len(m.tool_calls) for m in item.messages), "score": item.score, "passed": item.passed,
                "reasoning_chars": sum(len(m.reasoning or "") for m in item.messages), "reasoning_kind": item.reasoning_kind,
            }
        )  # fmt: skip
    return {"episodes": episodes, "rejects": rejects}


@pytest.mark.parametrize("name", sorted(GOLDEN))
def test_a_real_log_reads_as_it_did(logs, name):
    assert summary(logs / name) == GOLDEN[name]


def test_every_real_log_has_a_golden_or_a_reason():
    if not LOGS.is_dir():
        pytest.skip(f"no real logs at {LOGS}")
    missing = []
    for path in sorted(p for p in LOGS.rglob("*") if p.is_file()):
        name = str(path.relative_to(LOGS))
        if name in GOLDEN or path.name in NO_EPISODE:
            continue
        try:
            head = files.head(str(path))
        except InputError:
            head = None
        if head is None or not companion(head):
            missing.append(name)
    assert missing == []
