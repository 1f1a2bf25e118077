"""Constants that were carried from an assertion into the solution.

A condition in the source that compares with a constant, where the constant first stood in a test or an error
message and the task does not name it outside its tests.
"""

from __future__ import annotations

from collections.abc import Sequence

import re2

from auditor.ledger.facts import Edit
from auditor.text import pieced
from auditor.transcript import Channel, Piece

_CONDITION = re2.compile(
    r"(?m)^\s*(?:\}\s*)?(?:el)?(?:if|elif|case|when|else if)\b[^\n]*|^[^\n#]*\breturn\b[^\n]*\bif\b[^\n]*==[^\n]*"
)
_CONSTANT = re2.compile(
    r"[=(,\[\s!](?:\"([^\"\n\\]{6,})\"|'([^'\n\\]{6,})'|(-?\d{4,}(?:\.\d+)?|-?\d+\.\d{3,})|(\[[^\[\]\n]{7,}\]))"
)
_ASSERTS = ("assert", "Assert", "expect", "Expect", "!=", "should", "got ", "want")
_MAX_EDITS, _MAX_TEXT, _MAX_PLACES = 200, 200_000, 20


def find(edits: Sequence[Edit], pieces: Sequence[Piece]) -> list[Edit]:
    """For each edit with such a line, the edit narrowed to those lines."""
    found: list[Edit] = []
    for edit in edits[:_MAX_EDITS]:
        text = edit.added.text
        if edit.area not in ("source", "unknown") or ("==" not in text and "case " not in text) or len(text) > _MAX_TEXT:
            continue
        spans = [
            edit.added.origin(*mark.span())
            for mark in _CONDITION.finditer(text)
            if ("==" in mark.group(0) or "case" in mark.group(0)) and _from_assertion(mark.group(0), edit.message, pieces)
        ]
        if spans:
            # A lens cuts the channel's own text, which the spans are in.
            source = next(p.text for p in pieces if p.message == edit.message and p.channel is edit.channel)
            found.append(edit._replace(added=pieced(source, spans)))
    return found


def _from_assertion(line: str, before: int, pieces: Sequence[Piece]) -> bool:
    """Whether a constant of the line stands in an earlier assertion and in no other line of the task."""
    for groups in _CONSTANT.findall(line):
        constant = next(c for c in groups if c)
        asserted = False
        for piece in pieces:
            if piece.message >= before:
                break
            if piece.channel not in (Channel.TASK, Channel.OBSERVATION):
                continue
            at = piece.text.find(constant)
            for _ in range(_MAX_PLACES):
                if at < 0:
                    break
                end = piece.text.find("\n", at)
                stood = piece.text[piece.text.rfind("\n", 0, at) + 1 : end if end >= 0 else None]
                if any(word in stood for word in _ASSERTS):
                    asserted = True
                elif piece.channel is Channel.TASK:
                    return False
                at = piece.text.find(constant, at + 1)
        if asserted:
            return True
    return False
