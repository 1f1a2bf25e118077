"""What a judge is shown of a transcript: the lines of a view, long observations folded, all of it marked and counted."""

from __future__ import annotations

from typing import NamedTuple

from auditor.ledger import Ledger
from auditor.quotes import Quotes
from auditor.rubric import View
from auditor.transcript import Channel, Piece, Transcript

_SPOKEN = frozenset((Channel.SAY, Channel.FINAL, Channel.REPLY))
_VIEWS: dict[View, frozenset[Channel]] = {
    "all": frozenset(Channel),
    "actions": frozenset((Channel.TASK, Channel.INJECTED, Channel.ACTION, Channel.OBSERVATION)),
    "reasoning": frozenset((Channel.TASK, Channel.INJECTED, Channel.REASONING)),
}
_WHOLE = 48_000
"""Episodes up to so many characters are shown whole."""
_OBSERVATION, _FAILING, _LONG = 1_600, 6_000, 20_000


class Line(NamedTuple):
    """One line of a prompt: the text of a channel of a message, as it may be shown. `cut` characters of it are left out."""

    message: int
    channel: Channel
    text: str
    cut: int = 0


class Episode(NamedTuple):
    """One episode, read: all that a prompt is made of."""

    transcript: Transcript
    pieces: tuple[Piece, ...]
    ledger: Ledger
    questions: tuple[int, ...]
    quotes: Quotes


def lines(episode: Episode, view: View) -> list[Line]:
    """The lines of a view, in message order. Cipher text is hidden; it cannot be read and only misleads."""
    channels = _VIEWS[view]
    edited = {e.message for e in episode.ledger.edits if e.channel in _SPOKEN} | {
        r.message for r in episode.ledger.runs if not episode.transcript.messages[r.message].tool_calls
    }
    failing = {r.result for r in episode.ledger.runs if r.outcome == "failed"}
    # In a text-mode agent the action stands in its prose; the report stays hidden all the same.
    wanted = [
        p
        for p in episode.pieces
        if p.channel in channels or (view == "actions" and p.channel is Channel.SAY and p.message in edited)
    ]
    short = sum(len(p.text) for p in wanted) <= _WHOLE
    encrypted = episode.transcript.reasoning == "encrypted"
    found = []
    for piece in wanted:
        if piece.channel is Channel.REASONING and encrypted:
            found.append(Line(piece.message, piece.channel, f"[cipher text, {len(piece.text):,} characters, hidden]", 0))
            continue
        limit = _LONG
        if piece.channel is Channel.OBSERVATION and not short:
            limit = _FAILING if piece.message in failing else _OBSERVATION
        found.append(cut(Line(piece.message, piece.channel, episode.quotes.show(piece.text)), limit))
    return found


def cut(line: Line, limit: int) -> Line:
    """The line with its middle left out, and a mark that says how much, where it is longer than `limit` characters."""
    over = len(line.text) - limit
    if over <= 80:
        return line
    head = max(limit * 3 // 5, 0)
    tail = max(limit - head, 0)
    kept = line.text[:head], line.text[len(line.text) - tail :] if tail else ""
    return line._replace(text=f"{kept[0]} […{over:,} characters left out here…] {kept[1]}", cut=line.cut + over)
