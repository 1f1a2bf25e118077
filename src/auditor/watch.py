"""Progress on stderr: bars in a terminal, a plain line every ten seconds elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, DownloadColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar
from rich.text import Text

from auditor import asking
from auditor.llm import LLM, Stats
from auditor.pipeline import Judge, Progress

_EVERY = 10.0
_GOOD = frozenset(("ok",))


def judging_line(stage: Judge, seconds: float) -> str:
    """How far the judge is: episodes, calls, errors by kind, rate, tokens, cost, and what is left, in one line.

    `seconds` is how long it has been at work. What is left is estimated from the episodes that the scan has handed on.
    """
    return _line("judged", stage.counts["judged"], stage.counts["episodes"], stage.stats, seconds)


def _line(verb: str, done: int, known: int, s: Stats | None, seconds: float) -> str:
    told = [f"{verb} {done:,} of {known:,} episodes"]
    if s is not None:
        bad = ", ".join(f"{n:,} {kind}" for kind, n in s.outcomes.most_common() if kind not in _GOOD)
        told.append(f"{s.sent:,} calls{f' ({bad})' if bad else ''}")
        if seconds > 0:
            told.append(f"{s.sent / seconds:,.1f}/s")
        told.append(f"{s.prompt_tokens + s.completion_tokens:,} tokens")
        told.append(f"${s.cost:,.2f}" if not s.unpriced else "cost not known")
    if 0 < done < known and seconds > 0:
        left = seconds * (known - done) / done
        told.append(f"about {left / 60:,.0f} min left" if left >= 90 else f"about {left:,.0f} s left")
    return "  ".join(told)


@contextmanager
def watch(stream: TextIO) -> Iterator[Callable[[Progress], None]]:
    """A function that is told of progress as often as one likes, and shows it."""
    start = last = time.monotonic()
    if not stream.isatty():

        def line(progress: Progress) -> None:
            nonlocal last
            now = time.monotonic()
            if now - last >= _EVERY:
                last = now
                counts, stage = progress.counts, progress.stage
                read = f"{counts['bytes'] / max(progress.total_bytes, 1):4.0%}  {counts['episodes']:,} episodes  {counts['rejects']:,} rejects"
                stream.write(f"{read if stage is None else judging_line(stage, now - start)}\n")
                stream.flush()

        yield line
        return
    console = Console(file=stream)
    reading = Bar(BarColumn(), TaskProgressColumn(), DownloadColumn(), TextColumn("{task.description}"), TimeRemainingColumn())
    read = reading.add_task("reading", total=None)
    with Live(reading, console=console, transient=True, refresh_per_second=8) as live:

        def draw(progress: Progress) -> None:
            counts, stage = progress.counts, progress.stage
            told = f"{counts['episodes']:,} episodes, {counts['rejects']:,} rejects"
            reading.update(read, completed=counts["bytes"], total=progress.total_bytes, description=told)
            if stage is not None:
                live.update(Group(reading, Text(judging_line(stage, time.monotonic() - start))))

        yield draw


@contextmanager
def watch_asking(stream: TextIO) -> Iterator[Callable[[asking.Progress], None]]:
    """The same for questions to the audited models."""
    start = last = time.monotonic()

    def line(progress: asking.Progress) -> str:
        if not progress.counts["jobs"]:
            return "reading the episodes, freezing their facts"
        stats = progress.door.stats if isinstance(progress.door, LLM) else None
        return _line("asked", progress.counts["asked"], progress.counts["jobs"], stats, time.monotonic() - start)

    if not stream.isatty():

        def told(progress: asking.Progress) -> None:
            nonlocal last
            if time.monotonic() - last >= _EVERY:
                last = time.monotonic()
                stream.write(f"{line(progress)}\n")
                stream.flush()

        yield told
        return
    with Live(Text(""), console=Console(file=stream), transient=True, refresh_per_second=8) as live:
        yield lambda progress: live.update(Text(line(progress)))
