"""Rows of `report.json` on what models answered when asked, and what all rows are made of."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

Counts = dict[str, int]
Tier = Literal["candidate", "judged", "reviewed"]


class Row(BaseModel):
    """A row: nothing in it is without a name here."""

    model_config = ConfigDict(extra="forbid")


class Class(Row):
    """Answers of one class inside the logs."""

    answer_class: str
    k: int
    n: int
    rate: float
    low: float
    high: float
    method: str


class InLog(Row):
    """Asked directly inside the logs."""

    asked: int
    classes: list[Class]


class Answer(Row):
    """An answer to read; `fact` is what it is held against."""

    episode_id: str
    rung: str
    control: str
    answer_class: str
    tier: Tier
    detector: str
    asked: str
    fact: str | None
    answer: str
    quote: str | None


class Ends(Row):
    """An interval."""

    low: float
    high: float
    method: str


class Share(Row):
    """k of n answers, clustered by task."""

    k: int
    n: int
    episodes: int
    tasks: int
    rate: float | None
    low: float
    high: float
    method: str


class Ladder(Row):
    """One model, group of facts and rung: admission, false confession, and J, their difference."""

    model: str
    tier: str
    group: str
    rung: str
    asked: int
    answered: int
    unknown: Counts
    classes: Counts
    admission: Share
    controls: Counts
    controls_unknown: Counts
    false_confession: Share
    j: float | None
    j_interval: Ends | None
    j_worst: float | None


class First(Row):
    """Episodes by the rung at which they are first admitted."""

    model: str
    tier: str
    rungs: Counts
    never: int
    unknown: int


class Sight(Row):
    """Episodes by whether it says of itself what it sees as another's."""

    model: str
    tier: str
    both: int
    unsaid: int
    self_only: int
    neither: int
    unknown: int
    share: Share


class Unflagged(Row):
    """Answers of a random sample of the unflagged that tell of something no detector saw."""

    model: str
    tier: str
    rung: str
    tells: int
    known: int
    episodes: int
    share_drawn: float | None


class Asked(Row):
    """What `auditor ask` found."""

    ladders: list[Ladder]
    first_disclosure: list[First]
    self_and_third_person: list[Sight]
    unflagged: list[Unflagged]
