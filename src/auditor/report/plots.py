"""Small pictures of rates and counts, as SVG to be put inline into one HTML page.

Matplotlib draws, with all text left as text. Colours are the page's own (`currentColor` and its CSS variables), so that
a picture follows light and dark. Every string is hostile: made visible, shortened, never read as mathematics. Same
input, same bytes. Pictures of many columns are wider than a telephone: put them where they may scroll.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

from auditor.rates import percent
from auditor.report.sheet import BAR, INK, LINE, MARK, SOFT, WIDTH, Picture, Point, new_picture
from auditor.text import excerpt

Cells = Mapping[tuple[str, str], tuple[int, int]]  # (row, column): k of n
_STEPS = {1: 5, 2: 4, 3: 3, 4: 4, 5: 5, 6: 3, 8: 4}  # first digit of an axis' end: into how many steps it is cut


class ForestRow(NamedTuple):
    """A rate (None: not known) with its interval, as shares; `told` says it in words, e.g. "12/240, judged"."""

    label: str
    group: str
    share: float | None
    low: float
    high: float
    told: str


def forest(rows: Sequence[ForestRow], prefix: str, *, title: str = "Rates with their intervals") -> str:
    """One line a row: dot and interval, under a heading a group (none for an empty one, which comes first); what is not known is dashed."""
    with new_picture() as picture:
        (top, cuts), y = _axis([row.high for row in rows]), 0.0
        for group in sorted(dict.fromkeys(row.group for row in rows), key=bool):
            if group:
                y += 22
                picture.text(0, y - 5, picture.fit(group, WIDTH), bold=True)
            for row in (row for row in rows if row.group == group):
                _forest_row(picture, y, row, top, cuts)
                y += 38
        for i in range(cuts + 1) if rows else ():
            x, anchor = {0: (0.0, "left"), cuts: (WIDTH, "right")}.get(i, (8 + (WIDTH - 16) * i / cuts, "center"))
            picture.text(x, y + 8, _tick(top * i / cuts), SOFT, size=11, anchor=anchor)
        return picture.svg(prefix, title, y + 14 if rows else 0)


def _forest_row(picture: Picture, y: float, row: ForestRow, top: float, cuts: int) -> None:
    def at(share: float) -> float:
        return 8 + (WIDTH - 16) * _within(share) / top

    picture.labelled(y + 14, row.label, " · ".join(filter(None, (_rate(row.share), row.told))))
    picture.line((at(0), y + 26), (at(top), y + 26), LINE)
    for i in range(cuts + 1):
        picture.line((at(top * i / cuts), y + 21), (at(top * i / cuts), y + 31), LINE)
    picture.interval((at(row.low), y + 26), (at(row.high), y + 26), known=row.share is not None)
    if row.share is not None:
        picture.dot(at(row.share), y + 26)


def ladder(levels: Sequence[tuple[str, int]], prefix: str, *, title: str = "Episodes by severity") -> str:
    """One bar of all levels, from light to strong, with a legend that says the count and the share of each."""
    with new_picture() as picture:
        total, x, y = sum(count for _, count in levels), 0.0, 44.0
        picture.box(0, 4, 0 if total or not levels else WIDTH, 22, LINE)
        for i, (name, count) in enumerate(levels):
            alpha = 1 - 0.8 * (len(levels) - 1 - i) / max(1, len(levels) - 1)
            length = WIDTH * count / max(1, total)
            picture.box(x, 4, length - min(1, length / 2), 22, MARK, alpha)
            x += length
            picture.box(0, y - 10, 12, 12, MARK, alpha)
            picture.labelled(y, name, f"{count:,} · {percent(count / total if total else None)}", left=20)
            y += 20
        return picture.svg(prefix, title, y - 12 if levels else 0)


def heatmap(rows: Sequence[str], columns: Sequence[str], cells: Cells, prefix: str, *, title: str = "Share by cell") -> str:
    """k/n in every cell, by (row, column), the stronger the higher the share; a dash where there is none."""
    with new_picture() as picture:
        if not rows or not columns:
            return picture.svg(prefix, title, 0)
        told = {at: f"{k:,}/{n:,}" for at, (k, n) in cells.items() if n}
        labels = [picture.fit(row, 180) for row in rows]
        left = max(picture.length(label) for label in labels) + 10
        cell = max((WIDTH - left) / len(columns), 40.0, *(picture.length(words, 11) + 8 for words in told.values()))
        flat = all(picture.length(excerpt(name, 40), 11) < cell - 6 for name in columns)
        heads = [picture.fit(name, cell if flat else 170, 11) for name in columns]
        top = 20.0 if flat else max(picture.length(head, 11) for head in heads) + 10
        for j, head in enumerate(heads):
            x = left + cell * (j + 0.5) + (0 if flat else 4)
            picture.text(x, top - 6, head, SOFT, size=11, anchor="center" if flat else "left", rotation=0 if flat else 90)
        for i, row in enumerate(rows):
            y = top + 26 * i
            picture.text(left - 10, y + 17, labels[i], anchor="right")
            for j, name in enumerate(columns):
                x, words = left + cell * j, told.get((row, name))
                k, n = cells[row, name] if words else (0, 1)
                picture.box(x, y, cell - 2, 24, LINE, 0.5 if words else 0.2)
                picture.box(x, y, cell - 2, 24, MARK, 0.5 * _within(k / n))
                colour = INK if words else SOFT
                picture.text(x + cell / 2 - 1, y + 16, words or "–", colour, size=11, anchor="center")
        return picture.svg(prefix, title, top + 26 * len(rows), left + cell * len(columns))


def trend(points: Sequence[tuple[str, float | None, float, float]], prefix: str, *, title: str = "Rate by checkpoint") -> str:
    """(name, share or None, low, high) in order from left to right, numbered; the names and numbers stand below."""
    with new_picture() as picture:
        if not points:
            return picture.svg(prefix, title, 0)
        (top, cuts), left, floor = _axis([high for *_, high in points]), 48.0, 150.0
        for i in range(cuts + 1):
            y = floor - 138 * i / cuts
            picture.line((left, y), (WIDTH, y), LINE)
            picture.text(left - 6, y + 4, _tick(top * i / cuts), SOFT, size=11, anchor="right")
        slot = (WIDTH - left) / len(points)
        every = math.ceil(22 / slot)  # as many numbers as there is room for
        dots: list[Point | None] = []
        for i, (name, share, *ends) in enumerate(points):
            x = left + slot * (i + 0.5)
            low, high = ((x, floor - 138 * _within(end) / top) for end in ends)
            picture.interval(low, high, known=share is not None)
            dots.append(None if share is None else (x, floor - 138 * _within(share) / top))
            if i % every == 0:
                picture.text(x, floor + 16, f"{i + 1}", SOFT, size=11, anchor="center")
            picture.text(18, floor + 40 + 19 * i, f"{i + 1}", SOFT, size=11, anchor="right")
            told = f"{_rate(share)} ({percent(ends[0])} to {percent(ends[1])})"
            picture.labelled(floor + 40 + 19 * i, name, told, left=26)
        for before, after in pairwise(dots):
            if before and after:
                picture.line(before, after, SOFT)
        for dot in filter(None, dots):
            picture.dot(*dot)
        return picture.svg(prefix, title, floor + 28 + 19 * len(points))


class Step(NamedTuple):
    """A step of a funnel: `reached` of the `of` before it get there, and the interval of that share (None: no share)."""

    name: str
    reached: int
    of: int | None = None
    low: float | None = None
    high: float | None = None


def steps(nodes: Sequence[Step], prefix: str, *, title: str = "How many reach each step") -> str:
    """A funnel: a bar a step with its count, and what share that is of the step it comes from, with its interval."""
    rows = []
    for name, count, of, low, high in nodes:
        told = f"{count:,}" if of is None else f"{count:,} · {percent(count / of if of else None)}"
        known = of and low is not None and high is not None
        rows.append((name, count, told + (f" ({percent(low)} to {percent(high)})" if known else "")))
    return _bars(rows, prefix, title)


def bars(rows: Sequence[tuple[str, int]], prefix: str, *, title: str = "Counts") -> str:
    """A bar a row with its count."""
    return _bars([(name, count, f"{count:,}") for name, count in rows], prefix, title)


def _bars(rows: Sequence[tuple[str, int, str]], prefix: str, title: str) -> str:
    with new_picture() as picture:
        most = max((count for _, count, _ in rows), default=0)
        for i, (name, count, told) in enumerate(rows):
            picture.labelled(36 * i + 13, name, told)
            picture.box(0, 36 * i + 19, WIDTH, 9, LINE, 0.5)
            picture.box(0, 36 * i + 19, WIDTH * count / most if most else 0, 9, BAR)
        return picture.svg(prefix, title, 36 * len(rows) - 4 if rows else 0)


def _axis(highs: Sequence[float]) -> tuple[float, int]:
    """Where an axis from zero ends, a round number above all `highs` or one, and into how many steps it is cut."""
    highest = max(highs, default=0.0)
    for exponent in (4, 3, 2, 1) if highest > 0 else ():
        for digit, count in _STEPS.items():
            if digit / 10**exponent > highest:
                return digit / 10**exponent, count
    return 1.0, 4


def _within(share: float) -> float:
    return min(max(share, 0.0), 1.0)


def _rate(share: float | None) -> str:
    return "not known" if share is None else percent(share)


def _tick(share: float) -> str:
    return f"{share * 100:.4g}%"
