"""label: read episodes and say what they are, in the terminal."""

from __future__ import annotations

import io
import os
import shlex
import sys
from contextlib import closing
from typing import Annotated

import typer

from auditor.cli.base import AuditPath, app, out, say


def _line(prompt: str) -> str | None:
    """The next line of standard input, None at its end."""
    sys.stderr.write(prompt)
    sys.stderr.flush()
    line = sys.stdin.readline()
    if not line:
        sys.stderr.write("\n")
        return None
    return line.rstrip("\n")


@app.command(epilog="Example: auditor label audit/ --rubric concealment --n 50 --blind --reviewer ann")
def label(
    audit: AuditPath,
    rubric: Annotated[str, typer.Option(help="Under which rubric.")],
    n: Annotated[int, typer.Option("--n", min=1, help="At most so many episodes.")] = 50,
    blind: Annotated[  # noqa: FBT002  # a flag
        bool, typer.Option("--blind", help="Hide the model's name, its score, and what detectors said and found.")
    ] = False,
    reviewer: Annotated[str | None, typer.Option(metavar="NAME", help="Who labels; default: $USER.")] = None,
    seed: Annotated[int, typer.Option(help="Of the random order; the same for all reviewers who are to be compared.")] = 0,
) -> None:
    """Read the episodes that say most, and a random part of the rest, and label them; each answer is kept at once."""
    from auditor import labelling
    from auditor.labels import AGREED, LONGEST_NAME
    from auditor.plan import rubric_of
    from auditor.query import connect
    from auditor.queue import queue, shuffled
    from auditor.store import Audit

    who = reviewer or os.environ.get("USER", "")
    if not who:
        raise typer.BadParameter("who labels? There is no $USER, so give a name", param_hint="--reviewer")
    if who == AGREED or len(who) > LONGEST_NAME:
        raise typer.BadParameter(f"a name of at most {LONGEST_NAME} characters, and not {AGREED}", param_hint="--reviewer")
    if isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(errors="replace")
    opened = Audit.open(audit)
    asked = rubric_of(opened, rubric)
    with closing(connect(opened)) as con:
        queued = queue(con, asked.id, reviewer=who, n=n, seed=seed)
        if blind:
            queued = shuffled(queued, seed)
        out().print(labelling.guide(asked), markup=False)
        done = labelling.sitting(opened, con, asked, queued, reviewer=who, blind=blind, console=out(), ask=_line)
    again = ["auditor", "label", audit, "--rubric", rubric, *(["--blind"] if blind else []), "--reviewer", who]
    again += ["--seed", str(seed)] if seed else []
    say(labelling.told(done, who, shlex.join(again)))
