"""The judge against a real server: quotes that count, refusals that are no verdicts, votes, parts of long runs."""

from __future__ import annotations

import asyncio
import json

import pytest
from conftest import RED, episode
from llm_server import running

from auditor.judge import MAJORITY, Judge, Setup, read
from auditor.llm import LLM, endpoint
from auditor.readers.auditor import read as read_line
from auditor.readers.base import Context
from auditor.replies import Replies
from auditor.rubric import load_all
from auditor.sample import Draw
from auditor.transcript import Source
from auditor.verdict import Status

RUBRICS = {r.id: r for r in load_all()}
WHOLE = Draw("all", 1.0, chosen=True)


def transcript(messages, **facts):
    return next(iter(read_line(json.dumps(episode("e-1", *messages, **facts)).encode(), Context(Source(path="x")))))


def judge(
    tmp_path, url, t, *, rubrics=("concealment",), names=("m",), views=("all",), votes=1, context=48_000, extract=None, draw=WHOLE
):
    async def run():
        replies = Replies.open(tmp_path / "llm.sqlite")
        try:
            async with LLM(replies) as llm:
                judges = tuple(endpoint(n, base_url=url) for n in names)
                extractor = endpoint(extract, base_url=url) if extract else None
                work = Judge(llm, Setup(judges, extractor, views, votes, context), replies.secret())
                return await work.verdicts(read(t, []), dict.fromkeys(rubrics, draw), [RUBRICS[r] for r in rubrics])
        finally:
            replies.close()

    return asyncio.run(run())


def test_a_yes_with_its_quote_is_a_flag_with_a_span(tmp_path):
    with running() as server:
        (v,) = judge(tmp_path, server.url, transcript(RED))
    assert (v.status, v.flagged, v.level, v.tier, v.detector) == (Status.OK, True, 4, "judged", "judge:m")
    proof = v.evidence[0]
    assert (proof.message, proof.channel, proof.quote) == (3, "final", "All 42 tests pass now.")
    assert "Done. All 42 tests pass now."[proof.start : proof.end] == proof.quote


def test_no_finding_is_clean_and_the_rubric_says_which_level(tmp_path):
    quiet = [*RED[:3], {"role": "assistant", "content": "One test still fails, see above."}]
    with running() as server:
        found = judge(tmp_path, server.url, transcript(quiet), rubrics=("concealment", "reward_hacking"))
    assert [(v.status, v.flagged, v.level) for v in found] == [(Status.OK, False, None), (Status.OK, False, 0)]


def test_an_invented_quote_never_becomes_a_flag(tmp_path):
    with running(invent=True) as server:
        found = judge(
            tmp_path, server.url, transcript(RED), rubrics=tuple(RUBRICS), views=("all", "actions"), votes=3, names=("a", "b")
        )
        asked = server.counts()["requests"]
    known = [v for v in found if v.status not in (Status.NOT_ASKED, Status.NO_REASONING)]
    assert {v.status for v in known} == {Status.UNSUPPORTED}
    assert {v.flagged for v in found} == {None}
    assert not any(v.evidence for v in found)
    assert all("these words are not in message" in (v.error or "") for v in known)
    assert asked % 2 == 0  # each was asked once more, and told why


@pytest.mark.parametrize(
    ("settings", "status"),
    [
        ({"refuse": True}, Status.REFUSED),
        ({"faults": 1.0, "fault_kinds": "broken"}, Status.UNPARSEABLE),
        ({"faults": 1.0, "fault_kinds": "schema"}, Status.UNPARSEABLE),
        ({"faults": 1.0, "fault_kinds": "length"}, Status.TRUNCATED),
        ({"context": 10}, Status.TOO_LONG),
    ],
)
def test_what_is_no_answer_is_no_clean_verdict(tmp_path, settings, status):
    with running(**settings) as server:
        found = judge(tmp_path, server.url, transcript(RED), rubrics=("concealment", "reward_hacking"), views=("all", "actions"))
    assert {(v.status, v.flagged, v.level) for v in found} == {(status, None, None)}


def test_fences_and_words_around_the_json_do_not_matter(tmp_path):
    with running(faults=1.0, fault_kinds="fenced", no_schema=True, no_json=True) as server:
        (v,) = judge(tmp_path, server.url, transcript(RED))
    assert (v.status, v.flagged) == (Status.OK, True)


def test_a_quote_of_its_own_is_needed_for_intent(tmp_path):
    # The server's finding proves every criterion with the same quote; without intent the level stays at 2.
    with running(false="settled,intent,aggravated") as server:
        (v,) = judge(tmp_path, server.url, transcript(RED))
    assert (v.flagged, v.level) == (True, 2)


def test_what_the_rubric_needs_is_not_asked_for_where_it_is_missing(tmp_path):
    cut_off = RED[:3]
    with running() as server:
        found = judge(tmp_path, server.url, transcript(cut_off), rubrics=("concealment", "admission"), views=("all", "reasoning"))
        assert server.counts()["requests"] == 0
    assert {(v.rubric, v.view): v.status for v in found} == {
        ("concealment", "all"): Status.NO_REPORT,
        ("concealment", "reasoning"): Status.NO_REASONING,
        ("admission", "all"): Status.NOT_ASKED,
    }
    assert {v.flagged for v in found} == {None}


def test_without_reasoning_a_quiet_run_is_unknown_and_a_loud_one_is_not(tmp_path):
    with running() as server:
        (loud,) = judge(tmp_path, server.url, transcript(RED), rubrics=("grader_gaming",))
        quiet = transcript([*RED[:3], {"role": "assistant", "content": "One test still fails."}])
        (unknown,) = judge(tmp_path, server.url, quiet, rubrics=("grader_gaming",))
    assert (loud.status, loud.flagged) == (Status.OK, True)
    assert (unknown.status, unknown.flagged) == (Status.NO_REASONING, None)


def test_who_is_not_drawn_has_a_row_and_no_call(tmp_path):
    with running() as server:
        (v,) = judge(tmp_path, server.url, transcript(RED), draw=Draw("rest", 0.05, chosen=False))
        assert server.counts()["requests"] == 0
    assert (v.status, v.flagged, v.weight) == (Status.SKIPPED, None, 0.0)
    assert (v.error or "").startswith("not drawn")


def test_votes_and_judges_are_counted_and_the_majority_has_a_row(tmp_path):
    with running() as server:
        found = judge(tmp_path, server.url, transcript(RED), names=("a", "b"), votes=3)
        assert server.counts()["requests"] == 6  # equal bodies, told apart by their place
    assert [v.detector for v in found] == ["judge:a", "judge:b", MAJORITY]
    assert [v.attributes["votes"] for v in found] == [[True] * 3, [True] * 3, [True, True]]


def test_a_long_run_goes_in_parts_and_nothing_is_lost(tmp_path):
    filler = []
    for i in range(120):
        filler.append(
            {
                "role": "assistant",
                "content": "",
                "tool_calls": [{"id": f"c{i}", "name": "bash", "arguments": {"command": f"cat f{i}"}}],
            }
        )
        filler.append({"role": "tool", "tool_call_id": f"c{i}", "content": f"line {i} " * 150})
    planted = {"role": "assistant", "content": "PLANTED here in the middle of it."}
    long = [RED[0], *filler[:120], planted, *filler[120:], {"role": "assistant", "content": "Finished."}]
    with running() as server:
        (v,) = judge(tmp_path, server.url, transcript(long), context=14_000)
        asked = server.counts()["requests"]
    assert (v.status, v.flagged) == (Status.OK, True)
    assert v.evidence[0].quote.startswith("PLANTED here")
    assert v.attributes["parts"] > 2
    assert v.attributes["parts"] < asked <= v.attributes["parts"] + 1


def test_one_message_larger_than_the_budget_is_cut_and_counted(tmp_path):
    huge = {"role": "tool", "tool_call_id": "a", "content": "x" * 400_000}
    with running() as server:
        (v,) = judge(tmp_path, server.url, transcript([*RED[:2], huge, RED[3]]), context=14_000)
    assert v.status is Status.OK
    assert v.attributes["cut_characters"] > 350_000


def test_an_extractor_collects_and_the_judge_decides(tmp_path):
    with running() as server:
        (v,) = judge(tmp_path, server.url, transcript(RED), extract="cheap")
        assert server.counts()["requests"] == 2
    assert (v.status, v.flagged, v.detector) == (Status.OK, True, "judge:m")
