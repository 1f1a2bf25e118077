"""A gate for a training pipeline: is a rate above its limit, or has it risen beyond chance since a baseline?

A gate passes only on what is known. Where nothing is known, or the interval still reaches above the limit, it fails and says so.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, NamedTuple
from xml.etree import ElementTree as ET

import duckdb

from auditor.errors import QueryError, StoreError
from auditor.prevalence import Prevalence, prevalences
from auditor.rates import percent, signed
from auditor.stats.compare import holm
from auditor.stats.intervals import difference
from auditor.text import visible

_LIMIT = re.compile(r"^\s*([a-z][a-z_]*)\s*(?:>=\s*(-?\d+))?\s*:\s*([0-9.eE+-]+)\s*(%?)\s*$")


class Limit(NamedTuple):
    """A rubric, from which level on (None: flagged), and the share that the upper bound may not pass."""

    rubric: str
    at_least: int | None
    most: float

    @property
    def named(self) -> str:
        """As a user writes it."""
        return self.rubric if self.at_least is None else f"{self.rubric}>={self.at_least}"


class Check(NamedTuple):
    """One check of one group: whether it passed, the numbers, and why in one line."""

    name: str
    group: str
    passed: bool
    told: str
    rate: Prevalence | None


def limit(text: str, known: Sequence[str]) -> Limit:
    """A limit as written, such as `concealment>=3: 0.01` or `reward_hack: 5%`; a rubric may be shortened to what only it begins with.

    QueryError says how to write one. A rubric that the audit does not hold is refused: it would pass for ever.
    """
    found = _LIMIT.match(text)
    if found is None:
        raise QueryError(f"--max {text!r}: write RUBRIC: SHARE or RUBRIC>=LEVEL: SHARE, such as 'concealment>=3: 0.01'")
    rubric, level, share, sign = found.groups()
    try:
        most = float(share) / (100 if sign else 1)
    except ValueError:
        raise QueryError(f"--max {text!r}: {share} is no number") from None
    if not 0 <= most <= 1:
        raise QueryError(f"--max {text!r}: a share is between 0 and 1 (or 0% and 100%)")
    named = [name for name in known if name == rubric] or [name for name in known if name.startswith(rubric)]
    if len(named) != 1:
        raise QueryError(
            f"--max {text!r}: {rubric} names {'several rubrics' if named else 'no rubric'} of this audit; there are {', '.join(known)}"
        )
    return Limit(named[0], int(level) if level is not None else None, most)


def check_limits(con: duckdb.DuckDBPyConnection, limits: Sequence[Limit], by: Sequence[str]) -> list[Check]:
    """Each limit on each group of natural episodes: it passes where the upper end of the 95% interval is not above it."""
    found = []
    for one in limits:
        rates = [r for r in prevalences(con, by, rubric=one.rubric, at_least=one.at_least) if r.elicited == "natural"]
        if not rates:
            level = "; a level is known of judged episodes alone" if one.at_least is not None else ""
            found.append(_fail(one.named, "all", f"nothing is known{level}", None))
        found += [_of_limit(one, rate) for rate in rates]
    return found


def _of_limit(one: Limit, rate: Prevalence) -> Check:
    group = rate.group
    bounds = f"{percent(rate.interval.low)} to {percent(rate.interval.high)}"
    told = f"{percent(rate.share)} ({rate.k}/{rate.n}, 95% {bounds}, {rate.tier})"
    if not rate.n:
        return _fail(one.named, group, f"nothing is known of its {rate.episodes:,} episodes", rate)
    if rate.interval.high <= one.most:
        return Check(one.named, group, passed=True, told=f"{told}: below {percent(one.most)}", rate=rate)
    above = "above" if rate.interval.low > one.most else "not shown to be below"
    return _fail(one.named, group, f"{told}: {above} {percent(one.most)}", rate)


def check_baseline(
    now: duckdb.DuckDBPyConnection,
    before: duckdb.DuckDBPyConnection,
    by: Sequence[str],
    rubrics: Sequence[tuple[str, int | None]],
) -> list[Check]:
    """Each rate against that of a baseline with the same group: it fails where it has risen beyond chance.

    The difference has its square-and-add interval; over all groups Holm's correction of the one-sided level 5%, by a normal
    p-value with the standard error that the interval implies. Different tiers are not compared.
    """
    pairs: list[tuple[str, str, Prevalence, Prevalence]] = []
    found: list[Check] = []
    for rubric, at_least in rubrics:
        named = rubric if at_least is None else f"{rubric}>={at_least}"
        old = prevalences(before, by, rubric=rubric, at_least=at_least)
        for rate in prevalences(now, by, rubric=rubric, at_least=at_least):
            base = _base(rate, old)
            group = rate.group
            if base is None or base.share is None:
                found.append(Check(named, group, passed=True, told="the baseline knows nothing of it: not compared", rate=rate))
            elif rate.share is None:
                found.append(_fail(named, group, f"known in the baseline ({percent(base.share)}), and not here", rate))
            elif base.tier != rate.tier:
                found.append(_fail(named, group, f"{rate.tier} here and {base.tier} in the baseline cannot be compared", rate))
            else:
                pairs.append((named, group, rate, base))
    if not pairs:
        found.append(
            _fail(
                "baseline",
                "all",
                f"nothing could be compared by {', '.join(by) or 'all'}: are the groups named alike? (--by model)",
                None,
            )
        )
        return found
    for (named, group, rate, base), p in zip(pairs, holm([_p_of_rise(rate, base) for _, _, rate, base in pairs]), strict=True):
        moved = difference(rate.share or 0.0, rate.interval, base.share or 0.0, base.interval)
        told = f"{percent(base.share)} → {percent(rate.share)} (difference {signed(moved.low)} to {signed(moved.high)}, p of a rise {p:.3g} by Holm)"
        found.append(Check(named, group, passed=p >= 0.05, told=told, rate=rate))
    return found


def _base(rate: Prevalence, old: Sequence[Prevalence]) -> Prevalence | None:
    """The same group in the baseline; of another stage (a snapshot then, a release now) where it holds that group once."""
    alike = [r for r in old if (r.by, r.elicited) == (rate.by, rate.elicited)]
    return next((r for r in alike if r.stage == rate.stage), alike[0] if len(alike) == 1 else None)


def _fail(name: str, group: str, told: str, rate: Prevalence | None) -> Check:
    return Check(name, group, passed=False, told=told, rate=rate)


def _p_of_rise(rate: Prevalence, base: Prevalence) -> float:
    """One-sided, by the half of the interval that faces zero."""
    from scipy.stats import norm

    now, then = rate.share or 0.0, base.share or 0.0
    moved = difference(now, rate.interval, then, base.interval)
    half = (now - then) - moved.low
    return float(norm.sf((now - then) / (half / norm.ppf(0.975)))) if half > 0 else 1.0


def junit(checks: Sequence[Check]) -> bytes:
    """The checks as a JUnit file."""
    failed = sum(not c.passed for c in checks)
    suite = ET.Element("testsuite", name="auditor check", tests=str(len(checks)), failures=str(failed))
    for c in checks:
        case = ET.SubElement(suite, "testcase", classname=_plain(c.name), name=_plain(c.group))
        if not c.passed:
            ET.SubElement(case, "failure", message=_plain(c.told))
        ET.SubElement(case, "system-out").text = _plain(c.told)
    written: bytes = ET.tostring(suite, encoding="utf-8", xml_declaration=True)
    return written


def write_junit(checks: Sequence[Check], path: str) -> None:
    """Write them. StoreError where that cannot be done."""
    try:
        with open(path, "wb") as file:
            file.write(junit(checks))
    except OSError as error:
        raise StoreError(f"--junit {path}: cannot be written ({error.strerror})") from None


def _plain(text: str) -> str:
    """XML takes no control characters."""
    return visible(text, newlines=False)


def facts(checks: Sequence[Check]) -> list[dict[str, Any]]:
    """The checks as JSON types."""
    return [
        {"check": c.name, "group": c.group, "passed": c.passed, "told": c.told, "rate": c.rate.plain() if c.rate else None}
        for c in checks
    ]
