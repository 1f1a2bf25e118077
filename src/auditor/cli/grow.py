"""merge, compact, watch and plan: audits of several machines, audits that grow, and what a scan would take."""

from __future__ import annotations

import os
from typing import Annotated, Any

import typer

from auditor.cli.base import Format, FormatOption, JoinOption, Logs, MappingOption, RubricsOption, app, as_json, out, say, stdin
from auditor.cli.judge import (
    BaseUrlOption,
    ContextOption,
    EndpointsOption,
    JudgeOn,
    JudgeOnOption,
    JudgeOption,
    MaxCostOption,
    PriceOption,
    SampleOption,
    ViewsOption,
    VotesOption,
    judge_options,
    judged,
)


@app.command(
    epilog="Examples: auditor merge audit-1/ audit-2/ -o all/   |   auditor merge s3://bucket/audit -o audit/   (a copy here, to label)"
)
def merge(
    audits: Annotated[
        list[str], typer.Argument(metavar="AUDIT...", help="Audits made with the same rubrics, here or on object storage.")
    ],
    output: Annotated[str, typer.Option("-o", "--output", metavar="AUDIT", help="A new folder or place, or an audit to add to.")],
) -> None:
    """Make one audit of several; what stands in two of them counts once."""
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn

    from auditor.merge import merge as merged

    with Progress(SpinnerColumn(), TextColumn("{task.description}"), console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("")
        summary = (
            merged(audits, output, lambda c: bar.update(task, description=f"{c['shards']:,} shards, {c['copied']:,} copied"))
            .about()
            .summary
        )
    told = ", ".join(f"{n:,} {k.replace('_', ' ')}" for k, n in summary.items() if n or k in ("episodes", "rejects"))
    say(f"{output}: {told}. Next: auditor report {output}")


@app.command(epilog="Examples: auditor compact audit/   |   auditor compact s3://bucket/audit --now   (where nobody reads it)")
def compact(
    audit: Annotated[str, typer.Argument(metavar="AUDIT", help="An audit, here or on object storage.")],
    now: Annotated[  # noqa: FBT002  # a flag on the command line
        bool,
        typer.Option(
            "--now", help="Remove what is replaced at once, not after an hour: for when nobody else reads or writes the audit."
        ),
    ] = False,
) -> None:
    """Make few large files of an audit's many small ones, while others read it: the same rows, found faster."""
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn

    from auditor import compact as compacting

    with Progress(SpinnerColumn(), TextColumn("{task.description}"), console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("")
        told = compacting.compact(
            audit,
            lambda c: bar.update(task, description=f"{c['done']:,} of {c['groups']:,} groups, {c['parts']:,} parts read"),
            now=now,
        )
    shards, (parts, parts_after), (commits, commits_after) = _count(told.shards, "shard"), told.parts, told.commits
    if told.changed:
        say(
            f"{audit}: {shards}: {_count(parts, 'part')} → {parts_after:,}, their commits in {_count(commits, 'file')} → {commits_after:,}"
        )
    elif told.shards < 2:
        say(f"{audit}: nothing to do: it has {shards}")
    else:
        say(
            f"{audit}: nothing to do: {shards} in {_count(parts_after, 'part')}, their commits in {_count(commits_after, 'file')}"
        )
    if told.removed:
        say(f"removed what nothing names any more: {_count(told.removed, 'file')}")
    if told.waiting:
        say(
            f"{_count(told.waiting, 'replaced file')} {'stays' if told.waiting == 1 else 'stay'} for {told.seconds / 60:,.0f} minutes, for whoever is reading;"
            f" the next scan or compact after that removes them. If nobody is: auditor compact {audit} --now"
        )


@app.command(epilog="Example: auditor watch rollouts/ -o audit/ --metrics 9400   (Ctrl-C ends it; run it again to go on)")
def watch(
    logs: Logs,
    output: Annotated[str, typer.Option("-o", "--output", metavar="AUDIT", help="A new folder, or an audit to take up again.")],
    rubrics: RubricsOption = None,
    mapping: MappingOption = None,
    join: JoinOption = None,
    judge: JudgeOption = None,
    base_url: BaseUrlOption = None,
    endpoints: EndpointsOption = None,
    price: PriceOption = None,
    judge_on: JudgeOnOption = JudgeOn.CANDIDATES,
    sample_rest: SampleOption = 0.05,
    views: ViewsOption = "all",
    votes: VotesOption = 1,
    max_cost: MaxCostOption = None,
    context: ContextOption = 48_000,
    settle: Annotated[float, typer.Option(min=0, help="Seconds without a change after which a file is taken.")] = 10.0,
    every: Annotated[float, typer.Option(min=0.1, help="Look at least so often, in seconds.")] = 2.0,
    metrics: Annotated[int | None, typer.Option(metavar="PORT", help="Prometheus metrics on 127.0.0.1.")] = None,
) -> None:
    """Follow a folder: new files are scanned as a training run writes them, once they have stopped growing."""
    import threading

    from auditor import follow
    from auditor.plan import Options

    judging = judge_options(
        judge,
        base_url=base_url,
        judge_on=judge_on,
        sample_rest=sample_rest,
        views=views,
        votes=votes,
        max_cost=max_cost,
        endpoints=endpoints,
        price=price,
        context=context,
    )
    shown = follow.Metrics(metrics) if metrics is not None else None
    before = (-1, -1)

    def told(here: follow.Round) -> None:
        nonlocal before
        if shown is not None:
            shown(here)
        if before != (before := (here.taken, here.growing)):
            say(
                f"{here.episodes:,} episodes, {here.rejects:,} rejects; {here.taken:,} files taken, {here.growing:,} still growing"
            )

    try:
        follow.follow(
            Options(tuple(logs), output, rubrics, mapping, join),
            settle=settle,
            every=every,
            judging=judged(judging),
            stop=threading.Event(),
            told=told,
        )
    except KeyboardInterrupt:
        say(f"auditor: ended; run the same command again to go on. Next: auditor report {output}")
        raise typer.Exit(130) from None


@app.command(
    epilog="Example: auditor plan 's3://bucket/rollouts/**/*.jsonl.zst' --judge gpt-5-mini --workers 16 --rpm 5000 --tpm 4000000"
)
def plan(
    logs: Logs,
    rubrics: RubricsOption = None,
    mapping: MappingOption = None,
    join: JoinOption = None,
    judge: JudgeOption = None,
    base_url: BaseUrlOption = None,
    endpoints: EndpointsOption = None,
    price: PriceOption = None,
    judge_on: JudgeOnOption = JudgeOn.CANDIDATES,
    sample_rest: SampleOption = 0.05,
    views: ViewsOption = "all",
    votes: VotesOption = 1,
    context: ContextOption = 48_000,
    workers: Annotated[int, typer.Option(min=1, help="Processes, on all machines together.")] = 16,
    rpm: Annotated[float | None, typer.Option(min=1, help="Calls a minute that the server allows.")] = None,
    tpm: Annotated[float | None, typer.Option(min=1, help="Tokens in a minute that it allows.")] = None,
    latency: Annotated[float, typer.Option(min=0.01, help="Seconds of a call.")] = 10.0,
    at_once: Annotated[int, typer.Option(min=1, help="Calls at once.")] = 32,
    seconds: Annotated[float, typer.Option(min=0, help="How long to read for the estimate.")] = 20.0,
    seed: Annotated[int, typer.Option(help="Of the shards that are read.")] = 0,
    fmt: FormatOption = Format.TABLE,
) -> None:
    """What a scan would take: shards, episodes, calls, tokens, price and time, estimated from a sample. Nothing is sent."""
    from auditor import forecast, show
    from auditor.plan import Options

    os.environ.setdefault("OPENAI_API_KEY", "not-needed-to-plan")
    judging = judge_options(
        judge,
        base_url=base_url,
        judge_on=judge_on,
        sample_rest=sample_rest,
        views=views,
        votes=votes,
        endpoints=endpoints,
        price=price,
        context=context,
    )
    with stdin(logs) as inputs:
        options = Options(tuple(inputs), "", rubrics, mapping, join)
        made = forecast.forecast(options, judging, seconds=seconds, seed=seed)
    calls = made.judging(latency=latency, at_once=at_once, calls_a_minute=rpm, tokens_a_minute=tpm)
    told = {
        **made._asdict(),
        "reading_one": made.reading(1),
        "reading_workers": made.reading(workers),
        "workers": workers,
        "judging": calls,
    }
    if fmt is Format.JSON:
        as_json(told)
        return
    rows: list[tuple[Any, ...]] = [
        ("files", f"{made.files:,}"),
        ("shards", f"{made.shards:,}"),
        ("bytes", f"{made.bytes:,}"),
        ("read for this", f"{made.sampled_shards:,} shards, {made.sampled:,} bytes"),
        ("episodes", f"about {made.episodes:,.0f}"),
        ("signals, one process", _time(made.reading(1))),
        (f"signals, {workers} processes", _time(made.reading(workers))),
    ]
    if made.calls is not None:
        cost = "not known (--price IN,OUT)" if made.cost is None else f"about ${made.cost:,.2f}"
        rows += [("calls", f"about {made.calls:,.0f}"), ("tokens in", f"about {made.tokens:,.0f}"), ("price", cost)]
        rows.append((f"judge, {at_once} calls at once", _time(calls)))
    out().print(show.table("What a scan would take", ("", ""), rows))
    say(
        "estimated by bytes from a random sample of shards; second calls (a quote that is not there, the last reading of a long episode) come on top"
    )


def _count(n: int, what: str) -> str:
    return f"{n:,} {what}{'' if n == 1 else 's'}"


def _time(seconds: float) -> str:
    for size, name in ((86_400, "days"), (3_600, "hours"), (60, "minutes")):
        if seconds >= 2 * size:
            return f"about {seconds / size:,.1f} {name}"
    return f"about {seconds:,.0f} seconds"
