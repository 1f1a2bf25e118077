"""Labelling in a terminal: the episode is shown, a level asked for, the answer appended before the next one is shown."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from typing import Any, NamedTuple

import duckdb
from rich.console import Console
from rich.text import Text

from auditor import labels, show
from auditor.errors import QueryError
from auditor.labels import Label
from auditor.query import find_transcript, run
from auditor.queue import Queued
from auditor.rubric import Rubric
from auditor.store import Audit
from auditor.text import excerpt


class Done(NamedTuple):
    """How a sitting ended: labelled, skipped by the reviewer, not to be had any more, and not reached."""

    labelled: int
    skipped: int
    lost: int
    left: int


class Answer(NamedTuple):
    """A level (None: unclear) and a note."""

    level: int | None
    note: str


class Word(StrEnum):
    """An answer that labels nothing."""

    SKIP = "s"
    QUIT = "q"


def guide(rubric: Rubric) -> str:
    """What is asked, and the answers there are."""
    told = [
        f"{s.value}  {'; or '.join(f'{name}: {rule}' for name, rule in s.rules)}{'  (flagged)' if s.flagged else ''}"
        for s in labels.scale(rubric)
    ]
    keys = "u unclear, s skip, q quit; a note may follow after a space, such as '2 says green at 14'"
    return "\n".join([rubric.question, *told, keys])


def parse(line: str, rubric: Rubric) -> Answer | Word | str:
    """An answer, a word of its own, or in a whole sentence why the line is neither."""
    word, _, note = line.strip().partition(" ")
    if word in tuple(Word):
        return Word(word)
    if len(note) > labels.LONGEST_NOTE:
        return f"The note has {len(note):,} characters; at most {labels.LONGEST_NOTE:,} are kept: say it in fewer."
    if word == "u":
        return Answer(None, note.strip())
    known = [step.value for step in labels.scale(rubric)]
    if word.isdecimal() and int(word) in known:
        return Answer(int(word), note.strip())
    return f"{excerpt(word, 20) or 'nothing'} is no answer: a level ({', '.join(map(str, known))}), u, s or q."


def sitting(
    audit: Audit,
    con: duckdb.DuckDBPyConnection,
    rubric: Rubric,
    queued: Sequence[Queued],
    *,
    reviewer: str,
    blind: bool,
    console: Console,
    ask: Callable[[str], str | None],
) -> Done:
    """Go through the queue. `ask` shows a prompt and gives a line, None where there is none any more: that ends it like `q` or Ctrl-C.

    Blind hides the model, its score, the detectors and what they found. An episode whose source is gone is told and passed over.
    """
    sat = Counter[str]()
    try:
        for place, one in enumerate(queued, 1):
            prompt = f"[{place} of {len(queued)}] {rubric.id}: level, u, s or q? "
            if not _shown(audit, con, rubric, one, blind=blind, console=console):
                sat["lost"] += 1
                continue
            answer = _answer(rubric, prompt, console, ask)
            if answer is Word.QUIT:
                break
            if isinstance(answer, Answer):
                labels.append(audit, _label(rubric, one, answer, reviewer, blind=blind))
            sat["labelled" if isinstance(answer, Answer) else "skipped"] += 1
    except KeyboardInterrupt:
        console.print()
    return Done(sat["labelled"], sat["skipped"], sat["lost"], len(queued) - sum(sat.values()))


def _shown(audit: Audit, con: duckdb.DuckDBPyConnection, rubric: Rubric, one: Queued, *, blind: bool, console: Console) -> bool:
    """Print the episode; False where it cannot be read any more."""
    try:
        name, transcript = find_transcript(audit, con, one.episode_id)
    except QueryError as error:
        console.print(Text(f"{error}; passed over"))
        return False
    asked = run(con, "SELECT min(question) FROM answers WHERE episode_id = ?", [name])[1][0][0]
    evidence = [] if blind else [e for e in show.evidence_of(con, name) if _seen(e, rubric)]
    console.rule()
    show.transcript(console, transcript, asked, evidence, whole=False, blind=blind)
    if not blind and (judged := show.judged_table([v for v in show.verdicts_of(con, name) if _seen(v, rubric)])):
        console.print("", judged)
    return True


def _seen(row: Mapping[str, Any], rubric: Rubric) -> bool:
    """Whether a row of evidence or a verdict is a detector's under this rubric: what other reviewers said is not shown."""
    return row["rubric"] == rubric.id and not row["detector"].startswith("reviewer:")


def _answer(rubric: Rubric, prompt: str, console: Console, ask: Callable[[str], str | None]) -> Answer | Word:
    """Asks until it is an answer; where there is no line any more it is QUIT."""
    while (line := ask(prompt)) is not None:
        found = parse(line, rubric)
        if isinstance(found, (Answer, Word)):
            return found
        console.print(Text(found))
    return Word.QUIT


def _label(rubric: Rubric, one: Queued, answer: Answer, reviewer: str, *, blind: bool) -> Label:
    level, note = answer
    return labels.of_level(
        rubric, level, reviewer=reviewer, episode_id=one.episode_id, note=note, blind=blind, queued=True, stratum=one.stratum
    )


def told(done: Done, reviewer: str, command: str) -> str:
    """How it ended and how to go on, in one line."""
    parts = [f"{reviewer} labelled {done.labelled}"]
    parts += [f"skipped {done.skipped}"] if done.skipped else []
    parts += [f"{done.lost} could not be read any more"] if done.lost else []
    if not sum(done):
        return f"{reviewer} has labelled all that can be drawn"
    return f"{', '.join(parts)}; {done.left} of this queue are left. To go on: {command}"
