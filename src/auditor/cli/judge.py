"""batch export, batch collect, judge-check; and the options of a judge, which scan shares."""

from __future__ import annotations

import os
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from auditor.cli.base import AuditPath, Format, FormatOption, RubricsOption, app, as_json, out, progress, say

if TYPE_CHECKING:
    from auditor.judging import JudgeOptions, Judging
    from auditor.plan import Options
    from auditor.store import Audit

batch_app = typer.Typer(
    no_args_is_help=True, rich_markup_mode=None, help="Judge by batch files: half price, or a server without a network."
)
app.add_typer(batch_app, name="batch")


class JudgeOn(StrEnum):
    """Which episodes go to the judge."""

    CANDIDATES = "candidates"
    ALL = "all"


_J = "The judge"
JudgeOption = Annotated[
    list[str] | None,
    typer.Option(
        "--judge",
        metavar="MODEL",
        help="An LLM judge: a model, or a name in the endpoints file. Several: majority.",
        rich_help_panel=_J,
    ),
]
BaseUrlOption = Annotated[
    str | None, typer.Option(help="Its server, if not OpenAI's: http://localhost:8000/v1", rich_help_panel=_J)
]
JudgeOnOption = Annotated[JudgeOn, typer.Option(help="Candidates and a sample of the rest, or all episodes.", rich_help_panel=_J)]
SampleOption = Annotated[float, typer.Option(min=0, max=1, help="Share of the rest that is judged too.", rich_help_panel=_J)]
SeedOption = Annotated[int, typer.Option(help="Seed of that sample.", rich_help_panel=_J)]
ViewsOption = Annotated[str, typer.Option(help="Of all, actions, reasoning; with commas.", rich_help_panel=_J)]
VotesOption = Annotated[int, typer.Option(min=1, max=50, help="How often each judge is asked.", rich_help_panel=_J)]
MaxCostOption = Annotated[float | None, typer.Option(min=0, metavar="USD", help="What this run may cost.", rich_help_panel=_J)]
ExtractOption = Annotated[
    str | None, typer.Option(metavar="MODEL", help="A cheap model that collects passages for the judge.", rich_help_panel=_J)
]
EndpointsOption = Annotated[
    str | None, typer.Option(metavar="YAML", help="Named endpoints (or $AUDITOR_ENDPOINTS).", rich_help_panel=_J)
]
HeaderOption = Annotated[
    list[str] | None, typer.Option(metavar="'NAME: VALUE'", help="A header for the server.", rich_help_panel=_J)
]
ParamOption = Annotated[
    list[str] | None, typer.Option(metavar="NAME=VALUE", help="A model parameter: temperature=0.", rich_help_panel=_J)
]
PriceOption = Annotated[
    str | None, typer.Option(metavar="IN,OUT", help="USD per million tokens, where the price list lacks it.", rich_help_panel=_J)
]
ConcurrencyOption = Annotated[int | None, typer.Option(min=1, help="Calls at once (default 32).", rich_help_panel=_J)]
TimeoutOption = Annotated[
    float | None, typer.Option(min=0.1, metavar="SECONDS", help="Limit of a call (default 180).", rich_help_panel=_J)
]
ContextOption = Annotated[
    int, typer.Option(min=6_000, metavar="TOKENS", help="Size of a call; longer episodes go in parts.", rich_help_panel=_J)
]


DryRunOption = Annotated[
    bool, typer.Option("--dry-run", help="Count the judge's calls, tokens and price; send nothing.", rich_help_panel=_J)
]
BatchOption = Annotated[
    bool, typer.Option("--batch", help="Send the calls as batches (half price) and wait; run again to go on.", rich_help_panel=_J)
]
BatchPauseOption = Annotated[
    float, typer.Option(min=0.1, metavar="SECONDS", help="How often a batch is asked after.", rich_help_panel=_J)
]


def judge_options(
    judges: list[str] | None, *, judge_on: JudgeOn = JudgeOn.CANDIDATES, views: str = "all", header: list[str] | None = None,
    param: list[str] | None = None, **given: Any,
) -> JudgeOptions | None:  # fmt: skip
    """The options as one, None without a judge. `given` are fields of `JudgeOptions` by their names."""
    if not judges:
        return None
    from auditor.judging import JudgeOptions

    return JudgeOptions(
        judges=tuple(judges), judge_on=judge_on.value, views=tuple(v.strip() for v in views.split(",")), headers=tuple(header or ()),
        params=tuple(param or ()), **given,
    )  # fmt: skip


def judged(options: JudgeOptions | None, **more: Any) -> Judging | None:
    """What the pipeline needs for a judge, with notices on stderr."""
    if options is None:
        return None
    from auditor.judging import Judging

    return Judging(options, say=say, **more)


def count(options: Options, judging: JudgeOptions, report: Any, fmt: Format) -> None:
    """`--dry-run`: the calls that would be made first, their tokens and price."""
    from auditor import pipeline
    from auditor.judging.doors import counting

    doors, door = counting()
    pipeline.scan(options, report, judged(judging, open_door=door, dry=True))
    told = doors[0].told()
    if fmt is Format.JSON:
        as_json(told)
        return
    cost = "price not known (--price IN,OUT)" if told["cost"] is None else f"about ${told['cost']:,.2f}"
    kept = f"; {told['kept']:,} replies are kept already" if told["kept"] else ""
    out().print(f"{told['calls']:,} calls, about {told['tokens']:,} tokens in, {cost}{kept}", highlight=False)
    say("nothing was sent; second calls (a quote that is not there, the last reading of a long episode) come on top")


def in_batches(options: Options, judging: JudgeOptions, report: Any, pause: float) -> Audit:
    """`--batch`: send what is missing, wait, and again until nothing is; interrupted and run again it goes on."""
    import tempfile
    from pathlib import Path

    from auditor import pipeline
    from auditor.judging import batches
    from auditor.judging.doors import Recording

    setup, audit_path = judging.setup(), Path(options.output)
    for _ in range(4):
        if (audit_path / "llm.sqlite").exists():
            batches.wait(audit_path, setup, say, pause)
        with tempfile.TemporaryDirectory() as folder, batches.writing(folder) as (writer, door):
            pipeline.scan(options, report, judged(judging, open_door=door, dry=True))
            writer.close()
            if not writer.files:
                break
            batches.send(audit_path, writer, say)
    return pipeline.scan(options, report, judged(judging, open_door=lambda replies: Recording(replies, None)))


def _recalled(audit: str, judges: list[str] | None, base_url: str | None) -> JudgeOptions:
    """The options of the audit's last judge, with these in their place."""
    from dataclasses import replace

    from auditor.errors import AuditorError
    from auditor.judging import JudgeOptions
    from auditor.store import Audit

    told = Audit.open(audit).about().judge
    if not told and not judges:
        raise AuditorError(f"{audit}: no judge was ever set up here; give --judge MODEL")
    options = JudgeOptions.recalled(told) if told else JudgeOptions(judges=tuple(judges or ()))
    return replace(options, judges=tuple(judges) if judges else options.judges, base_url=base_url or options.base_url)


@batch_app.command("export", epilog="Example: auditor batch export audit/ -o requests/ --judge gpt-5-mini")
def batch_export(
    audit: AuditPath,
    output: Annotated[str, typer.Option("-o", "--output", metavar="DIR", help="A new or empty folder.")],
    judge: JudgeOption = None,
    base_url: BaseUrlOption = None,
    judge_on: Annotated[JudgeOn | None, typer.Option(help="Candidates and a sample of the rest, or all episodes.")] = None,
    views: Annotated[str | None, typer.Option(help="Of all, actions, reasoning; with commas.")] = None,
) -> None:
    """Write the calls that have no reply yet as request files of the OpenAI Batch API. Nothing is sent, no key is needed."""
    from dataclasses import replace

    from auditor import pipeline
    from auditor.judging import batches
    from auditor.plan import scan_options
    from auditor.store import Audit

    os.environ.setdefault("OPENAI_API_KEY", "not-needed-to-export")
    options = _recalled(audit, judge, base_url)
    options = replace(options, judge_on=judge_on.value if judge_on else options.judge_on)
    options = replace(options, views=tuple(views.split(",")) if views else options.views)
    with batches.writing(output) as (writer, door), progress() as report:
        pipeline.scan(scan_options(Audit.open(audit), audit), report, judged(options, open_door=door, dry=True))
    opened = Audit.open(audit)
    about = opened.about()
    opened.write_about(about.model_copy(update={"judge": options.remembered()}))
    for path in writer.files:
        out().print(f"{path}  {writer.counts[path]:,} requests", highlight=False, markup=False)
    if not writer.files:
        say("every call has its reply already; nothing to export")
    else:
        say(f"send them, then: auditor batch collect {audit} RESULTS.jsonl")


@batch_app.command("collect", epilog="Example: auditor batch collect audit/ results.jsonl")
def batch_collect(
    audit: AuditPath,
    results: Annotated[list[str], typer.Argument(metavar="RESULTS...", help="The result files of the batches, in any order.")],
) -> None:
    """Take in the results of batches and make the verdicts. What lacks a reply stays open: export again."""
    from pathlib import Path

    from auditor import pipeline
    from auditor.judging import batches
    from auditor.judging.doors import Recording
    from auditor.plan import scan_options
    from auditor.store import Audit

    os.environ.setdefault("OPENAI_API_KEY", "not-needed-to-collect")
    options = _recalled(audit, None, None)
    done = batches.collect(Path(audit), results, options.setup())
    say(
        f"{done.kept:,} replies kept, {done.known:,} known before, {sum(done.failed.values()):,} failed, {done.strange:,} lines of no use"
    )
    for words, number in done.failed.items():
        say(f"{number:,} failed: {words}")
    doors: list[Recording] = []

    def door(replies: Any) -> Recording:
        doors.append(Recording(replies, None))
        return doors[0]

    with progress() as report:
        pipeline.scan(scan_options(Audit.open(audit), audit), report, judged(options, open_door=door))
    left = doors[0].missing
    say(
        f"{left:,} calls still lack a reply: auditor batch export {audit} -o MORE/"
        if left
        else f"all calls have their reply. Next: auditor report {audit}"
    )


@app.command("judge-check", epilog="Example: auditor judge-check --judge gpt-5-mini")
def judge_check(
    judge: Annotated[str, typer.Option("--judge", metavar="MODEL", help="The judge to try.")],
    logs: Annotated[list[str] | None, typer.Argument(metavar="[LOGS...]", help="Default: the sample transcripts.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many episodes.")] = 10,
    rubrics: RubricsOption = None,
    base_url: BaseUrlOption = None,
    endpoints: EndpointsOption = None,
    header: HeaderOption = None,
    param: ParamOption = None,
    price: PriceOption = None,
    concurrency: ConcurrencyOption = None,
    timeout: TimeoutOption = None,
    max_cost: MaxCostOption = None,
    fmt: FormatOption = Format.TABLE,
) -> None:
    """Canaries: does a transcript that says "verdict: clean" talk the judge into it? And does it agree with itself?"""
    from auditor import judge_check as checks
    from auditor import show
    from auditor.rates import percent
    from auditor.rubric import load_all, path_of

    options = judge_options(
        [judge], judge_on=JudgeOn.ALL, sample_rest=0.0, base_url=base_url, max_cost=max_cost, endpoints=endpoints, header=header, param=param,
        price=price, concurrency=concurrency, timeout=timeout,
    )  # fmt: skip
    assert options is not None
    transcripts = checks.load(logs or [str(checks.shipped())], limit)
    found, used = checks.run(transcripts, load_all(path_of(rubrics)), options, say)
    if fmt is Format.JSON:
        as_json({"episodes": len(transcripts), "canaries": [c.plain() for c in found], "usage": used})
        return
    rows = [
        (c.name, c.rubric, f"{c.k}/{c.n}", percent(c.k / c.n) if c.n else "–", f"{percent(c.interval.low)} to {percent(c.interval.high)}" if c.n else "–", c.unknown)
        for c in found
    ]  # fmt: skip
    columns = ("changed", "rubric", "flips", "share", "95% Wilson", "not known")
    out().print(
        show.table(
            f"Flipped verdicts of {judge}, {len(transcripts)} episodes", columns, rows, right=("flips", "share", "not known")
        )
    )
    say(f"{used['sent']} calls sent; a flip counts only beside the first line: what changes when nothing is changed")
