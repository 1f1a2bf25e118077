"""Every command as a user types it, and every mistake a user makes: one clear line, no traceback."""

from __future__ import annotations

import csv
import io
import subprocess
import sys
from pathlib import Path

import orjson
import pyarrow.parquet as pq
import pytest
from conftest import GREEN, RED, REPO, episode, write


@pytest.fixture
def audit(auditor, tmp_path):
    write(tmp_path / "logs.jsonl", [episode("red", *RED), episode("green", *GREEN)])
    auditor("scan", "logs.jsonl", "-o", "audit")
    return tmp_path / "audit"


def test_scan_prints_rates_with_n_interval_and_tier(auditor, tmp_path):
    write(tmp_path / "logs.jsonl", [episode("red", *RED), episode("green", *GREEN)])
    out = auditor("scan", "logs.jsonl", "-o", "audit").stdout
    assert "candidate" in out
    assert "1/2" in out
    assert "9.5% to 90.5%" in out, "the Wilson interval of 1/2"
    facts = orjson.loads(auditor("scan", "logs.jsonl", "-o", "audit", "--format", "json").stdout)
    (rate,) = [r for r in facts["rates"] if r["rubric"] == "concealment"]
    assert (rate["k"], rate["n"], rate["method"], rate["tier"]) == (1, 2, "wilson", "candidate")


def test_report_writes_both_files(auditor, audit):
    auditor("report", audit)
    assert "candidates" in (audit / "report.html").read_text()
    assert "| m-1 |" in (audit / "report.md").read_text()
    assert orjson.loads(auditor("report", audit, "--format", "json").stdout)["models"][0]["model"] == "m-1"


def test_query_in_every_format(auditor, audit, tmp_path):
    assert "All 42 tests pass" in auditor("query", audit).stdout
    assert [r["episode_id"] for r in map(orjson.loads, auditor("query", audit, "--format", "jsonl").stdout.splitlines())] == [
        "red"
    ]
    assert orjson.loads(auditor("query", audit, "--format", "json").stdout)[0]["rubric"] == "concealment"
    (row,) = csv.DictReader(io.StringIO(auditor("query", audit, "--format", "csv").stdout))
    assert row["model"] == "m-1"
    auditor("query", audit, "--format", "parquet", "-o", "rows.parquet")
    assert pq.read_table(tmp_path / "rows.parquet").num_rows == 1
    assert "-o" in auditor("query", audit, "--format", "parquet", code=2).stderr
    assert "--model nobody: none in this audit; there are m-1" in auditor("query", audit, "--model", "nobody", code=2).stderr
    auditor("query", audit, "-o", "more.csv")
    assert (tmp_path / "more.csv").read_text().startswith("episode_id,")
    assert "ends in one of .json" in auditor("query", audit, "-o", "more.txt", code=2).stderr
    assert len(auditor("query", audit, "--all", "--format", "jsonl").stdout.splitlines()) == 8


def test_query_takes_sql_and_refuses_to_write_or_to_look_outside(auditor, audit, tmp_path):
    where = auditor("query", audit, "--where", "rubric = 'concealment' AND NOT flagged", "--format", "jsonl").stdout
    assert orjson.loads(where)["episode_id"] == "green"
    assert auditor("query", audit, "--sql", "SELECT count(*) AS n FROM episodes", "--format", "jsonl").stdout == '{"n": 2}\n'
    (tmp_path / "secret.csv").write_text("a\n1\n")
    for sql in (
        f"SELECT * FROM read_csv('{tmp_path}/secret.csv')",
        "DROP VIEW episodes",
        f"COPY (SELECT 1) TO '{audit}/x.parquet'",
        "ATTACH 'x.db'",
        "SET enable_external_access=true",
        "SELECT 1; SELECT 2",
        "SELEC",
        "SELECT nothing FROM episodes",
    ):
        error = auditor("query", audit, "--sql", sql, code=2).stderr
        assert error.startswith("auditor: ")
        assert error.count("\n") == 1
    for where in ("1=1) UNION SELECT * FROM (VALUES (1)", "1=1; DROP VIEW episodes", "-- "):
        auditor("query", audit, "--where", where, code=2)
    assert not (audit / "x.parquet").exists()


def test_show_marks_evidence_and_makes_hostile_text_visible(auditor, tmp_path):
    hostile = [*RED[:-1], {"role": "assistant", "content": "\x1b[2J\u202eAll 42 tests pass\u2066 now."}]
    write(tmp_path / "logs.jsonl", [episode("red\x1b[31m", *hostile)])
    auditor("scan", "logs.jsonl", "-o", "audit")
    out = auditor("show", "audit", "red").stdout
    assert "\x1b[2J" not in out
    assert "\u202e" not in out
    assert "\\x1b" in out
    assert "pass-claimed-after-failure" in out
    told = orjson.loads(auditor("show", "audit", "red", "--format", "json").stdout)
    assert told["evidence"][0]["quote"]
    assert "no episode" in auditor("show", "audit", "nope", code=2).stderr


def test_show_reads_an_unflagged_episode_from_its_source(auditor, audit, tmp_path):
    assert "42 passed" in auditor("show", audit, "green").stdout
    (tmp_path / "logs.jsonl").unlink()
    assert "42 tests pass" in auditor("show", audit, "red").stdout, "flagged episodes are kept in the audit"
    assert "not flagged" in auditor("show", audit, "green", code=2).stderr


def test_formats_convert_and_rubrics(auditor, tmp_path):
    assert "claude_code" in auditor("formats").stdout
    assert {"auditor", "openai_chat"} <= {f["name"] for f in orjson.loads(auditor("formats", "--format", "json").stdout)}
    chat = {"messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "hello"}], "model": "m"}
    (tmp_path / "chat.jsonl").write_bytes(orjson.dumps(chat) + b"\n")
    line = orjson.loads(auditor("convert", "chat.jsonl").stdout)
    assert line["messages"][1] == {"role": "assistant", "content": "hello"}
    auditor("convert", "chat.jsonl", "-o", "out.jsonl")
    again = orjson.loads(auditor("convert", "out.jsonl").stdout)
    assert again["messages"] == line["messages"]
    assert again["id"] == line["id"]
    assert "concealment" in auditor("rubrics", "list").stdout
    assert auditor("rubrics", "show", "concealment").stdout == (REPO / "rubrics" / "concealment.yaml").read_text()
    assert "no rubric" in auditor("rubrics", "show", "nope", code=2).stderr


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (["scan", "missing/", "-o", "a"], "no such file"),
        (["scan", "logs.jsonl", "-o", "full"], "holds"),
        (["scan", "logs.jsonl", "-o", "logs.jsonl"], "is a file"),
        (["scan", "logs.jsonl", "-o", "/proc/nope/a"], "cannot write"),
        (["scan", "logs.jsonl", "-o", "a", "--rubrics", "nowhere"], "no such folder"),
        (["scan", "logs.jsonl", "-o", "a", "--mapping", "nowhere.yaml"], "nowhere.yaml"),
        (["scan", "logs.jsonl", "-o", "a", "--join", "nowhere.csv"], "nowhere.csv"),
        (["report", "full"], "no audit here"),
        (["query", "nowhere"], "no audit here"),
        (["convert", "logs.jsonl", "-o", "/proc/nope/x"], "cannot write"),
    ],
)
def test_a_mistake_is_one_line(auditor, tmp_path, args, told):
    write(tmp_path / "logs.jsonl", [episode("green", *GREEN)])
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").write_text("years of work")
    error = auditor(*args, code=2).stderr
    assert told in error
    assert error.startswith("auditor: ")
    assert error.count("\n") == 1
    assert not (tmp_path / "a" / "audit.json").exists()
    assert (tmp_path / "full" / "thesis.tex").read_text() == "years of work"


def test_two_writers_at_once_are_kept_apart(auditor, audit, tmp_path):
    import fcntl

    with (audit / ".lock").open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert "another auditor is writing" in auditor("scan", "logs.jsonl", "-o", "audit", code=2).stderr


def test_a_full_disk_is_one_line(tmp_path, auditor):
    """A real full disk: a tmpfs of 1 MB, where this machine allows to mount one."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", disk], check=False, capture_output=True).returncode:
        pytest.skip("mounting a small disk is not allowed here")
    try:
        rows = [
            episode(f"e{i}", *RED[:-1], {"role": "assistant", "content": f"All 42 tests pass. {'x' * i}{i * 7919}"})
            for i in range(6000)
        ]
        write(tmp_path / "logs.jsonl", rows)
        error = auditor("scan", "logs.jsonl", "-o", disk / "audit", "--jobs", "1", code=2).stderr
        assert "No space left" in error
        assert not list((disk / "audit").rglob("*.tmp"))
    finally:
        subprocess.run(["umount", disk], check=True)


def test_empty_input_gives_an_audit_that_says_so(auditor, tmp_path):
    (tmp_path / "empty.jsonl").write_bytes(b"\n\n")
    assert "0 episodes, 1 rejects" in auditor("scan", "empty.jsonl", "-o", "audit").stderr
    auditor("report", "audit")
    assert "No episodes were read" in (tmp_path / "audit" / "report.html").read_text()
    assert auditor("query", "audit", "--format", "jsonl").stdout == ""


@pytest.mark.parametrize("args", [["--help"], ["query", "AUDIT"]])
def test_help_and_query_import_neither_openai_nor_pandas(audit, args):
    code = (
        "import sys; sys.argv = ['auditor', *sys.argv[1:]]\n"
        "from auditor.cli import main\n"
        "try: main()\n"
        "except SystemExit as done: assert not done.code\n"
        "assert not {'openai', 'pandas', 'statsmodels'} & set(sys.modules)\n"
    )
    args = [str(audit) if a == "AUDIT" else a for a in args]
    subprocess.run([sys.executable, "-c", code, *args], check=True, stdout=subprocess.DEVNULL)


def test_every_command_has_help_with_what_it_does(auditor):
    for command in ("scan", "query", "show", "report", "formats", "convert", "rubrics"):
        assert len(auditor(command, "--help").stdout) > 150


def test_output_pipes_into_head(audit):
    binary = Path(sys.executable).with_name("auditor")
    done = subprocess.run(f"{binary} query {audit} --all --format jsonl | head -1", shell=True, capture_output=True, check=False)
    assert b"Traceback" not in done.stderr
    assert done.stdout.count(b"\n") == 1
