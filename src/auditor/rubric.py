"""Rubric, Signal, Criterion, Level: rules as data. Load, check, hash.

A rubric is one YAML file, its examples lie beside it (`<id>.yaml`, `<id>.examples.yaml`). Every mistake in one
is a RubricError that names file, rubric, signal and key.

A **clause** looks at text (`channel` and `any`) or at the ledger (`ledger`). A **signal** is composite:

    when:    facts of the episode that must hold (passed, asked)
    first:   the latest such thing before `then`     (for runs: the latest run must be so; `absent` = none)
    then:    what fires the signal; its words are the evidence
    unless:  any of these silences it: text anywhere in the episode, a ledger clause between `first` and `then`
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterator
from functools import cached_property
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

import orjson
import re2
import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from auditor.errors import RubricError

QUESTIONS = "questions.yaml"
"""The file beside the rubrics that holds the ladder of questions; it is no rubric."""
# Raised when the engine in signals.py (or the ledger under it) can change a verdict of an unchanged rubric.
ENGINE_VERSION = 1
# Raised when what judge/ shows or asks can change a verdict of an unchanged rubric.
JUDGE_VERSION = 2

Lookup = Literal["task", "injected", "reasoning", "say", "action", "observation", "final", "reply", "edit", "removed"]
"""A channel, or `edit` and `removed`: the text that the model put into files, or took out of them."""


def compile_pattern(pattern: str) -> Any:
    """A pattern as RE2 compiles it: case-insensitive, `^` and `$` at lines. RubricError says what RE2 refuses."""
    options = re2.Options()
    options.log_errors = False
    options.max_mem = 8 << 20
    try:
        return re2.compile(f"(?im){pattern}", options)
    except re2.error as error:
        reason = error.args[0].decode() if error.args and isinstance(error.args[0], bytes) else str(error)
        raise RubricError(f"RE2 refuses the pattern {pattern!r}: {reason} (no look-around, no back-references)") from None


def _pattern(value: str) -> str:
    if any(ord(char) < 32 and char not in "\n\t" for char in value):
        raise ValueError(f"the pattern {value!r} holds a control character: use single quotes in YAML, '\\b' not \"\\b\"")
    try:
        compiled = compile_pattern(value)
    except RubricError as error:
        raise ValueError(str(error)) from None
    if compiled.search("") is not None:
        raise ValueError(f"the pattern {value!r} matches the empty text, so it would fire on everything")
    return value


Pattern = Annotated[str, AfterValidator(_pattern)]


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Clause(_Strict):
    """One condition over text or over the ledger."""

    channel: Lookup | list[Lookup] | None = None
    any: list[Pattern] = Field(default_factory=list)
    not_: list[Pattern] = Field(default_factory=list, alias="not")
    """A hit does not count when one of these is in its sentence (in an edit: on its line)."""
    ledger: Literal["test_run", "build_run", "lint_run", "any_run", "edit", "carried"] | None = None
    outcome: list[Literal["passed", "failed", "unknown", "absent"]] = Field(default_factory=list)
    area: list[Literal["test", "harness", "config", "source", "scratch", "unknown"]] = Field(default_factory=list)
    how: list[Literal["create", "replace", "patch", "delete", "move", "shown"]] = Field(default_factory=list)
    own: bool | None = None

    @model_validator(mode="after")
    def _one_kind(self) -> Clause:
        if (self.ledger is None) == (self.channel is None):
            raise ValueError("a clause has either `channel` (with `any`) or `ledger`")
        if self.channel is not None and not self.any:
            raise ValueError("a clause with `channel` needs patterns under `any`")
        if self.ledger is not None and self.any:
            raise ValueError("`any` goes with `channel`, not with `ledger`")
        if self.outcome and not (self.ledger or "").endswith("_run"):
            raise ValueError("`outcome` goes with a run of the ledger")
        edits = self.ledger in ("edit", "carried") or set(self.channels) & {"edit", "removed"}
        if (self.area or self.how or self.own is not None) and not edits:
            raise ValueError("`area`, `how` and `own` go with edits")
        return self

    @property
    def channels(self) -> list[str]:
        """The channels of a text clause, [] for one over the ledger."""
        return list(self.channel) if isinstance(self.channel, list) else [self.channel] if self.channel else []


class When(_Strict):
    """Facts of the episode that must hold."""

    passed: bool | None = None
    asked: bool | None = None


class Signal(_Strict):
    """A pattern or composite rule: it makes candidates, never verdicts."""

    id: str = Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$")
    title: str = Field(min_length=8)
    why: str = Field(min_length=12)
    """Why the rule is there: what it was seen on, and what it would miss or mistake."""
    weight: Literal[1, 2, 3]
    """1: context only, 2: makes a candidate, 3: strong."""
    codes: list[str] = Field(default_factory=list)
    """The codebook's codes that it hints at: X1…, K1…, A0…"""
    when: When | None = None
    first: Clause | None = None
    then: Clause
    unless: list[Clause] = Field(default_factory=list)
    false_alarms: list[str] = Field(default_factory=list)


class Criterion(_Strict):
    """One question that a judge answers true, false or unclear."""

    id: str = Field(pattern=r"^[a-z_]+$")
    ask: str
    quote: bool = False
    """A yes counts only with a verified quote of its own."""


class Attribute(_Strict):
    """Something that a judge notes beside a finding; it never decides the level."""

    id: str = Field(pattern=r"^[a-z_]+$")
    ask: str
    values: list[str] = Field(min_length=2)


class Level(_Strict):
    """A step of the scale: it holds when all of `when` (criteria, or `not <criterion>`) hold."""

    value: int
    name: str
    when: list[str]
    rule: str


View = Literal["all", "actions", "reasoning"]


class Judge(_Strict):
    """What a judge is told: what counts as one finding, the views of it that make sense, and the decision rules."""

    views: list[View]
    finding: str
    instructions: str


class Rubric(_Strict):
    """One question about an episode, with all the rules that answer it."""

    id: str = Field(pattern=r"^[a-z][a-z_]*$")
    title: str
    version: int = Field(ge=1)
    status: Literal["experimental", "stable", "deprecated"]
    question: str
    needs: Literal["reasoning", "report", "question"] | None = None
    """What must be there before "nothing found" may be read as "clean"."""
    asks: list[Pattern] = Field(default_factory=list)
    """User turns that ask the model about its own conduct or result."""
    criteria: list[Criterion]
    codes: dict[str, str] = Field(default_factory=dict)
    """The codebook's codes that a judge may give a finding, each with its rule."""
    attributes: list[Attribute] = Field(default_factory=list)
    levels: list[Level]
    no_finding: int | None = None
    """The level of an episode in which a judge finds nothing; null where the scale then says nothing."""
    flag_from: int
    signals: list[Signal]
    judge: Judge

    @model_validator(mode="after")
    def _consistent(self) -> Rubric:
        known = {c.id for c in self.criteria}
        for level in self.levels:
            for name in level.when:
                if name.removeprefix("not ") not in known:
                    raise ValueError(f"level {level.name}: `when` names {name!r}, which is no criterion")
        ids = [s.id for s in self.signals]
        for name in ids:
            if ids.count(name) > 1:
                raise ValueError(f"signal {name}: this id is used twice")
        if self.flag_from not in [level.value for level in self.levels]:
            raise ValueError(f"flag_from: {self.flag_from} is no level")
        for values in itertools.product((True, False), repeat=len(self.criteria)):
            answers: dict[str, bool | None] = {c.id: v for c, v in zip(self.criteria, values, strict=True)}
            if self.level_of(answers) is None:
                told = ", ".join(name if value else f"not {name}" for name, value in answers.items())
                raise ValueError(f"levels: none holds for {told}; give the lowest level fewer conditions")
        return self

    @cached_property
    def signals_hash(self) -> str:
        """16 hex digits over all that can change a signal's verdict; wording, examples and the judge are left out."""
        told = {"title", "why", "false_alarms"}
        core = [s.model_dump(mode="json", by_alias=True, exclude=told, exclude_defaults=True) for s in self.signals]
        data = orjson.dumps([ENGINE_VERSION, self.id, self.needs, self.asks, core], option=orjson.OPT_SORT_KEYS)
        return hashlib.sha256(data).hexdigest()[:16]

    @cached_property
    def judge_hash(self) -> str:
        """16 hex digits over all that can change a judge's verdict; signals, titles and examples are left out."""
        told = {"title", "version", "status", "signals"}
        data = orjson.dumps([JUDGE_VERSION, self.model_dump(mode="json", exclude=told)], option=orjson.OPT_SORT_KEYS)
        return hashlib.sha256(data).hexdigest()[:16]

    def levels_of(self, criteria: dict[str, bool | None]) -> set[int]:
        """All levels that the answers allow, each unclear one read both ways: one level where nothing unclear matters."""
        unclear = [c.id for c in self.criteria if criteria.get(c.id) is None]
        found = set()
        for values in itertools.product((True, False), repeat=len(unclear)):
            level = self.level_of({**criteria, **dict(zip(unclear, values, strict=True))})
            if level is not None:
                found.add(level)
        return found

    def level_of(self, criteria: dict[str, bool | None]) -> int | None:
        """The highest level whose `when` holds; None where an unclear criterion could still raise it, or none holds."""
        for level in sorted(self.levels, key=lambda step: -step.value):
            held = [_holds(criteria, name) for name in level.when]
            if all(h is True for h in held):
                return level.value
            if not any(h is False for h in held):
                return None
        return None


def _holds(criteria: dict[str, bool | None], name: str) -> bool | None:
    value = criteria.get(name.removeprefix("not "))
    return value if value is None or not name.startswith("not ") else not value


class _UniqueLoader(yaml.SafeLoader):
    """Refuses a key that stands twice in one mapping: YAML would silently keep the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:  # noqa: FBT001, FBT002  # the library's signature
        seen: set[Any] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if key in seen:
                raise yaml.constructor.ConstructorError(None, None, f"the key {key!r} stands twice", key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep=deep)


def load_yaml(path: Path) -> Any:
    """A YAML file without equal keys. RubricError names file and line."""
    try:
        return yaml.load(path.read_text(encoding="utf-8"), _UniqueLoader)  # noqa: S506  # a SafeLoader with one more check
    except yaml.MarkedYAMLError as error:
        line = f":{error.problem_mark.line + 1}" if error.problem_mark else ""
        raise RubricError(f"{path}{line}: {error.problem}") from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise RubricError(f"{path}: {' '.join(str(error).split())}") from None


def load(path: Path) -> Rubric:
    """One rubric. RubricError names file, rubric, signal and key."""
    data = load_yaml(path)
    try:
        rubric = Rubric.model_validate(data)
    except ValidationError as error:
        raise RubricError(f"{path}: {'; '.join(_explain(data, dict(e)) for e in error.errors()[:3])}") from None
    if path.stem != rubric.id:
        raise RubricError(f"{path}: its id is {rubric.id!r}; name the file {rubric.id}.yaml")
    return rubric


def _explain(data: Any, error: dict[str, Any]) -> str:
    where, at = [], data
    for step in error["loc"]:
        at = (
            at[step] if isinstance(at, (dict, list)) and (step in at if isinstance(at, dict) else isinstance(step, int)) else None
        )
        where.append(f"{at['id']}" if isinstance(step, int) and isinstance(at, dict) and "id" in at else str(step))
    return f"rubric {data.get('id', '?') if isinstance(data, dict) else '?'}, {' → '.join(where) or 'top'}: {error['msg'].removeprefix('Value error, ')}"


def shipped() -> Path:
    """The folder of the rubrics that come with the package (in a checkout: `rubrics/` at its top)."""
    inside = Path(str(resources.files("auditor"))) / "rubrics"
    return inside if inside.is_dir() else Path(__file__).resolve().parents[2] / "rubrics"


def load_all(folder: Path | None = None) -> list[Rubric]:
    """All rubrics of a folder (default: the shipped ones), by id. RubricError when there is none."""
    folder = shipped() if folder is None else folder
    found = [load(path) for path in rubric_files(folder)]
    if not found:
        raise RubricError(f"{folder}: no rubrics here; a rubric is a file <id>.yaml, see 'auditor rubrics show concealment'")
    return found


def rubric_files(folder: Path) -> Iterator[Path]:
    """The rubric files of a folder, examples left out."""
    if not folder.is_dir():
        raise RubricError(f"{folder}: no such folder of rubrics")
    yield from sorted(p for p in folder.glob("*.yaml") if not p.name.endswith(".examples.yaml") and p.name != QUESTIONS)


def path_of(folder: str | None) -> Path | None:
    """A folder that a user named, None for the shipped one."""
    return Path(folder) if folder else None


def source_of(rubric: str, folder: Path | None = None) -> str:
    """The text of a rubric's file. RubricError names the ids that there are."""
    folder = shipped() if folder is None else folder
    known = {path.stem: path for path in rubric_files(folder)}
    if rubric not in known:
        raise RubricError(f"{folder}: no rubric {rubric!r}; there are {', '.join(known) or 'none'}")
    return known[rubric].read_text(encoding="utf-8")
