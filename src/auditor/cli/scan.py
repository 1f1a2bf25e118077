"""scan, formats, convert."""

from __future__ import annotations

import os
from enum import StrEnum
from typing import Annotated

import typer

from auditor.cli.base import (
    Format,
    FormatOption,
    JoinOption,
    Logs,
    MappingOption,
    RubricsOption,
    StrictOption,
    app,
    as_json,
    out,
    progress,
    say,
    stdin,
)
from auditor.cli.judge import (
    BaseUrlOption,
    BatchOption,
    BatchPauseOption,
    ConcurrencyOption,
    ContextOption,
    DryRunOption,
    EndpointsOption,
    ExtractOption,
    HeaderOption,
    JudgeOn,
    JudgeOnOption,
    JudgeOption,
    MaxCostOption,
    ParamOption,
    PriceOption,
    SampleOption,
    SeedOption,
    TimeoutOption,
    ViewsOption,
    VotesOption,
    count,
    in_batches,
    judge_options,
    judged,
)

_MANY = 1000
"""Files of commits from which on compacting is advised."""


class EngineName(StrEnum):
    """Who hands out shards."""

    LOCAL = "local"
    RAY = "ray"


@app.command(
    epilog="Examples: auditor scan logs/ 'runs/**/*.jsonl.zst' -o audit/ --join models.csv   |   auditor scan logs/ -o audit/ --judge gpt-5-mini --dry-run"
)
def scan(
    logs: Logs,
    output: Annotated[str, typer.Option("-o", "--output", metavar="AUDIT", help="A new folder, or an audit to take up again.")],
    rubrics: RubricsOption = None,
    mapping: MappingOption = None,
    join: JoinOption = None,
    jobs: Annotated[int, typer.Option("--jobs", min=1, help="Processes.")] = os.cpu_count() or 1,
    judge: JudgeOption = None,
    base_url: BaseUrlOption = None,
    judge_on: JudgeOnOption = JudgeOn.CANDIDATES,
    sample_rest: SampleOption = 0.05,
    seed: SeedOption = 0,
    views: ViewsOption = "all",
    votes: VotesOption = 1,
    max_cost: MaxCostOption = None,
    extract_with: ExtractOption = None,
    dry_run: DryRunOption = False,  # noqa: FBT002  # a flag on the command line
    batch: BatchOption = False,  # noqa: FBT002  # a flag on the command line
    batch_pause: BatchPauseOption = 30.0,
    endpoints: EndpointsOption = None,
    header: HeaderOption = None,
    param: ParamOption = None,
    price: PriceOption = None,
    concurrency: ConcurrencyOption = None,
    timeout: TimeoutOption = None,
    context: ContextOption = 48_000,
    engine: Annotated[
        EngineName, typer.Option("--engine", help="Where the work is done: processes here, or a Ray cluster.")
    ] = EngineName.LOCAL,
    address: Annotated[
        str | None, typer.Option("--address", metavar="ADDR", help="Of the Ray cluster: auto, or ray://HOST:10001.")
    ] = None,
    strict: StrictOption = False,  # noqa: FBT002  # a flag on the command line
    fmt: FormatOption = Format.TABLE,
) -> None:
    """Read logs, run the detectors, and write an audit. Run it again to do only what is missing."""
    from auditor import pipeline, query, show
    from auditor.plan import Options

    judging = judge_options(
        judge, base_url=base_url, judge_on=judge_on, sample_rest=sample_rest, seed=seed, views=views, votes=votes, max_cost=max_cost,
        extract_with=extract_with, endpoints=endpoints, header=header, param=param, price=price, concurrency=concurrency, timeout=timeout,
        context=context,
    )  # fmt: skip
    if judging is None and (dry_run or batch):
        raise typer.BadParameter("needs --judge MODEL", param_hint="--dry-run" if dry_run else "--batch")
    try:
        with stdin(logs) as inputs, progress() as report:
            options = Options(tuple(inputs), output, rubrics, mapping, join, jobs)
            work = None
            if engine is EngineName.RAY:
                from auditor.engines.ray import Ray

                options, work = options.everywhere(), Ray(address)
            if judging and dry_run:
                count(options, judging, report, fmt)
                return
            if judging and batch:
                audit = in_batches(options, judging, report, batch_pause)
            else:
                audit = pipeline.scan(options, report, judged(judging), work)
    except KeyboardInterrupt:
        say(f"auditor: interrupted; what was finished is kept in {output}, run the same command again to go on")
        raise typer.Exit(130) from None
    about = audit.about()
    summary = about.summary
    con = query.connect(audit)
    if fmt is Format.JSON:
        as_json({"summary": summary, "judge": about.judge, **show.summary_facts(con)})
    else:
        for table in show.summary_tables(con):
            out().print(table, "")
    if judging and (used := about.judge.get("usage")):
        say(show.usage_line(used))
    told = ", ".join(f"{n:,} {k.replace('_', ' ')}" for k, n in summary.items() if n or k in ("episodes", "rejects"))
    say(f"{output}: {told}. Next: auditor report {output}")
    if (files := len(audit.disk.names("commits"))) > _MANY:
        say(f"it lies in {files:,} shards, which makes every command slow: auditor compact {output}")
    if summary["rejects"]:
        say(f"{summary['rejects']} records could not be read: see {audit.disk.at('rejects.jsonl')}")
        if strict:
            raise typer.Exit(3)


@app.command()
def formats(fmt: FormatOption = Format.TABLE) -> None:
    """List the log formats that can be read."""
    from auditor import show
    from auditor.readers import registry

    if fmt is Format.JSON:
        as_json([{"name": r.name, "title": r.title, "version": r.version} for r in registry().values()])
        return
    out().print(
        show.table(
            "Formats, found by content", ("name", "what", "version"), [(r.name, r.title, r.version) for r in registry().values()]
        )
    )
    out().print("\nAnything else: --mapping FILE.yaml; 'python -m pydoc auditor.readers.mapping' shows how to write one.")


@app.command(epilog="Example: auditor convert logs/session.jsonl -o episodes.jsonl")
def convert(
    logs: Logs,
    output: Annotated[str, typer.Option("-o", "--output", metavar="JSONL", help="'-' for standard output.")] = "-",
    mapping: MappingOption = None,
    join: JoinOption = None,
    strict: StrictOption = False,  # noqa: FBT002  # a flag
) -> None:
    """Turn logs of any format into the project's own JSON Lines."""
    from auditor import convert as converting

    with stdin(logs) as inputs:
        done, rejects = converting.convert(inputs, output, mapping, join)
    for reject in rejects[:20]:
        say(f"rejected: {reject.path}{f':{reject.line}' if reject.line else ''}: {reject.reason}")
    say(f"{done:,} episodes, {len(rejects):,} rejects")
    if strict and rejects:
        raise typer.Exit(3)
