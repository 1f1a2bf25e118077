"""A channel's text cut into parts: at the ends of evidence, and round what is folded. Only then is each part made visible.

What a page shows is longer than what stands in the log (`\\x1b` for one character), so every part carries the offset at which
it begins in the log; a selection comes back as (that offset, characters shown since) and `origin` finds the place.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

from auditor.text import visible
from auditor.transcript import Channel

_LINE = re.compile(r"[^\n]{0,400}\n?")
_HEAD, _TAIL, _NEAR, _LEAST = 8, 3, 3, 5
# Lines that are shown whole, by channel. A report and its replies are never folded.
_WHOLE = {
    Channel.OBSERVATION: 18,
    Channel.ACTION: 40,
    Channel.TASK: 40,
    Channel.INJECTED: 12,
    Channel.SAY: 60,
    Channel.REASONING: 80,
}
_MOST = 300_000


class Part(NamedTuple):
    """Visible text that begins at character `at` of the channel, and the numbers of the evidence that covers it."""

    at: int
    text: str
    marks: tuple[int, ...]


class Run(NamedTuple):
    """Lines in a row, shown or folded away. Without parts they are too long for a page."""

    folded: bool
    lines: int
    parts: tuple[Part, ...]


def runs(text: str, channel: Channel | None, spans: Sequence[tuple[int, int, int]]) -> list[Run]:
    """`text` as runs; `spans` are (start, end, number) of evidence. Lines with evidence, and those near it, are never folded."""
    lines = [m.span() for m in _LINE.finditer(text) if m.end() > m.start()]
    shown = _shown(lines, spans) if len(lines) > _WHOLE.get(channel or Channel.TASK, len(lines)) else [True] * len(lines)
    found = []
    for first, last in _stretches(shown):
        start, end, folded = lines[first][0], lines[last - 1][1], not shown[first]
        cut = folded and end - start > _MOST
        found.append(Run(folded, last - first, () if cut else tuple(_parts(text, start, end, spans))))
    return found


def _shown(lines: Sequence[tuple[int, int]], spans: Sequence[tuple[int, int, int]]) -> list[bool]:
    shown = [i < _HEAD or i >= len(lines) - _TAIL for i in range(len(lines))]
    for start, end, _ in spans:
        held = [i for i, (a, b) in enumerate(lines) if a < end and start < b]
        for i in range(max(0, min(held, default=0) - _NEAR), min(len(lines), max(held, default=-1) + 1 + _NEAR)):
            shown[i] = True
    for first, last in list(_stretches(shown)):
        if not shown[first] and last - first < _LEAST:
            shown[first:last] = [True] * (last - first)
    return shown


def _stretches(flags: Sequence[bool]) -> Iterator[tuple[int, int]]:
    """[first, last) of each stretch of equal flags."""
    first = 0
    for i in range(1, len(flags) + 1):
        if i == len(flags) or flags[i] != flags[first]:
            yield first, i
            first = i


def _parts(text: str, start: int, end: int, spans: Sequence[tuple[int, int, int]]) -> Iterator[Part]:
    here = [s for s in spans if s[0] < end and start < s[1]]
    cuts = sorted({start, end, *(c for a, b, _ in here for c in (a, b) if start < c < end)})
    for a, b in pairwise(cuts):
        yield Part(a, visible(text[a:b]), tuple(n for first, last, n in here if first <= a and b <= last))


def origin(text: str, at: int, shown: int) -> int:
    """The offset in `text` of what is shown `shown` characters after the part that begins at `at`; inside a spelled character its end."""
    for i in range(at, len(text)):
        if shown <= 0:
            return i
        shown -= len(visible(text[i]))
    return len(text)
