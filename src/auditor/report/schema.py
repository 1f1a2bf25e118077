"""What `report.json` holds. Its JSON Schema is in `docs/report.schema.json`; a new field does not raise `report`, a changed one does.

Shares are of 1; intervals are 95%, `low` to `high`, by `method`.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field, JsonValue

from auditor.report.schema_asked import Answer, Asked, Counts, InLog, Row, Tier

Stage = Literal["release", "snapshot", "unknown"]


class Headline(Row):
    """The rate of one group and rubric on the best tier there is (`auditor.prevalence.Prevalence` says what each field is)."""

    by: dict[str, str | int | bool | None]
    group: str
    elicited: Literal["natural", "elicited"]
    stage: Stage
    rubric: str
    at_least: int | None
    tier: Tier
    detector: str
    k: int
    n: int
    episodes: int
    tasks: int
    share: float | None
    low: float
    high: float
    method: str
    best: float | None
    worst: float | None
    task_mean: float | None
    unknown: Counts
    outside: Counts
    why: str


class Measure(Row):
    """A share of labelled episodes with its interval, null where there is none."""

    value: float | None
    low: float | None
    high: float | None
    method: str | None


class Corrected(Row):
    """A judged rate without its judge's errors, as reviewed episodes show them (`auditor.corrected.Corrected` says what each field is)."""

    group: str
    rubric: str
    detector: str
    judged: float
    sensitivity: Measure
    specificity: Measure
    positives: int
    negatives: int
    share: float | None
    low: float | None
    high: float | None
    method: str | None
    told: str


class Sentence(Row):
    """A group in plain words."""

    who: str
    text: str


class Level(Row):
    """Natural episodes of a model at a level of a rubric."""

    model: str
    stage: Stage
    rubric: str
    level: int
    episodes: int


class Node(Row):
    """A step of a funnel: k of the `of` that it comes from."""

    name: str
    k: int
    of: int | None
    low: float | None
    high: float | None


class Funnel(Row):
    """From episodes to what was hidden and admitted, of findings of one kind."""

    model: str
    stage: Stage
    kind: str
    nodes: list[Node]


class Spread(Row):
    """In how many tasks and environments it happens at all; `p`: environments differ by chance alone."""

    group: str
    rubric: str
    tier: Tier
    tasks_hit: int
    tasks: int
    tasks_low: float
    tasks_high: float
    environments_hit: int
    environments: int
    environments_low: float
    environments_high: float
    p: float | None


class Noted(Row):
    """Flagged episodes by what the judge noted of their strongest finding."""

    model: str
    stage: Stage
    rubric: str
    attribute: str
    episodes: int
    counts: Counts


class Criterion(Row):
    """What a judge decides."""

    id: str
    ask: str


class Step(Row):
    """A level of a rubric."""

    value: int
    name: str
    rule: str


class Text(Row):
    """A rubric as it is now; `hash` is over its signals."""

    id: str
    title: str
    version: int
    hash: str
    flag_from: int
    criteria: list[Criterion]
    levels: list[Step]


class Rate(Row):
    """k of n of one detector on one stratum, episodes taken as independent. `apart`: elicited, release, snapshots, never pooled."""

    model: str
    apart: str
    rubric: str
    tier: Tier
    detector: str
    stratum: str | None
    view: str
    of: str
    k: int
    n: int
    rate: float | None
    low: float
    high: float
    method: str
    unknown: Counts


class Quote(Row):
    """Words that prove a verdict."""

    message: int
    channel: str
    quote: str
    signal: str | None = None


class Case(Row):
    """One flagged episode."""

    episode_id: str
    rubric: str
    rationale: str
    evidence: list[Quote]
    task: str | None
    environment: str | None
    source: str
    weight: int | None = None
    detector: str | None = None
    view: str | None = None
    level: int | None = None
    judges: list[str] = Field(default_factory=list)


class Model(Row):
    """One model."""

    model: str
    episodes: int
    tasks: int
    environments: list[str]
    reasoning: Counts
    passed: int
    scored: int
    rates: list[Rate]
    judged_rates: list[Rate]
    judged: list[Case]
    admission: InLog
    answers: list[Answer]
    candidates: list[Case]


class Views(Row):
    """One judge by what it was shown."""

    model: str
    rubric: str
    detector: str
    stratum: str | None
    of: str
    episodes: int
    known: Counts
    flagged: Counts
    union: int
    unknown: int


class Agreement(Row):
    """Krippendorff's alpha of all votes."""

    rubric: str
    view: str
    raters: int
    episodes: int
    alpha: float | None
    told: str


class Fired(Row):
    """In how many episodes a signal fired."""

    rubric: str
    signal: str
    episodes: int


class Report(Row):
    """`report.json`."""

    report: Literal[1]
    auditor: str
    read_by: str
    created: str
    finished: str | None
    inputs: list[str]
    tier: Tier
    note: str
    summary: Counts
    formats: Counts
    by: list[str]
    sentences: list[Sentence]
    apart: str
    headline: list[Headline]
    corrected: list[Corrected]
    labels_ignored: int
    checkpoints: list[Headline]
    environments: list[Headline]
    levels: list[Level]
    funnels: list[Funnel]
    spread: list[Spread]
    noted: list[Noted]
    judge: dict[str, JsonValue]
    judges: list[str]
    judge_setup: str
    views: list[Views]
    agreement: list[Agreement]
    ask: dict[str, JsonValue]
    ask_setup: str
    asked: Asked
    stale: int
    rungs: dict[str, str]
    self_rungs: list[str]
    rubrics: list[dict[str, JsonValue]]
    texts: list[Text]
    signals: list[Fired]
    models: list[Model]
