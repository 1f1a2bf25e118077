"""What all commands share: the app, option types, output to stdout, progress to stderr."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from auditor.text import visible

if TYPE_CHECKING:
    from rich.console import Console

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
ByOption = Annotated[
    str,
    typer.Option(
        "--by", help="Groups: model, checkpoint, environment, task, elicitation, developer …, metadata.KEY; with commas."
    ),
]
StrictOption = Annotated[bool, typer.Option("--strict", help="Exit code 3 when a record could not be read.")]


def columns_of(by: str) -> list[str]:
    """The columns that `--by` names."""
    return [name.strip() for name in by.split(",") if name.strip()]


def out() -> Console:
    """A console on stdout: as wide as the terminal, 180 columns in a pipe."""
    from rich.console import Console

    return Console(width=None if sys.stdout.isatty() else 180, highlight=False, soft_wrap=False)


def as_json(value: Any) -> None:
    """A value as JSON on stdout."""
    import orjson

    sys.stdout.write(orjson.dumps(value, option=orjson.OPT_INDENT_2, default=str).decode() + "\n")


def say(text: str) -> None:
    """A line on stderr, what it holds of logs and servers made visible."""
    sys.stderr.write(visible(text) + "\n")


@contextmanager
def stdin(logs: list[str]) -> Iterator[list[str]]:
    """Standard input, where '-' names it, as a file named by its content, so that a second run knows it again."""
    from auditor.readers import files

    if "-" not in logs:
        yield logs
        return
    with files.spooled(sys.stdin.buffer) as path:
        yield [path if log == "-" else log for log in logs]


@contextmanager
def progress() -> Iterator[Any]:
    """A progress bar on stderr, or a plain line now and then where that is no terminal."""
    from auditor.watch import watch

    with watch(sys.stderr) as report:
        yield report
