"""Small pictures of rates and counts, as SVG to be put inline into one HTML page.

Matplotlib draws, with all text left as text. Colours are the page's own (`currentColor` and its CSS variables), so that
a picture follows light and dark. Every string is hostile: made visible, shortened, never read as mathematics. Same
input, same bytes. Pictures of many columns are wider than a telephone: put them where they may scroll.
"""

from __future__ import annotations

import io
import math
import re
import unicodedata
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import pairwise
from typing import Any, NamedTuple
from xml.etree import ElementTree as ET

from auditor.rates import percent
from auditor.text import excerpt

NOTHING = "nothing to show"
NO_NAME = "(no name)"
_WIDTH = 420.0  # user units: 10 pixel letters on a telephone, 15 on a desk
_INK, _MARK, _BAR, _LINE, _SOFT = (f"#00000{i}" for i in range(1, 6))
_COLOURS = {_INK: "currentColor", _MARK: "var(--mark)", _BAR: "var(--bar)", _LINE: "var(--line)", _SOFT: "var(--soft)"}
_Point = tuple[float, float]
Cells = Mapping[tuple[str, str], tuple[int, int]]  # (row, column): k of n
_STEPS = {1: 5, 2: 4, 3: 3, 4: 4, 5: 5, 6: 3, 8: 4}  # first digit of an axis' end: into how many steps it is cut
_SETTINGS: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "auditor",
    "text.parse_math": False,
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],  # comes with matplotlib, and is wider than what pages use
}


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
    with _picture() as picture:
        (top, cuts), y = _axis([row.high for row in rows]), 0.0
        for group in sorted(dict.fromkeys(row.group for row in rows), key=bool):
            if group:
                y += 22
                picture.text(0, y - 5, picture.fit(group, _WIDTH), bold=True)
            for row in (row for row in rows if row.group == group):
                _forest_row(picture, y, row, top, cuts)
                y += 38
        for i in range(cuts + 1) if rows else ():
            x, anchor = {0: (0.0, "left"), cuts: (_WIDTH, "right")}.get(i, (8 + (_WIDTH - 16) * i / cuts, "center"))
            picture.text(x, y + 8, _tick(top * i / cuts), _SOFT, size=11, anchor=anchor)
        return picture.svg(prefix, title, y + 14 if rows else 0)


def _forest_row(picture: _Picture, y: float, row: ForestRow, top: float, cuts: int) -> None:
    def at(share: float) -> float:
        return 8 + (_WIDTH - 16) * _within(share) / top

    picture.labelled(y + 14, row.label, " · ".join(filter(None, (_rate(row.share), row.told))))
    picture.line((at(0), y + 26), (at(top), y + 26), _LINE)
    for i in range(cuts + 1):
        picture.line((at(top * i / cuts), y + 21), (at(top * i / cuts), y + 31), _LINE)
    picture.interval((at(row.low), y + 26), (at(row.high), y + 26), known=row.share is not None)
    if row.share is not None:
        picture.dot(at(row.share), y + 26)


def ladder(levels: Sequence[tuple[str, int]], prefix: str, *, title: str = "Episodes by severity") -> str:
    """One bar of all levels, from light to strong, with a legend that says the count and the share of each."""
    with _picture() as picture:
        total, x, y = sum(count for _, count in levels), 0.0, 44.0
        picture.box(0, 4, 0 if total or not levels else _WIDTH, 22, _LINE)
        for i, (name, count) in enumerate(levels):
            alpha = 1 - 0.8 * (len(levels) - 1 - i) / max(1, len(levels) - 1)
            length = _WIDTH * count / max(1, total)
            picture.box(x, 4, length - min(1, length / 2), 22, _MARK, alpha)
            x += length
            picture.box(0, y - 10, 12, 12, _MARK, alpha)
            picture.labelled(y, name, f"{count:,} · {percent(count / total if total else None)}", left=20)
            y += 20
        return picture.svg(prefix, title, y - 12 if levels else 0)


def heatmap(rows: Sequence[str], columns: Sequence[str], cells: Cells, prefix: str, *, title: str = "Share by cell") -> str:
    """k/n in every cell, by (row, column), the stronger the higher the share; a dash where there is none."""
    with _picture() as picture:
        if not rows or not columns:
            return picture.svg(prefix, title, 0)
        told = {at: f"{k:,}/{n:,}" for at, (k, n) in cells.items() if n}
        labels = [picture.fit(row, 180) for row in rows]
        left = max(picture.length(label) for label in labels) + 10
        cell = max((_WIDTH - left) / len(columns), 40.0, *(picture.length(words, 11) + 8 for words in told.values()))
        flat = all(picture.length(excerpt(name, 40), 11) < cell - 6 for name in columns)
        heads = [picture.fit(name, cell if flat else 130, 11) for name in columns]
        top = 20.0 if flat else max(picture.length(head, 11) for head in heads) + 10
        for j, head in enumerate(heads):
            x = left + cell * (j + 0.5) + (0 if flat else 4)
            picture.text(x, top - 6, head, _SOFT, size=11, anchor="center" if flat else "left", rotation=0 if flat else 90)
        for i, row in enumerate(rows):
            y = top + 26 * i
            picture.text(left - 10, y + 17, labels[i], anchor="right")
            for j, name in enumerate(columns):
                x, words = left + cell * j, told.get((row, name))
                k, n = cells[row, name] if words else (0, 1)
                picture.box(x, y, cell - 2, 24, _LINE, 0.5 if words else 0.2)
                picture.box(x, y, cell - 2, 24, _MARK, 0.5 * _within(k / n))
                colour = _INK if words else _SOFT
                picture.text(x + cell / 2 - 1, y + 16, words or "–", colour, size=11, anchor="center")
        return picture.svg(prefix, title, top + 26 * len(rows), left + cell * len(columns))


def trend(points: Sequence[tuple[str, float | None, float, float]], prefix: str, *, title: str = "Rate by checkpoint") -> str:
    """(name, share or None, low, high) in order from left to right, numbered; the names and numbers stand below."""
    with _picture() as picture:
        if not points:
            return picture.svg(prefix, title, 0)
        (top, cuts), left, floor = _axis([high for *_, high in points]), 48.0, 150.0
        for i in range(cuts + 1):
            y = floor - 138 * i / cuts
            picture.line((left, y), (_WIDTH, y), _LINE)
            picture.text(left - 6, y + 4, _tick(top * i / cuts), _SOFT, size=11, anchor="right")
        slot = (_WIDTH - left) / len(points)
        every = math.ceil(22 / slot)  # as many numbers as there is room for
        dots: list[_Point | None] = []
        for i, (name, share, *ends) in enumerate(points):
            x = left + slot * (i + 0.5)
            low, high = ((x, floor - 138 * _within(end) / top) for end in ends)
            picture.interval(low, high, known=share is not None)
            dots.append(None if share is None else (x, floor - 138 * _within(share) / top))
            if i % every == 0:
                picture.text(x, floor + 16, f"{i + 1}", _SOFT, size=11, anchor="center")
            picture.text(18, floor + 40 + 19 * i, f"{i + 1}", _SOFT, size=11, anchor="right")
            told = f"{_rate(share)} ({percent(ends[0])} to {percent(ends[1])})"
            picture.labelled(floor + 40 + 19 * i, name, told, left=26)
        for before, after in pairwise(dots):
            if before and after:
                picture.line(before, after, _SOFT)
        for dot in filter(None, dots):
            picture.dot(*dot)
        return picture.svg(prefix, title, floor + 28 + 19 * len(points))


def steps(nodes: Sequence[tuple[str, int]], prefix: str, *, title: str = "How many reach each step") -> str:
    """A funnel: a bar a step with its count and the percent of the step before."""
    shares = ["", *(f" · {percent(count / before if before else None)}" for (_, before), (_, count) in pairwise(nodes))]
    return _bars([(name, count, f"{count:,}{share}") for (name, count), share in zip(nodes, shares, strict=False)], prefix, title)


def bars(rows: Sequence[tuple[str, int]], prefix: str, *, title: str = "Counts") -> str:
    """A bar a row with its count."""
    return _bars([(name, count, f"{count:,}") for name, count in rows], prefix, title)


def _bars(rows: Sequence[tuple[str, int, str]], prefix: str, title: str) -> str:
    with _picture() as picture:
        most = max((count for _, count, _ in rows), default=0)
        for i, (name, count, told) in enumerate(rows):
            picture.labelled(36 * i + 13, name, told)
            picture.box(0, 36 * i + 19, _WIDTH, 9, _LINE, 0.5)
            picture.box(0, 36 * i + 19, _WIDTH * count / most if most else 0, 9, _BAR)
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


@contextmanager
def _picture() -> Iterator[_Picture]:
    """An empty picture, under matplotlib's own settings whatever the user's are."""
    import matplotlib as mpl

    with mpl.rc_context(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph", category=UserWarning)  # the page's font shows them
        mpl.rcdefaults()
        mpl.rcParams.update(_SETTINGS)
        yield _Picture()


class _Picture:
    """A sheet with pixels from the top left; what is drawn later lies above."""

    def __init__(self) -> None:
        from matplotlib.figure import Figure
        from matplotlib.transforms import Affine2D

        self._figure = Figure(dpi=72)
        self._figure.patch.set_visible(False)
        self._down = Affine2D()  # set when the height is known

    def length(self, words: str, size: float = 12) -> float:
        from matplotlib.font_manager import FontProperties
        from matplotlib.textpath import text_to_path

        wide = sum(unicodedata.east_asian_width(char) in "WF" for char in words)  # not in matplotlib's font
        known, _, _ = text_to_path.get_text_width_height_descent(words, FontProperties(size=size), ismath=False)
        return float(known) + wide * size / 2

    def fit(self, text: str, room: float, size: float = 12) -> str:
        """`text` as one visible line, shortened to at most `room` pixels."""
        lines = (excerpt(text, limit) or NO_NAME for limit in range(40, 14, -4))
        return next((line for line in lines if self.length(line, size) <= room), excerpt(text, 14) or NO_NAME)

    def text(self, x: float, y: float, words: str, colour: str = _INK, *, size: int = 12, bold: bool = False, **how: Any) -> None:
        """`how`: anchor (left, center, right) and rotation."""
        how = {"ha": how.get("anchor", "left"), "va": "baseline", "rotation": how.get("rotation", 0), "rotation_mode": "anchor"}
        how |= {"color": colour, "fontsize": size, "fontweight": "bold" if bold else "normal"}
        self._figure.text(x, y, words, transform=self._down, parse_math=False, zorder=1, **how)

    def labelled(self, y: float, label: str, told: str, *, left: float = 0) -> None:
        """A label at the left and what is told of it at the right."""
        told = self.fit(told, _WIDTH * 0.55, 11)
        self.text(left, y, self.fit(label, _WIDTH - left - 12 - self.length(told, 11)))
        self.text(_WIDTH, y, told, _SOFT, size=11, anchor="right")

    def line(self, start: _Point, end: _Point, colour: str, width: float = 1, **how: Any) -> None:
        from matplotlib.lines import Line2D

        how = {"color": colour, "linewidth": width, "solid_capstyle": "butt", "dash_capstyle": "butt", "zorder": 1, **how}
        self._figure.add_artist(Line2D(*zip(start, end, strict=True), transform=self._down, **how))

    def interval(self, start: _Point, end: _Point, *, known: bool) -> None:
        self.line(start, end, _BAR, 4 if known else 2, linestyle="-" if known else (0, (2, 1.2)))

    def box(self, x: float, y: float, width: float, height: float, colour: str, alpha: float = 1) -> None:
        if width > 0 and alpha > 0:
            self.line((x, y + height / 2), (x + width, y + height / 2), colour, height, alpha=alpha)

    def dot(self, x: float, y: float) -> None:
        self.line((x, y), (x + 0.01, y), _MARK, 9, solid_capstyle="round")

    def svg(self, prefix: str, title: str, height: float, width: float = _WIDTH) -> str:
        """The picture as one <svg> element; of no height, it says that there is nothing to show."""
        from matplotlib.backends.backend_svg import FigureCanvasSVG

        if not height:
            height = 28
            self.text(0, 18, NOTHING, _SOFT)
        self._figure.set_size_inches(width / 72, height / 72)
        self._down.clear().scale(1, -1).translate(0, height)
        FigureCanvasSVG(self._figure).print_svg(made := io.BytesIO(), metadata={"Date": None})  # type: ignore[no-untyped-call]
        return _inline(made.getvalue(), prefix, excerpt(title, 200), width, height)


def _inline(made: bytes, prefix: str, title: str, width: float, height: float) -> str:
    """The lines and texts of matplotlib's SVG as an element of a page, with the page's colours and fonts.

    Without prolog, styles (they would hold for the page) and metadata; the only id is the prefix: nothing here is referred to.
    """
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_-]*", prefix):
        raise ValueError(f"A prefix for ids is letters, digits, - and _, not {prefix!r}.")
    least = f"min-width:{width * 0.8:.0f}px;" if width > _WIDTH else ""
    style = f"display:block;width:100%;{least}max-width:{width * 1.25:.0f}px;height:auto"
    about = {"xmlns": "http://www.w3.org/2000/svg", "id": prefix, "role": "img", "aria-label": title, "style": style}
    root = ET.Element("svg", about | {"viewBox": f"0 0 {width:g} {height:g}"})
    ET.SubElement(root, "title").text = title
    for element in ET.fromstring(made).iter():  # noqa: S314  # written by matplotlib
        tag = element.tag.rpartition("}")[2]
        if tag in {"path", "text"}:
            told = {name: " ".join(value.split()) for name, value in element.attrib.items()}
            ET.SubElement(root, tag, {**told, "style": _style(told["style"])}).text = element.text if tag == "text" else None
    return ET.tostring(root, encoding="unicode")


def _style(style: str) -> str:
    kept = "; ".join(part for part in style.split("; ") if not part.startswith("font-family"))
    return re.sub(r"#00000\d", lambda found: _COLOURS.get(found[0], found[0]), kept)
