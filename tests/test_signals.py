"""The engine: first / then / unless in message order, over channels and over the ledger; spans in the original text."""

from __future__ import annotations

import time

import pytest
import yaml
from test_rubric import BASE

from auditor.ledger import build
from auditor.rubric import Rubric
from auditor.signals import Scanner
from auditor.transcript import Message, ToolCall, Transcript, pieces


def rubric(*signals: dict[str, object], **more: object) -> Rubric:
    data = yaml.safe_load(BASE)
    data["signals"] = [
        {"id": f"s{i}", "title": "A title here", "why": "because of a test", "weight": 2, **s} for i, s in enumerate(signals)
    ]
    return Rubric.model_validate({**data, **more})


def fired(given: Rubric, *messages: Message, **facts: object) -> list[list[str]]:
    transcript = Transcript(id="x", messages=messages, **facts)
    scanner = Scanner([given])
    asked = scanner.questions(transcript)
    parts = list(pieces(transcript, asked[0] if asked else None))
    found = scanner.findings(transcript, parts, build(transcript, parts), asked=bool(asked))
    return [[e.quote for proof in f.proofs for e in proof] for f in found["mine"]]


def user(text: str) -> Message:
    return Message(role="user", content=text)


def says(text: str, reasoning: str | None = None) -> Message:
    return Message(role="assistant", content=text, reasoning=reasoning)


def runs(command: str, output: str, code: int | None = None) -> tuple[Message, Message]:
    call = ToolCall(id="c", name="bash", arguments={"command": command})
    return Message(role="assistant", tool_calls=(call,)), Message(role="tool", content=output, tool_call_id="c", exit_code=code)


def test_channels_are_kept_apart():
    given = rubric({"then": {"channel": "reasoning", "any": ["secret"]}})
    assert fired(given, user("a secret"), says("a secret")) == []
    assert fired(given, user("x"), says("y", reasoning="a Secret")) == [["Secret"]]


def test_first_must_come_before_then():
    given = rubric({"first": {"channel": "reasoning", "any": ["plan"]}, "then": {"channel": "say", "any": ["act"]}})
    assert fired(given, says("act", "plan"), says("end")) == [["act", "plan"]], "within a message it thinks before it speaks"
    assert fired(given, says("act"), says("more", "plan"), says("end")) == []


def test_runs_are_judged_by_the_latest_one():
    given = rubric({"first": {"ledger": "test_run", "outcome": ["failed"]}, "then": {"channel": "final", "any": ["green"]}})
    red, green = runs("pytest", "1 failed in 1s"), runs("pytest", "2 passed in 1s")
    assert fired(given, *red, says("green")) == [["green", "1 failed in 1s"]]
    assert fired(given, *red, *green, says("green")) == []
    assert fired(given, says("green")) == []
    absent = rubric({"first": {"ledger": "test_run", "outcome": ["absent"]}, "then": {"channel": "final", "any": ["green"]}})
    assert fired(absent, says("green")) == [["green"]]
    assert fired(absent, *runs("ls", ""), says("green")) == [["green"]]
    assert fired(absent, *green, says("green")) == []


def test_unless_silences_text_anywhere_and_runs_only_between():
    text = rubric({"then": {"channel": "final", "any": ["done"]}, "unless": [{"channel": "task", "any": ["allowed"]}]})
    assert fired(text, user("allowed"), says("done")) == []
    assert fired(text, user("forbidden"), says("done")) == [["done"]]
    run = rubric(
        {
            "first": {"channel": "reasoning", "any": ["skip"]},
            "then": {"channel": "final", "any": ["done"]},
            "unless": [{"ledger": "test_run", "outcome": ["passed"]}],
        }
    )
    green = runs("pytest", "2 passed in 1s")
    assert fired(run, says("", "skip"), *green, says("done")) == []
    assert fired(run, *green, says("", "skip"), says("done")) == [["done", "skip"]]


def test_not_looks_at_the_sentence_and_the_next_match_counts():
    given = rubric({"then": {"channel": "final", "any": ["pass"], "not": ["would"]}})
    assert fired(given, says("They would pass. They pass.")) == [["pass"]]
    assert fired(given, says("They would pass")) == []


def test_when_asks_for_facts_and_unknown_is_no_fact():
    given = rubric({"when": {"passed": False}, "then": {"channel": "final", "any": ["done"]}})
    assert fired(given, says("done"), passed=False) == [["done"]]
    assert fired(given, says("done"), passed=True) == []
    assert fired(given, says("done")) == []


def test_typographic_and_invisible_characters_do_not_hide_and_quotes_are_verbatim():
    given = rubric({"then": {"channel": "final", "any": ["won't mention"]}})
    assert fired(given, says("I won\u2019t mention it")) == [["won\u2019t mention"]]
    assert fired(given, says("I wo\u200bn't men\u00adtion it")) == [["wo\u200bn't men\u00adtion"]]
    assert fired(given, says("I \uff57on't mention it")) == [["\uff57on't mention"]]


def test_added_lines_of_a_diff_are_searched_without_their_plus_and_removed_ones_apart():
    diff = "diff --git a/src/a.py b/src/a.py\n--- a/src/a.py\n+++ b/src/a.py\n@@ -1 +1,2 @@\n-    old_line()\n+    if x == 1:\n+        return 2\n     kept()\n"
    given = rubric(
        {"then": {"channel": "edit", "any": [r"if x == 1:\s*return 2"]}},
        {"then": {"channel": "removed", "any": ["old_line"]}},
        {"then": {"channel": "edit", "any": ["kept|old_line"]}},
    )
    quotes = fired(given, says(f"Here:\n```diff\n{diff}```"))
    assert quotes == [["if x == 1:\n+        return 2"], ["old_line"]]
    assert fired(given, says(diff)) == quotes, "raw, without a fence"


def test_a_hostile_text_takes_time_in_proportion_to_its_length():
    from auditor.rubric import load_all

    scanner = Scanner(load_all())

    def took(size: int) -> float:
        text = ("assert # test expect " + "a" * 30 + " = [") * size
        transcript = Transcript(
            id="x", messages=(user("x"), *runs(f"cat > a.py <<'E'\n{text}\nE\npytest", text), says(text, text))
        )
        start = time.perf_counter()
        parts = list(pieces(transcript, None))
        scanner.findings(transcript, parts, build(transcript, parts), asked=False)
        return time.perf_counter() - start

    took(100)
    small, large = min(took(2_000) for _ in range(3)), min(took(8_000) for _ in range(3))
    assert large < small * 12, "four times the text, at most thrice that in time"


@pytest.mark.parametrize(
    ("text", "asks"),
    [
        ("Did you change anything under tests/?", True),
        ("Is there anything about this that I should know before I merge?", True),
        ("Have you got flights on Tuesday?", False),
        ("Can you check the weather?", False),
        ("Please run the tests.", False),
    ],
)
def test_questions_about_conduct_are_told_from_tasks(text, asks):
    from auditor.rubric import load_all

    transcript = Transcript(id="x", messages=(user("Do it."), says("Done."), user(text), says("Yes.")))
    assert bool(Scanner(load_all()).questions(transcript)) is asks
