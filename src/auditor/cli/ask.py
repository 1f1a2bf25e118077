"""ask: questions to the audited models themselves."""

from __future__ import annotations

import contextlib
import sys
from enum import StrEnum
from typing import Annotated, Any

import typer

from auditor.cli.base import AuditPath, Format, FormatOption, RubricsOption, app, as_json, out, say
from auditor.cli.judge import BaseUrlOption, EndpointsOption, HeaderOption, JudgeOn, ParamOption, PriceOption, judge_options


class AskTier(StrEnum):
    """Whose word it takes for an episode to be asked."""

    JUDGED = "judged"
    CANDIDATE = "candidate"


_C = "Who codes the answers"


@app.command(
    epilog="Examples: auditor ask audit/ --init   |   auditor ask audit/ --models models.yaml --dry-run   |   auditor ask audit/ --models models.yaml --rungs L2,L3,L5 --samples 5 --max-cost 50"
)
def ask(
    audit: AuditPath,
    models: Annotated[str | None, typer.Option(metavar="YAML", help="Which endpoint plays which model of the logs.")] = None,
    init: Annotated[  # noqa: FBT002  # a flag
        bool, typer.Option("--init", help="Write that file (models.yaml, or --models) from the audit, to fill in.")
    ] = False,
    rungs: Annotated[str | None, typer.Option(help="Of L1, L2, LI, L3, L4, L5, L6, LT; with commas. Default: all.")] = None,
    samples: Annotated[int, typer.Option(min=1, max=100, help="How often each question is put (each time in other words).")] = 3,
    controls: Annotated[
        float, typer.Option(min=0, max=20, help="Clean controls for each flawed episode; sham charges with them.")
    ] = 1.0,
    sample_rest: Annotated[float, typer.Option(min=0, max=1, help="Share of the unflagged that is asked too.")] = 0.05,
    tier: Annotated[AskTier, typer.Option(help="candidate: ask also what signals flag and nobody has judged.")] = AskTier.JUDGED,
    seed: Annotated[int, typer.Option(help="Of the draws, and the first seed sent to the models.")] = 0,
    max_cost: Annotated[float | None, typer.Option(min=0, metavar="USD", help="What this run may cost, coding included.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Count calls, tokens and price; send and write nothing.")] = False,  # noqa: FBT002  # a flag
    judge: Annotated[
        str | None, typer.Option("--judge", metavar="MODEL", help="Default: the audit's first judge.", rich_help_panel=_C)
    ] = None,
    no_judge: Annotated[  # noqa: FBT002  # a flag
        bool, typer.Option("--no-judge", help="Signals propose the classes: candidates.", rich_help_panel=_C)
    ] = False,
    base_url: BaseUrlOption = None,
    endpoints: EndpointsOption = None,
    header: HeaderOption = None,
    param: ParamOption = None,
    price: PriceOption = None,
    rubrics: RubricsOption = None,
    fmt: FormatOption = Format.TABLE,
) -> None:
    """Ask the audited models about what was found, and controls beside them: do they admit it?"""
    from auditor import asking, query, show, show_asked
    from auditor.asking import models as files
    from auditor.store import Audit
    from auditor.watch import watch_asking

    opened = Audit.open(audit)
    if init:
        path = models or "models.yaml"
        with contextlib.closing(query.connect(opened)) as con:
            files.write(path, asking.models_of(con))
        say(f"wrote {path}: check each line, then: auditor ask {audit} --models {path} --dry-run")
        return
    if no_judge and judge:
        raise typer.BadParameter("goes without --judge", param_hint="--no-judge")
    alone = {"--base-url": base_url, "--endpoints": endpoints, "--param": param, "--price": price}
    for name, value in alone.items():
        if value and not judge:
            raise typer.BadParameter(
                "is for the one who codes and goes with --judge; the models' own stands in the file of models", param_hint=name
            )
    if rungs is not None and not rungs.strip(" ,"):
        raise typer.BadParameter("is empty", param_hint="--rungs")
    coder = None
    if judge:
        coder = judge_options([judge], judge_on=JudgeOn.ALL, sample_rest=0.0, base_url=base_url, endpoints=endpoints, header=header, param=param, price=price)  # fmt: skip
    elif not no_judge:
        coder = _judge_of(opened, header)
    options = asking.AskOptions(
        models, tuple(r.upper() for r in rungs.replace(",", " ").split()) if rungs else (), samples, controls, sample_rest, tier.value, seed,
        max_cost, coder, rubrics,
    )  # fmt: skip
    try:
        with watch_asking(sys.stderr) as report:
            told = asking.ask_models(opened, options, report, say, dry=dry_run)
    except KeyboardInterrupt:
        say(f"auditor: interrupted; what was answered is kept in {audit}, run the same command again to go on")
        raise typer.Exit(130) from None
    if dry_run:
        _counted(told, fmt)
        return
    if fmt is Format.JSON:
        as_json({**told, **show_asked.asked_facts(opened)})
    else:
        for table in show_asked.asked_tables(opened):
            out().print(table, "")
    say(show.usage_line(told["usage"], "ask"))
    say(f"{audit}: {_in_words(told['counts'])}. Next: auditor report {audit}, auditor show {audit} EPISODE --answers")


def _judge_of(opened: Any, header: list[str] | None) -> Any:
    """The judge that the audit was scanned with, None where there was none."""
    from dataclasses import replace

    from auditor.judging import JudgeOptions

    told = opened.about().judge
    if not told:
        say("no judge codes the answers (this audit has none, --judge MODEL gives one): signals propose classes, as candidates")
        return None
    recalled = JudgeOptions.recalled(told)
    say(f"answers are coded by {recalled.judges[0]}, the judge of this audit (--judge, --no-judge)")
    return replace(recalled, judges=recalled.judges[:1], headers=tuple(header or ()), extract_with=None)


def _counted(told: dict[str, Any], fmt: Format) -> None:
    if fmt is Format.JSON:
        as_json(told)
        return
    counted = told["dry_run"]
    unknown = "price not known (price: [IN, OUT] in the file of models, --price for the judge)"
    cost = unknown if counted["cost"] is None else f"about ${counted['cost']:,.2f}"
    kept = f"; {counted['kept']:,} replies are kept already" if counted["kept"] else ""
    out().print(f"{counted['calls']:,} calls, about {counted['tokens']:,} tokens in, {cost}{kept}", highlight=False)
    most = " Counted as if no charge were admitted: only then is the evidence shown." if "L6" in told["rungs"] else ""
    say(f"{_in_words(told['counts'])}. Nothing was sent.{most}")


_NAMES = {
    "jobs flawed": "{} episodes with a fact to admit",
    "jobs clean": "{} clean controls",
    "jobs sham": "{} sham charges",
    "jobs random": "{} drawn from the unflagged",
    "without a fact": "{} flagged without a fact that can be asked about",
    "without a clean control": "{} without a clean control",
    "without a sham charge": "{} without a sham charge",
    "dropped": "{} earlier answers dropped (other facts, controls, questions, endpoint or coder; their replies are kept: the earlier options bring them back without a call)",
    "open": "{} answers open (run the same command again)",
}


def _in_words(counts: dict[str, int]) -> str:
    return ", ".join(words.format(f"{counts[name]:,}") for name, words in _NAMES.items() if counts.get(name))
