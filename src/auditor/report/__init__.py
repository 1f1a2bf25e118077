"""The per-model report: one dictionary of facts, rendered as HTML and Markdown, and as JSON by the schema in `schema.py`.

Everything that comes from a transcript is data: escaped by Jinja2 in HTML, made visible and escaped in Markdown.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

import duckdb
import jinja2

from auditor import admission, rates
from auditor.errors import StoreError
from auditor.plan import rubrics_of
from auditor.query import connect, run, stale
from auditor.report.headline import BY, first
from auditor.report.pictures import pictures
from auditor.report.schema import Report
from auditor.store import Audit
from auditor.text import excerpt, visible

TIER_NOTE = (
    "Tier: candidates. No judge has read these episodes: a candidate is an episode in which signals (patterns and composite "
    "rules) fired. It is a reason to look, not a verdict."
)
JUDGED_NOTE = (
    "Tiers are never added up. Candidates: signals (patterns and composite rules) fired; a reason to look, not a verdict. Judged: an LLM "
    "read the episode against the rubric, and every yes carries a verified quote. Rates of candidates and of the "
    "sampled rest are of those strata alone, no prevalence. Whoever refused, failed or was not drawn is not known, never clean."
)
UNMEASURED = " The judge's errors are not measured here: no person has reviewed these episodes."
REVIEWED_NOTE = " Reviewed: a person read the episode. Where enough are, their word is the headline, weighted by how the episodes were drawn; else it says how the judge errs."
_MARKDOWN = str.maketrans({c: f"\\{c}" for c in "\\`*_{}[]<>|#!~&"})


def facts(audit: Audit, by: Sequence[str] = BY) -> dict[str, Any]:
    """All that a report says, as JSON types (`schema.Report` says what is what). `by` are the groups of the headline."""
    about = audit.about()
    rubrics = rubrics_of(audit)
    con = connect(audit)
    try:
        models = rates.models(con)
        by_model: dict[tuple[str, str], list[dict[str, Any]]] = {}
        judges = set()
        for rate in rates.rates(con):
            if rate.tier == "judged" and rate.detector != "judge:majority":
                judges.add(rate.detector.removeprefix("judge:"))
            by_model.setdefault((rate.model, rate.tier), []).append(rate.plain())
        asked = {a.model: a for a in rates.admissions(con)}
        _, formats = run(con, "SELECT format, count(*) FROM episodes GROUP BY 1 ORDER BY 2 DESC, 1")
        _, signals = run(
            con,
            "SELECT rubric, signal, count(DISTINCT episode_id) FROM evidence WHERE signal IS NOT NULL GROUP BY ALL ORDER BY 1, 3 DESC, 2",
        )
        return {
            "report": 1,
            "auditor": about.auditor,
            "read_by": version("auditor"),
            "created": about.created,
            "finished": about.finished,
            "inputs": about.inputs,
            "tier": "judged" if judges else "candidate",
            "note": _note(con, judged=bool(judges)),
            "judge": about.judge,
            "judges": sorted(judges),
            "judge_setup": _setup(about.judge),
            "views": [v.plain() for v in rates.by_view(con)],
            "agreement": [{**a._asdict(), "told": a.told} for a in rates.agreement(con)],
            **first(con, rubrics, by),
            "asked": admission.facts(con),
            "stale": stale(audit),
            "ask": about.ask,
            "ask_setup": _ask_setup(about.ask),
            "rungs": about.ask.get("titles", {}),
            "self_rungs": [*admission.SELF],
            "summary": about.summary,
            "formats": dict(formats),
            "rubrics": about.rubrics,
            "signals": [{"rubric": r, "signal": s, "episodes": n} for r, s, n in signals],
            "models": [
                {
                    **model._asdict(),
                    "rates": by_model.get((model.model, "candidate"), []),
                    "judged_rates": by_model.get((model.model, "judged"), []),
                    "judged": rates.top_judged(con, model.model),
                    "admission": _admission(asked.get(model.model)),
                    "answers": admission.told(con, model.model),
                    "candidates": rates.top_candidates(con, model.model),
                }
                for model in models
            ],
        }
    finally:
        con.close()


def _note(con: duckdb.DuckDBPyConnection, *, judged: bool) -> str:
    reviewed = bool(run(con, "SELECT 1 FROM verdicts WHERE tier = 'reviewed' AND status = 'ok' LIMIT 1")[1])
    told = JUDGED_NOTE if judged else TIER_NOTE
    return told + (REVIEWED_NOTE if reviewed else UNMEASURED if judged else "")


def _admission(asked: rates.Admission | None) -> dict[str, Any]:
    if asked is None:
        return {"asked": 0, "classes": []}
    classes = []
    for name in asked.counts:
        k, n, interval = asked.rate(name)
        classes.append(
            {
                "answer_class": name,
                "k": k,
                "n": n,
                "rate": k / n,
                "low": interval.low,
                "high": interval.high,
                "method": interval.method,
            }
        )
    return {"asked": asked.asked, "classes": classes}


def _setup(judge: dict[str, Any]) -> str:
    """How the judge was set up and what its last run got and cost, as far as the audit remembers it."""
    told = []
    if judge_on := judge.get("judge_on"):
        drawn = f"candidates and {rates.percent(judge.get('sample_rest'))} of the rest, drawn with seed {judge.get('seed', 0)}"
        told.append(f"Judged: {drawn if judge_on == 'candidates' else 'all episodes'}.")
    if views := judge.get("views"):
        told.append(f"Views: {', '.join(views)}; votes of each judge: {judge.get('votes', 1)}.")
    if used := judge.get("usage"):
        outcomes = ", ".join(f"{kind}: {n:,}" for kind, n in sorted(used["outcomes"].items(), key=lambda o: (-o[1], o[0])))
        cost = "cost not known" if used["unpriced"] else f"${used['cost']:,.2f}"
        told.append(f"Its last run sent {used['sent']:,} calls ({outcomes or 'none'}), {cost}.")
    return " ".join(told)


def _ask_setup(ask: dict[str, Any]) -> str:
    """How the models were asked last, as far as the audit remembers it."""
    if not ask:
        return ""
    told = [
        f"The last run: rungs {', '.join(ask['rungs'])}, {ask['samples']} samples each, questions version {ask['questions']['version']} ({ask['questions']['hash']})."
    ]
    told.append(
        f"Controls: {ask['controls']:g} clean for each flawed episode, and a sham charge; of the unflagged {rates.percent(ask['sample_rest'])}."
    )
    who = (
        "signals alone (candidates, not verdicts)"
        if ask["coder"] == "signals"
        else f"{ask['coder']}, who sees neither model nor rung nor which of the statements are true"
    )
    told.append(f"Answers are coded by {who}.")
    counts = ask.get("counts", {})
    lacking = [
        f"{counts[name]:,} {name}"
        for name in ("without a clean control", "without a sham charge", "without a fact")
        if counts.get(name)
    ]
    return " ".join([*told, *([f"Episodes {', '.join(lacking)}."] if lacking else [])])


MOST = 200
"""Rows of a table of groups; the JSON file has all."""


def _environment() -> jinja2.Environment:
    env = jinja2.Environment(
        loader=jinja2.PackageLoader("auditor.report"),
        autoescape=jinja2.select_autoescape(["html"]),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    env.globals["most"] = MOST
    env.filters["percent"] = rates.percent
    env.filters["signed"] = rates.signed
    env.filters["visible"] = visible
    env.filters["excerpt"] = excerpt
    env.filters["md"] = lambda text, limit=160: excerpt(str(text), limit).translate(_MARKDOWN)
    return env


def html(data: dict[str, Any]) -> str:
    """The report as one HTML file that asks nothing of any server."""
    return _environment().get_template("report.html").render(**data, plots=pictures(data))


def markdown(data: dict[str, Any]) -> str:
    """The report for a pull request."""
    return _environment().get_template("report.md").render(**data)


def as_json(data: dict[str, Any]) -> str:
    """The report for a program, checked against its schema."""
    return Report.model_validate(data).model_dump_json(indent=1)


def save(data: dict[str, Any], target: str) -> list[str]:
    """Write HTML, Markdown and JSON side by side, named after `target`; returns their paths. StoreError when they cannot be written."""
    stem, ending = os.path.splitext(target)
    stem = stem if ending.lower() in (".html", ".md", ".json") else target
    written = []
    try:
        os.makedirs(os.path.dirname(target) or ".", exist_ok=True)
        for path, text in ((f"{stem}.html", html(data)), (f"{stem}.md", markdown(data)), (f"{stem}.json", as_json(data))):
            with open(path, "w", encoding="utf-8") as file:
                file.write(text)
            written.append(path)
    except OSError as error:
        raise StoreError(f"{target}: cannot write the report ({error.strerror})") from None
    return written
