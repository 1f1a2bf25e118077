"""merge, watch, plan: audits that grow, and what a scan would take."""

from __future__ import annotations

from typing import Annotated

import typer

from auditor.cli.base import app, say


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
