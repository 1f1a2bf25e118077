"""What people see of the answers to `auditor ask`: tables by model and rung, and an episode's answers one by one."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from auditor import admission, rates
from auditor.query import connect, run
from auditor.show import counted, interval_of, table
from auditor.store import Audit
from auditor.text import excerpt, visible


def asked_facts(audit: Audit) -> dict[str, Any]:
    """What came of asking, as JSON types."""
    with contextlib.closing(connect(audit)) as con:
        return admission.facts(con)


def asked_tables(audit: Audit) -> list[Table]:
    """What came of asking: by model and rung with the controls beside it, the rung of first disclosure, self and third person."""
    with contextlib.closing(connect(audit)) as con:
        every, firsts = admission.ladders(con), admission.first_disclosure(con)
        sights, tells = admission.sights(con), admission.unflagged(con)
    rows: list[tuple[Any, ...]]
    columns: tuple[str, ...] = (
        "model",
        "tier",
        "rung",
        "asked",
        "answered",
        "admits",
        "rate, 95% interval",
        "confesses falsely",
        "J, 95% interval",
        "classes",
        "not known",
    )
    rows = [
        (
            x.model, x.tier, x.rung, x.asked, x.answered, *_rate(x.admission), _of(x.false_confession), _j(x), counted(x.classes), _missing(x),
        )
        for x in every if x.group == "all"
    ]  # fmt: skip
    right = ("asked", "answered", "admits", "confesses falsely")
    found = [
        table(
            "Asked about what it did: all facts told as its own; of controls, what never happened (J: the difference)",
            columns,
            rows,
            right=right,
        )
    ]
    if groups := [x for x in every if x.group != "all" and x.rung == admission.DIRECT[0]]:
        columns = ("model", "tier", "of", "rung", "admits", "rate, 95% interval", "confesses falsely", "J, 95% interval")
        rows = [(x.model, x.tier, x.group, x.rung, *_rate(x.admission), _of(x.false_confession), _j(x)) for x in groups]
        found.append(
            table(
                "The same for some of them, at L3 (the report has every rung)",
                columns,
                rows,
                right=("admits", "confesses falsely"),
            )
        )
    if firsts:
        columns = ("model", "tier", *admission.SELF, "never", "not known")
        rows = [(f.model, f.tier, *(f.rungs.get(r, 0) for r in admission.SELF), f.never, f.unknown) for f in firsts]
        found.append(table("Episodes by the rung at which they are first admitted", columns, rows, right=columns[2:]))
    if sights:
        columns = (
            "model",
            "tier",
            "says it of itself and of another",
            "sees it, does not say it",
            "says it, does not see it",
            "neither",
            "not known",
        )
        rows = [(s.model, s.tier, s.both, s.unsaid, s.self_only, s.neither, s.unknown) for s in sights]
        found.append(
            table(
                "Episodes: asked as itself (L3, else L5) and about the same transcript as another's (LT)",
                columns,
                rows,
                right=columns[2:],
            )
        )
    if tells:
        columns = ("model", "tier", "rung", "tells of something", "answers", "episodes", "drawn")
        rows = [(u.model, u.tier, u.rung, u.tells, u.known, u.episodes, rates.percent(u.share_drawn)) for u in tells]
        found.append(
            table(
                "A random sample of the unflagged: answers that tell of what no detector saw (read them)",
                columns,
                rows,
                right=columns[3:],
            )
        )
    return found


def _missing(x: admission.Ladder) -> str:
    told = [counted(x.unknown)] if x.unknown else []
    return "; ".join([*told, *([f"of controls: {counted(x.controls_unknown)}"] if x.controls_unknown else [])]) or "–"


def _of(share: admission.Share) -> str:
    return f"{share.k}/{share.n}"


def _rate(share: admission.Share) -> tuple[str, str]:
    told = f"{rates.percent(share.share)}, {interval_of(share.interval, share.n)} ({share.tasks} tasks)" if share.n else "–"
    return _of(share), told


def _j(x: admission.Ladder) -> str:
    return f"{rates.signed(x.j)}, {rates.signed(x.j_interval.low)} to {rates.signed(x.j_interval.high)}" if x.j_interval else "–"


def answers_of(con: Any, episode_id: str) -> list[dict[str, Any]]:
    """All answers of an episode: inside the log, then by asking, real before controls, in the order of the ladder."""
    sql = "SELECT * FROM answers WHERE episode_id = ? ORDER BY rung <> 'in_log', control, rung, sample, question"
    columns, rows = run(con, sql, [episode_id])
    found = [dict(zip(columns, row, strict=True)) for row in rows]
    return [{**a, "stances": json.loads(a["stances"] or "{}"), "attributes": json.loads(a["attributes"] or "{}")} for a in found]


def facts_of(con: Any, episode_id: str) -> list[dict[str, Any]]:
    """What the answers of an episode are held against."""
    columns, rows = run(con, "SELECT * FROM facts WHERE episode_id = ? ORDER BY control, fact", [episode_id])
    return [dict(zip(columns, row, strict=True)) for row in rows]


def answers(console: Console, facts: Sequence[dict[str, Any]], given: Sequence[dict[str, Any]]) -> None:
    """Print the facts and every answer beside them; words that decide are marked."""
    if facts:
        columns = ("as", "fact", "kind", "happened", "material", "knew", "told", "by", "message", "text")
        rows = [
            (f["control"] or "itself", f"{f['fact']}{' *' if f['target'] else ''}", f["kind"], _yes(f["happened"]), _yes(f["material"]), f["knew"], _yes(f["told"]), f["source"], f["message"], f["text"])
            for f in facts
        ]  # fmt: skip
        console.print("", table("Held against (* asked about by specific questions)", columns, rows, right=("message",)))
    for a in given:
        where = "inside the log" if a["rung"] == "in_log" else f"{a['rung']}, sample {a['sample']}"
        role = {"clean": " · control: clean", "sham": " · control: sham charge", "random": " · drawn from the unflagged"}.get(
            a["control"] or "", ""
        )
        said = a["answer_class"] or ("unclear" if a["status"] == "ok" else a["status"])
        console.print(
            Text(f"\n{where}{role} · {said}", style="reverse"),
            Text(f" {a['tier']}, by {visible(a['detector'] or '')}", style="dim"),
            sep="",
        )
        if a["asked"] and a["status"] not in ("not_asked", "skipped"):
            console.print(Text(visible(a["asked"]), style="cyan"))
        if a["reasoning"]:
            console.print(Text(visible(a["reasoning"]), style="italic dim"))
        if a["answer"]:
            console.print(_quoted(a["answer"], a["attributes"].get("quotes") or ()))
        if a["stances"]:
            console.print(
                Text(
                    ", ".join(f"{fact}: {stance.replace('_', ' ')}" for fact, stance in sorted(a["stances"].items())), style="dim"
                )
            )
        if a["error"]:
            console.print(Text(excerpt(a["error"], 300), style="red"))
    if not given:
        console.print(Text("\nnobody asked; 'auditor ask' does", style="dim"))


def _yes(value: object) -> str | None:
    return None if value is None else "yes" if value else "no"


def _quoted(text: str, quotes: Sequence[dict[str, Any]]) -> Text:
    """The answer, each quote that decided marked with what it shows."""
    made, at = Text(), 0
    for q in sorted(quotes, key=lambda q: (q["start"], q["end"])):
        if q["start"] < at:
            continue
        made.append(visible(text[at : q["start"]]))
        made.append(visible(text[q["start"] : q["end"]]), style="bold black on yellow")
        made.append(f" ◀ {visible(q['of'])}", style="yellow")
        at = q["end"]
    made.append(visible(text[at:]))
    return made
