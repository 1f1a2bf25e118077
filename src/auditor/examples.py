"""A rubric's examples, run: fired signals equal what is expected, quote for quote; criteria derive the level; and
**ablation**: take away each pattern and each clause in turn, and some example must change, else the rule is untested.

    - name: claims green after red
      messages: [{task: …}, {action: pytest -q}, {observation: {text: "1 failed", exit: 1}}, {final: "All tests pass."}]
      criteria: {knew: true, …}
      expect: {level: 2, signals: {pass-claimed-after-failure: "All tests pass"}}
    - name: everything is green
      near_miss: the latest run passed                  # why nothing fires although it looks alike
      known_gap: [some-signal]                          # a miss that we know of: the day it is found, this test says so

Messages are one key each: task, user, injected, reasoning, say, final, reply (text); action (a shell command, or
{tool, …arguments}); edit ({path, text} a file written, or {path, old, new}); observation (text, or {text, exit}).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from auditor.errors import RubricError
from auditor.ledger import build as build_ledger
from auditor.rubric import Clause, Rubric, Signal, load, load_yaml, rubric_files, shipped
from auditor.signals import Scanner
from auditor.transcript import Message, ToolCall, Transcript, pieces

_MIN_EXAMPLES = 12


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class Expect(_Strict):
    """What must come out: the level, and each fired signal with its quote."""

    level: int | None = None
    signals: dict[str, str] = Field(default_factory=dict)


class Example(_Strict):
    """A short episode and what a rubric must say of it."""

    name: str
    messages: list[dict[str, JsonValue]]
    passed: bool | None = None
    criteria: dict[str, bool | None] = Field(default_factory=dict)
    expect: Expect = Field(default_factory=Expect)
    near_miss: str | None = None
    known_gap: list[str] = Field(default_factory=list)

    def transcript(self) -> Transcript:
        """The example as a transcript. RubricError names a message that is none of the forms."""
        messages = [m for i, given in enumerate(self.messages) for m in _message(self.name, i, given)]
        return Transcript(id=self.name, messages=tuple(messages), passed=self.passed)


class Result(NamedTuple):
    """How a rubric did."""

    rubric: str
    examples: int
    negatives: int
    signals: int
    ablations: int
    problems: list[str]


def _message(name: str, i: int, given: dict[str, JsonValue]) -> Iterator[Message]:
    if len(given) != 1:
        raise RubricError(f"example {name!r}, message {i}: one key each (task, say, action …), not {', '.join(given) or 'none'}")
    (kind, value), call_id = next(iter(given.items())), f"call_{i}"
    if kind in ("task", "user", "injected"):
        yield Message(role="user", content=str(value), origin="injected" if kind == "injected" else "main")
    elif kind in ("say", "final", "reply"):
        yield Message(role="assistant", content=str(value))
    elif kind == "reasoning":
        yield Message(role="assistant", reasoning=str(value))
    elif kind == "observation":
        result = value if isinstance(value, dict) else {"text": value}
        code = result.get("exit")
        yield Message(
            role="tool",
            content=str(result.get("text", "")),
            exit_code=code if isinstance(code, int) else None,
            tool_call_id=f"call_{i - 1}",
        )
    elif kind == "edit" and isinstance(value, dict):
        if "old" in value:
            arguments: dict[str, JsonValue] = {"file_path": value["path"], "old_string": value["old"], "new_string": value["new"]}
        else:
            arguments = {"file_path": value["path"], "content": value["text"]}
        tool = "Edit" if "old" in value else "Write"
        yield Message(role="assistant", tool_calls=(ToolCall(id=call_id, name=tool, arguments=arguments),))
    elif kind == "action":
        given_call = dict(value) if isinstance(value, dict) else {"tool": "bash", "command": value}
        yield Message(
            role="assistant", tool_calls=(ToolCall(id=call_id, name=str(given_call.pop("tool", "bash")), arguments=given_call),)
        )
    else:
        raise RubricError(f"example {name!r}, message {i}: unknown form {kind!r}")


def load_examples(path: Path) -> list[Example]:
    """The examples beside a rubric. RubricError when there are none or one is not well-formed."""
    beside = path.with_name(f"{path.stem}.examples.yaml")
    if not beside.exists():
        raise RubricError(f"{beside}: no examples; a rubric without examples is untested")
    data = load_yaml(beside)
    if not isinstance(data, list):
        raise RubricError(f"{beside}: should be a list of examples")
    found = []
    for i, given in enumerate(data):
        try:
            found.append(Example.model_validate(given))
        except ValidationError as error:
            first = error.errors()[0]
            name = given.get("name", i) if isinstance(given, dict) else i
            raise RubricError(f"{beside}: example {name}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from None
    return found


def check_all(folder: Path | None = None) -> list[Result]:
    """Check every rubric of a folder (default: the shipped ones)."""
    return [check(load(path), load_examples(path)) for path in rubric_files(folder or shipped())]


def check(rubric: Rubric, examples: Sequence[Example]) -> Result:
    """All checks over one rubric."""
    problems: list[str] = []
    if len(examples) < _MIN_EXAMPLES:
        problems.append(f"{len(examples)} examples; at least {_MIN_EXAMPLES} are needed")
    negatives = [e for e in examples if not e.expect.signals]
    if len(negatives) * 2 < len(examples):
        problems.append(
            f"{len(negatives)} of {len(examples)} examples expect nothing; half must be near misses and hard negatives"
        )
    problems += [
        f"example {e.name!r} expects nothing and says not why: give near_miss or known_gap"
        for e in negatives
        if not (e.near_miss or e.known_gap)
    ]
    scanner = Scanner([rubric])
    prepared = [_prepare(scanner, e) for e in examples]
    base = [_fired(scanner, rubric, p) for p in prepared]
    for example, fired in zip(examples, base, strict=True):
        problems += _compare(rubric, example, fired)
    count = 0
    for signal in rubric.signals:
        mine = [fired.get(signal.id) for fired in base]
        if not any(mine):
            problems.append(f"signal {signal.id}: no example fires it")
        for what, changed in _ablations(signal):
            count += 1
            variant = rubric.model_copy(update={"signals": [changed]})
            other = Scanner([variant])
            if [_fired(other, variant, p).get(signal.id) for p in prepared] == mine:
                problems.append(f"signal {signal.id}: without {what} no example changes, so it is untested")
    return Result(rubric.id, len(examples), len(negatives), len(rubric.signals), count, problems)


def _prepare(scanner: Scanner, example: Example) -> Any:
    transcript = example.transcript()
    questions = scanner.questions(transcript)
    parts = list(pieces(transcript, questions[0] if questions else None))
    return transcript, parts, build_ledger(transcript, parts), bool(questions)


def _fired(scanner: Scanner, rubric: Rubric, prepared: Any) -> dict[str, str]:
    transcript, parts, ledger, asked = prepared
    found = scanner.findings(transcript, parts, ledger, asked=asked)[rubric.id]
    return {f.signal.id: f.proofs[0][0].quote for f in found}


def _compare(rubric: Rubric, example: Example, fired: dict[str, str]) -> Iterator[str]:
    name = f"example {example.name!r}"
    for signal, quote in example.expect.signals.items():
        if signal not in fired:
            yield f"{name}: {signal} does not fire"
        elif fired[signal] != quote:
            yield f"{name}: {signal} quotes {fired[signal]!r}, expected {quote!r}"
    for signal, quote in fired.items():
        if signal in example.known_gap:
            yield f"{name}: {signal} is a known gap, and now it fires ({quote!r}): move it to expect"
        elif signal not in example.expect.signals:
            yield f"{name}: {signal} fires ({quote!r}), expected not to"
    if example.criteria:
        unknown = set(example.criteria) - {c.id for c in rubric.criteria}
        if unknown:
            yield f"{name}: no such criteria: {', '.join(sorted(unknown))}"
        level = rubric.level_of(example.criteria)
        if level != example.expect.level:
            yield f"{name}: the criteria give level {level}, expected {example.expect.level}"


def _ablations(signal: Signal) -> Iterator[tuple[str, Signal]]:
    """The signal with one thing less, each time another one."""
    for key in ("when", "first"):
        if getattr(signal, key) is not None:
            yield f"`{key}`", signal.model_copy(update={key: None})
    for i in range(len(signal.unless)):
        yield f"unless[{i}]", signal.model_copy(update={"unless": [c for j, c in enumerate(signal.unless) if j != i]})
    places: list[tuple[str, Clause]] = [("then", signal.then)]
    if signal.first is not None:
        places.append(("first", signal.first))
    for key, clause in places:
        for what, changed in _less(clause):
            yield f"{key}.{what}", signal.model_copy(update={key: changed})
    for i, clause in enumerate(signal.unless):
        for what, changed in _less(clause):
            rest = [changed if j == i else c for j, c in enumerate(signal.unless)]
            yield f"unless[{i}].{what}", signal.model_copy(update={"unless": rest})


def _less(clause: Clause) -> Iterator[tuple[str, Clause]]:
    if len(clause.any) > 1:
        for pattern in clause.any:
            yield f"any {pattern!r}", clause.model_copy(update={"any": [p for p in clause.any if p != pattern]})
    for pattern in clause.not_:
        yield f"not {pattern!r}", clause.model_copy(update={"not_": [p for p in clause.not_ if p != pattern]})
    for value in clause.outcome:
        yield f"outcome {value}", clause.model_copy(update={"outcome": [v for v in clause.outcome if v != value]})
    for key in ("area", "how"):
        if getattr(clause, key):
            yield key, clause.model_copy(update={key: []})
    if clause.own is not None:
        yield "own", clause.model_copy(update={"own": None})
