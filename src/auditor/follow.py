"""An audit that grows while a training run writes: new files are scanned once they have stopped growing."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path

from auditor import rates
from auditor.errors import InputError, MissingExtra
from auditor.judging import Judging
from auditor.pipeline import Progress, scan
from auditor.plan import Options
from auditor.query import connect
from auditor.readers import files
from auditor.readers.files import Found
from auditor.store import Audit


@dataclass
class Round:
    """Where it stands: files that were taken, files that are still growing, and for how long the oldest of these has waited (seconds)."""

    episodes: int = 0
    rejects: int = 0
    taken: int = 0
    growing: int = 0
    lag: float = 0.0
    cost: float = 0.0
    flags: dict[tuple[str, str, str], int] = field(default_factory=dict)
    """(model, rubric, tier) → flagged episodes."""


class Settled:
    """Which files have not changed for `settle` seconds, and were not handed on in this state before."""

    def __init__(self, settle: float) -> None:
        self.settle = settle
        self._seen: dict[str, tuple[Found, float]] = {}
        self._done: dict[str, Found] = {}

    def ready(self, found: Iterator[Found], now: float) -> tuple[list[Found], int, float]:
        """Those to scan now; how many are still growing; and since when, in seconds, the oldest of these is known."""
        ready, waiting = [], []
        for file in found:
            before, since = self._seen.get(file.path, (None, now))
            if before != file:
                self._seen[file.path] = (file, now)
                since = now
            if self._done.get(file.path) == file:
                continue
            if now - since >= self.settle and file.size:
                ready.append(file)
            else:
                waiting.append(now - since)
        return ready, len(waiting), max(waiting, default=0.0)

    def done(self, taken: list[Found]) -> None:
        """These are in the audit."""
        self._done.update({file.path: file for file in taken})


def follow(
    options: Options,
    *,
    settle: float = 10.0,
    every: float = 2.0,
    judging: Judging | None = None,
    stop: threading.Event,
    told: Callable[[Round], None] = lambda _: None,
    report: Callable[[Progress], None] = lambda _: None,
) -> None:
    """Scan what is there, and then what comes, until `stop` is set. Each round is a scan like any other: kill it, run it again.

    Changes are told by the system (watchfiles), or looked for `every` so many seconds on object storage. A file that goes on
    growing after it was taken is scanned again, whole. AuditorError for what a user can mend.
    """
    settled, here = Settled(settle), Round()
    for _ in _changes(options.inputs, every, stop):
        ready, here.growing, here.lag = settled.ready(_find(options.inputs), time.monotonic())
        if ready:
            taken = replace(options, inputs=tuple(file.path for file in ready))
            audit = scan(taken, report, judging)
            settled.done(ready)
            here.taken += len(ready)
            _count(audit, here)
            if judging is not None:  # else what the audit remembers is of another run
                here.cost += float(audit.about().judge.get("usage", {}).get("cost") or 0.0)
        told(here)


def _find(inputs: tuple[str, ...]) -> Iterator[Found]:
    """What is there now; a folder that is still empty is no mistake here."""
    for one in inputs:
        try:
            yield from files.find([one])
        except InputError:
            continue


def _changes(inputs: tuple[str, ...], every: float, stop: threading.Event) -> Iterator[None]:
    """Once at first, then at each change, and `every` so many seconds all the same: what has stopped growing tells of no change."""
    yield None
    folders = [one for one in inputs if "://" not in one and Path(one).is_dir()]
    if not folders:
        while not stop.wait(every):
            yield None
        return
    try:
        from watchfiles import watch
    except ImportError:
        raise MissingExtra("auditor watch", "watch") from None
    for _ in watch(*folders, stop_event=stop, rust_timeout=int(every * 1000), yield_on_timeout=True, raise_interrupt=True):
        if stop.is_set():
            return
        yield None


def _count(audit: Audit, here: Round) -> None:
    summary = audit.about().summary
    here.episodes, here.rejects = summary.get("episodes", 0), summary.get("rejects", 0)
    with closing(connect(audit)) as con:
        here.flags = {}
        for rate in rates.rates(con):
            key = (rate.who, rate.rubric, rate.tier)
            here.flags[key] = here.flags.get(key, 0) + rate.k


class Metrics:
    """The round as Prometheus gauges, on a port of this machine."""

    def __init__(self, port: int) -> None:
        try:
            from prometheus_client import CollectorRegistry, Gauge, start_http_server
        except ImportError:
            raise MissingExtra("--metrics", "watch") from None
        registry = CollectorRegistry()
        names = {
            "episodes": "episodes in the audit", "rejects": "records that could not be read", "taken": "files scanned in this run",
            "growing": "files that have not stopped growing", "lag": "seconds that the oldest of these has waited", "cost": "USD of this run's judge calls",
        }  # fmt: skip
        self._gauges = {name: Gauge(f"auditor_{name}", words, registry=registry) for name, words in names.items()}
        self._flags = Gauge("auditor_flagged", "flagged episodes", ["model", "rubric", "tier"], registry=registry)
        try:
            self.server, _ = start_http_server(port, addr="127.0.0.1", registry=registry)
        except OSError as error:
            raise InputError(f"--metrics {port}: this port cannot be had ({error.strerror}); choose another") from None

    def __call__(self, here: Round) -> None:
        """Show a round."""
        for name, gauge in self._gauges.items():
            gauge.set(getattr(here, name))
        for (model, rubric, tier), count in here.flags.items():
            self._flags.labels(model[:200], rubric, tier).set(count)
