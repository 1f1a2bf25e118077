"""The sheet that pictures are drawn on: lines and texts by matplotlib, given out as one inline <svg> in the page's own colours."""

from __future__ import annotations

import io
import re
import unicodedata
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from xml.etree import ElementTree as ET

from auditor.text import excerpt

NOTHING = "nothing to show"
NO_NAME = "(no name)"
WIDTH = 420.0  # user units: 10 pixel letters on a telephone, 15 on a desk
INK, MARK, BAR, LINE, SOFT = (f"#00000{i}" for i in range(1, 6))
_COLOURS = {INK: "currentColor", MARK: "var(--mark)", BAR: "var(--bar)", LINE: "var(--line)", SOFT: "var(--soft)"}
Point = tuple[float, float]
_SETTINGS: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "auditor",
    "text.parse_math": False,
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],  # comes with matplotlib, and is wider than what pages use
}


@contextmanager
def new_picture() -> Iterator[Picture]:
    """An empty picture, under matplotlib's own settings whatever the user's are."""
    import matplotlib as mpl

    with mpl.rc_context(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph", category=UserWarning)  # the page's font shows them
        mpl.rcdefaults()
        mpl.rcParams.update(_SETTINGS)
        yield Picture()


class Picture:
    """A sheet with pixels from the top left; what is drawn later lies above."""

    def __init__(self) -> None:
        from matplotlib.figure import Figure
        from matplotlib.transforms import Affine2D

        self._figure = Figure(dpi=72)
        self._figure.patch.set_visible(False)
        self._down = Affine2D()  # set when the height is known

    def length(self, words: str, size: float = 12) -> float:
        """Pixels that `words` take."""
        from matplotlib.font_manager import FontProperties
        from matplotlib.textpath import text_to_path

        wide = sum(unicodedata.east_asian_width(char) in "WF" for char in words)  # not in matplotlib's font
        known, _, _ = text_to_path.get_text_width_height_descent(words, FontProperties(size=size), ismath=False)
        return float(known) + wide * size / 2

    def fit(self, text: str, room: float, size: float = 12) -> str:
        """`text` as one visible line, shortened to at most `room` pixels."""
        lines = (excerpt(text, limit) or NO_NAME for limit in range(40, 14, -4))
        return next((line for line in lines if self.length(line, size) <= room), excerpt(text, 14) or NO_NAME)

    def text(self, x: float, y: float, words: str, colour: str = INK, *, size: int = 12, bold: bool = False, **how: Any) -> None:
        """`how`: anchor (left, center, right) and rotation."""
        how = {"ha": how.get("anchor", "left"), "va": "baseline", "rotation": how.get("rotation", 0), "rotation_mode": "anchor"}
        how |= {"color": colour, "fontsize": size, "fontweight": "bold" if bold else "normal"}
        self._figure.text(x, y, words, transform=self._down, parse_math=False, zorder=1, **how)

    def labelled(self, y: float, label: str, told: str, *, left: float = 0) -> None:
        """A label at the left and what is told of it at the right."""
        told = self.fit(told, WIDTH * 0.55, 11)
        self.text(left, y, self.fit(label, WIDTH - left - 12 - self.length(told, 11)))
        self.text(WIDTH, y, told, SOFT, size=11, anchor="right")

    def line(self, start: Point, end: Point, colour: str, width: float = 1, **how: Any) -> None:
        """A straight line; `how` as matplotlib's Line2D takes it."""
        from matplotlib.lines import Line2D

        how = {"color": colour, "linewidth": width, "solid_capstyle": "butt", "dash_capstyle": "butt", "zorder": 1, **how}
        self._figure.add_artist(Line2D(*zip(start, end, strict=True), transform=self._down, **how))

    def interval(self, start: Point, end: Point, *, known: bool) -> None:
        """An interval: solid, or dashed where the share is not known."""
        self.line(start, end, BAR, 4 if known else 2, linestyle="-" if known else (0, (2, 1.2)))

    def box(self, x: float, y: float, width: float, height: float, colour: str, alpha: float = 1) -> None:
        """A filled box, nothing where it has no width."""
        if width > 0 and alpha > 0:
            self.line((x, y + height / 2), (x + width, y + height / 2), colour, height, alpha=alpha)

    def dot(self, x: float, y: float) -> None:
        """A point estimate."""
        self.line((x, y), (x + 0.01, y), MARK, 9, solid_capstyle="round")

    def svg(self, prefix: str, title: str, height: float, width: float = WIDTH) -> str:
        """The picture as one <svg> element; of no height, it says that there is nothing to show."""
        from matplotlib.backends.backend_svg import FigureCanvasSVG

        if not height:
            height = 28
            self.text(0, 18, NOTHING, SOFT)
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
    least = f"min-width:{width * 0.8:.0f}px;" if width > WIDTH else ""
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
