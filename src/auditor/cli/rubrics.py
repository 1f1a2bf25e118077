"""rubrics list, show, test, diff, mine."""

from __future__ import annotations

import sys
from contextlib import closing
from typing import Annotated

import typer

from auditor.cli.base import AuditPath, Format, FormatOption, RubricsOption, as_json, out, rubrics_app


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


@rubrics_app.command("diff", epilog="Example: auditor rubrics diff audit/ my-rubrics/")
def rubrics_diff(
    audit: AuditPath,
    rubrics: Annotated[str, typer.Argument(metavar="DIR", help="The rubrics to try.")],
    limit: Annotated[int, typer.Option(min=0, help="List at most so many episodes.")] = 50,
    fmt: FormatOption = Format.TABLE,
) -> None:
    """Which episodes other rubrics would flag, or no longer: only signals are run again, nothing is written or paid for."""
    from pathlib import Path

    from auditor import rubric_diff, show
    from auditor.query import connect
    from auditor.rubric import load_all
    from auditor.store import Audit

    opened = Audit.open(audit)
    with closing(connect(opened)) as con:
        found, changes = rubric_diff.diff(opened, con, load_all(Path(rubrics)))
    if fmt is Format.JSON:
        as_json({"rubrics": [d._asdict() for d in found], "changes": [c._asdict() for c in changes]})
        return
    columns = (
        "rubric",
        "signals",
        "compared",
        "become flagged",
        "flagged no more",
        "known or not",
        "not readable",
        "judged, stale",
    )
    out().print(show.table("By rubric", columns, found, right=columns[2:]))
    if changes:
        word = {True: "flagged", False: "not", None: "not known"}
        rows = [(c.rubric, c.episode_id, word[c.before], word[c.after], ", ".join(c.signals)) for c in changes[:limit]]
        more = f", {len(changes) - limit} more not shown (--limit)" if len(changes) > limit else ""
        out().print(show.table(f"{len(changes)} changes{more}", ("rubric", "episode", "before", "after", "fires now"), rows))


@rubrics_app.command("mine", epilog="Example: auditor rubrics mine audit/ --rubric concealment --n 30")
def rubrics_mine(
    audit: AuditPath,
    rubric: Annotated[str | None, typer.Option(help="Only this rubric.")] = None,
    n: Annotated[int, typer.Option("--n", min=1, help="So many terms a rubric.")] = 30,
    fmt: FormatOption = Format.TABLE,
) -> None:
    """Words that set apart what judges or people found and no signal caught: ideas for signals, with counts."""
    from auditor import mine, show
    from auditor.errors import QueryError
    from auditor.plan import rubric_of, rubrics_of
    from auditor.query import connect
    from auditor.store import Audit

    opened = Audit.open(audit)
    names = [rubric_of(opened, rubric).id] if rubric else [r.id for r in rubrics_of(opened)]
    made, without = [], []
    with closing(connect(opened)) as con:
        for name in names:
            try:
                made.append(mine.mine(opened, con, name, n))
            except QueryError as error:
                without.append(str(error))
    if not made:
        raise QueryError(
            "; ".join(without[:1]) if rubric else f"{audit}: no rubric has both found and cleared episodes; scan it with --judge"
        )
    if fmt is Format.JSON:
        as_json([{**groups._asdict(), "terms": [t._asdict() for t in terms]} for groups, terms in made])
        return
    columns = ("channel", "term", "missed positives", "negatives", "z")
    for groups, terms in made:
        title = f"{groups.rubric}: {groups.positives} positives that no signal caught, {groups.negatives} negatives, {groups.read} read"
        rows = [
            (t.channel, t.term, f"{t.positives}/{t.of_positives}", f"{t.negatives}/{t.of_negatives}", f"{t.z:.2f}") for t in terms
        ]
        out().print(show.table(title, columns, rows, right=columns[2:]))
