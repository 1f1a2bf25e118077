"""Signals: all patterns of all rubrics in one RE2 pass a channel, then the composite rules over the hits.

Patterns run on folded text (typographic quotes as ASCII, invisible characters gone) and their spans point into
the original. Spans are looked for only where the pass says that a pattern is there.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import re2

from auditor.ledger.facts import Edit, Ledger, Run
from auditor.rubric import ENGINE_VERSION, Clause, Rubric, Signal, compile_pattern
from auditor.text import Lens, composed, fold
from auditor.transcript import Channel, Piece, Transcript
from auditor.verdict import Evidence, Status, Verdict

# Within a message: it thinks, then speaks, then acts.
_RANK = dict.fromkeys(Channel, 1) | {Channel.REASONING: 0, Channel.ACTION: 2}
_SENTENCE_ENDS = (". ", "! ", "? ", "\n")
CANDIDATE_WEIGHT = 2
# A signal that fires on many messages is proved by the first few.
_MAX_PROOFS = 5


class Hit(NamedTuple):
    """Where a clause holds. Hits sort in the order in which things happened."""

    message: int
    rank: int
    start: int
    end: int
    channel: Channel

    def evidence(self, signal: str, texts: dict[tuple[int, Channel], str]) -> Evidence:
        """The hit as evidence, its quote cut out of the original text."""
        quote = texts[self.message, self.channel][self.start : self.end]
        return Evidence(signal=signal, message=self.message, channel=self.channel, start=self.start, end=self.end, quote=quote)


class Finding(NamedTuple):
    """A signal that fired: for each message it fired on, its evidence, the `then` hit first."""

    signal: Signal
    proofs: tuple[tuple[Evidence, ...], ...]


class _Entry(NamedTuple):
    pattern: Any
    clauses: list[tuple[int, Clause, list[Any]]]


class _Pass:
    """One RE2 Set over one channel: which of its patterns are in a text, in one linear scan."""

    def __init__(self, entries: dict[str, _Entry]) -> None:
        options = re2.Options()
        options.max_mem = 64 << 20  # a set that runs out of memory would match nothing, in silence
        self.entries = list(entries.values())
        self.set = re2.Set.SearchSet(options)
        for pattern in entries:
            self.set.Add(f"(?im){pattern}")
        self.set.Compile()

    def hits(self, lens: Lens, edit: Edit | None = None) -> Iterator[tuple[int, int, int]]:
        """(clause, start, end) in the original text: the first hit of each pattern that no `not` silences."""
        for index in self.set.Match(lens.text) or ():
            pattern, clauses = self.entries[index]
            for number, clause, silencers in clauses:
                if edit is not None and not _fits(clause, edit):
                    continue
                span = _first(pattern, silencers, lens.text, line=edit is not None)
                if span is not None:
                    yield (number, *lens.origin(*span))


class Scanner:
    """All signals of some rubrics, compiled once; `verdicts` runs them over one episode.

    A scanner holds no state between episodes.
    """

    def __init__(self, rubrics: Sequence[Rubric]) -> None:
        self.rubrics = tuple(rubrics)
        self._numbers: dict[int, int] = {}
        entries: dict[str, dict[str, _Entry]] = {}
        for rubric in rubrics:
            for signal in rubric.signals:
                for clause in _clauses(signal):
                    self._add(clause, entries)
        self._passes = {channel: _Pass(found) for channel, found in entries.items()}
        self._asks = [compile_pattern(p) for rubric in rubrics for p in rubric.asks]

    def _add(self, clause: Clause, entries: dict[str, dict[str, _Entry]]) -> None:
        number = self._numbers[id(clause)] = len(self._numbers)
        silencers = [compile_pattern(p) for p in clause.not_]
        for channel in clause.channels:
            for pattern in clause.any:
                found = entries.setdefault(channel, {})
                entry = found.setdefault(pattern, _Entry(compile_pattern(pattern), []))
                entry.clauses.append((number, clause, silencers))

    def questions(self, transcript: Transcript) -> list[int]:
        """The user turns, after the model has spoken, that ask about its own conduct or result."""
        asked: list[int] = []
        spoken = False
        for i, m in enumerate(transcript.messages):
            if m.role == "assistant":
                spoken = spoken or bool(m.content.strip()) or m.submits
            elif spoken and m.role == "user" and m.origin == "main":
                text = fold(m.content[:4000]).text
                if any(pattern.search(text) for pattern in self._asks):
                    asked.append(i)
        return asked

    def findings(
        self, transcript: Transcript, pieces: Sequence[Piece], ledger: Ledger, *, asked: bool
    ) -> dict[str, list[Finding]]:
        """For each rubric the signals that fired, in the rubric's order."""
        hits = self._hits(pieces, ledger)
        texts = {(p.message, p.channel): p.text for p in pieces}
        found: dict[str, list[Finding]] = {}
        for rubric in self.rubrics:
            fired: list[Finding] = []
            for signal in rubric.signals:
                proofs = self._fire(signal, transcript, hits, ledger, asked=asked)
                if proofs:
                    told = tuple(tuple(hit.evidence(signal.id, texts) for hit in proof) for proof in proofs)
                    fired.append(Finding(signal, told))
            found[rubric.id] = fired
        return found

    def verdicts(
        self, transcript: Transcript, pieces: Sequence[Piece], found: dict[str, list[Finding]], *, asked: bool
    ) -> list[Verdict]:
        """One verdict a rubric, of the tier candidate, from the episode's `findings`."""
        report = any(p.channel is Channel.FINAL for p in pieces)
        return [_verdict(transcript, r, found[r.id], report=report, asked=asked) for r in self.rubrics]

    def _hits(self, pieces: Sequence[Piece], ledger: Ledger) -> dict[int, list[Hit]]:
        hits: dict[int, list[Hit]] = {}
        for message, channel, text in pieces:
            found = self._passes.get(channel.value)
            if found is not None:
                rank = _RANK[channel]
                for number, start, end in found.hits(fold(text)):
                    hits.setdefault(number, []).append(Hit(message, rank, start, end, channel))
        for edit in ledger.edits:
            for name, lens in (("edit", edit.added), ("removed", edit.removed)):
                found = self._passes.get(name)
                if found is None or not lens.text:
                    continue
                rank = _RANK[edit.channel]
                for number, start, end in found.hits(composed(lens, fold(lens.text)), edit):
                    hits.setdefault(number, []).append(Hit(edit.message, rank, start, end, edit.channel))
        for found_hits in hits.values():
            found_hits.sort()
        return hits

    def _fire(
        self, signal: Signal, transcript: Transcript, hits: dict[int, list[Hit]], ledger: Ledger, *, asked: bool
    ) -> list[list[Hit]]:
        """For each message on which the signal fires the hits that prove it, [] when it does not fire."""
        when = signal.when
        if when is not None and (
            (when.passed is not None and transcript.passed is not when.passed)
            or (when.asked is not None and asked is not when.asked)
        ):
            return []
        proofs: list[list[Hit]] = []
        for then in self._all(signal.then, hits, ledger):
            if len(proofs) == _MAX_PROOFS or (proofs and proofs[-1][0].message == then.message):
                continue
            proof = [then]
            after: Hit | None = None
            if signal.first is not None:
                held, after = self._before(signal.first, then, hits, ledger)
                if not held:
                    continue
                if after is not None:
                    proof.append(after)
            if not any(self._silences(clause, after, then, hits, ledger) for clause in signal.unless):
                proofs.append(proof)
        return proofs

    def _all(self, clause: Clause, hits: dict[int, list[Hit]], ledger: Ledger) -> list[Hit]:
        if clause.ledger is None:
            return hits.get(self._numbers[id(clause)], [])
        if clause.ledger in ("edit", "carried"):
            edits = ledger.edits if clause.ledger == "edit" else ledger.carried
            return [_edit_hit(edit) for edit in edits if _fits(clause, edit)]
        runs = [run for run in ledger.runs if _of_kind(clause, run)]
        return [_run_hit(run) for run in runs if not clause.outcome or run.outcome in clause.outcome]

    def _before(self, clause: Clause, then: Hit, hits: dict[int, list[Hit]], ledger: Ledger) -> tuple[bool, Hit | None]:
        """Whether `first` holds before `then`, and its hit (None when it holds by absence)."""
        if clause.ledger is not None and clause.ledger.endswith("_run"):
            runs = [r for r in ledger.runs if _of_kind(clause, r) and _run_hit(r) < then]
            if not runs:
                return "absent" in clause.outcome, None
            latest = runs[-1]
            return (not clause.outcome or latest.outcome in clause.outcome), _run_hit(latest)
        before = [hit for hit in self._all(clause, hits, ledger) if hit < then]
        return bool(before), before[-1] if before else None

    def _silences(self, clause: Clause, after: Hit | None, then: Hit, hits: dict[int, list[Hit]], ledger: Ledger) -> bool:
        found = self._all(clause, hits, ledger)
        if clause.ledger is None:
            return bool(found)
        return any(hit < then and (after is None or after < hit) for hit in found)


def _clauses(signal: Signal) -> Iterator[Clause]:
    if signal.first is not None:
        yield signal.first
    yield signal.then
    yield from signal.unless


def _of_kind(clause: Clause, run: Run) -> bool:
    return clause.ledger == "any_run" or clause.ledger == f"{run.kind}_run"


def _fits(clause: Clause, edit: Edit) -> bool:
    return (
        (not clause.area or edit.area in clause.area)
        and (not clause.how or edit.how in clause.how)
        and (clause.own is None or edit.own is clause.own)
    )


def _run_hit(run: Run) -> Hit:
    """A run counts from the moment its result was seen; one without a result from its call."""
    if run.proof is not None:
        return Hit(run.proof.message, 1, run.proof.start, run.proof.end, run.proof.channel)
    if run.result is not None:
        return Hit(run.result, 1, 0, 0, Channel.OBSERVATION)
    return Hit(run.message, 2, 0, 0, Channel.ACTION)


def _edit_hit(edit: Edit) -> Hit:
    lens = edit.added if edit.added.text else edit.removed
    first_line = lens.text.find("\n")
    start, end = lens.origin(0, len(lens.text) if first_line < 0 else first_line) if lens.text else (0, 0)
    return Hit(edit.message, _RANK[edit.channel], start, end, edit.channel)


def _first(pattern: Any, silencers: list[Any], text: str, *, line: bool) -> tuple[int, int] | None:
    """The first match of a pattern whose sentence (in code: line) holds no silencer."""
    if not silencers:
        found = pattern.search(text)
        return found.span() if found else None
    for match in pattern.finditer(text):
        start, end = match.span()
        window = _window(text, start, end, ("\n",) if line else _SENTENCE_ENDS)
        if not any(silencer.search(window) for silencer in silencers):
            return start, end
    return None


def _window(text: str, start: int, end: int, ends: tuple[str, ...]) -> str:
    """The sentence or line around [start, end), at most 400 characters to each side."""
    low = max(0, start - 400)
    left = max((at + len(mark) for mark in ends if (at := text.rfind(mark, low, start)) >= 0), default=low)
    high = min(len(text), end + 400)
    right = min((at for mark in ends if (at := text.find(mark, max(end - 1, start), high)) >= 0), default=high)
    return text[left : right + 1]


def _verdict(transcript: Transcript, rubric: Rubric, found: list[Finding], *, report: bool, asked: bool) -> Verdict:
    flagged: bool | None = any(f.signal.weight >= CANDIDATE_WEIGHT for f in found)
    status = Status.OK
    if not flagged:
        if rubric.needs == "reasoning" and transcript.reasoning in ("absent", "encrypted"):
            status, flagged = Status.NO_REASONING, None
        elif rubric.needs == "report" and not report:
            status, flagged = Status.NO_REPORT, None
        elif rubric.needs == "question" and not asked:
            status, flagged = Status.NOT_ASKED, None
    codes = sorted({code for f in found for code in f.signal.codes})
    return Verdict(
        episode_id=transcript.id,
        rubric=rubric.id,
        rubric_hash=rubric.signals_hash,
        detector="signals",
        detector_version=ENGINE_VERSION,
        tier="candidate",
        status=status,
        flagged=flagged,
        attributes={
            "signals": [f.signal.id for f in found],
            "weight": max((f.signal.weight for f in found), default=0),
            "codes": [*codes],
        },
        evidence=tuple(dict.fromkeys(e for f in found for proof in f.proofs for e in proof)),
        rationale="; ".join(f.signal.title for f in found),
    )
