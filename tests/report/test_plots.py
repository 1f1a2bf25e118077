"""Pictures are text that can be read, the same every time, and nothing but text whatever the names are."""

from __future__ import annotations

import re
from xml.etree import ElementTree as ET

import matplotlib as mpl
import pytest

from auditor.report import plots, sheet
from auditor.report.plots import ForestRow

SVG = "http://www.w3.org/2000/svg"
HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "$x$",
    "$\\frac{1}",
    "a & b\nc]]>",
    "\u202eevil\u0000\ud800",
    "日本語",
    "n" * 10_000,
    "#000001 url(#a) https://evil.example",
    "",
]


def drawings(names, prefix="p"):
    """Every kind of picture with these names."""
    return {
        "forest": plots.forest([ForestRow(n, n, 0.05, 0.029, 0.085, n) for n in names], f"{prefix}-f"),
        "ladder": plots.ladder([(n, 3) for n in names], f"{prefix}-l"),
        "heatmap": plots.heatmap(names, names, {(n, n): (3, 40) for n in names}, f"{prefix}-h"),
        "trend": plots.trend([(n, 0.05, 0.029, 0.085) for n in names], f"{prefix}-t"),
        "steps": plots.steps([plots.Step(n, 3) for n in names], f"{prefix}-s"),
        "bars": plots.bars([(n, 3) for n in names], f"{prefix}-b"),
    }


KINDS = list(drawings([]))


def texts(svg):
    return [e.text for e in ET.fromstring(svg).iter(f"{{{SVG}}}text")]


def paths(svg, colour):
    return [e for e in ET.fromstring(svg).iter(f"{{{SVG}}}path") if colour in e.get("style", "")]


def test_the_same_input_gives_the_same_bytes_whatever_the_users_settings_are():
    before = drawings(["a", "b"])
    with mpl.rc_context({"font.size": 30, "svg.fonttype": "path", "axes.facecolor": "red", "lines.linewidth": 9}):
        assert drawings(["a", "b"]) == before
    assert not any("matplotlib" in svg or "DejaVu" in svg for svg in before.values())


@pytest.mark.parametrize("kind", KINDS)
def test_hostile_names_come_out_as_text(kind):
    svg = drawings(HOSTILE)[kind]
    root = ET.fromstring(svg)
    assert {e.tag.removeprefix(f"{{{SVG}}}") for e in root.iter()} == {"svg", "title", "path", "text"}
    assert {a for e in root.iter() for a in e.attrib} <= {
        "id",
        "role",
        "aria-label",
        "style",
        "viewBox",
        "d",
        "x",
        "y",
        "transform",
    }
    assert not [v for e in root.iter() for v in e.attrib.values() if re.search("evil|//|url", v)]
    assert "<script" not in svg
    assert "<img" not in svg
    assert not re.search(r"[\x00-\x1f\u202e\ud800]", svg)
    said = texts(svg)
    assert "$x$" in said
    assert "$\\frac{1}" in said
    assert "a & b c]]>" in said
    assert sheet.NO_NAME in said
    assert max(map(len, said)) < 60


@pytest.mark.parametrize("kind", KINDS)
def test_titles_are_escaped_and_told_to_screen_readers(kind):
    draw, arguments = getattr(plots, kind), [[], [], {}] if kind == "heatmap" else [[]]
    root = ET.fromstring(draw(*arguments, "p", title='"><script>\n$x$'))
    assert (root.get("role"), root.get("aria-label"), root.findtext(f"{{{SVG}}}title")) == (
        "img",
        '"><script> $x$',
        '"><script> $x$',
    )


def test_ids_are_unique_on_a_page():
    page = [*drawings(["a", "b"], "one").values(), *drawings(["a", "b"], "two").values()]
    ids = [e.get("id") for svg in page for e in ET.fromstring(svg).iter() if e.get("id")]
    assert len(ids) == len(set(ids)) == 2 * len(KINDS)


@pytest.mark.parametrize("prefix", ["", "1", 'a"b', "a b"])
def test_a_prefix_that_is_no_id_is_refused(prefix):
    with pytest.raises(ValueError, match="prefix"):
        plots.bars([("a", 1)], prefix)


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_says_so(kind):
    assert texts(drawings([])[kind]) == [sheet.NOTHING]


@pytest.mark.parametrize("kind", KINDS)
def test_colours_and_size_are_the_pages(kind):
    svg = drawings(["a", "b"])[kind]
    root = ET.fromstring(svg)
    assert not re.search(r"#[0-9a-f]{6}", svg)
    assert "currentColor" in svg
    assert "var(--" in svg
    assert "width:100%" in root.get("style")
    assert not {"width", "height"} & set(root.attrib)
    assert root.get("viewBox").startswith("0 0 420 ")


def test_a_forest_groups_its_rows_and_dashes_what_is_not_known():
    rows = [
        ForestRow("m-1", "A", 0.05, 0.029, 0.085, "12/240, judged"),
        ForestRow("m-1", "B", None, 0.0, 0.2, "0/0"),
        ForestRow("m-2", "A", 0.0, 0.0, 0.01, ""),
    ]
    svg = plots.forest(rows, "p")
    said = ["A", "m-1", "5.0% · 12/240, judged", "m-2", "0.0%", "B", "m-1", "not known · 0/0", "0%", "10%", "20%", "30%"]
    assert texts(svg) == said
    assert len(paths(svg, "var(--mark)")) == 2
    assert ["stroke-dasharray" in e.get("style") for e in paths(svg, "var(--bar)")] == [False, False, True]


@pytest.mark.parametrize(
    ("high", "end"), [(0.0, "100%"), (0.0004, "0.05%"), (0.05, "6%"), (0.085, "10%"), (0.81, "100%"), (1.0, "100%")]
)
def test_an_axis_ends_at_a_round_number_above_all(high, end):
    assert texts(plots.forest([ForestRow("m", "", 0.0, 0.0, high, "")], "p"))[-1] == end


def test_dots_stand_where_the_axis_says():
    svg = plots.forest([ForestRow("m", "", 0.5, 0.25, 1.0, "")], "p")
    (bar,) = paths(svg, "var(--bar)")
    numbers = [float(n) for n in re.findall(r"[\d.]+", bar.get("d"))]
    assert (numbers[0], numbers[2]) == (8 + 404 / 4, 8 + 404)


def test_the_numbers_given_stand_in_the_text():
    assert texts(plots.ladder([("S0", 1200), ("S1", 300)], "p")) == ["S0", "1,200 · 80.0%", "S1", "300 · 20.0%"]
    made = [plots.Step("all", 200), plots.Step("S2", 0, 200), plots.Step("S3", 0, 0), plots.Step("asked", 5, 10, 0.221, 0.779)]
    assert texts(plots.steps(made, "p"))[1::2] == ["200", "0 · 0.0%", "0 · –", "5 · 50.0% (22.1% to 77.9%)"]
    assert texts(plots.bars([("a", 14), ("b", 0)], "p")) == ["a", "14", "b", "0"]
    said = texts(plots.trend([("c-1", 0.02, 0.01, 0.05), ("c-2", None, 0.0, 0.09)], "p"))
    assert {"c-1", "2.0% (1.0% to 5.0%)", "c-2", "not known (0.0% to 9.0%)"} <= set(said)
    assert texts(plots.ladder([("S0", 0)], "p")) == ["S0", "0 · –"]


@pytest.mark.parametrize("levels", range(1, 9))
def test_a_ladder_goes_from_light_to_strong(levels):
    drawn = paths(plots.ladder([(f"S{i}", 10) for i in range(levels)], "p"), "var(--mark)")
    shades = [float((re.findall("opacity: ([0-9.]+)", e.get("style")) or [1])[0]) for e in drawn]
    assert len(shades) == 2 * levels
    assert shades == sorted(shades)
    assert shades[-1] == 1


def test_a_heatmap_has_a_dash_where_there_is_nothing():
    svg = plots.heatmap(["r"], ["a", "b", "c"], {("r", "a"): (3, 40), ("r", "b"): (0, 0)}, "p")
    assert texts(svg) == ["a", "b", "c", "r", "3/40", "–", "–"]
    assert len(paths(svg, "var(--mark)")) == 1


def test_a_wide_heatmap_keeps_its_letters_readable():
    root = ET.fromstring(plots.heatmap(["r"], [f"model-{i}" for i in range(30)], {}, "p"))
    width = float(root.get("viewBox").split()[2])
    assert width > 1200
    assert f"min-width:{width * 0.8:.0f}px" in root.get("style")
