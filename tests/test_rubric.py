"""A rubric that cannot be used is refused by file, rubric, signal and key."""

from __future__ import annotations

import pytest
import yaml

from auditor.errors import RubricError
from auditor.rubric import Rubric, load, load_all, shipped

BASE = """
id: mine
title: Mine
version: 1
status: experimental
question: Is it so?
criteria: [{id: so, ask: "Is it?"}]
levels: [{value: 0, name: none, when: [not so], rule: "no"}, {value: 1, name: some, when: [so], rule: "yes"}]
flag_from: 1
signals:
  - id: one
    title: Says one thing
    why: because of a test
    weight: 2
    then: {channel: final, any: ['\\bdone\\b']}
judge: {views: [all], finding: one thing, instructions: look}
"""


def refuse(tmp_path, text: str) -> str:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(RubricError) as error:
        load(path)
    assert str(path) in str(error.value)
    return str(error.value)


def test_a_good_one_loads(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(BASE)
    assert load(path).signals[0].weight == 2


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        (r"'\bdone\b'", r"'(?=a)b'", ["signals → one", "RE2 refuses", "(?=a)b"]),
        (r"'\bdone\b'", r"'(a)\1'", ["RE2 refuses"]),
        (r"'\bdone\b'", '"\\bdone\\b"', ["single quotes"]),
        (r"'\bdone\b'", "'x*'", ["matches the empty text"]),
        ("weight: 2", "weight: 7", ["signals → one → weight"]),
        ("weight: 2", "weight: 2\n    wieght: 3", ["wieght"]),
        ("weight: 2", "weight: 2\n    weight: 3", ["stands twice", "mine.yaml:15"]),
        ("channel: final", "channel: finale", ["channel"]),
        ("channel: final", "channel: final, outcome: [failed]", ["`outcome` goes with a run"]),
        ("channel: final", "channel: final, ledger: edit", ["either `channel`"]),
        ("when: [so]", "when: [sow]", ["sow", "no criterion"]),
        ("flag_from: 1", "flag_from: 9", ["flag_from"]),
        ("when: [not so], rule", "when: [so], rule", ["levels: none holds for not so"]),
        ("status: experimental", "status: no", ["status"]),
        ("id: mine", "id: yours", ["yours.yaml"]),
        ("question: Is it so?", "question: [", ["mine.yaml:"]),
    ],
)
def test_a_bad_one_is_refused_by_name(tmp_path, old, new, told):
    assert old in BASE
    message = refuse(tmp_path, BASE.replace(old, new, 1))
    for words in told:
        assert words in message, message


def test_the_hash_covers_what_can_change_a_verdict_and_no_more():
    data = yaml.safe_load(BASE)
    first = Rubric.model_validate(data).signals_hash
    data["title"], data["signals"][0]["why"], data["judge"]["instructions"] = "Other", "another reason for it", "think"
    assert Rubric.model_validate(data).signals_hash == first
    data["signals"][0]["then"]["any"] = ["\\bready\\b"]
    assert Rubric.model_validate(data).signals_hash != first


def test_signals_and_judge_are_hashed_apart():
    data = yaml.safe_load(BASE)
    first = Rubric.model_validate(data)
    data["signals"][0]["then"]["any"] = ["\\bready\\b"]
    assert Rubric.model_validate(data).judge_hash == first.judge_hash
    data["judge"]["instructions"] = "look twice"
    assert Rubric.model_validate(data).judge_hash != first.judge_hash


def test_an_unclear_answer_matters_only_where_it_could_change_the_level():
    rubric = load(shipped() / "concealment.yaml")
    known = {"owed": True, "knew": True, "material": True, "settled": False, "intent": False, "aggravated": None}
    assert rubric.levels_of(known) == {2}
    assert rubric.levels_of({**known, "intent": None}) == {2, 3, 4}
    assert rubric.levels_of({**known, "settled": None}) == {0, 2}


def test_levels_follow_from_criteria_and_unclear_is_not_clean():
    rubric = load(shipped() / "concealment.yaml")
    known = {"owed": True, "knew": True, "material": True, "settled": False, "intent": False, "aggravated": False}
    assert rubric.level_of(known) == 2
    assert rubric.level_of({**known, "intent": True}) == 3
    assert rubric.level_of({**known, "intent": None}) is None
    assert rubric.level_of({**known, "settled": True}) == 0
    assert rubric.level_of({**known, "knew": False}) == 1
    assert rubric.level_of({**known, "owed": False, "knew": False}) == 0
    assert rubric.level_of({}) is None


def test_the_shipped_rubrics_load_and_name_no_folder_in_vain(tmp_path):
    assert [r.id for r in load_all()] == ["admission", "concealment", "grader_gaming", "reward_hacking"]
    with pytest.raises(RubricError, match="no rubrics here"):
        load_all(tmp_path)


@pytest.mark.parametrize("name", ["concealment", "grader_gaming", "reward_hacking"])
def test_what_is_flagged_rests_on_a_quote(name):
    rubric = load(shipped() / f"{name}.yaml")
    proved = {c.id for c in rubric.criteria if c.quote}
    for level in rubric.levels:
        assert level.value < rubric.flag_from or proved & set(level.when), level.name


def test_the_codes_of_the_codebook_are_all_there():
    codes = {r.id: set(r.codes) for r in load_all()}
    assert codes["reward_hacking"] == {f"X{i}" for i in range(1, 18)}
    assert codes["concealment"] == {f"M{i}" for i in range(1, 11)} | {f"K{i}" for i in range(1, 15)}
    assert codes["admission"] == {f"A{i}" for i in range(6)} | {"AX", "AO"}
