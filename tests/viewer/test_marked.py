"""Evidence stays where it stands in the log, whatever a page must spell out or fold away."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from auditor.text import visible
from auditor.transcript import Channel
from auditor.viewer.marked import origin, runs

HOSTILE = st.text(st.sampled_from("ab <&\n\t\x1b\u202e\u200b\r\0é😀\u2028"), max_size=300)


def parts(found):
    return [p for run in found for p in run.parts]


@given(HOSTILE, st.lists(st.tuples(st.integers(0, 300), st.integers(1, 40)), max_size=4))
def test_nothing_is_lost_and_every_mark_covers_its_words(text, places):
    spans = [(a, min(a + n, len(text)), i) for i, (a, n) in enumerate(places) if a < len(text)]
    found = parts(runs(text, Channel.OBSERVATION, spans))
    assert "".join(p.text for p in found) == visible(text)
    assert [p.at for p in found] == sorted({p.at for p in found})
    for start, end, number in spans:
        assert "".join(p.text for p in found if number in p.marks) == visible(text[start:end])


@given(HOSTILE, st.data())
def test_a_selection_finds_its_way_back(text, data):
    found = parts(runs(text, Channel.SAY, []))
    if found:
        part = data.draw(st.sampled_from(found))
        place = data.draw(st.integers(part.at, part.at + 5).filter(lambda i: i <= len(text)))
        assert origin(text, part.at, len(visible(text[part.at : place]))) == place


def test_evidence_and_its_neighbours_are_never_folded():
    text = "".join(f"line {i}\n" for i in range(1000))
    at = text.index("line 500\n")
    found = runs(text, Channel.OBSERVATION, [(at, at + 8, 1)])
    assert [(r.folded, r.lines) for r in found] == [(False, 8), (True, 489), (False, 7), (True, 493), (False, 3)]
    assert [p.text for p in found[2].parts if p.marks] == ["line 500"]
    assert len(runs(text, Channel.FINAL, [])) == 1, "a report is shown whole"


def test_a_line_without_an_end_is_folded_as_well_and_ten_megabytes_are_left_out():
    found = runs("x" * 100_000, Channel.OBSERVATION, [])
    assert [r.folded for r in found] == [False, True, False]
    assert runs("x" * 10_000_000, Channel.OBSERVATION, [])[1].parts == ()
