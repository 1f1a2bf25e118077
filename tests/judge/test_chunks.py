"""Chunks: nothing lost, the frame in each, an overlap of a turn, and cuts that say how much."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from auditor.judge.chunks import split, window
from auditor.judge.shown import Line, cut
from auditor.transcript import Channel

SIZES = st.lists(st.tuples(st.sampled_from(["say", "action", "observation", "reasoning"]), st.integers(1, 4000)), max_size=40)


def lines(sizes):
    body = [Line(i + 1, Channel(channel), f"<{i + 1}>" + "x" * size) for i, (channel, size) in enumerate(sizes)]
    return [Line(0, Channel.TASK, "the task"), *body, Line(len(body) + 1, Channel.FINAL, "the report")]


@given(SIZES)
def test_every_message_is_in_a_chunk_and_task_and_report_in_each(sizes):
    shown = lines(sizes)
    chunks = split(shown, 12_000)
    assert {line.message for chunk in chunks for line in chunk} == {line.message for line in shown}
    for chunk in chunks:
        assert [chunk[0].text, chunk[-1].text] == ["the task", "the report"]
        assert [line.message for line in chunk] == sorted(line.message for line in chunk)
        assert sum(len(line.text) + 40 for line in chunk) <= 12_000 + 200


def test_what_fits_is_one_chunk_as_it_is():
    shown = lines([("say", 100), ("action", 100)])
    assert split(shown, 12_000) == [shown]


def test_chunks_overlap_by_a_turn():
    shown = lines([("action", 2500), ("observation", 500)] * 6)
    first, second, *_ = split(shown, 8_000)
    assert first[-2].message in {line.message for line in second}


def test_a_cut_says_how_much_and_is_counted():
    line = cut(Line(3, Channel.OBSERVATION, "a" * 10_000), 1_000)
    assert line.cut == 9_000
    assert re.search(r"\[…9,000 characters left out here…\]", line.text)
    assert line.text.startswith("a" * 600)
    assert cut(line._replace(text="short", cut=0), 1_000).cut == 0


def test_a_window_holds_the_neighbours_the_task_and_the_report():
    shown = lines([("say", 50)] * 20)
    assert [line.message for line in window(shown, {10}, 10_000)] == [0, 9, 10, 11, 21]
    assert sum(len(line.text) for line in window(lines([("say", 4000)] * 20), set(range(20)), 5_000)) < 6_000
