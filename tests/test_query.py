"""Which rows of which parts count, and how they are listed."""

from __future__ import annotations

import pytest
from conftest import GREEN, RED, episode, write
from judged_rows import put, said

from auditor.query import connect, find_episodes, run
from auditor.store import Audit


@pytest.fixture
def path(auditor, tmp_path):
    write(tmp_path / "logs.jsonl", [episode("red", *RED), episode("green", *GREEN)])
    auditor("scan", "logs.jsonl", "-o", "audit")
    return tmp_path / "audit"


def ask(path, sql):
    con = connect(Audit.open(path))
    try:
        return run(con, sql)[1]
    finally:
        con.close()


def test_judge_rows_stand_beside_the_signals(path):
    before = ask(path, "SELECT * FROM verdicts ORDER BY ALL")
    put(path, [said("red", True, quote="Done."), said("green", False)])
    assert ask(path, "SELECT * FROM verdicts WHERE detector = 'signals' ORDER BY ALL") == before
    assert ask(path, "SELECT episode_id, tier, flagged FROM verdicts WHERE detector = 'judge:m' ORDER BY 1") == [
        ("green", "judged", False),
        ("red", "judged", True),
    ]
    assert ask(path, "SELECT signal, quote FROM evidence WHERE detector = 'judge:m'") == [(None, "Done.")]


def test_of_an_older_part_only_what_is_still_live_counts(path):
    put(path, [said("red", True, quote="Done."), said("red", False, view="actions"), said("red", True, judge="n", quote="Done.")])
    put(path, [said("red", False, rubric_hash="h2")], part="j2")
    found = ask(path, "SELECT detector, view, flagged, rubric_hash FROM verdicts WHERE tier = 'judged' ORDER BY ALL")
    assert found == [
        ("judge:m", "actions", False, "h1"),
        ("judge:m", "all", False, "h2"),
        ("judge:n", "all", True, "h1"),
    ]
    assert ask(path, "SELECT DISTINCT detector FROM evidence ORDER BY 1") == [("judge:n",), ("signals",)]


def test_the_quote_of_a_row_is_its_own(path):
    put(path, [said("red", True, quote="Done."), said("red", True, quote="Done. All", view="actions")])
    con = connect(Audit.open(path))
    columns, rows = find_episodes(con, rubric="concealment")
    picked = [tuple(row[columns.index(c)] for c in ("detector", "view", "quote")) for row in rows]
    assert [p[:2] for p in picked] == [("signals", "all"), ("judge:m", "actions"), ("judge:m", "all")]
    assert [p[2] for p in picked[1:]] == ["Done. All", "Done."]
    con.close()


def test_levels_are_a_judges_and_unknown_is_not_listed_as_flagged(path):
    put(path, [said("red", True, quote="Done.", level=3), said("green", None, status="refused", error="refused")])
    con = connect(Audit.open(path))
    columns, rows = find_episodes(con, min_level=3)
    assert [(r[0], r[columns.index("detector")]) for r in rows] == [("red", "judge:m")]
    assert not find_episodes(con, min_level=4)[1]
    assert ("green", "refused") not in [(r[0], r[columns.index("status")]) for r in find_episodes(con)[1]]
    assert [r[0] for r in find_episodes(con, where="status = 'refused'")[1]] == ["green"]
    con.close()
