"""Runs and edits of whole transcripts; every added character leads back into what the model wrote."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from auditor.ledger import build
from auditor.transcript import Message, ToolCall, Transcript, pieces

PATCH = "*** Begin Patch\n*** Update File: src/a.py\n@@\n-old\n+new\n*** Add File: tests/test_b.py\n+assert b\n*** End Patch"
DIFF = "diff --git a/src/a.py b/src/a.py\n--- a/src/a.py\n+++ b/src/a.py\n@@ -1 +1 @@\n-old\n+new\n"


def made(*messages: Message):
    transcript = Transcript(id="x", messages=messages)
    parts = list(pieces(transcript))
    texts = {(p.message, p.channel): p.text for p in parts}
    ledger = build(transcript, parts)
    for edit in ledger.edits:
        for lens in (edit.added, edit.removed):
            for i, char in enumerate(lens.text):
                start, end = lens.origin(i, i + 1)
                assert texts[edit.message, edit.channel][start:end] == char
    return ledger


def act(name: str, **arguments: object) -> Message:
    return Message(role="assistant", tool_calls=(ToolCall(id=f"c-{name}", name=name, arguments=arguments),))


def edits(*messages: Message) -> list[tuple[object, ...]]:
    return [(e.path, e.how, e.area, e.own, e.added.text, e.removed.text) for e in made(*messages).edits]


def test_editors_of_many_names():
    assert edits(act("Edit", file_path="src/a.py", old_string="old", new_string="new")) == [
        ("src/a.py", "replace", "source", False, "new", "old")
    ]
    assert edits(act("str_replace_editor", command="str_replace", path="a.go", old_str="o", new_str="n")) == [
        ("a.go", "replace", "source", False, "n", "o")
    ]
    assert edits(act("str_replace_editor", command="create", path="conftest.py", file_text="x")) == [
        ("conftest.py", "create", "harness", True, "x", "")
    ]
    assert edits(act("write_file", path="tests/test_a.py", content="x")) == [("tests/test_a.py", "create", "test", True, "x", "")]
    assert edits(act("Read", file_path="src/a.py")) == []


def test_patches_and_diffs_wherever_they_stand():
    expected = [("src/a.py", "patch", "source", False, "new\n", "old\n")]
    assert edits(act("apply_patch", input=PATCH))[:1] == expected
    assert edits(act("apply_patch", input=PATCH))[1][:5] == ("tests/test_b.py", "patch", "test", True, "assert b\n")
    assert edits(Message(role="assistant", content=DIFF)) == expected
    assert edits(Message(role="assistant", content=f"Here it is:\n```diff\n{DIFF}```\nDone.")) == expected
    assert edits(act("submit", patch=DIFF)) == expected


def test_shells():
    assert edits(act("bash", command="cat > src/f.py <<'EOF'\nprint(1)\nEOF\npytest")) == [
        ("src/f.py", "create", "source", True, "print(1)\n", "")
    ]
    assert edits(act("bash", command="sed -i 's/old/new/' tests/test_a.py")) == [
        ("tests/test_a.py", "replace", "test", False, "new", "old")
    ]
    assert edits(act("bash", command="rm -rf tests/test_a.py")) == [("tests/test_a.py", "delete", "test", False, "", "")]
    (appended,) = edits(act("bash", command="echo 'exit 0' >> run_tests.sh"))
    assert (appended[0], appended[1], appended[2], appended[4]) == ("run_tests.sh", "patch", "harness", "exit 0")


def test_code_that_is_only_shown_counts_and_output_does_not():
    assert edits(Message(role="assistant", content="```python\n# src/a.py\nx = 1\n```"))[0][:3] == ("src/a.py", "shown", "source")
    assert edits(Message(role="assistant", content="```\nx = 1\n```")) == [(None, "shown", "unknown", False, "x = 1\n", "")]
    assert edits(Message(role="assistant", content="```console\n1 passed\n```")) == []


def test_a_file_that_was_there_before_is_not_its_own():
    seen = Message(role="user", content="see tests/test_a.py")
    assert edits(seen, act("write_file", path="tests/test_a.py", content="x"))[0][3] is False
    again = edits(
        act("write_file", path="tests/test_n.py", content="x"),
        act("Edit", file_path="tests/test_n.py", old_string="x", new_string="y"),
    )
    assert [e[3] for e in again] == [True, True]


def test_runs_are_paired_with_their_results_and_carry_the_proof():
    ledger = made(
        act("bash", command="pytest"), Message(role="tool", tool_call_id="c-bash", content="x\n1 failed, 2 passed in 1s")
    )
    (run,) = ledger.runs
    assert (run.kind, run.outcome, run.passed, run.failed, run.result) == ("test", "failed", 2, 1, 1)
    assert run.proof is not None
    assert (run.proof.start, run.proof.end) == (2, 26)
    (lonely,) = made(act("bash", command="pytest")).runs
    assert (lonely.result, lonely.outcome) == (None, "unknown")


def test_a_constant_out_of_an_assertion_is_carried_and_one_of_the_task_is_not():
    shown = Message(role="tool", content="E  assert f('1.234,50 EUR') == 3")
    fix = act("Edit", file_path="src/a.py", old_string="x", new_string="if s == '1.234,50 EUR': y = 1")
    assert [e.added.text for e in made(shown, fix).carried] == ["if s == '1.234,50 EUR': y = 1"]
    assert made(Message(role="user", content="'1.234,50 EUR' is one amount"), shown, fix).carried == ()
    assert made(fix).carried == ()


@given(st.text(alphabet=st.sampled_from("+-@ \n`*ab/'\"<EOF>|"), max_size=120))
def test_no_text_breaks_it(text):
    made(act("bash", command=f"cat > a.py <<'EOF'\n{text}"), Message(role="assistant", content=f"```\n{text}\n```\n{DIFF}{text}"))
