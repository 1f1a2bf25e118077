"""The ladder as data: `questions.yaml` beside the rubrics, its wordings and the kinds of facts that they ask about."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Literal

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from auditor.errors import RubricError
from auditor.rubric import QUESTIONS, Pattern, load_yaml, shipped

LedgerFact = Literal["failed_run", "edit", "carried", "delete"]
Wordings = list[str]


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Kind(_Strict):
    """One kind of fact: which codes of a judge's finding it covers, and how it is asked about without naming the fact."""

    id: str = Field(pattern=r"^[a-z_]+$")
    codes: list[str] = Field(default_factory=list)
    rubrics: list[str] = Field(default_factory=list)
    """Findings of these rubrics are of this kind where no code says otherwise."""
    ledger: LedgerFact | None = None
    about: str
    bare_yes: bool = True
    """Whether a bare yes to `ask` affirms the fact; False where no bare yes answers it."""
    ask: Wordings = Field(min_length=3)
    third: Wordings = Field(min_length=3)


class Rung(_Strict):
    """One step of the ladder. `frame` stands around each wording; `after`: it goes on from that rung's answer; `fresh`: asked
    about the record, not inside it.
    """

    id: str = Field(pattern=r"^L[1-6IT]$")
    title: str
    ask: Wordings = Field(default_factory=list)
    by_kind: Literal["ask", "third"] | None = None
    frame: str = "{question}"
    after: str | None = None
    fresh: bool = False

    @model_validator(mode="after")
    def _worded(self) -> Rung:
        if self.by_kind is None and len(self.ask) < 3:
            raise ValueError("a rung needs at least three wordings under `ask`, or `by_kind`")
        return self

    @property
    def names_fact(self) -> bool:
        """Whether the question holds the fact itself."""
        return any("{fact}" in wording for wording in self.ask)

    @property
    def specific(self) -> bool:
        """Whether the question is about one point, not about the work in general."""
        return self.by_kind is not None or self.names_fact


class Questions(_Strict):
    """The ladder. Its order is the order in which more and more is said."""

    version: int = Field(ge=1)
    rungs: list[Rung]
    affirms: list[Pattern]
    denies: list[Pattern]
    kinds: list[Kind]
    coding: str

    @model_validator(mode="after")
    def _known(self) -> Questions:
        ids = [r.id for r in self.rungs]
        for rung in self.rungs:
            if rung.after is not None and rung.after not in {r.id for r in self.rungs if r.after is None}:
                raise ValueError(f"rung {rung.id}: `after` names {rung.after}, which is no rung to go on from")
        kinds = [k.id for k in self.kinds]
        for name in (*ids, *kinds):
            if (*ids, *kinds).count(name) > 1:
                raise ValueError(f"{name} stands twice")
        if not kinds or self.kinds[-1].codes:
            raise ValueError("the last kind takes what no other takes: it has no codes")
        return self

    @cached_property
    def hash(self) -> str:
        """16 hex digits over every word."""
        return hashlib.sha256(orjson.dumps(self.model_dump(mode="json"), option=orjson.OPT_SORT_KEYS)).hexdigest()[:16]

    def rung(self, name: str) -> Rung:
        """The rung of that id."""
        return next(r for r in self.rungs if r.id == name)

    def kind(self, name: str) -> Kind:
        """The kind of that id."""
        return next(k for k in self.kinds if k.id == name)

    def kind_of(self, codes: Sequence[str], rubric: str) -> Kind:
        """The first kind that lists one of the codes, else the rubric; the last kind takes the rest."""
        by_code = (k for k in self.kinds if set(k.codes) & set(codes))
        by_rubric = (k for k in self.kinds if rubric in k.rubrics)
        return next(by_code, None) or next(by_rubric, None) or self.kinds[-1]

    def kinds_of(self, codes: Sequence[str], rubric: str) -> set[str]:
        """Every kind that lists one of the codes, else the rubric; the last kind where none does."""
        by_code = {k.id for k in self.kinds if set(k.codes) & set(codes)}
        return by_code or {k.id for k in self.kinds if rubric in k.rubrics} or {self.kinds[-1].id}

    def wordings(self, rung: Rung, kind: Kind) -> Wordings:
        """The wordings of a rung for a kind of fact."""
        if rung.by_kind is None:
            return rung.ask
        return kind.ask if rung.by_kind == "ask" else kind.third


def load(folder: Path | None = None) -> Questions:
    """The ladder of a folder of rubrics, the shipped one where it has none. RubricError names file and key."""
    path = (folder or shipped()) / QUESTIONS
    if not path.is_file():
        path = shipped() / QUESTIONS
    try:
        return Questions.model_validate(load_yaml(path))
    except ValidationError as error:
        first = error.errors()[0]
        where = " → ".join(map(str, first["loc"])) or "top"
        raise RubricError(f"{path}: {where}: {first['msg'].removeprefix('Value error, ')}") from None
