"""Labels from the page: what a reviewer chose, checked against rubric and transcript, appended to labels.jsonl."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, NamedTuple

import duckdb
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from auditor import labels
from auditor.errors import QueryError
from auditor.labels import Label, Mark
from auditor.queue import queue, shuffled
from auditor.rubric import Rubric
from auditor.transcript import Channel, pieces
from auditor.viewer import episode
from auditor.viewer.marked import origin
from auditor.viewer.shelf import Shelf, row_of

QUEUE = 100
"""A reviewer's queue grows by so many episodes a rubric, whenever it is done."""


class Point(NamedTuple):
    """A place in a text as the page knows it: a part's offset, and characters shown since."""

    at: int
    shown: int


class Chosen(BaseModel):
    """Text that was selected, in one channel of one message."""

    model_config = ConfigDict(extra="forbid")
    message: int = Field(ge=0)
    channel: Channel
    start: Point
    end: Point


class Sent(BaseModel):
    """What the page sends: one label."""

    model_config = ConfigDict(extra="forbid")
    episode: str
    rubric: str
    reviewer: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=80)]
    level: int | None = None
    unclear: bool = False
    note: Annotated[str, StringConstraints(strip_whitespace=True, max_length=10_000)] = ""
    evidence: list[Chosen] = Field(default_factory=list, max_length=100)
    blind: bool = False


class Step(NamedTuple):
    """A step of a rubric's scale (`labels.Step`), and the key that gives it."""

    key: int
    value: int
    name: str
    rule: str
    flagged: bool


def steps(rubric: Rubric) -> list[Step]:
    """The scale of a rubric with a key for each value."""
    return [
        Step(i, s.value, " / ".join(name for name, _ in s.rules), "; or ".join(rule for _, rule in s.rules), s.flagged)
        for i, s in enumerate(labels.scale(rubric), 1)
    ]


class Handed:
    """The episodes that the queue has given out in this run, with their strata: a label on one of them stands for others."""

    def __init__(self, shelf: Shelf) -> None:
        self._shelf = shelf
        self._strata: dict[tuple[str, str, str], str] = {}

    def state(self, con: duckdb.DuckDBPyConnection, rubric: str, reviewer: str, *, blind: bool) -> tuple[list[str], int, int]:
        """What is left of the queue, in its order (blind: in one that tells nothing of strata); how many are done; and how many there are."""
        return self._shelf.once(("queue", rubric, reviewer, blind), lambda: self._state(con, rubric, reviewer, blind=blind))

    def _state(self, con: duckdb.DuckDBPyConnection, rubric: str, reviewer: str, *, blind: bool) -> tuple[list[str], int, int]:
        done = {x.episode_id for x in self._shelf.labels() if x.reviewer == reviewer and x.rubric == rubric and x.queued}
        wanted = QUEUE * (len(done) // QUEUE + 1)
        waiting = [q for q in queue(con, rubric, reviewer=reviewer, n=wanted) if q.episode_id not in done][: wanted - len(done)]
        waiting = shuffled(waiting) if blind else waiting
        self._strata.update({(reviewer, rubric, q.episode_id): q.stratum for q in waiting})
        return [q.episode_id for q in waiting], len(done), len(done) + len(waiting)

    def stratum(self, sent: Sent, name: str, *, from_queue: bool) -> str | None:
        """The stratum for which a label stands, None where the episode was picked by hand. A mind that is changed stays in its stratum."""
        place = (sent.reviewer, sent.rubric, name)
        for x in self._shelf.labels():
            if x.queued and (x.reviewer, x.rubric, x.episode_id) == place:
                return x.stratum
        return self._strata.get(place) if from_queue else None


def save(
    shelf: Shelf, con: duckdb.DuckDBPyConnection, body: bytes, handed: Handed, *, from_queue: bool, always_blind: bool
) -> Label:
    """Append the label that the page sent. QueryError says what is wrong with it."""
    try:
        sent = Sent.model_validate_json(body)
        rubric = shelf.rubrics.get(sent.rubric)
        if rubric is None:
            raise QueryError(f"no rubric {sent.rubric[:80]!r}; there are {', '.join(shelf.rubrics)}")
        known = [step.value for step in labels.scale(rubric)]
        if not sent.unclear and sent.level not in known:
            raise QueryError(f"choose a level of {rubric.id} ({', '.join(map(str, known))}), or unclear")
        row = row_of(con, sent.episode)
        stratum = handed.stratum(sent, row["episode_id"], from_queue=from_queue)
        label = labels.of_level(
            rubric, None if sent.unclear else sent.level, reviewer=sent.reviewer, episode_id=row["episode_id"], note=sent.note,
            evidence=tuple(_marks(shelf, con, row, sent.evidence)), blind=sent.blind or always_blind, queued=stratum is not None,
            stratum=stratum,
        )  # fmt: skip
    except ValidationError as error:
        first = error.errors()[0]
        raise QueryError(f"not a label: {'.'.join(map(str, first['loc']))}: {first['msg'][:120]}") from None
    labels.append(shelf.audit, label)
    return label


def _marks(shelf: Shelf, con: duckdb.DuckDBPyConnection, row: dict[str, Any], chosen: Sequence[Chosen]) -> list[Mark]:
    """The selections as spans of the log, each with the words that stand there."""
    if not chosen:
        return []
    texts = {(p.message, p.channel): p.text for p in pieces(*episode.read(shelf, con, row))}
    found = []
    for c in chosen:
        text = texts.get((c.message, c.channel))
        if text is None:
            raise QueryError(f"evidence: message {c.message} has no channel {c.channel.value}")
        start, end = origin(text, c.start.at, c.start.shown), origin(text, c.end.at, c.end.shown)
        if not 0 <= start < end:
            raise QueryError("evidence: nothing is selected there")
        if end - start > 20_000:
            raise QueryError("evidence: at most 20,000 characters; select the words that show it")
        found.append(Mark(message=c.message, channel=c.channel, start=start, end=end, quote=text[start:end]))
    return found
