"""Audits of several machines make the audit that one machine would have made."""

from __future__ import annotations

import orjson
import pytest
from conftest import GREEN, RED, episode, write
from judged_rows import put, said

from auditor import labels
from auditor.query import connect, run
from auditor.replies import Replies, Reply
from auditor.store import Audit


@pytest.fixture
def parts(auditor, tmp_path):
    """Three files; two audits that share the second."""
    for f in range(3):
        write(tmp_path / f"{f}.jsonl", [episode(f"{f}-{i}", *(RED if i % 3 else GREEN), model=f"m{i % 2}") for i in range(20)])
    for name, files in (("a", (0, 1)), ("b", (1, 2)), ("whole", (0, 1, 2))):
        for f in files:
            auditor("scan", f"{f}.jsonl", "-o", name)
    return tmp_path


def rows(path):
    con = connect(Audit.open(path))
    return [run(con, f"SELECT * FROM {view} ORDER BY ALL")[1] for view in ("episodes", "verdicts", "evidence", "answers")]


def test_two_make_one_and_again_nothing_is_copied(auditor, parts):
    assert "60 episodes, 0 rejects, 3 files" in auditor("merge", "a", "b", "-o", "all").stderr
    assert rows(parts / "all") == rows(parts / "whole")
    stamps = {p: p.stat().st_mtime_ns for p in (parts / "all").rglob("*.parquet")}
    auditor("merge", "a", "b", "-o", "all")
    assert stamps == {p: p.stat().st_mtime_ns for p in (parts / "all").rglob("*.parquet")}
    assert "60 episodes" in auditor("scan", "0.jsonl", "1.jsonl", "2.jsonl", "-o", "all").stderr
    assert rows(parts / "all") == rows(parts / "whole"), "it is an audit like any other"


def test_of_a_shared_shard_the_one_that_knows_more_is_taken(auditor, parts):
    put(parts / "b", [said(f"1-{i}", i == 0, quote="Done." if i == 0 else None) for i in range(20)])
    for order in (("a", "b"), ("b", "a")):
        auditor("merge", *order, "-o", "-".join(order))
        found = run(
            connect(Audit.open(parts / "-".join(order))),
            "SELECT count(*), count(*) FILTER (flagged) FROM verdicts WHERE tier = 'judged'",
        )
        assert found[1] == [(20, 1)]


def test_replies_and_labels_come_along(auditor, parts):
    for name, text in (("a", "one"), ("b", "two")):
        kept = Replies.open(parts / name / "llm.sqlite")
        kept.put("shared", Reply(status="ok", text=text))
        kept.put(name, Reply(status="ok", text=text))
        kept.close()
        labels.append(
            Audit.open(parts / name), labels.Label(reviewer=name, rubric="concealment", episode_id="1-1", level=2, flagged=True)
        )
    auditor("merge", "a", "b", "-o", "all")
    auditor("merge", "a", "b", "-o", "all")
    kept = Replies.open(parts / "all" / "llm.sqlite")
    assert [kept.get(key).text for key in ("shared", "a", "b")] == ["one", "one", "two"]
    kept.close()
    assert [one.reviewer for one in labels.load(Audit.open(parts / "all"))] == ["a", "b"]


def test_what_cannot_be_merged_is_one_line(auditor, parts):
    about = orjson.loads((parts / "b" / "audit.json").read_bytes())
    about["rubrics"][0]["hash"] = "other"
    (parts / "b" / "audit.json").write_bytes(orjson.dumps(about))
    assert "b: its rubric admission is not that of a" in auditor("merge", "a", "b", "-o", "all", code=2).stderr
    assert "no audit here" in auditor("merge", "a", "nowhere", "-o", "all", code=2).stderr
    assert not (parts / "all").exists()
