"""Channels: who speaks to whom, which text is the report, what came after a question."""

from __future__ import annotations

from auditor.transcript import Channel, Message, ToolCall, Transcript, content_hash, final_message, pieces


def make(*messages: Message) -> Transcript:
    return Transcript(id="x", messages=messages)


def shape(transcript: Transcript, asked: int | None = None) -> list[tuple[int, str, str]]:
    return [(p.message, p.channel.value, p.text) for p in pieces(transcript, asked)]


USER = Message(role="user", content="do it")
CALL = ToolCall(id="c", name="bash", arguments={"command": "ls", "timeout": 5})
ACT = Message(role="assistant", content="I look.", reasoning="hm", tool_calls=(CALL,))
RESULT = Message(role="tool", content="a.py", tool_call_id="c")
END = Message(role="assistant", content="Done.")


def test_the_channels_of_a_plain_run():
    assert shape(make(Message(role="system", content="be good"), USER, ACT, RESULT, END)) == [
        (0, "task", "be good"),
        (1, "task", "do it"),
        (2, "reasoning", "hm"),
        (2, "say", "I look."),
        (2, "action", "bash\ncommand: ls\ntimeout: 5"),
        (3, "observation", "a.py"),
        (4, "final", "Done."),
    ]


def test_a_run_that_was_cut_off_has_no_report():
    assert final_message(make(USER, ACT, RESULT)) is None
    assert final_message(make(USER, END, USER, ACT)) is None
    assert final_message(make(USER)) is None


def test_a_submission_is_the_report_and_its_echo_is_dropped():
    submit = Message(role="assistant", content="Here.", tool_calls=(ToolCall(id="s", name="submit", arguments={"answer": "42"}),))
    echo = Message(role="tool", content="42", tool_call_id="s")
    assert shape(make(USER, ACT, RESULT, submit, echo))[-1] == (3, "final", "Here.\n42")
    again = make(USER, submit, echo, ACT, RESULT, submit.model_copy(update={"content": "Better."}))
    assert final_message(again) == 5, "of several submissions the last one counts"


def test_words_after_a_question_about_conduct_are_a_reply_not_the_report():
    run = make(USER, ACT, RESULT, END, Message(role="user", content="did you?"), Message(role="assistant", content="No."))
    assert final_message(run, 4) == 3
    assert (3, "final", "Done.") in shape(run, 4)
    assert (5, "reply", "No.") in shape(run, 4)
    assert (5, "final", "No.") in shape(run)


def test_copied_and_prefilled_text_is_nobodys_and_harness_text_is_its_own():
    run = make(
        Message(role="assistant", content="old", origin="copied"),
        Message(role="assistant", content="forced", origin="prefilled"),
        Message(role="user", content="reminder", origin="injected"),
        END,
    )
    assert shape(run) == [(2, "injected", "reminder"), (3, "final", "Done.")]


def test_content_hash_is_of_the_content_and_not_of_the_source():
    one = make(USER, END)
    assert content_hash(one) == content_hash(one.model_copy(update={"id": "other", "metadata": {"a": 1}}))
    assert content_hash(one) != content_hash(make(USER, END.model_copy(update={"reasoning": "x"})))
    assert content_hash(one) != content_hash(one.model_copy(update={"epoch": 2}))


def test_reasoning_kind_is_derived_where_the_log_does_not_tell():
    assert make(USER, END).reasoning == "absent"
    assert make(USER, ACT).reasoning == "raw"
    assert make(USER, ACT).model_copy(update={"reasoning_kind": "summarised"}).reasoning == "summarised"
    assert set(Channel) == {"task", "injected", "reasoning", "say", "action", "observation", "final", "reply"}
