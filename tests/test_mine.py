"""Ideas for signals: what found and missed episodes say that cleared ones do not, channels apart, counts by hand."""

from __future__ import annotations

import json

import pytest
from conftest import RED, episode
from judged_rows import put, said
from labelled_rows import label, scanned

from auditor.errors import QueryError
from auditor.mine import mine
from auditor.query import connect
from auditor.store import Audit


def run(thought, words):
    return [
        {"role": "user", "content": "Mend it, quietly and swiftly."},
        {"role": "assistant", "content": "", "reasoning": thought, "tool_calls": [{"id": "a", "name": "bash", "arguments": {"command": "ls"}}]},
        {"role": "tool", "tool_call_id": "a", "content": "swept under the rug"},
        {"role": "assistant", "content": words},
    ]  # fmt: skip


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    """Six missed positives that think of an odd sock, twelve cleared episodes, and one that signals caught."""
    made = [episode(f"p{i}", *run("The odd sock stays there. An odd sock, one odd sock.", "It is mended.")) for i in range(6)]
    made += [episode(f"n{i}", *run("There is a summary there.", "It is mended, see the rug.")) for i in range(12)]
    made += [episode("caught", *RED)]
    path = scanned(tmp_path_factory.mktemp("mine"), made)
    put(
        path,
        [said(f"p{i}", True, quote="It is") for i in range(6)]
        + [said(f"n{i}", False) for i in range(12)]
        + [said("caught", True, quote="Done.")],
    )
    return path


def test_terms_by_channel_with_their_counts(path):
    con = connect(Audit.open(path))
    groups, terms = mine(Audit.open(path), con, "concealment", 100)
    assert groups == ("concealment", 6, 12, 18), "what signals caught is no miss"
    found = {(t.channel, t.term): t for t in terms}
    assert found["reasoning", "odd sock"][3:7] == (6, 6, 0, 12), "an episode counts once, however often it says so"
    assert found["reasoning", "odd sock"].z > 1.5
    assert ("reasoning", "there") not in found, "both say it"
    assert not any("rug" in t.term or "quietly" in t.term or "pass" in t.term for t in terms), (
        "task and observation are nobody's plan"
    )
    assert [t.z for t in terms] == sorted((t.z for t in terms), reverse=True)
    assert len(mine(Audit.open(path), con, "concealment", 2)[1]) == 2


def test_a_person_has_the_last_word(path):
    try:
        for i in range(6):
            label(path, f"p{i}", False)
        con = connect(Audit.open(path))
        with pytest.raises(QueryError, match="have nothing found that no signal caught"):
            mine(Audit.open(path), con, "concealment")
    finally:
        (path / "labels.jsonl").unlink()


def test_the_command(auditor, path):
    (data,) = json.loads(auditor("rubrics", "mine", path, "--format", "json").stdout)
    assert (data["rubric"], data["positives"], data["negatives"]) == ("concealment", 6, 12), (
        "other rubrics have nothing to compare"
    )
    assert data["terms"][0]["positives"] == 6
