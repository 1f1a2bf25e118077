"""merge and plan: audits of several machines, and what a scan would take."""

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
    PriceOption,
    SampleOption,
    ViewsOption,
    VotesOption,
    judge_options,
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
        judge, base_url, judge_on, sample_rest, 0, views, votes, None, None, endpoints, None, None, price, None, None, context
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


def _time(seconds: float) -> str:
    for size, name in ((86_400, "days"), (3_600, "hours"), (60, "minutes")):
        if seconds >= 2 * size:
            return f"about {seconds / size:,.1f} {name}"
    return f"about {seconds:,.0f} seconds"
