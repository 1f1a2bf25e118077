"""What people see in a terminal: tables, and one transcript with its evidence marked. Everything is made visible first."""

from __future__ import annotations

import contextlib
import functools
import json
import sys
from collections.abc import Iterable, Sequence
from typing import Any

import jsonlines
from rich.console import Console
from rich.table import Table
from rich.text import Text

from auditor import rates
from auditor.errors import QueryError
from auditor.query import run
from auditor.text import excerpt, visible
from auditor.transcript import Channel, Transcript, pieces

_FOLD_LINES = 12
_STYLES = {
    Channel.TASK: "cyan", Channel.INJECTED: "dim cyan", Channel.REASONING: "italic", Channel.SAY: "", Channel.ACTION: "green",
    Channel.OBSERVATION: "dim", Channel.FINAL: "bold", Channel.REPLY: "bold magenta",
}  # fmt: skip


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[Any]], *, right: Sequence[str] = ()) -> Table:
    """A plain table; every cell is one visible line."""
    made = Table(title=Text(title), title_justify="left", title_style="bold", box=None, pad_edge=False, header_style="dim")
    for column in columns:
        made.add_column(column, justify="right" if column in right else "left", overflow="fold")
    for row in rows:
        made.add_row(*(Text("–" if cell is None else excerpt(str(cell), 120)) for cell in row))
    return made


def summary_tables(con: Any) -> list[Table]:
    """The two tables that answer the questions: candidates per model, and what was admitted inside the logs."""
    everything = rates.rates(con)
    rows: list[tuple[Any, ...]] = [
        (
            r.who,
            r.n + sum(r.unknown.values()),
            r.rubric,
            r.tier,
            f"{r.k}/{r.n}",
            rates.percent(r.share),
            interval_of(r.interval, r.n),
            counted(r.unknown),
        )
        for r in everything
        if r.tier == "candidate"
    ]
    columns: tuple[str, ...] = ("model", "episodes", "rubric", "tier", "k/n", "rate", "95% Wilson", "not known")
    found = [table("Candidates, by signals (not verdicts)", columns, rows, right=("episodes", "k/n", "rate"))]
    found += _judged_tables(con, [r for r in everything if r.tier == "judged"])
    asked: list[tuple[Any, ...]] = []
    for a in rates.admissions(con):
        for name in a.counts:
            k, n, interval = a.rate(name)
            asked.append((a.model, "candidate", name, f"{k}/{n}", rates.percent(k / n), interval_of(interval, n)))
    columns = ("model", "tier", "answer", "k/n", "rate", "95% Wilson")
    title = "Asked directly inside the log, by signals"
    found.append(table(title, columns, asked or [("no user asked about conduct", "", "", "", "", "")], right=("k/n", "rate")))
    return found


def _judged_tables(con: Any, judged: Sequence[rates.Rate]) -> list[Table]:
    if not judged:
        return []
    several = len({r.detector for r in judged}) > 1
    columns: tuple[str, ...] = (
        "model",
        "rubric",
        *(("judge",) if several else ()),
        "of",
        "k/n",
        "rate",
        "95% Wilson",
        "not known",
    )
    rows: list[tuple[Any, ...]] = [
        (
            r.who, r.rubric, *((r.detector.removeprefix("judge:"),) if several else ()), r.of,
            f"{r.k}/{r.n}", rates.percent(r.share), interval_of(r.interval, r.n), counted(r.unknown),
        )
        for r in judged
    ]  # fmt: skip
    names = sorted({r.detector.removeprefix("judge:") for r in judged})
    by = "several judges" if several else f"judge {names[0]}"
    note = (
        ""
        if all(r.stratum == "all" for r in judged)
        else "; candidates and the sampled rest are no prevalence, apart or added up"
    )
    found = [table(f"Judged, by {by}{note}", columns, rows, right=("k/n", "rate"))]
    if views := rates.by_view(con):
        shown = [
            (
                v.model, v.rubric, v.detector.removeprefix("judge:"), v.of,
                *(f"{v.flagged[name]}/{v.known[name]}" if name in v.known else None for name in rates.VIEWS), v.union, v.unknown,
            )
            for v in views
        ]  # fmt: skip
        columns = ("model", "rubric", "judge", "of", *rates.VIEWS, "any view", "in none, a view not known")
        found.append(table("Flagged of known, by what the judge was shown", columns, shown, right=columns[4:]))
    if agreed := rates.agreement(con):
        shown = [(a.rubric, a.view, a.raters, a.episodes, a.told) for a in agreed]
        columns = ("rubric", "view", "raters", "episodes", "alpha")
        found.append(table("Agreement of votes: Krippendorff's alpha, nominal", columns, shown, right=columns[2:]))
    return found


def summary_facts(con: Any) -> dict[str, Any]:
    """The same numbers as JSON types."""
    return {
        "models": [m._asdict() for m in rates.models(con)],
        "rates": [r.plain() for r in rates.rates(con)],
        "views": [v.plain() for v in rates.by_view(con)],
        "agreement": [a._asdict() for a in rates.agreement(con)],
        "admissions": [
            {
                "model": a.model,
                "tier": "candidate",
                "class": name,
                "k": k,
                "n": n,
                "low": i.low,
                "high": i.high,
                "method": i.method,
            }
            for a in rates.admissions(con)
            for name in a.counts
            for k, n, i in [a.rate(name)]
        ],
    }


def interval_of(interval: Any, n: int) -> str:
    """An interval in percent, – for n = 0."""
    return f"{rates.percent(interval.low)} to {rates.percent(interval.high)}" if n else "–"


def counted(unknown: dict[str, int]) -> str:
    """Counts by reason or class, in words."""
    return ", ".join(f"{n} {reason.replace('_', ' ')}" for reason, n in unknown.items()) or "–"


def evidence_of(con: Any, episode_id: str) -> list[dict[str, Any]]:
    """All evidence of an episode, in message order."""
    columns, rows = run(
        con,
        'SELECT * FROM evidence WHERE episode_id = ? ORDER BY message, "start", rubric, detector, view, signal, "end"',
        [episode_id],
    )
    return [dict(zip(columns, row, strict=True)) for row in rows]


def verdicts_of(con: Any, episode_id: str) -> list[dict[str, Any]]:
    """All verdicts on an episode, the signals' first."""
    sql = "SELECT rubric, tier, detector, view, status, flagged, level, rationale, error, attributes FROM verdicts WHERE episode_id = ? ORDER BY tier, rubric, detector, view"
    columns, rows = run(con, sql, [episode_id])
    return [{**dict(zip(columns, row, strict=True)), "attributes": json.loads(row[-1])} for row in rows]


def judged_table(verdicts: Sequence[dict[str, Any]]) -> Table | None:
    """What judges said of an episode, one line a finding; None where no judge was asked."""
    rows = []
    for v in verdicts:
        if v["tier"] == "judged":
            says = {True: "yes", False: "no", None: "not known"}[v["flagged"]]
            head = (v["rubric"], v["detector"].removeprefix("judge:"), v["view"], v["status"], says)
            findings = v["attributes"].get("findings") or []
            for f in findings:
                rows.append((*head, f["level"], ", ".join(f["codes"]), f["what"], f["benign"]))
            if not findings:
                rows.append((*head, v["level"], "", v["error"] or v["rationale"], ""))
    columns = ("rubric", "judge", "view", "status", "flagged", "level", "codes", "found", "in good faith")
    return table("Judged", columns, rows) if rows else None


def transcript(
    console: Console, t: Transcript, asked: int | None, evidence: Sequence[dict[str, Any]], *, whole: bool, blind: bool = False
) -> None:
    """Print an episode: head, messages by channel with evidence marked, then the evidence listed.

    Blind leaves out of the head what could sway a reader: the model, whether it passed, and the id and file that may be named after it.
    """
    console.print(Text("an episode" if blind else excerpt(t.id, 100), style="bold"))
    told = {
        "model": t.model or rates.UNKNOWN_MODEL, "task": t.task, "environment": t.environment, "passed": t.passed,
        "reasoning": t.reasoning, "format": t.format, "source": t.source.path if t.source else None,
    }  # fmt: skip
    told = {k: v for k, v in told.items() if not (blind and k in ("model", "passed", "source"))}
    console.print(Text("  ".join(f"{k}: {excerpt(str(v), 80)}" for k, v in told.items() if v is not None), style="dim"))
    marks: dict[tuple[int, str], list[tuple[int, int, str]]] = {}
    for e in evidence:
        marks.setdefault((e["message"], e["channel"]), []).append(
            (e["start"], e["end"], e["signal"] or f"{e['rubric']} {e['detector']}")
        )
    for piece in pieces(t, asked):
        here = marks.get((piece.message, piece.channel.value), [])
        console.print(Text(f"\n[{piece.message}] {piece.channel.value}", style=f"reverse {_STYLES[piece.channel]}".strip()))
        console.print(_marked(piece.text, here, _STYLES[piece.channel], whole=whole))
    if evidence:
        console.print()
        rows = [
            (
                e["rubric"],
                _tier(e["detector"]),
                e["signal"] or f"{e['detector'].removeprefix('judge:')}, view {e['view']}",
                e["message"],
                e["channel"],
                e["quote"],
            )
            for e in evidence
        ]
        console.print(
            table(
                "Evidence",
                ("rubric", "tier", "by", "message", "channel", "quote"),
                rows,
                right=("message",),
            )
        )


def _tier(detector: str) -> str:
    return {"signals": "candidate", "reviewer": "reviewed"}.get(detector.partition(":")[0], "judged")


def _marked(text: str, marks: Sequence[tuple[int, int, str]], style: str, *, whole: bool) -> Text:
    """The text, evidence in reverse with all that rests on it behind it, long parts without evidence folded."""
    spans: list[tuple[int, int, list[str]]] = []
    for start, end, name in sorted(set(marks)):
        if spans and start < spans[-1][1]:
            # Signals and judges often quote the same words: one mark, every name.
            first, last, names = spans[-1]
            spans[-1] = (first, max(last, end), names if name in names else [*names, name])
        else:
            spans.append((start, end, [name]))
    out = Text(style=style)
    at = 0
    for start, end, names in spans:
        out.append(_folded(text[at:start], whole=whole))
        out.append(visible(text[start:end]), style="bold black on yellow")
        out.append(f" ◀ {', '.join(visible(name) for name in names)}", style="yellow")
        at = end
    out.append(_folded(text[at:], whole=whole))
    return out


def _folded(text: str, *, whole: bool) -> str:
    shown = visible(text)
    cut = shown.split("\n")
    if whole or len(cut) <= _FOLD_LINES + 2:
        return (
            shown
            if whole or len(shown) <= 4000
            else f"{shown[:2000]} […{len(shown) - 4000} characters, --whole shows them…] {shown[-2000:]}"
        )
    half = _FOLD_LINES // 2
    return "\n".join([*cut[:half], f"[…{len(cut) - 2 * half} lines, --whole shows them…]", *cut[-half:]])


def write_rows(columns: Sequence[str], rows: Sequence[Sequence[Any]], fmt: str, output: str | None) -> None:
    """Rows as json, jsonl, csv or parquet, to a file or to standard output. QueryError where parquet has no file."""
    if fmt == "parquet":
        if output is None:
            raise QueryError("parquet is not for a terminal: give -o FILE.parquet")
        _frame(columns, rows).to_parquet(output, index=False)
        return
    with open(output, "w", encoding="utf-8", newline="") if output else contextlib.nullcontext(sys.stdout) as stream:
        if fmt == "csv":
            _frame(columns, rows).to_csv(stream, index=False)
        elif fmt == "jsonl":
            dumps = functools.partial(json.dumps, ensure_ascii=True, default=str)
            with jsonlines.Writer(stream, dumps=dumps) as writer:
                writer.write_all(dict(zip(columns, row, strict=True)) for row in rows)
        else:
            json.dump([dict(zip(columns, row, strict=True)) for row in rows], stream, indent=2, default=str)
            stream.write("\n")


def _frame(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> Any:
    import pandas as pd  # half a second to import

    return pd.DataFrame(list(rows), columns=list(columns))


def usage_line(used: dict[str, Any], who: str = "judge") -> str:
    """What a run sent and cost, in one line."""
    outcomes = ", ".join(f"{n:,} {kind}" for kind, n in sorted(used["outcomes"].items(), key=lambda o: -o[1]))
    cost = (
        f"${used['cost']:,.{2 if used['cost'] >= 0.1 or not used['cost'] else 4}f}" if not used["unpriced"] else "cost not known"
    )
    kept = f", {used['kept']:,} replies kept from before" if used["kept"] else ""
    tokens = f"{used['prompt_tokens']:,} tokens in, {used['completion_tokens']:,} out"
    return f"{who}: {used['sent']:,} calls sent ({outcomes or 'none'}){kept}; {tokens}, {cost}"
