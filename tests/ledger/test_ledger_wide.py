"""The whole ledger: runs with their results and proofs, files that are the model's own, the latest run."""

from __future__ import annotations

import pytest

from auditor.ledger import build, latest
from auditor.transcript import Channel, Message, ToolCall, Transcript, pieces


def ledger_of(*messages):
    transcript = Transcript(id="t", messages=messages)
    return build(transcript, list(pieces(transcript)))


def call(line, number="1", name="Bash"):
    return ToolCall(id=number, name=name, arguments={"command": line})


def test_runs_are_paired_by_id_in_whatever_order_results_come():
    ledger = ledger_of(
        Message(role="assistant", tool_calls=(call("pytest a", "1"), call("pytest b", "2"))),
        Message(role="tool", tool_call_id="2", content="1 failed in 0.1s"),
        Message(role="tool", tool_call_id="1", content="2 passed in 0.1s"),
    )
    assert [(r.command, r.result, r.outcome) for r in ledger.runs] == [("pytest a", 2, "passed"), ("pytest b", 1, "failed")]


def test_runs_without_ids_are_paired_by_their_place():
    ledger = ledger_of(
        Message(
            role="assistant",
            tool_calls=(
                ToolCall(name="Bash", arguments={"command": "pytest a"}),
                ToolCall(name="Bash", arguments={"command": "ls"}),
            ),
        ),
        Message(role="tool", content="2 passed in 0.1s"),
        Message(role="tool", content="a.py"),
        Message(role="assistant", tool_calls=(ToolCall(name="Bash", arguments={"command": "pytest b"}),)),
    )
    assert [(r.result, r.outcome) for r in ledger.runs] == [(1, "passed"), (2, "unknown"), (None, "unknown")]


def test_an_id_that_is_used_again_means_the_next_result():
    turn = (
        Message(role="assistant", tool_calls=(call("pytest", "x"),)),
        Message(role="tool", tool_call_id="x", content="1 failed in 0.1s"),
    )
    again = (turn[0], Message(role="tool", tool_call_id="x", content="1 passed in 0.1s"))
    assert [r.outcome for r in ledger_of(*turn, *again).runs] == ["failed", "passed"]


def test_the_proof_is_the_very_words():
    text = "collecting\n==== 1 failed, 41 passed in 2.31s ====\n"
    run = ledger_of(
        Message(role="assistant", tool_calls=(call("pytest | tail -3"),)),
        Message(role="tool", tool_call_id="1", content=text, exit_code=0),
    ).runs[0]
    assert (run.outcome, run.passed, run.failed, run.exit_code) == ("failed", 41, 1, 0)
    assert run.proof is not None
    assert run.proof.channel is Channel.OBSERVATION
    assert text[run.proof.start : run.proof.end] == "==== 1 failed, 41 passed in 2.31s ===="


def test_a_structured_exit_code_alone_has_no_proof():
    run = ledger_of(
        Message(role="assistant", tool_calls=(call("./check.sh"),)),
        Message(role="tool", tool_call_id="1", content="", exit_code=1),
    ).runs[0]
    assert (run.kind, run.outcome, run.proof) == ("test", "failed", None)


def test_several_runs_in_a_line_are_one_of_the_most_test_like_kind():
    run = ledger_of(
        Message(role="assistant", tool_calls=(call("make && ruff check . && pytest a && pytest b"),)),
        Message(role="tool", tool_call_id="1", content="1 passed in 1s\n1 failed in 1s"),
    ).runs[0]
    assert (run.kind, run.outcome) == ("test", "failed")


def test_a_text_mode_agent_runs_the_one_block_that_is_answered():
    say = "I will test.\n```bash\npytest -q; echo x > kite.py\n```"
    ledger = ledger_of(
        Message(role="assistant", content=say),
        Message(role="user", content="<returncode>1</returncode>\n<output>\n1 failed in 0.1s\n</output>"),
        Message(role="assistant", content="It fails."),
    )
    (run,) = ledger.runs
    assert (run.kind, run.outcome, run.result) == ("test", "failed", 1)
    assert [(e.path, e.channel, e.added.text) for e in ledger.edits] == [("kite.py", Channel.SAY, "x")]


def test_a_block_that_nobody_answered_is_no_run():
    ledger = ledger_of(
        Message(role="assistant", content="Run this:\n```bash\npytest\n```"), Message(role="user", content="Thanks!")
    )
    assert ledger.runs == ()


def test_a_submission_is_the_report_and_no_run():
    line = "echo COMPLETE_TASK_AND_SUBMIT_FINAL_OUTPUT && git diff"
    assert (
        ledger_of(Message(role="assistant", tool_calls=(call(line),)), Message(role="tool", tool_call_id="1", content="x")).runs
        == ()
    )


def write(path, number="1"):
    return Message(
        role="assistant", tool_calls=(ToolCall(id=number, name="Write", arguments={"file_path": path, "content": "x"}),)
    )


@pytest.mark.parametrize(
    ("task", "own"),
    [
        ("Mend the kite.", True),
        ("Mend tests/test_kite.py.", False),
        ("Look at my_test_kite.py.", True),
        ("python: can't open file 'test_kite.py': No such file or directory", True),
    ],
)
def test_a_file_is_its_own_where_nobody_named_it_before(task, own):
    ledger = ledger_of(Message(role="user", content=task), write("tests/test_kite.py"), write("tests/test_kite.py", "2"))
    assert [e.own for e in ledger.edits] == [own, own]


def test_what_is_made_stays_its_own_though_it_is_seen_later_and_moved():
    ledger = ledger_of(
        write("wind.py"),
        Message(role="tool", tool_call_id="1", content="wrote wind.py"),
        Message(role="assistant", tool_calls=(call("mv wind.py gust.py && sed -i s/x/y/ gust.py", "2"),)),
    )
    assert [(e.how, e.own) for e in ledger.edits] == [("create", True), ("move", True), ("replace", True)]


def test_the_latest_run_is_the_one_whose_result_was_seen():
    ledger = ledger_of(
        Message(role="assistant", tool_calls=(call("pytest", "1"),)),
        Message(role="tool", tool_call_id="1", content="1 failed in 0.1s"),
        Message(role="assistant", tool_calls=(call("pytest", "2"), call("make", "3"))),
        Message(role="tool", tool_call_id="2", content="1 passed in 0.1s"),
    )
    assert latest(ledger, "test", 3) is ledger.runs[0]
    assert latest(ledger, "test", 4) is ledger.runs[1]
    assert latest(ledger, "lint", 4) is None


def test_nothing_from_nothing():
    assert ledger_of() == ((), (), ())
    assert (
        ledger_of(
            Message(role="tool", content="\ud800 1 passed in 1s"), Message(role="assistant", content="```py\n\ud800\n```")
        ).runs
        == ()
    )
