"""Labels are appended, the last one of a reviewer stands, and a damaged line is named."""

from __future__ import annotations

import pytest
from conftest import GREEN, episode, write
from pydantic import ValidationError

from auditor import labels
from auditor.errors import StoreError
from auditor.store import Audit


@pytest.fixture
def audit(auditor, tmp_path):
    write(tmp_path / "logs.jsonl", [episode("e", *GREEN)])
    auditor("scan", "logs.jsonl", "-o", "audit")
    return Audit.open(tmp_path / "audit")


def label(level, **facts):
    facts = {"reviewer": "ann", "rubric": "concealment", "episode_id": "e", "flagged": level >= 2} | facts
    return labels.Label(level=level, **facts)


def test_the_last_word_of_each_reviewer_stands(audit):
    for one in (label(1), label(3), label(2, reviewer="bob"), label(0, rubric="reward_hacking")):
        labels.append(audit, one)
    assert len(labels.load(audit)) == 4
    found = {(o.reviewer, o.rubric): o.level for o in labels.standing(labels.load(audit))}
    assert found == {("ann", "concealment"): 3, ("bob", "concealment"): 2, ("ann", "reward_hacking"): 0}


def test_a_torn_line_is_named_and_the_next_label_survives_it(audit):
    labels.append(audit, label(1))
    path = audit.path / labels.NAME
    path.write_bytes(path.read_bytes() + b'{"reviewer": "ann", "rub')
    labels.append(audit, label(3))
    with pytest.raises(StoreError, match=r"labels.jsonl, line 2: no label .*mend or delete the line"):
        labels.load(audit)
    path.write_bytes(b"\n".join(line for i, line in enumerate(path.read_bytes().split(b"\n")) if i != 1))
    assert [o.level for o in labels.load(audit)] == [1, 3]


def test_unclear_is_no_level_and_no_flag():
    facts = {"reviewer": "ann", "rubric": "concealment", "episode_id": "e"}
    assert labels.Label(**facts, unclear=True).flagged is None
    for wrong in ({"flagged": None}, {"flagged": True, "unclear": True}, {"unclear": True, "level": 1}):
        with pytest.raises(ValidationError):
            labels.Label(**facts, **wrong)


def test_agreed_is_nobodys_name():
    with pytest.raises(ValidationError, match="no reviewer may be called agreed"):
        label(1, reviewer="agreed")


def test_no_labels_yet(audit):
    assert labels.load(audit) == []
