"""rubrics list, show, test."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from auditor.cli.base import Format, FormatOption, RubricsOption, as_json, out, rubrics_app


@rubrics_app.command("list")
def rubrics_list(rubrics: RubricsOption = None, fmt: FormatOption = Format.TABLE) -> None:
    """List the rubrics."""
    from auditor import show
    from auditor.rubric import load_all, path_of

    found = load_all(path_of(rubrics))
    columns = ("id", "version", "status", "signals", "question")
    rows = [(r.id, r.version, r.status, len(r.signals), r.question) for r in found]
    if fmt is Format.JSON:
        as_json([dict(zip(columns, row, strict=True)) for row in rows])
    else:
        out().print(show.table("Rubrics", columns, rows, right=("version", "signals")))


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
        as_json([r._asdict() for r in results])
    else:
        rows = [(r.rubric, r.examples, r.negatives, r.signals, r.ablations, len(r.problems)) for r in results]
        columns = ("rubric", "examples", "expecting nothing", "signals", "ablations", "problems")
        out().print(show.table("Rubric tests", columns, rows, right=columns[1:]))
        for rubric, problem in failures:
            out().print(f"{rubric}: {problem}", markup=False, highlight=False)
    if failures:
        raise typer.Exit(1)
