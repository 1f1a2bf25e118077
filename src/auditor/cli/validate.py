"""validate: the detectors held against labels."""

from __future__ import annotations

from contextlib import closing
from typing import Annotated, Any

import typer

from auditor.cli.base import AuditPath, Format, FormatOption, app, as_json, out, say


@app.command(
    epilog="Examples: auditor validate audit/ --errors 20   |   auditor validate audit/ --field metadata.label.hack --rubric reward_hacking"
)
def validate(
    audit: AuditPath,
    labels: Annotated[
        str | None,
        typer.Option(
            metavar="FILE", help="CSV or JSON Lines with id, rubric, flagged or level; default: the audit's own labels."
        ),
    ] = None,
    field: Annotated[
        str | None, typer.Option(metavar="NAME[=VALUE]", help="A field of the logs as the label: passed, metadata.KEY.")
    ] = None,
    rubric: Annotated[str | None, typer.Option(help="Only this rubric (needed with --field).")] = None,
    threshold: Annotated[
        float | None, typer.Option(help="Flagged from this score on: a judge's level, a signal's weight.")
    ] = None,
    choose_threshold: Annotated[  # noqa: FBT002  # a flag
        bool, typer.Option("--choose-threshold", help="Choose it on one half of the tasks, report on the other.")
    ] = False,
    against: Annotated[
        str | None, typer.Option(metavar="AUDIT", help="Another audit on the same labels: McNemar, exact.")
    ] = None,
    errors: Annotated[int, typer.Option(min=0, help="List so many errors of each detector, to read.")] = 0,
    seed: Annotated[int, typer.Option(help="Of the two halves.")] = 0,
    fmt: FormatOption = Format.TABLE,
) -> None:
    """How good are the detectors? Precision, recall, kappa … of signals and judges against labels, each with its interval."""
    from auditor import queue, truth
    from auditor import validate as checks
    from auditor.labels import load
    from auditor.plan import rubric_of, rubrics_of
    from auditor.query import connect
    from auditor.reviewed import moved
    from auditor.show_validated import tables
    from auditor.store import Audit

    if labels and field:
        raise typer.BadParameter("give one of them", param_hint="--labels, --field")
    if field and not rubric:
        raise typer.BadParameter("of which rubric is it the label? Give --rubric", param_hint="--field")
    if threshold is not None and choose_threshold:
        raise typer.BadParameter("give one of them", param_hint="--threshold, --choose-threshold")
    opened = Audit.open(audit)
    if rubric:
        rubric_of(opened, rubric)
    chosen = checks.Chosen(threshold, choose_threshold, seed)
    with closing(connect(opened)) as con:
        if labels:
            given = truth.from_file(con, labels, rubrics_of(opened), rubric)
        elif field and rubric:
            given = truth.from_field(con, field, rubric)
        else:
            given = truth.own(opened, con, rubric)
            if shifted := moved(con):
                say(f"{shifted:,} labels were drawn before the detectors said what they say now: their weights are rough")
        found = checks.accuracies(con, given, chosen)
        wrong = checks.errors(con, given, found, chosen, errors) if errors else []
        versus: list[Any] = []
        if against:
            with closing(connect(Audit.open(against))) as other:
                versus = checks.against(con, other, given)
        agreed = [] if labels or field else queue.by_rubric(load(opened), rubric)
    if given.unmatched:
        say(f"{given.unmatched:,} labels are of no episode of this audit and are left out")
    for name in sorted({one.key.rubric for one in found} & given.unread.keys()):
        say(f"{name}: of {given.unread[name]} nothing was read, so these numbers are not of them; 'auditor label' goes on there")
    if fmt is Format.JSON:
        as_json(
            {
                "labels": given.told,
                "unread": {**given.unread},
                "accuracy": [one.plain() for one in found],
                "errors": [
                    {**one.key._asdict(), "episode_id": one.episode_id, "said": one.said, "label": one.label, "quote": one.quote}
                    for one in wrong
                ],
                "against": [one._asdict() for one in versus],
                "reviewers": [{"rubric": name, **one._asdict()} for name, one in agreed],
            }
        )
        return
    for table in tables(given, found, wrong, versus if against else None, agreed):
        out().print(table)
