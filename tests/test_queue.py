"""The queue: where detectors disagree first, a part of the rest always; whoever stops anywhere leaves a random sample."""

from __future__ import annotations

import shutil

import pytest
from conftest import GREEN, RED, episode
from judged_rows import put, said
from labelled_rows import label, scanned
from sklearn.metrics import cohen_kappa_score

from auditor import labels
from auditor.errors import QueryError
from auditor.query import connect
from auditor.queue import agreement, queue, shuffled
from auditor.sample import uniform
from auditor.store import Audit


@pytest.fixture(scope="module")
def judged(tmp_path_factory):
    """48 episodes, each fourth a candidate. The judge: 0 to 3 agree at level 3, 8 and 12 cleared, 1 found by it alone."""
    made = [episode(f"e{i:02}", *(RED if i % 4 == 0 else GREEN), task=f"t{i % 6}") for i in range(48)]
    audit = scanned(tmp_path_factory.mktemp("queue"), made)
    verdicts = [said(f"e{i:02}", i % 4 == 0, level=2 * (i % 4 == 0)) for i in range(16, 44)]
    verdicts += [
        said("e00", True, level=3),
        said("e04", True, level=4),
        said("e08", False),
        said("e12", False),
        said("e01", True),
    ]
    put(audit, verdicts)
    return audit


@pytest.fixture
def path(judged, tmp_path):
    return shutil.copytree(judged, tmp_path / "audit")


DISAGREE, HIGH, FLAGGED = {"e01", "e08", "e12"}, {"e00", "e04"}, {f"e{i}" for i in range(16, 48, 4)}


def of(path, n, **more):
    con = connect(Audit.open(path))
    return queue(con, "concealment", **{"reviewer": "ann", "n": n} | more)


def test_disagreement_first_and_something_of_every_stratum_soon(path):
    found = of(path, 16)
    assert [q.stratum for q in found] == [
        "disagreement", "high", "disagreement", "rest", "flagged", "disagreement", "high", "rest",
        "flagged", "flagged", "flagged", "rest", "flagged", "flagged", "flagged", "rest",
    ]  # fmt: skip
    assert {q.episode_id for q in found if q.stratum == "disagreement"} == DISAGREE
    assert {q.episode_id for q in found if q.stratum == "high"} == HIGH
    assert {q.episode_id for q in found if q.stratum == "flagged"} < FLAGGED
    inclusion = {q.stratum: q.inclusion for q in found}
    assert inclusion == {"disagreement": 1, "high": 1, "flagged": 7 / 8, "rest": 4 / 35}


def test_the_order_in_a_stratum_is_the_hash_of_the_sample(path):
    for seed in (0, 7):
        rest = [q.episode_id for q in of(path, 48, seed=seed) if q.stratum == "rest"]
        assert len(rest) == 35
        assert rest == sorted(rest, key=lambda name: uniform(name, seed))


def test_blind_the_order_tells_nothing_of_the_strata(path):
    found = of(path, 16)
    mixed = shuffled(found)
    assert sorted(mixed) == sorted(found)
    assert [q.stratum for q in mixed] != [q.stratum for q in found]
    for name in ("disagreement", "flagged", "rest"):
        assert [q for q in mixed if q.stratum == name] == [q for q in found if q.stratum == name]


def test_one_of_the_rest_even_in_a_short_queue(path):
    assert [q.stratum for q in of(path, 3)] == ["disagreement", "high", "rest"]
    assert [q.stratum for q in of(path, 1)] == ["rest"]
    assert of(path, 0) == []


def test_what_a_reviewer_has_labelled_does_not_come_again(path):
    first = of(path, 5)
    for q in first:
        label(path, q.episode_id, False)
    again = of(path, 100)
    assert len(again) == 43
    assert not {q.episode_id for q in first} & {q.episode_id for q in again}
    # Another reviewer reads the same ones, so that their words can be compared; they are drawn already.
    assert [q.episode_id for q in of(path, 5, reviewer="bob")] == [q.episode_id for q in first]
    assert of(path, 4, reviewer="bob")[3].inclusion == 1 / 35


def test_what_was_picked_by_hand_is_nobodys_draw(path):
    label(path, "e08", True, queued=False)
    assert "e08" not in {q.episode_id for q in of(path, 100, reviewer="bob")}
    assert of(path, 1)[0].inclusion == 1 / 35


def test_nobody_reads_episodes_that_lack_what_the_rubric_needs(path):
    con = connect(Audit.open(path))
    assert queue(con, "admission", reviewer="ann", n=9) == [], "nobody was asked"
    with pytest.raises(QueryError, match="--rubric nothing: none in this audit; there are admission, concealment"):
        queue(con, "nothing", reviewer="ann", n=9)


def test_agreement_of_reviewers():
    def one(reviewer, i, flagged):
        return labels.Label(reviewer=reviewer, rubric="r", episode_id=f"e{i}", flagged=flagged, unclear=flagged is None)

    a = [True, True, False, False, False, None, True]
    b = [True, False, False, False, False, True]
    told = [one("ann", i, v) for i, v in enumerate(a)] + [one("bob", i, v) for i, v in enumerate(b)]
    (pair,) = agreement(told, "r")
    assert (pair.reviewers, pair.n) == (("ann", "bob"), 5)
    assert pair.kappa == pytest.approx(cohen_kappa_score(a[:5], b[:5]))
    assert pair.pabak == pytest.approx(2 * 4 / 5 - 1)
    assert -1 <= pair.alpha <= 1
    told += [one("cid", 0, True)]
    found = agreement(told, "r")
    assert [f.reviewers for f in found] == [("ann", "bob"), ("ann", "cid"), ("bob", "cid"), ("ann", "bob", "cid")]
    assert found[1].kappa is None, "one episode alone says nothing"
    assert found[3].n == 5
    assert agreement(told, "other") == []
