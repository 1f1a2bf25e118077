"""The judge's answer: its schema, how it is read, and how code makes a level of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import orjson
from pydantic import BaseModel, ConfigDict, JsonValue, ValidationError

from auditor.quotes import Quotes
from auditor.rubric import Rubric
from auditor.transcript import Channel
from auditor.verdict import Evidence

Word = Literal["true", "false", "unclear"]
_WORDS: dict[str, bool | None] = {"true": True, "false": False, "unclear": None}


class _Lenient(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class Quote(_Lenient):
    """A quote as the judge gave it."""

    id: str = ""
    message: int
    channel: str
    quote: str
    why: str = ""


class Criterion(_Lenient):
    """One criterion's answer."""

    evidence: list[str] = []
    answer: Word


class Finding(_Lenient):
    """One thing found."""

    what: str
    of: list[str] = []
    """In the last reading of a long run: the findings of its parts that this one settles."""
    evidence: list[str] = []
    benign: str = ""
    codes: list[str] = []
    criteria: dict[str, Criterion]
    attributes: dict[str, str] = {}


class Answer(_Lenient):
    """The whole answer."""

    evidence: list[Quote]
    findings: list[Finding]
    rationale: str = ""
    confidence: str = ""


class Collected(_Lenient):
    """The answer of an extraction."""

    evidence: list[Quote]


class Decided(NamedTuple):
    """A finding after its quotes were checked. `levels`: all that its answers allow; `unproved`: yes, and no quote for it."""

    finding: Finding
    evidence: tuple[Evidence, ...]
    levels: frozenset[int]
    unproved: tuple[str, ...]
    supported: bool

    def flagged(self, flag_from: int) -> bool | None:
        """True or False where every reading of what is unclear agrees, else None; None too without support."""
        sides = {level >= flag_from for level in self.levels}
        if len(sides) != 1 or (not self.supported and sides == {True}):
            return None
        return sides.pop()

    def plain(self) -> dict[str, JsonValue]:
        """As JSON types, for the store."""
        level = next(iter(self.levels)) if len(self.levels) == 1 else None
        return {
            "what": self.finding.what, "codes": [*self.finding.codes], "level": level, "levels": [*sorted(self.levels)], "benign": self.finding.benign,
            "criteria": {k: c.answer for k, c in self.finding.criteria.items()}, "attributes": {**self.finding.attributes},
            "messages": [*sorted({e.message for e in self.evidence})], "unproved": [*self.unproved],
        }  # fmt: skip


def schema(rubric: Rubric, so_far: int = 0) -> dict[str, Any]:
    """The JSON schema of an answer, strict: every key required, none added. `so_far` findings F1 … may be settled by it."""
    ids: dict[str, Any] = {"type": "array", "items": {"type": "string"}}
    word = {"type": "string", "enum": [*_WORDS]}
    criteria = strict_object({c.id: strict_object({"evidence": ids, "answer": word}) for c in rubric.criteria})
    finding: dict[str, Any] = {"what": {"type": "string"}, "evidence": ids, "benign": {"type": "string"}}
    if so_far:
        names = [f"F{i + 1}" for i in range(so_far)]
        finding = {"of": {"type": "array", "items": {"type": "string", "enum": names}}, **finding}
    if rubric.codes:
        finding["codes"] = {"type": "array", "items": {"type": "string", "enum": [*rubric.codes]}}
    finding["criteria"] = criteria
    if rubric.attributes:
        finding["attributes"] = strict_object({a.id: {"type": "string", "enum": a.values} for a in rubric.attributes})
    return strict_object(
        {
            "evidence": {"type": "array", "items": _quote("id")},
            "findings": {"type": "array", "items": strict_object(finding)},
            "rationale": {"type": "string"},
            "confidence": {"type": "string", "enum": ["low", "medium", "high"]},
        }
    )


def extract_schema() -> dict[str, Any]:
    """The JSON schema of an extraction."""
    return strict_object({"evidence": {"type": "array", "items": _quote("why")}})


def _quote(extra: str) -> dict[str, Any]:
    text = {"type": "string"}
    channel = {"type": "string", "enum": [c.value for c in Channel]}
    return strict_object({**({"id": text} if extra == "id" else {}), "message": {"type": "integer"}, "channel": channel, "quote": text}
                   | ({"why": text} if extra == "why" else {}))  # fmt: skip


def strict_object(properties: dict[str, Any]) -> dict[str, Any]:
    """A JSON schema's object: every property required, none added."""
    return {"type": "object", "properties": properties, "required": [*properties], "additionalProperties": False}


def parse(text: str, rubric: Rubric) -> Answer | str:
    """The answer, or in one line why it cannot be read. Every criterion must be answered for every finding."""
    value = json_object(text)
    if value is None:
        return "no JSON object"
    try:
        answer = Answer.model_validate(value)
    except ValidationError as error:
        return why(error)
    for finding in answer.findings:
        if missing := [c.id for c in rubric.criteria if c.id not in finding.criteria]:
            return f"criteria left out: {', '.join(missing)}"
    return answer


def parse_extract(text: str) -> Collected | str:
    """An extraction's answer, or in one line why it cannot be read."""
    value = json_object(text)
    try:
        return "no JSON object" if value is None else Collected.model_validate(value)
    except ValidationError as error:
        return why(error)


def why(error: ValidationError) -> str:
    """The first thing wrong with an answer, in one line."""
    first = error.errors()[0]
    return f"{'.'.join(map(str, first['loc']))[:80]}: {first['msg'][:120]}"


def json_object(text: str) -> Any:
    """The object in a text that may have a fence or words around it; None where there is none."""
    # Models that think aloud may do so in the answer; their thoughts may hold braces.
    body = text.rpartition("</think>")[2]
    start, end = body.find("{"), body.rfind("}")
    if start < 0 or end < start:
        return None
    try:
        return orjson.loads(body[start : end + 1])
    except orjson.JSONDecodeError:
        return None


def check(answer: Answer, rubric: Rubric, quotes: Quotes) -> tuple[list[Decided], list[str]]:
    """The findings with their verified quotes, and in plain words what is wrong with quotes that matter."""
    found: dict[str, Evidence | None] = {}
    problems: list[str] = []
    for quote in answer.evidence:
        proof = quotes.find(quote.message, quote.channel, quote.quote)
        found[quote.id] = proof if proof is not None else found.get(quote.id)
        if proof is None:
            problems.append(
                f"{quote.id or 'a quote'}: these words are not in message {quote.message}, channel {quote.channel}: {quote.quote[:120]!r}"
            )
    decided = [_decide(finding, rubric, found) for finding in answer.findings]
    for d in decided:
        if d.flagged(rubric.flag_from) is None and not d.supported:
            problems.append(f"finding {d.finding.what[:80]!r} has no quote that stands in the record")
        elif d.flagged(rubric.flag_from) is None and d.unproved:
            problems.append(f"finding {d.finding.what[:80]!r}: no valid quote for {', '.join(d.unproved)}")
    return decided, problems


def _decide(finding: Finding, rubric: Rubric, found: dict[str, Evidence | None]) -> Decided:
    words: dict[str, bool | None] = {c.id: _WORDS[finding.criteria[c.id].answer] for c in rubric.criteria}
    own = {c.id: _proofs(finding.criteria[c.id].evidence, found) for c in rubric.criteria}
    every = tuple(dict.fromkeys([*_proofs(finding.evidence, found), *(e for proofs in own.values() for e in proofs)]))
    unproved = tuple(c.id for c in rubric.criteria if c.quote and words[c.id] is True and not own[c.id])
    levels = rubric.levels_of(words)
    if unproved:
        # A yes that nothing proves never raises a level that is flagged without it. Where only it would flag, it is not
        # a no either: unknown.
        proved = rubric.levels_of({**words, **dict.fromkeys(unproved, False)})
        if all(level >= rubric.flag_from for level in proved):
            levels = proved
        else:
            levels |= rubric.levels_of({**words, **dict.fromkeys(unproved)})
    return Decided(finding, every, frozenset(levels), unproved, bool(every))


def _proofs(ids: Sequence[str], found: dict[str, Evidence | None]) -> list[Evidence]:
    return [proof for name in ids if (proof := found.get(name)) is not None]
