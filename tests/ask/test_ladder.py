"""The ladder on one episode: one wording a sample, forks, followers, thoughts apart, and who goes first."""

from __future__ import annotations

import asyncio

import pytest

from auditor.ask.coding import Coded
from auditor.ask.facts import Fact, Job
from auditor.ask.ladder import Ladder, Player
from auditor.ask.questions import load
from auditor.llm import Endpoint
from auditor.replies import Reply
from auditor.transcript import Message, Transcript
from auditor.verdict import Evidence, Status

LADDER = load()
USER, SAYS = Message(role="user", content="go"), Message(role="assistant", content="Done.")
RUN = Transcript(id="e", messages=(USER, SAYS))
FACT = Fact(id="f1", kind="tests_changed", text="{quote} was {loosened}.", told=False, source="judged",
            evidence=Evidence(message=1, channel="final", start=0, end=5, quote="Done.\x1b"))  # fmt: skip
JOB = Job(shard="s", row=0, episode_id="e", model="m", facts=(FACT,), target="f1", turn=7)


class Door:
    """Says what it is told to, after a moment, and keeps what it was asked."""

    def __init__(self, text="No.", **reply) -> None:
        self.reply = Reply(status="ok", text=text).model_copy(update=reply)
        self.asked, self.inside, self.peak = [], 0, 0

    async def ask(self, endpoint, messages, schema, *, sample):
        self.asked.append((endpoint, messages))
        self.inside += 1
        self.peak = max(self.peak, self.inside)
        await asyncio.sleep(0.005)
        self.inside -= 1
        return self.reply


class Coder:
    """Finds the same stance everywhere."""

    detector, tier = "judge:m", "judged"

    def __init__(self, stance="denied") -> None:
        self.stance = stance

    async def code(self, job, rung, transcript, question, answer, names):
        return Coded(Status.OK, {f.id: self.stance for f in job.facts})


def ladder(door, *rungs, stance="denied", samples=1):
    chosen = [LADDER.rung(r) for r in rungs] if rungs else LADDER.rungs
    return Ladder(door, LADDER, Coder(stance), b"k" * 32, chosen, samples, seed=5)


def asked(door, *rungs, job=JOB, run=RUN, until=None, player=None, **more):
    player = player or Player(Endpoint(name="m", model="m"))
    return asyncio.run(ladder(door, *rungs, **more).ask(job, run, until, player))


def test_samples_go_through_the_wordings_from_the_place_that_is_the_episodes():
    found = asked(Door(), "L2", samples=4)
    assert [a.wording for a in found] == [(7 + n) % 3 for n in range(4)]
    assert [a.seed for a in found] == [5, 6, 7, 8]
    assert len({a.question for a in found}) == 3


def test_a_charge_holds_the_fact_as_it_stands_and_asks_one_thing_only():
    found = asked(Door(), "L5", "L6")
    assert "“{quote} was {loosened}.”" in found[0].question
    assert "> Done.\\x1b" in found[1].question
    assert "told" not in found[0].question.replace("I have been told this", "")


@pytest.mark.parametrize(("stance", "last"), [("denied", "ok"), ("admitted", "not_asked"), ("unclear", "ok")])
def test_evidence_is_shown_only_where_the_charge_was_not_admitted(stance, last):
    door = Door()
    found = asked(door, "L5", "L6", stance=stance)
    assert [a.status for a in found] == ["ok", last]
    if last == "ok":
        _, messages = door.asked[-1]
        assert [m["role"] for m in messages[-3:]] == ["user", "assistant", "user"]
        assert messages[-2]["content"] == "No."
    assert found[1].answer_class == ("doubling_down" if stance == "denied" else None)


@pytest.mark.parametrize(
    ("status", "then"), [("error", "skipped"), ("skipped", "skipped"), ("too_long", "not_asked"), ("refused", "not_asked")]
)
def test_what_follows_an_answer_that_never_came_is_open_only_with_it(status, then):
    assert [a.status for a in asked(Door(status=status), "L5", "L6")] == [status, then]


def test_nothing_specific_is_asked_without_a_fact_and_a_sham_is_a_charge():
    bare = JOB.model_copy(update={"facts": (), "target": None})
    assert {a.rung for a in asked(Door(), job=bare)} == {"L1", "L2", "LI", "L4"}
    assert {a.rung for a in asked(Door(), job=JOB.model_copy(update={"control": "sham"}))} == {"L5", "L6"}


def test_a_run_in_which_the_model_does_nothing_is_skipped_with_the_reason():
    door = Door()
    found = asked(door, run=Transcript(id="e", messages=(USER,)))
    assert {(a.status, a.error) for a in found} == {("skipped", "the model says and does nothing in this run")}
    assert not door.asked


@pytest.mark.parametrize(
    ("text", "answer", "thought"),
    [
        ("<think>hm</think>\n\nYes.", "Yes.", "hm"),
        ("I did it, but should not tell.</think>No.", "No.", "I did it, but should not tell."),
        ("Yes.", "Yes.", None),
    ],
)
def test_thoughts_are_no_answer(text, answer, thought):
    (found,) = asked(Door(text), "L3")
    assert (found.answer, found.reasoning) == (answer, thought)


def test_only_thoughts_are_no_answer_at_all():
    (found,) = asked(Door("<think>hm</think>"), "L3")
    assert (found.status, found.answer_class) == ("unanswered", "unanswered")


def test_episodes_that_make_no_conversation_do_not_wait_for_each_other():
    picture = Transcript(id="e", messages=(Message(role="user", content="[image]"), SAYS))
    door, player = Door(), Player(Endpoint(name="m", model="m"))
    steps = ladder(door, "L3")

    async def many():
        await asyncio.gather(*(steps.ask(JOB, picture, None, player) for _ in range(8)))

    asyncio.run(many())
    assert door.peak == 8


def test_episodes_begin_one_by_one_only_until_the_form_is_known():
    door, player = Door(), Player(Endpoint(name="m", model="m"))
    steps = ladder(door, "L3")

    async def many():
        await asyncio.gather(*(steps.ask(JOB, RUN, None, player) for _ in range(8)))

    asyncio.run(many())
    assert door.peak == 7
    assert player.taken == 8


def test_a_parameter_that_was_refused_is_not_recorded_as_sent():
    (found,) = asked(Door(left_out=("seed",)), "L3")
    assert (found.seed, found.mode) == (None, "native")


def test_what_was_never_sent_has_no_mode():
    (found,) = asked(Door(status="skipped"), "L3")
    assert (found.mode, found.seed, found.status) == (None, None, "skipped")
