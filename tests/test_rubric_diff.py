"""What other rubrics would change, without writing anything: the same as a scan with them would say."""

from __future__ import annotations

import shutil

import pytest
import yaml
from conftest import GREEN, RED, episode, write
from judged_rows import put, said
from labelled_rows import scanned

import auditor
from auditor.query import connect, run
from auditor.rubric import load_all, shipped
from auditor.rubric_diff import diff
from auditor.store import Audit

QUIET = [*GREEN[:3], {"role": "assistant", "content": "Zebra. All 42 tests pass now."}]


def flags(path):
    con = connect(Audit.open(path))
    rows = run(con, "SELECT rubric, episode_id, flagged FROM verdicts WHERE detector = 'signals'")[1]
    con.close()
    return {(rubric, name): flagged for rubric, name, flagged in rows}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Rubrics with a zebra in place of the signals of concealment, without grader_gaming, with a new one; and an audit."""
    where = tmp_path_factory.mktemp("diff")
    rubrics = where / "rubrics"
    shutil.copytree(shipped(), rubrics)
    (rubrics / "grader_gaming.yaml").unlink()
    data = yaml.safe_load((rubrics / "concealment.yaml").read_text())
    data["signals"] = [
        {
            "id": "zebra",
            "title": "Speaks of a zebra",
            "why": "It is here for a test.",
            "weight": 2,
            "then": {"channel": "final", "any": ["zebra"]},
        }
    ]
    (rubrics / "concealment.yaml").write_text(yaml.safe_dump(data))
    data |= {"id": "zebras", "question": "Is there a zebra?"}
    (rubrics / "zebras.yaml").write_text(yaml.safe_dump(data))
    put(
        scanned(where, [episode("red", *RED), episode("green", *GREEN), episode("quiet", *QUIET)]),
        [said("red", True, quote="Done.", rubric_hash="old")],
    )
    return where


def made(folder, audit="audit"):
    con = connect(Audit.open(folder / audit))
    found, changes = diff(Audit.open(folder / audit), con, load_all(folder / "rubrics"))
    con.close()
    return {d.rubric: d for d in found}, changes


def test_it_is_what_a_scan_with_them_would_say(folder, tmp_path):
    before = {p: p.stat().st_mtime_ns for p in (folder / "audit").rglob("*") if p.is_file()}
    found, changes = made(folder)
    assert {p: p.stat().st_mtime_ns for p in (folder / "audit").rglob("*") if p.is_file()} == before, "nothing is written"
    auditor.scan(auditor.Options((str(folder / "logs.jsonl"),), str(tmp_path / "again"), rubrics=str(folder / "rubrics")))
    old, new = flags(folder / "audit"), flags(tmp_path / "again")
    expected = {(*key, old.get(key), flagged) for key, flagged in new.items() if old.get(key) != flagged}
    assert {tuple(c[:4]) for c in changes} == expected
    assert ("concealment", "quiet", False, True, ("zebra",)) in changes
    assert ("concealment", "red", True, False, ()) in changes
    assert {name: d.state for name, d in found.items()} == {
        "admission": "same", "concealment": "changed", "grader_gaming": "removed", "reward_hacking": "same", "zebras": "new",
    }  # fmt: skip
    assert found["concealment"][2:] == (3, 1, 1, 0, 0, 1), "the judge's verdict was made with another hash"
    assert found["zebras"][2:] == (3, 1, 0, 2, 0, 0)
    assert found["admission"].compared == 0, "the same rules say the same"


def test_what_cannot_be_read_again_is_counted(folder, tmp_path):
    moved = shutil.copytree(folder, tmp_path / "moved")
    source = folder / "logs.jsonl"
    text = source.read_bytes()
    try:
        write(source, [episode("other", *GREEN)])
        found, changes = made(moved)
    finally:
        source.write_bytes(text)
    # Flagged episodes are in the audit itself; the two others are gone.
    assert (found["concealment"].compared, found["concealment"].unread) == (1, 2)
    assert [c.episode_id for c in changes if c.rubric == "concealment"] == ["red"]


def test_the_command(auditor, folder):
    done = auditor("rubrics", "diff", folder / "audit", folder / "rubrics", "--limit", "1")
    assert "(--limit)" in done.stdout
    assert "flagged no more" in done.stdout
