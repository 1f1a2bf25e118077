"""The gate: exit codes, limits, a baseline; what is not known does not pass."""

from __future__ import annotations

import json
from xml.etree import ElementTree as ET

import pytest
from conftest import GREEN, RED, episode, write
from judged_rows import put, said

from auditor.errors import QueryError
from auditor.gate import limit

KNOWN = ["admission", "concealment", "reward_hacking"]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("concealment>=3: 0.01", ("concealment", 3, 0.01)),
        ("reward_hack: 5%", ("reward_hacking", None, 0.05)),
        (" concealment >= 2 :1e-3 ", ("concealment", 2, 0.001)),
    ],
)
def test_a_limit_is_read(text, found):
    assert limit(text, KNOWN) == found


@pytest.mark.parametrize(
    "text", ["concealment", "concealment>3: 0.1", "x: 0.1", ": 0.1", "concealment: 2", "concealment: a", "a: 0.1"]
)
def test_what_is_no_limit_is_refused(text):
    with pytest.raises(QueryError, match="--max"):
        limit(text, [*KNOWN, "again"] if text == "a: 0.1" else KNOWN)


def made(auditor, tmp_path, name="audit", hits=0, count=300, **facts):
    episodes = [episode(f"e{i}", *GREEN, task=f"t{i % 60}", **facts) for i in range(count)]
    write(tmp_path / f"{name}.jsonl", episodes)
    auditor("scan", f"{name}.jsonl", "-o", name)
    put(
        tmp_path / name,
        [said(f"e{i}", i < hits, quote="Done." if i < hits else None, level=3 if i < hits else 0) for i in range(count)],
    )


def test_it_passes_only_where_the_whole_interval_is_below(auditor, tmp_path):
    made(auditor, tmp_path, hits=3)
    done = auditor("check", "audit", "--max", "concealment: 5%", "--max", "concealment>=3: 0.05")
    assert done.stdout.count("pass") == 2
    done = auditor("check", "audit", "--max", "concealment: 1.5%", code=1)
    assert "not shown to be below 1.5%" in done.stdout
    assert "1 of 1 checks failed" in done.stderr
    assert "above 0.1%" in auditor("check", "audit", "--max", "concealment: 0.1%", code=1).stdout
    assert "nothing is known" in auditor("check", "audit", "--max", "reward_hacking>=2: 1", code=1).stdout


def test_none_of_many_still_has_a_bound(auditor, tmp_path):
    made(auditor, tmp_path)
    auditor("check", "audit", "--max", "concealment>=3: 0.07")
    auditor("check", "audit", "--max", "concealment>=3: 0.01", code=1)


def test_nothing_known_does_not_pass(auditor, tmp_path):
    write(tmp_path / "logs.jsonl", [episode("e", *RED[:3])])
    auditor("scan", "logs.jsonl", "-o", "audit")
    done = auditor("check", "audit", "--max", "admission: 100%", "--format", "json", code=1)
    (check,) = json.loads(done.stdout)
    assert not check["passed"]
    assert "nothing is known" in check["told"]


def test_a_rate_that_rose_beyond_chance_fails(auditor, tmp_path):
    made(auditor, tmp_path, "before", hits=3, checkpoint="a")
    made(auditor, tmp_path, "audit", hits=60, checkpoint="b")
    done = auditor("check", "audit", "--baseline", "before", "--by", "model", "--max", "concealment: 100%", code=1)
    assert "1.0% → 20.0%" in done.stdout
    made(auditor, tmp_path, "same", hits=5)
    auditor("check", "same", "--baseline", "before", "--by", "model")
    auditor("check", "before", "--baseline", "audit", "--by", "model")
    done = auditor("check", "audit", "--baseline", "before", code=1)
    assert "nothing could be compared by model, checkpoint" in done.stdout


def test_the_junit_file(auditor, tmp_path):
    evil = "m\x1b[2J<&\u202e"
    made(auditor, tmp_path, hits=3, model=evil)
    auditor("check", "audit", "--max", "concealment: 1.5%", "--max", "concealment: 50%", "--junit", "check.xml", code=1)
    suite = ET.parse(tmp_path / "check.xml").getroot()
    assert (suite.get("tests"), suite.get("failures")) == ("2", "1")
    assert "m\\x1b[2J<&\\u202e" in suite[0].get("name")
    done = auditor("check", "audit", "--max", "concealment: 50%", "--junit", "no/where.xml", code=2)
    assert "--junit no/where.xml: cannot be written" in done.stderr


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ((), "give --max or --baseline"),
        (("--max", "concealment"), "write RUBRIC: SHARE"),
        (("--max", "nothing: 1"), "names no rubric of this audit"),
        (("--max", "concealment: 1", "--by", "score"), "--by score: no such column"),
        (("--baseline", "nowhere"), "no audit here"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(auditor, tmp_path, flags, words):
    made(auditor, tmp_path, count=4)
    assert words in auditor("check", "audit", *flags, code=2).stderr


def test_two_models_are_paired_by_task(auditor, tmp_path):
    made_ = [episode(f"{m}-{i}", *GREEN, model=m, task=f"t{i // 2}") for m in ("a", "b") for i in range(40)]
    write(tmp_path / "logs.jsonl", made_)
    auditor("scan", "logs.jsonl", "-o", "audit")
    hit = {f"a-{i}" for i in range(0, 36, 2)} | {"b-0", "b-1"}
    put(tmp_path / "audit", [said(e["id"], e["id"] in hit, quote="Done." if e["id"] in hit else None) for e in made_])
    (found,) = json.loads(
        auditor("compare", "audit", "--models", "a", "b", "--rubric", "concealment", "--format", "json").stdout
    )["contrasts"]
    assert (found["tasks"], found["a"], found["b"]) == (20, pytest.approx(0.45), pytest.approx(0.05))
    assert found["difference"] == pytest.approx(0.4)
    assert found["p"] < 0.001
    assert found["low"] < 0.4 < found["high"]
    table = auditor("compare", "audit", "--models", "a", "b").stdout
    assert "paired over 20 tasks" in table
    assert "'c' is no model of this audit; there are a, b" in auditor("compare", "audit", "--models", "a", "c", code=2).stderr


def test_without_shared_tasks_they_are_two_groups(auditor, tmp_path):
    made_ = [episode(f"{m}-{i}", *GREEN, model=m, task=f"{m}{i}") for m in ("a", "b") for i in range(30)]
    write(tmp_path / "logs.jsonl", made_)
    auditor("scan", "logs.jsonl", "-o", "audit")
    put(
        tmp_path / "audit",
        [said(e["id"], e["id"].startswith("a"), quote="Done." if e["id"].startswith("a") else None) for e in made_],
    )
    (found,) = json.loads(
        auditor("compare", "audit", "--models", "a", "b", "--rubric", "concealment", "--format", "json").stdout
    )["contrasts"]
    assert (found["tasks"], found["k_a"], found["n_a"], found["k_b"]) == (0, 30, 30, 0)
    assert found["p"] < 1e-9
    assert "two groups" in found["method"]
