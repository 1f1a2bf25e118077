"""Quotes: how a prompt shows a piece of text, and the way back from a quote to the words. One object, so that they agree.

A quote counts when it stands in the message and channel that it names, white space aside. What the prompt changed for
safety (invisible characters spelled out, names masked) is taken back; a slip of a letter is repaired in long quotes only.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from rapidfuzz import fuzz

from auditor.text import fold, visible
from auditor.transcript import Channel, Piece, Transcript
from auditor.verdict import Evidence

MASK = "█"
REPAIR_SCORE, REPAIR_LENGTH = 95.0, 20
_SHORTEST = 4
_SPELLED = re.compile(r"\\x[0-9a-f]{2}|\\u[0-9a-f]{4}")


def names_of(transcript: Transcript, *more: str) -> tuple[str, ...]:
    """How a transcript's text may name its model (or `more` models): as given, and without the maker's prefix. Short names are too common."""
    given = (transcript.model or "", *more)
    found = {name for model in given for name in (model, model.rpartition("/")[2], model.partition("/")[2])}
    return tuple(sorted((n for n in found if len(n) >= 5), key=len, reverse=True))


class Quotes:
    """All pieces of one episode, shown and found again."""

    def __init__(self, pieces: Iterable[Piece], names: Sequence[str] = ()) -> None:
        self.texts = {(p.message, p.channel): p.text for p in pieces}
        self._names = re.compile("|".join(map(re.escape, names)), re.IGNORECASE) if names else None
        self._squeezed: dict[tuple[int, Channel], tuple[str, list[int]]] = {}

    def mask(self, text: str) -> str:
        """`text` with the model's name blacked out, length kept."""
        return self._names.sub(lambda m: MASK * len(m.group()), text) if self._names else text

    def show(self, text: str) -> str:
        """`text` as a prompt may carry it: name masked, control, format and bidirectional characters spelled out."""
        return visible(self.mask(text))

    def find(self, message: int, channel: str, quote: str) -> Evidence | None:
        """The quote as evidence in the words of the transcript, None where it does not stand there."""
        if channel not in Channel.__members__.values():
            return None
        place = (message, Channel(channel))
        text = self.texts.get(place)
        wanted = quote.strip()
        if text is None or not wanted:
            return None
        at = text.find(wanted) if len(wanted) >= _SHORTEST or wanted == text.strip() else -1
        span = (at, at + len(wanted)) if at >= 0 else self._search(place, text, wanted)
        if span is None:
            return None
        return Evidence(message=message, channel=place[1], start=span[0], end=span[1], quote=text[span[0] : span[1]])

    def _search(self, place: tuple[int, Channel], text: str, quote: str) -> tuple[int, int] | None:
        if place not in self._squeezed:
            self._squeezed[place] = _squeeze(self.mask(text))
        whole, origins = self._squeezed[place]
        wanted, _ = _squeeze(quote)
        if not wanted or (len(wanted) < _SHORTEST and wanted != whole):
            return None
        start = whole.find(wanted)
        end = start + len(wanted)
        if start < 0:
            if len(wanted) < REPAIR_LENGTH:
                return None
            near = fuzz.partial_ratio_alignment(wanted, whole, score_cutoff=REPAIR_SCORE)
            # A quote longer than the text would be "found" by the text inside the quote.
            if near is None or len(wanted) > len(whole) or near.dest_end <= near.dest_start:
                return None
            start, end = near.dest_start, near.dest_end
        return origins[start], origins[end - 1] + 1


def _squeeze(text: str) -> tuple[str, list[int]]:
    """The characters that count (no white space, nothing invisible, quotes and dashes as ASCII), and where each stood."""
    spelled = {i for m in _SPELLED.finditer(text) for i in range(m.start(), m.end())} if "\\" in text else set()
    lens = fold(text)
    chars: list[str] = []
    origins: list[int] = []
    segment, starts = 0, lens.starts
    for i, char in enumerate(lens.text):
        while segment + 1 < len(starts) and starts[segment + 1] <= i:
            segment += 1
        origin = lens.origins[segment] + i - starts[segment]
        if char.isspace() or origin in spelled or not (char.isprintable()):
            continue
        chars.append(char)
        origins.append(origin)
    return "".join(chars), origins
