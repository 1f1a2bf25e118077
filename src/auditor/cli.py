"""The commands. Parse, call, print: no logic here. stdout carries the answer, stderr the progress.

Exit codes: 0 done, 1 a check failed, 2 usage or an error to mend, 3 done with rejects under --strict, 130 interrupted.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from auditor.errors import AuditorError, InputError

if TYPE_CHECKING:
    from rich.console import Console

    from auditor.pipeline import Progress

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Audit AI agents' transcripts: do they game the grader, conceal mistakes, admit them when asked?",
)
rubrics_app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="List, read and test rubrics.")
app.add_typer(rubrics_app, name="rubrics")


class Format(StrEnum):
    """How a table is printed."""

    TABLE = "table"
    JSON = "json"


class QueryFormat(StrEnum):
    """How rows are printed."""

    TABLE = "table"
    JSON = "json"
    JSONL = "jsonl"
    CSV = "csv"
    PARQUET = "parquet"


AuditPath = Annotated[str, typer.Argument(metavar="AUDIT", help="The folder that 'auditor scan -o' made.")]
Logs = Annotated[
    list[str],
    typer.Argument(metavar="LOGS...", help="Files, folders, globs, '-' for standard input, or URLs; .gz .bz2 .zst too."),
]
FormatOption = Annotated[Format, typer.Option("--format", help="A table to read, or JSON for programs.")]
MappingOption = Annotated[str | None, typer.Option("--mapping", metavar="YAML", help="How to read an unknown format (JMESPath).")]
JoinOption = Annotated[
    str | None, typer.Option("--join", metavar="FILE", help="CSV or JSON Lines with id and model, task, score …")
]
RubricsOption = Annotated[str | None, typer.Option("--rubrics", metavar="DIR", help="Your rubrics in place of the shipped ones.")]
StrictOption = Annotated[bool, typer.Option("--strict", help="Exit code 3 when a record could not be read.")]


@app.command(epilog="Example: auditor scan logs/ 'runs/**/*.jsonl.zst' -o audit/ --join models.csv")
def scan(
    logs: Logs,
    output: Annotated[str, typer.Option("-o", "--output", metavar="AUDIT", help="A new folder, or an audit to take up again.")],
    rubrics: RubricsOption = None,
    mapping: MappingOption = None,
    join: JoinOption = None,
    jobs: Annotated[int, typer.Option("--jobs", min=1, help="Processes.")] = os.cpu_count() or 1,
    strict: StrictOption = False,  # noqa: FBT002  # a flag on the command line
    fmt: FormatOption = Format.TABLE,
) -> None:
    """Read logs, run the detectors, and write an audit. Run it again to do only what is missing."""
    from auditor import pipeline, query, show
    from auditor.plan import Options

    try:
        with _stdin(logs) as inputs, _progress() as report:
            audit = pipeline.scan(Options(tuple(inputs), output, rubrics, mapping, join, jobs), report)
    except KeyboardInterrupt:
        _say(f"auditor: interrupted; what was finished is kept in {output}, run the same command again to go on")
        raise typer.Exit(130) from None
    summary = audit.about().summary
    con = query.connect(audit)
    if fmt is Format.JSON:
        _json({"summary": summary, **show.summary_facts(con)})
    else:
        for table in show.summary_tables(con):
            _out().print(table, "")
    told = ", ".join(f"{n:,} {k.replace('_', ' ')}" for k, n in summary.items() if n or k in ("episodes", "rejects"))
    _say(f"{output}: {told}. Next: auditor report {output}")
    if summary["rejects"]:
        _say(f"{summary['rejects']} records could not be read: see {os.path.join(output, 'rejects.jsonl')}")
        if strict:
            raise typer.Exit(3)


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
        str | None, typer.Option(metavar="SELECT", help="A whole query over episodes, verdicts, evidence, answers.")
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="Unflagged verdicts too.")] = False,  # noqa: FBT002  # a flag
    limit: Annotated[int | None, typer.Option(min=0, help="At most so many rows.")] = None,
    output: Annotated[str | None, typer.Option("-o", metavar="FILE", help="Write here (needed for parquet).")] = None,
    fmt: Annotated[QueryFormat, typer.Option("--format", help="How rows are printed.")] = QueryFormat.TABLE,
) -> None:
    """List flagged episodes with the words that flagged them, or ask your own SQL."""
    from auditor import query as queries
    from auditor import show
    from auditor.store import Audit

    con = queries.connect(Audit.open(audit))
    if sql:
        columns, rows = queries.run(con, sql)
    else:
        columns, rows = queries.find_episodes(
            con, rubric=rubric, model=model, min_level=min_level, where=where, every=every, limit=limit
        )
    if fmt is QueryFormat.TABLE:
        short = columns if sql else ["episode_id", "model", "rubric", "tier", "level", "rationale", "quote"]
        picked = [[row[columns.index(c)] for c in short] for row in rows]
        _out().print(show.table(f"{len(rows)} rows", short, picked))
    else:
        show.write_rows(columns, rows, fmt.value, output)


@app.command("show", epilog="Example: auditor show audit/ 3f2a --whole | less -R")
def show_episode(
    audit: AuditPath,
    episode: Annotated[str, typer.Argument(help="The episode's id, or its beginning.")],
    whole: Annotated[bool, typer.Option("--whole", help="Fold nothing.")] = False,  # noqa: FBT002  # a flag
    fmt: FormatOption = Format.TABLE,
) -> None:
    """Print an episode with its evidence marked."""
    from auditor import query as queries
    from auditor import show
    from auditor.store import Audit

    opened = Audit.open(audit)
    con = queries.connect(opened)
    name, transcript = queries.find_transcript(opened, con, episode)
    evidence = show.evidence_of(con, name)
    if fmt is Format.JSON:
        _json({"transcript": transcript.model_dump(mode="json", exclude_defaults=True), "evidence": evidence})
    else:
        asked = queries.run(con, "SELECT min(question) FROM answers WHERE episode_id = ?", [name])[1][0][0]
        show.transcript(_out(), transcript, asked, evidence, whole=whole)


@app.command(epilog="Example: auditor report audit/ -o report.html   (report.md is written beside it)")
def report(
    audit: AuditPath,
    output: Annotated[
        str | None, typer.Option("-o", "--output", metavar="HTML", help="Default: report.html in the audit.")
    ] = None,
    fmt: FormatOption = Format.TABLE,
) -> None:
    """Write report.html and report.md: per model what was found, k/n with intervals, and the words that show it."""
    from auditor import report
    from auditor.store import Audit

    opened = Audit.open(audit)
    data = report.facts(opened)
    target = output or os.path.join(audit, "report.html")
    written = report.save(data, target)
    if fmt is Format.JSON:
        _json(data)
    _say("wrote " + " and ".join(written))


@app.command()
def formats(fmt: FormatOption = Format.TABLE) -> None:
    """List the log formats that can be read."""
    from auditor import show
    from auditor.readers import registry

    if fmt is Format.JSON:
        _json([{"name": r.name, "title": r.title, "version": r.version} for r in registry().values()])
        return
    _out().print(
        show.table(
            "Formats, found by content", ("name", "what", "version"), [(r.name, r.title, r.version) for r in registry().values()]
        )
    )
    _out().print("\nAnything else: --mapping FILE.yaml; 'python -m pydoc auditor.readers.mapping' shows how to write one.")


@app.command(epilog="Example: auditor convert logs/session.jsonl -o episodes.jsonl")
def convert(
    logs: Logs,
    output: Annotated[str, typer.Option("-o", "--output", metavar="JSONL", help="'-' for standard output.")] = "-",
    mapping: MappingOption = None,
    join: JoinOption = None,
    strict: StrictOption = False,  # noqa: FBT002  # a flag
) -> None:
    """Turn logs of any format into the project's own JSON Lines."""
    from auditor import pipeline

    with _stdin(logs) as inputs:
        done, rejects = pipeline.convert(inputs, output, mapping, join)
    for reject in rejects[:20]:
        _say(f"rejected: {reject.path}{f':{reject.line}' if reject.line else ''}: {reject.reason}")
    _say(f"{done:,} episodes, {len(rejects):,} rejects")
    if strict and rejects:
        raise typer.Exit(3)


@rubrics_app.command("list")
def rubrics_list(rubrics: RubricsOption = None, fmt: FormatOption = Format.TABLE) -> None:
    """List the rubrics."""
    from auditor import show
    from auditor.rubric import load_all, path_of

    found = load_all(path_of(rubrics))
    columns = ("id", "version", "status", "signals", "question")
    rows = [(r.id, r.version, r.status, len(r.signals), r.question) for r in found]
    if fmt is Format.JSON:
        _json([dict(zip(columns, row, strict=True)) for row in rows])
    else:
        _out().print(show.table("Rubrics", columns, rows, right=("version", "signals")))


@rubrics_app.command("show", epilog="Example: auditor rubrics show concealment")
def rubrics_show(rubric: Annotated[str, typer.Argument(help="The rubric's id.")], rubrics: RubricsOption = None) -> None:
    """Print a rubric's file, to read or to start your own from."""
    from auditor.rubric import path_of, source_of

    sys.stdout.write(source_of(rubric, path_of(rubrics)))


@rubrics_app.command("test", epilog="Example: auditor rubrics test my-rubrics/")
def rubrics_test(
    rubrics: Annotated[str | None, typer.Argument(metavar="DIR", help="Default: the shipped ones.")] = None,
    fmt: FormatOption = Format.TABLE,
) -> None:
    """Run every rubric's examples: signals fire as expected, levels follow, and each pattern is needed by one."""
    from auditor import examples, show
    from auditor.rubric import path_of

    results = examples.check_all(path_of(rubrics))
    failures = [(r.rubric, problem) for r in results for problem in r.problems]
    if fmt is Format.JSON:
        _json([r._asdict() for r in results])
    else:
        rows = [(r.rubric, r.examples, r.negatives, r.signals, r.ablations, len(r.problems)) for r in results]
        columns = ("rubric", "examples", "expecting nothing", "signals", "ablations", "problems")
        _out().print(show.table("Rubric tests", columns, rows, right=columns[1:]))
        for rubric, problem in failures:
            _out().print(f"{rubric}: {problem}", markup=False, highlight=False)
    if failures:
        raise typer.Exit(1)


def _out() -> Console:
    from rich.console import Console

    return Console(width=None if sys.stdout.isatty() else 180, highlight=False, soft_wrap=False)


def _json(value: Any) -> None:
    import orjson

    sys.stdout.write(orjson.dumps(value, option=orjson.OPT_INDENT_2, default=str).decode() + "\n")


def _say(text: str) -> None:
    sys.stderr.write(text + "\n")


@contextmanager
def _stdin(logs: list[str]) -> Iterator[list[str]]:
    """Standard input, where '-' names it, as a file named by its content, so that a second run knows it again."""
    from auditor.readers import files

    if "-" not in logs:
        yield logs
        return
    with files.spooled(sys.stdin.buffer) as path:
        yield [path if log == "-" else log for log in logs]


@contextmanager
def _progress() -> Iterator[Any]:
    """A progress bar on stderr, or a plain line now and then where that is no terminal."""
    from auditor.show import watch

    with watch(sys.stderr) as report:

        def tell(progress: Progress) -> None:
            report(progress.counts["bytes"], progress.total_bytes, progress.counts["episodes"], progress.counts["rejects"])

        yield tell


def main() -> None:
    """Run a command; a user's mistake is one line on stderr and exit code 2."""
    try:
        app()
    except AuditorError as error:
        _say(f"auditor: {' '.join(str(error).split())}")
        sys.exit(2)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)


__all__ = ["InputError", "app", "main"]
