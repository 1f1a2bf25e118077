"""query, show, report: what an audit holds."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from auditor.cli.base import AuditPath, ByOption, Format, FormatOption, QueryFormat, app, as_json, columns_of, out, say


@app.command(epilog="Example: auditor query audit/ --rubric concealment --model my-model --format jsonl | head")
def query(
    audit: AuditPath,
    rubric: Annotated[str | None, typer.Option(help="Only this rubric.")] = None,
    model: Annotated[str | None, typer.Option(help="Only this model.")] = None,
    min_level: Annotated[int | None, typer.Option(help="Only verdicts of this level or above (a judge gives levels).")] = None,
    where: Annotated[
        str | None, typer.Option(metavar="SQL", help="A condition over verdicts, episodes and answer_class.")
    ] = None,
    sql: Annotated[
        str | None, typer.Option(metavar="SELECT", help="A whole query over episodes, verdicts, evidence, answers, facts, rates.")
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="Unflagged verdicts too.")] = False,  # noqa: FBT002  # a flag
    limit: Annotated[int | None, typer.Option(min=0, help="At most so many rows.")] = None,
    output: Annotated[str | None, typer.Option("-o", metavar="FILE", help="Write here (needed for parquet).")] = None,
    fmt: Annotated[QueryFormat, typer.Option("--format", help="How rows are printed.")] = QueryFormat.TABLE,
) -> None:
    """List flagged episodes with the words that flagged them, or ask your own SQL."""
    from auditor import query as queries
    from auditor import rates_view, show
    from auditor.store import Audit

    if output and fmt is QueryFormat.TABLE:
        kinds = {f.value: f for f in QueryFormat if f is not QueryFormat.TABLE}
        ending = output.rpartition(".")[2].lower()
        if ending not in kinds:
            raise typer.BadParameter(
                f"give --format, or a name that ends in one of {', '.join('.' + k for k in kinds)}", param_hint="-o"
            )
        fmt = kinds[ending]
    con = queries.connect(Audit.open(audit))
    rates_view.provide(con, f"{sql} {where}")
    if sql:
        columns, rows = queries.run(con, sql)
    else:
        columns, rows = queries.find_episodes(
            con, rubric=rubric, model=model, min_level=min_level, where=where, every=every, limit=limit
        )
    if fmt is QueryFormat.TABLE:
        answers = not sql and any(row[columns.index("rung")] for row in rows)
        of_answers = [
            "episode_id",
            "model",
            "rubric",
            "rung",
            "sample",
            "control",
            "answer_class",
            "status",
            "rationale",
            "quote",
        ]
        of_verdicts = ["episode_id", "model", "rubric", "detector", "view", "level", "rationale", "quote"]
        short = columns if sql else of_answers if answers else of_verdicts
        picked = [[row[columns.index(c)] for c in short] for row in rows]
        out().print(show.table(f"{len(rows)} rows", short, picked))
    else:
        show.write_rows(columns, rows, fmt.value, output)


@app.command("show", epilog="Examples: auditor show audit/ 3f2a --whole | less -R   |   auditor show audit/ 3f2a --answers")
def show_episode(
    audit: AuditPath,
    episode: Annotated[str, typer.Argument(help="The episode's id, or its beginning.")],
    answers: Annotated[  # noqa: FBT002  # a flag
        bool, typer.Option("--answers", help="What it answered when asked, and the facts it is held against.")
    ] = False,
    whole: Annotated[bool, typer.Option("--whole", help="Fold nothing.")] = False,  # noqa: FBT002  # a flag
    fmt: FormatOption = Format.TABLE,
) -> None:
    """Print an episode with its evidence marked."""
    from auditor import query as queries
    from auditor import show, show_asked, show_validated
    from auditor.store import Audit

    opened = Audit.open(audit)
    con = queries.connect(opened)
    if answers:
        name = queries.find_row(opened, con, episode)[0]
        facts, given = show_asked.facts_of(con, name), show_asked.answers_of(con, name)
        if fmt is Format.JSON:
            as_json({"episode_id": name, "facts": facts, "answers": given})
        else:
            show_asked.answers(out(), facts, given)
        return
    name, transcript = queries.find_transcript(opened, con, episode)
    evidence, verdicts = show.evidence_of(con, name), show.verdicts_of(con, name)
    if fmt is Format.JSON:
        as_json(
            {"transcript": transcript.model_dump(mode="json", exclude_defaults=True), "evidence": evidence, "verdicts": verdicts}
        )
    else:
        asked = queries.run(con, "SELECT min(question) FROM answers WHERE episode_id = ?", [name])[1][0][0]
        show.transcript(out(), transcript, asked, evidence, whole=whole)
        for found in (show.judged_table(verdicts), show_validated.reviewed_table(verdicts)):
            if found:
                out().print("", found)


@app.command(
    epilog="Examples: auditor report audit/ -o report.html   (report.md and report.json are written beside it)   |   auditor report audit/ --by model,environment"
)
def report(
    audit: AuditPath,
    output: Annotated[
        str | None,
        typer.Option(
            "-o", "--output", metavar="HTML", help="Default: report.html in the audit (here, for one on object storage)."
        ),
    ] = None,
    by: ByOption = "model,checkpoint",
    fmt: FormatOption = Format.TABLE,
) -> None:
    """Write report.html, .md and .json: per model what was found, k/n with intervals, and the words that show it."""
    from auditor import report
    from auditor.store import Audit

    data = report.facts(Audit.open(audit), columns_of(by))
    written = report.save(data, output or ("report.html" if "://" in audit else os.path.join(audit, "report.html")))
    if fmt is Format.JSON:
        sys.stdout.write(report.as_json(data) + "\n")
    say("wrote " + ", ".join(written))
