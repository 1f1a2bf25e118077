"""Labels from a file, a field of the logs or the audit itself; what cannot be used is refused with its place and the way out."""

from __future__ import annotations

import pytest
from conftest import GREEN, RED, episode
from labelled_rows import label, scanned

from auditor import truth
from auditor.errors import InputError, QueryError
from auditor.query import connect
from auditor.rubric import load_all
from auditor.store import Audit


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    kinds = ("honest", "reward_hacking")
    facts = [
        {"metadata": {"labels": [kinds[i % 2], "x"], "deep": {"hack": [True, False, None, "yes"][i]}, "a.b": i % 2}}
        for i in range(4)
    ]
    made = [episode(f"e{i}", *(RED if i else GREEN), passed=[True, False, None, None][i], **facts[i]) for i in range(4)]
    return scanned(tmp_path_factory.mktemp("truth"), made)


@pytest.fixture
def con(path):
    return connect(Audit.open(path))


def of_field(con, name):
    return {r.episode_id: r.flagged for r in truth.from_field(con, name, "concealment").rows}


def of_file(con, folder, text, name="labels.csv", rubric=None):
    (folder / name).write_text(text)
    return truth.from_file(con, str(folder / name), load_all(), rubric)


def test_a_field_of_the_logs(con):
    assert of_field(con, "passed") == {"e0": True, "e1": False}
    assert of_field(con, "passed=false") == {"e0": False, "e1": True}
    assert of_field(con, "metadata.deep.hack") == {"e0": True, "e1": False, "e2": None, "e3": True}
    assert of_field(con, "metadata.a.b") == {"e0": False, "e1": True, "e2": False, "e3": True}, "a key may hold a dot"
    assert of_field(con, "metadata.labels=reward_hacking") == {"e0": False, "e1": True, "e2": False, "e3": True}


def test_a_field_that_cannot_be_a_label(con):
    with pytest.raises(
        QueryError,
        match=r"metadata.nothing: no episode of this audit has it; there are passed, metadata.a.b, metadata.deep, metadata.labels",
    ):
        of_field(con, "metadata.nothing")
    with pytest.raises(QueryError, match="no such field"):
        of_field(con, "episode_id); DROP")
    with pytest.raises(
        QueryError,
        match=r'it holds \["honest","x"\]|it holds \["honest", "x"\], neither true nor false; .* --field metadata.labels=VALUE',
    ):
        of_field(con, "metadata.labels")


def test_a_file_of_labels(con, tmp_path):
    found = of_file(
        con,
        tmp_path,
        "id,rubric,flagged,level\ne0,concealment,,1\ne1,concealment,,2\ne2,concealment,TRUE,0\ne3,concealment,,\nx,concealment,1,\n",
    )
    assert [(r.episode_id, r.flagged) for r in found.rows] == [("e0", False), ("e1", True), ("e2", True), ("e3", None)]
    assert found.unmatched == 1
    lines = '{"episode_id": "e0", "level": 3}\n\n{"episode_id": "e1", "flagged": false}\n'
    found = of_file(con, tmp_path, lines, "labels.jsonl", "grader_gaming")
    assert [(r.rubric, r.flagged) for r in found.rows] == [("grader_gaming", True), ("grader_gaming", False)]


def test_of_each_reviewer_the_last_line_stands_and_they_must_agree(con, tmp_path):
    lines = [
        "id,rubric,reviewer,flagged",
        "e0,concealment,ann,0",
        "e0,concealment,ann,1",
        "e0,concealment,bob,1",
        "e1,concealment,ann,1",
    ]
    found = of_file(con, tmp_path, "\n".join([*lines, "e1,concealment,bob,0"]))
    assert [(r.episode_id, r.flagged) for r in found.rows] == [("e0", True), ("e1", None)]


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("l.csv", "id,flagged\ne0,1\n", r"l.csv, line 2: no rubric; add a column rubric, or give --rubric"),
        ("l.csv", "name,rubric,flagged\ne0,concealment,1\n", r"l.csv, line 2: no id"),
        ("l.csv", "id,rubric\ne0,concealment\n", r"line 2: neither flagged nor level; there are id, rubric"),
        ("l.csv", "id,rubric,flagged\ne0,concealment,maybe\n", r"line 2: flagged is maybe; it is true, false or empty"),
        ("l.csv", "id,rubric,level\ne0,concealment,S2\n", r"line 2: level is S2; it is a number or empty"),
        (
            "l.csv",
            "id,rubric,flagged\ne0,concealed,1\n",
            r"line 2: rubric concealed is none of this audit's: admission, concealment",
        ),
        ("l.jsonl", '{"id": "e0"\n', r"l.jsonl, line 1: no JSON"),
        ("l.jsonl", "[1]\n", r"l.jsonl, line 1: no JSON object"),
    ],
)
def test_a_line_that_cannot_be_used_is_named(con, tmp_path, name, text, told):
    with pytest.raises(InputError, match=told):
        of_file(con, tmp_path, text, name)


def test_labels_of_other_logs_are_refused(con, tmp_path):
    with pytest.raises(
        QueryError, match=r"none of its 2 ids \(such as a\) is an episode of this audit; an id here is e0\. Labels of other logs"
    ):
        of_file(con, tmp_path, "id,rubric,flagged\na,concealment,1\nb,concealment,0\n")
    with pytest.raises(InputError, match=r"gone.csv: cannot be read \(No such file"):
        truth.from_file(con, str(tmp_path / "gone.csv"), load_all())
    with pytest.raises(QueryError, match="no labels in it"):
        of_file(con, tmp_path, "id,rubric,flagged\n")


def test_the_audits_own_labels_carry_the_weight_of_their_stratum(path, con):
    with pytest.raises(
        QueryError,
        match=r"no labels yet; make some with 'auditor label .*/audit --rubric RUBRIC', or give --labels FILE or --field NAME",
    ):
        truth.own(Audit.open(path), con)
    try:
        label(path, "e1", True)
        label(path, "e0", None)
        again = connect(Audit.open(path))
        assert truth.own(Audit.open(path), again).rows == [("concealment", "e0", None, 1.0), ("concealment", "e1", True, 3.0)]
        with pytest.raises(QueryError, match="no labels of reward_hacking yet"):
            truth.own(Audit.open(path), again, "reward_hacking")
    finally:
        (path / "labels.jsonl").unlink()
