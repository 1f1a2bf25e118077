"""Text that a harness wraps in tags, told from what the user or a tool said."""

from __future__ import annotations

import time

import pytest

from auditor.readers._harness import split, tail

TAGS = ("note", "reminder")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("hello", [("hello", False)]),
        ("", []),
        ("<note>a</note>\nhello", [("<note>a</note>", True), ("hello", False)]),
        ("hello\n<reminder>b</reminder>\n", [("hello", False), ("<reminder>b</reminder>", True)]),
        ("<note>a</note><note>b</note>", [("<note>a</note>", True), ("<note>b</note>", True)]),
        ('<note kind="x">a</note> hi', [('<note kind="x">a</note>', True), (" hi", False)]),
        ("see <note>a</note> here", [("see <note>a</note> here", False)]),
        ("<note>never closed", [("<note>never closed", False)]),
        ("<notebook>a</notebook>", [("<notebook>a</notebook>", False)]),
        ("closed only</note>", [("closed only</note>", False)]),
    ],
)
def test_split(text, expected):
    assert list(split(text, TAGS)) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("out\n\n<note>x</note>\n", ("out", "<note>x</note>")),
        ("out\n", ("out\n", "")),
        ("<note>x</note>", ("", "<note>x</note>")),
        ("a<note>x</note>b", ("a<note>x</note>b", "")),
    ],
)
def test_tail(text, expected):
    assert tail(text, TAGS) == expected


@pytest.mark.parametrize("piece", ["<note></note>", "<note>", "</note>", "<note", " "])
def test_hostile_text_takes_linear_time(piece):
    started = time.perf_counter()
    list(split(piece * (1_000_000 // len(piece)), TAGS))
    assert time.perf_counter() - started < 5
