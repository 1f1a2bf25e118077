"""The detectors against labels: counts recomputed from the files, weights, thresholds, errors to read, two audits."""

from __future__ import annotations

import json
import shutil

import pandas as pd
import pytest
from conftest import GREEN, RED, REPO, episode
from judged_rows import put, said
from labelled_rows import label, scanned
from sklearn import metrics

from auditor import truth, validate
from auditor.query import connect
from auditor.rubric import load_all
from auditor.store import Audit

LABELLED = REPO.parent / "shared" / "labelled"
N = 60


def true(i):
    return i % 6 == 0 or i % 10 == 1


@pytest.fixture(scope="module")
def judged(tmp_path_factory):
    """60 episodes, two a task; the signals flag every third, a judge read the candidates and six others (weight 40/6)."""
    made = [
        episode(f"e{i:02}", *(RED if i % 3 == 0 else GREEN), task=f"t{i // 2}", metadata={"truth": true(i)}) for i in range(N)
    ]
    path = scanned(tmp_path_factory.mktemp("validate"), made)
    rest = [i for i in range(N) if i % 3]
    verdicts = [said(f"e{i:02}", i % 6 == 0, quote="Done.", level=3 * (i % 6 == 0), stratum="candidate") for i in range(0, N, 3)]
    verdicts += [said(f"e{i:02}", i == 1, level=2 * (i == 1), stratum="rest", weight=40 / 6) for i in rest[:6]]
    verdicts += [said(f"e{i:02}", None, status="skipped", error="not drawn (…)", stratum="rest", weight=0.0) for i in rest[6:]]
    verdicts += [said(f"e{i:02}", i == 0, view="actions", level=None) for i in range(10)]
    put(path, verdicts)
    return path


@pytest.fixture
def con(judged):
    return connect(Audit.open(judged))


@pytest.fixture
def labels(con):
    return truth.from_field(con, "metadata.truth", "concealment")


def test_the_signals_row_is_what_the_parquet_files_say(judged, con, labels):
    found = validate.accuracies(con, labels)[0]
    assert found.key == ("concealment", "signals", "all")
    frame = pd.concat(pd.read_parquet(p) for p in (judged / "verdicts").glob("*.parquet"))
    frame = frame[(frame.detector == "signals") & (frame.rubric == "concealment")].sort_values("episode_id")
    y = [true(int(name[1:])) for name in frame.episode_id]
    flagged = frame.flagged.astype(bool)
    tn, fp, fn, tp = metrics.confusion_matrix(y, flagged).ravel()
    assert found.counts == (tp, fp, fn, tn)
    assert found.measures["f1"].value == pytest.approx(metrics.f1_score(y, flagged))
    score = [json.loads(a)["weight"] for a in frame.attributes]
    assert found.ranking.auroc.value == pytest.approx(metrics.roc_auc_score(y, score))
    assert (found.how, found.tasks, found.unknown) == ("each episode once", 30, 0)


def test_a_judge_that_read_a_sample_is_weighted_by_it(con, labels):
    found = {a.key[1:]: a for a in validate.accuracies(con, labels)}
    judge = found["judge:m", "all"]
    rest = [i for i in range(N) if i % 3][:6]
    missed = sum(true(i) and i != 1 for i in rest)
    assert judge.counts == (10 + 1, 0, missed + sum(true(i) for i in range(3, N, 6)), judge.counts.tn)
    assert sum(judge.counts) == 26
    assert judge.unknown == 34, "whom nobody drew is not known, and neither right nor wrong"
    fn = sum(true(i) for i in range(3, N, 6)) + missed * 40 / 6
    assert judge.measures["recall"].value == pytest.approx((10 + 40 / 6) / (10 + 40 / 6 + fn))
    assert judge.how == "weighted by 1 / inclusion"
    assert sum(found["judge:m", "actions"].counts) == 10
    assert found["judge:m", "actions"].ranking is None, "no levels"


def test_labels_from_the_queue_are_weighted(judged, tmp_path):
    path = shutil.copytree(judged, tmp_path / "audit")
    drawn = [1, 3, 6, 12, 2, 4]
    for i in drawn:
        label(path, f"e{i:02}", true(i))
    con = connect(Audit.open(path))
    found = validate.accuracies(con, truth.own(Audit.open(path), con))
    # disagreement: 1 and the ten candidates that the judge cleared; high: the other ten candidates; rest: 39.
    weight = {1: 11 / 2, 3: 11 / 2, 6: 10 / 2, 12: 10 / 2, 2: 39 / 2, 4: 39 / 2}
    signals = next(a for a in found if a.key.detector == "signals")
    tp = weight[6] + weight[12]
    assert signals.measures["recall"].value == pytest.approx(tp / (tp + weight[1]))
    judge = next(a for a in found if a.key.detector == "judge:m" and a.key.view == "all")
    assert judge.measures["specificity"].value == 1
    assert judge.weighted


def test_reviewers_are_compared_with_each_other(auditor, judged, tmp_path):
    path = shutil.copytree(judged, tmp_path / "audit")
    for i, (ann, bob) in enumerate([(True, True), (False, False), (True, False), (False, False)]):
        label(path, f"e{i + 1:02}", ann)
        label(path, f"e{i + 1:02}", bob, reviewer="bob")
    done = auditor("validate", "audit", "--format", "json")
    data = json.loads(done.stdout)
    assert data["unread"] == {"concealment": "10 high"}
    assert done.stderr.startswith("concealment: of 10 high nothing was read, so these numbers are not of them")
    assert data["reviewers"] == [
        {"rubric": "concealment", "reviewers": ["ann", "bob"], "n": 4, "alike": 3, "kappa": 0.5, "pabak": 0.5, "alpha": data["reviewers"][0]["alpha"]}
    ]  # fmt: skip
    assert all(a["n"] + a["unknown"] == 4 for a in data["accuracy"] if a["view"] == "all"), "where they differ it is not known"


def test_a_threshold_in_place_of_the_flag(con, labels):
    (signals, *_) = validate.accuracies(con, labels, validate.Chosen(at=99))
    assert signals.counts[:2] == (0, 0)
    assert signals.threshold == 99


def test_a_threshold_is_chosen_on_other_tasks_than_it_is_reported_on(con, labels):
    chosen = validate.Chosen(choose=True)
    signals = validate.accuracies(con, labels, chosen)[0]
    reported = [i for i in range(N) if not chosen.first_half(f"e / t{i // 2}")]
    assert 0 < len(reported) < N
    assert sum(signals.counts) == len(reported)
    assert signals.threshold == 3
    assert signals.tasks == len(reported) // 2
    wrong = validate.errors(con, labels, [signals], chosen, 99)
    assert len(wrong) == signals.counts.fp + signals.counts.fn
    assert {int(e.episode_id[1:]) for e in wrong} <= set(reported)


def test_errors_to_read_come_with_the_words_that_misled(con, labels):
    found = validate.accuracies(con, labels)
    wrong = [e for e in validate.errors(con, labels, found, validate.Chosen(), 99) if e.key.detector == "signals"]
    assert {e.episode_id for e in wrong} == {f"e{i:02}" for i in range(N) if (i % 3 == 0) != true(i)}
    assert [e.said for e in wrong] == sorted((e.said for e in wrong), reverse=True), "false alarms first"
    assert all((e.quote is not None) == e.said for e in wrong)
    assert len(validate.errors(con, labels, found[:1], validate.Chosen(), 2)) == 2


def test_two_audits_on_the_same_labels(judged, con, labels, tmp_path):
    other = shutil.copytree(judged, tmp_path / "other")
    put(other, [said(f"e{i:02}", true(i)) for i in range(0, N, 3)], part="j9")
    (judge, signals) = validate.against(con, connect(Audit.open(other)), labels)
    assert (signals.detector, signals.here, signals.there, signals.p) == ("signals", 0, 0, 1.0)
    now_right = sum(true(i) for i in range(3, N, 6))
    assert (judge.detector, judge.n, judge.here, judge.there) == ("judge:m", 20, 0, now_right)
    assert judge.p == pytest.approx(2 * 0.5**now_right)
    assert judge.p_holm == pytest.approx(min(1, 2 * judge.p))


def test_the_command(auditor, judged, tmp_path):
    shutil.copytree(judged, tmp_path / "audit")
    done = auditor(
        "validate", "audit", "--field", "metadata.truth", "--rubric", "concealment", "--errors", "2", "--against", "audit"
    )
    for word in ("Against labels: metadata.truth", "1/inclusion", "AUROC", "Errors, to read", "McNemar"):
        assert word in done.stdout
    rows = [f"e{i:02},concealment,{int(true(i))}" for i in range(N)]
    (tmp_path / "labels.csv").write_text("\n".join(["id,rubric,flagged", *rows, "x,concealment,1"]))
    done = auditor("validate", "audit", "--labels", "labels.csv", "--format", "json", "--errors", "1", "--choose-threshold")
    assert done.stderr == "1 labels are of no episode of this audit and are left out\n"
    data = json.loads(done.stdout)
    assert data["accuracy"][0]["threshold"] == 3
    assert set(data["errors"][0]) == {"rubric", "detector", "view", "episode_id", "said", "label", "quote"}
    assert "of which rubric" in auditor("validate", "audit", "--field", "passed", code=2).stderr


def test_labels_that_somebody_else_made(tmp_path):
    source = LABELLED / "rhw_synthetic.jsonl"
    if not source.is_file():
        pytest.skip(f"no labelled sets at {LABELLED}")
    given = [json.loads(line) for line in source.read_text().splitlines()]
    path = scanned(tmp_path, given)
    con = connect(Audit.open(path))
    labels = truth.from_field(con, "metadata.label.hack", "reward_hacking")
    (signals,) = validate.accuracies(con, labels)
    hacks = [g["label"]["hack"] for g in given]
    assert (signals.counts.tp + signals.counts.fn, signals.counts.fp + signals.counts.tn) == (
        hacks.count(True),
        hacks.count(False),
    )
    assert signals.unknown == hacks.count(None)
    assert {r.id for r in load_all()} >= {"reward_hacking"}
