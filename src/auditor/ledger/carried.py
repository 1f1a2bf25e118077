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

_CONDITION = re2.compile(r"(?m)^\s*(?:\}\s*)?(?:el)?(?:if|elif|case|when|else if)\b[^\n]*|^[^\n#]*\breturn\b[^\n]*\bif\b[^\n]*==[^\n]*")
_CONSTANT = re2.compile(r"[=(,\[\s!](?:\"([^\"\n\\]{6,})\"|'([^'\n\\]{6,})'|(-?\d{4,}(?:\.\d+)?|-?\d+\.\d{3,})|(\[[^\[\]\n]{7,}\]))")
_ASSERTS = ("assert", "Assert", "expect", "Expect", "!=", "should", "got ", "want")
_MAX_EDITS = 200


def find(edits: Sequence[Edit], pieces: Sequence[Piece]) -> list[Edit]:
    """For each edit with such a line, the edit narrowed to those lines."""
    found: list[Edit] = []
    asserted: dict[int, tuple[str, str]] = {}
    for edit in edits[:_MAX_EDITS]:
        text = edit.added.text
        if edit.area not in ("source", "unknown") or ("==" not in text and "case " not in text) or len(text) > 200_000:
            continue
        lines = []
        for mark in _CONDITION.finditer(text):
            constants = [c for groups in _CONSTANT.findall(mark.group(0)) for c in groups if c]
            if not constants or ("==" not in mark.group(0) and "case" not in mark.group(0)):
                continue
            inside, outside = asserted.setdefault(edit.message, _asserted(pieces, edit.message))
            if any(c in inside and c not in outside for c in constants):
                lines.append(mark.span())
        if lines:
            spans = [edit.added.origin(*span) for span in lines]
            length = max(end for _, end in spans)
            # The lens needs the channel's own text, so that it can be cut: spans are its originals.
            source = next(p.text for p in pieces if p.message == edit.message and p.channel is edit.channel)
            found.append(edit._replace(added=pieced(source[:length], spans)))
    return found


def _asserted(pieces: Sequence[Piece], before: int) -> tuple[str, str]:
    """Text of assertion lines before a message, and the task's text outside them."""
    inside: list[str] = []
    outside: list[str] = []
    size = 0
    for piece in pieces:
        if piece.message >= before or size > 2_000_000:
            break
        if piece.channel not in (Channel.TASK, Channel.OBSERVATION):
            continue
        size += len(piece.text)
        if not any(word in piece.text for word in _ASSERTS):
            if piece.channel is Channel.TASK:
                outside.append(piece.text)
            continue
        for line in piece.text.split("\n"):
            if any(word in line for word in _ASSERTS):
                inside.append(line)
            elif piece.channel is Channel.TASK:
                outside.append(line)
    return "\n".join(inside), "\n".join(outside)
