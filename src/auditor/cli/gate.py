"""check and compare: numbers that decide something."""

from __future__ import annotations

from contextlib import closing
from typing import Annotated, Any

import typer

from auditor.cli.base import AuditPath, ByOption, Format, FormatOption, app, as_json, columns_of, out, say


@app.command(
    epilog="Examples: auditor check audit/ --max 'concealment>=3: 0.01' --max 'reward_hacking: 5%'   |   auditor check audit/ --baseline last-week/ --junit check.xml"
)
def check(
    audit: AuditPath,
    most: Annotated[
        list[str] | None,
        typer.Option("--max", metavar="'RUBRIC[>=LEVEL]: SHARE'", help="A limit on the upper end of the 95% interval."),
    ] = None,
    baseline: Annotated[
        str | None, typer.Option(metavar="AUDIT", help="Fail where a rate has risen beyond chance since this audit.")
    ] = None,
    by: ByOption = "model,checkpoint",
    junit: Annotated[str | None, typer.Option(metavar="FILE", help="Write the checks as JUnit XML too.")] = None,
    fmt: FormatOption = Format.TABLE,
) -> None:
    """A gate: exit code 1 when a rate is not shown to be below its limit, or has risen. What is not known does not pass."""
    from auditor import gate, show
    from auditor.query import connect
    from auditor.store import Audit

    if not most and not baseline:
        raise typer.BadParameter("give --max or --baseline", param_hint="check")
    opened = Audit.open(audit)
    known = [r["id"] for r in opened.about().rubrics]
    limits = [gate.limit(text, known) for text in most or ()]
    groups = columns_of(by)
    with closing(connect(opened)) as con:
        found = gate.check_limits(con, limits, groups)
        if baseline:
            with closing(connect(Audit.open(baseline))) as before:
                what = [(one.rubric, one.at_least) for one in limits] or [(name, None) for name in known]
                found += gate.check_baseline(con, before, groups, what)
    if junit:
        gate.write_junit(found, junit)
    if fmt is Format.JSON:
        as_json(gate.facts(found))
    else:
        rows = [("pass" if c.passed else "FAIL", c.name, c.group, c.told) for c in found]
        out().print(show.table("Checks", ("", "check", "group", "what is known"), rows))
    if failed := sum(not c.passed for c in found):
        say(f"auditor check: {failed} of {len(found)} checks failed")
        raise typer.Exit(1)


@app.command(epilog="Example: auditor compare audit/ --models magpie-4 heron-2-large --rubric concealment")
def compare(
    audit: AuditPath,
    models: Annotated[tuple[str, str], typer.Option("--models", metavar="A B", help="The two models.")],
    rubric: Annotated[str | None, typer.Option(help="Only this rubric.")] = None,
    min_level: Annotated[int | None, typer.Option(help="From this level on, in place of flagged.")] = None,
    fmt: FormatOption = Format.TABLE,
) -> None:
    """Two models on the same tasks: the difference of their rates, its interval, and whether it is beyond chance."""
    from auditor import contrast, show
    from auditor.query import connect
    from auditor.rates import percent, signed
    from auditor.store import Audit

    with closing(connect(Audit.open(audit))) as con:
        found = contrast.contrasts(con, *models, rubric=rubric, at_least=min_level)
    if fmt is Format.JSON:
        as_json({"a": models[0], "b": models[1], "contrasts": [c.plain() for c in found]})
        return
    rows: list[tuple[Any, ...]] = [
        (
            c.rubric if c.at_least is None else f"{c.rubric}>={c.at_least}", c.tier, percent(c.a), f"{c.k[0]}/{c.n[0]}", percent(c.b), f"{c.k[1]}/{c.n[1]}",
            f"{signed(c.difference)}, {signed(c.interval.low)} to {signed(c.interval.high)}", f"{c.p_holm:.3g}", c.method,
        )
        for c in found
    ]  # fmt: skip
    columns = ("rubric", "tier", models[0], "k/n", models[1], "k/n", "difference, 95% interval", "p (Holm)", "how")
    out().print(
        show.table(
            f"{models[0]} less {models[1]}", columns, rows or [("nothing is known of both", *[None] * 8)], right=columns[2:6]
        )
    )
