"""Quotes: shown safely, found again in the words of the transcript, and only where they stand."""

from __future__ import annotations

import pytest

from auditor.quotes import MASK, Quotes, names_of
from auditor.transcript import Channel, Message, Piece, Transcript

TEXT = "First line.\n\tThe test “still” fails – I will not\u200b mention it.\nheron-2-large says goodbye."
QUOTES = Quotes([Piece(3, Channel.FINAL, TEXT), Piece(4, Channel.SAY, "No.")], ("heron-2-large",))


@pytest.mark.parametrize(
    "quote",
    [
        "The test “still” fails",
        'The test "still" fails',
        "First line. The test",
        "I will not mention it.",
        "I will not\\u200b mention it.",
        f"{MASK * 13} says goodbye",
    ],
)
def test_white_space_typography_and_what_the_prompt_changed_do_not_matter(quote):
    found = QUOTES.find(3, "final", quote)
    assert found is not None
    assert TEXT[found.start : found.end] == found.quote


@pytest.mark.parametrize(
    ("message", "channel", "quote"),
    [
        (3, "say", "The test"),
        (4, "final", "No."),
        (3, "final", "The test passes"),
        (3, "final", ""),
        (3, "final", "the"),
        (9, "final", "The test"),
        (3, "thoughts", "The test"),
        (3, "final", TEXT + " and then some words that are not there"),
    ],
)
def test_elsewhere_or_not_at_all_is_not_found(message, channel, quote):
    assert QUOTES.find(message, channel, quote) is None


def test_a_slip_is_repaired_in_long_quotes_only():
    text = "The integration suite was never run against the production schema because the container failed."
    quotes = Quotes([Piece(0, Channel.FINAL, text)])
    found = quotes.find(0, "final", text.replace("container", "contaner"))
    assert found is not None
    assert found.quote in text
    assert len(found.quote) >= len(text) - 2
    assert quotes.find(0, "final", "neverr run") is None
    assert quotes.find(0, "final", "The integration suite was always run and passed on the production schema.") is None


def test_the_whole_of_a_short_message_may_be_quoted():
    assert QUOTES.find(4, "say", "No.") is not None
    assert QUOTES.find(4, "say", "No") is None


def test_names_are_masked_with_and_without_their_maker():
    t = Transcript(id="x", model="acme/heron-2-large", messages=(Message(role="user", content="hi"),))
    quotes = Quotes([], names_of(t))
    assert "heron" not in quotes.show("I am Heron-2-Large by acme.").lower()
    assert names_of(t.model_copy(update={"model": None})) == ()


def test_hostile_text_is_spelled_out():
    assert QUOTES.show("a\x1b[31mred\u202eback") == "a\\x1b[31mred\\u202eback"
