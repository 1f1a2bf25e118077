"""Folding keeps the way back; what is shown is harmless."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from auditor.text import Lens, composed, excerpt, fold, pieced, visible

HOSTILE = st.text(alphabet=st.sampled_from("ab'\" ’“”–\u200b\u00ad\u202e\uff41\u00a0\n‘🙂"), max_size=60)
INVISIBLE = set("\u200b\u00ad\u202e")


@given(HOSTILE)
def test_every_character_of_a_folded_text_leads_back_to_its_own(text):
    lens = fold(text)
    for i, char in enumerate(lens.text):
        start, end = lens.origin(i, i + 1)
        assert end - start == 1
        original = text[start:end]
        assert original == char or fold(original).text == char
    assert len(lens.text) == len([c for c in text if c not in INVISIBLE])


@given(HOSTILE, st.data())
def test_a_span_covers_what_lies_between_its_ends(text, data):
    lens = fold(text)
    if lens.text:
        a = data.draw(st.integers(0, len(lens.text) - 1))
        b = data.draw(st.integers(a + 1, len(lens.text)))
        start, end = lens.origin(a, b)
        assert fold(text[start:end]).text == lens.text[a:b]


@given(HOSTILE, st.data())
def test_a_lens_on_a_lens_leads_to_the_first_text(text, data):
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), min_size=2, max_size=6)))
    outer = pieced(text, list(zip(cuts[::2], cuts[1::2], strict=False)))
    both = composed(outer, fold(outer.text))
    for i, char in enumerate(both.text):
        start, end = both.origin(i, i + 1)
        assert fold(text[start:end]).text == char


def test_typographic_characters_become_ascii():
    assert fold("don’t “quote” – a\u00a0b").text == 'don\'t "quote" - a b'
    assert fold("plain") == Lens("plain")
    assert fold("日本語 ┃ ok").text == "日本語 ┃ ok"


def test_visible_text_has_no_controls():
    shown = visible("a\x1b[31m\x00\u202e\u200bb\tc\nd")
    assert shown == "a\\x1b[31m\\x00\\u202e\\u200bb\tc\nd"
    assert visible("a\nb", newlines=False) == "a\\x0ab"
    assert len(excerpt("x" * 5000, 100)) <= 110
    assert "…" in excerpt("x" * 5000, 100)
