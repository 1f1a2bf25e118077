"""What the page of one episode is told: its messages with evidence marked, what was found in it, where it came from."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import duckdb

from auditor.labels import Label
from auditor.query import run
from auditor.quotes import Quotes, names_of
from auditor.show import evidence_of, verdicts_of
from auditor.show_asked import answers_of, facts_of
from auditor.text import excerpt
from auditor.transcript import Channel, Message, Piece, Transcript, pieces
from auditor.viewer import rows
from auditor.viewer.marked import Run, runs
from auditor.viewer.shelf import Shelf, row_of

Place = tuple[int, str]


def page(shelf: Shelf, con: duckdb.DuckDBPyConnection, given: str, *, blind: bool, reviewer: str) -> dict[str, Any]:
    """Everything about the episode with this key. Blind: no model, no detector, no verdict, no evidence, nobody else's label."""
    row = row_of(con, given)
    transcript, asked = read(shelf, con, row)
    name = row["episode_id"]
    labels = [one for one in shelf.labels() if one.episode_id == name and (not blind or one.reviewer == reviewer)]
    proof = _evidence([] if blind else evidence_of(con, name), labels)
    mask = masking(shelf, con, transcript) if blind else str
    told = {
        "row": row, "mask": mask, "labels": labels, "evidence": proof, "blocks": list(blocks(transcript, asked, proof, mask)),
        "similar": rows.same_task(con, row) if row["task"] else [], "verdicts": [], "answers": [], "facts": [], "metadata": [],
    }  # fmt: skip
    if not blind:
        # People and judges before signals, flags before the rest.
        verdicts = sorted(verdicts_of(con, name), key=lambda v: (v["tier"] == "candidate", not v["flagged"]))
        told |= {"verdicts": verdicts, "answers": answers_of(con, name), "facts": facts_of(con, name)}
        told["metadata"] = [(k, _short(v)) for k, v in transcript.metadata.items()]
    return told


def read(shelf: Shelf, con: duckdb.DuckDBPyConnection, row: dict[str, Any]) -> tuple[Transcript, int | None]:
    """The transcript, and the message that first asks about conduct: what is said after it is a reply."""
    found = run(con, "SELECT min(question) FROM answers WHERE episode_id = ?", [row["episode_id"]])[1][0][0]
    return shelf.transcript(con, row), found


def masking(shelf: Shelf, con: duckdb.DuckDBPyConnection, transcript: Transcript | None = None) -> Callable[[str], str]:
    """Blacks out the names of all models of the audit, length kept, so that offsets stay."""
    models = shelf.once("models", lambda: [r[0] for r in run(con, "SELECT DISTINCT model FROM _listed LIMIT 1000")[1]])
    names = names_of(transcript or Transcript(id="", messages=()), *models)
    return Quotes([], names).mask


def _evidence(found: Sequence[Mapping[str, Any]], labels: Sequence[Label]) -> list[dict[str, Any]]:
    """Numbered in the order of the text; words that several signals, judges or people chose are one, with all their names."""
    by_place: dict[tuple[int, str, int, int], dict[str, Any]] = {}

    def add(place: tuple[int, str, int, int], quote: str, kind: str, rubric: str, by: str) -> None:
        entry = by_place.setdefault(place, {"place": place, "quote": quote, "kinds": {}, "by": {}})
        entry["kinds"][kind] = entry["by"].setdefault(rubric, {})[by] = True

    for e in found:
        place = (e["message"], e["channel"], e["start"], e["end"])
        if e["detector"] == "signals":
            add(place, e["quote"], "signal", e["rubric"], e["signal"])
        elif e["detector"].startswith("judge:"):
            view = "" if e["view"] == "all" else f" (view {e['view']})"
            add(place, e["quote"], "judge", e["rubric"], e["detector"].removeprefix("judge:") + view)
    for one in labels:
        for m in one.evidence:
            add((m.message, m.channel.value, m.start, m.end), m.quote, "person", one.rubric, one.reviewer)
    # Within a message as it is shown: reasoning, text, action.
    shown = ("reasoning", "final", "say", "reply", "action")
    in_order = sorted(
        by_place.values(),
        key=lambda e: (e["place"][0], shown.index(e["place"][1]) if e["place"][1] in shown else 0, e["place"][2:]),
    )
    return [{**entry, "number": i} for i, entry in enumerate(in_order, 1)]


def blocks(
    t: Transcript, asked: int | None, evidence: Sequence[Mapping[str, Any]], mask: Callable[[str], str]
) -> Iterator[dict[str, Any]]:
    """One block a channel and message, in order. Words that are nobody's in this run (copied, prefilled, an echo) have no channel."""
    spans: dict[Place, list[tuple[int, int, int]]] = {}
    for e in evidence:
        message, channel, start, end = e["place"]
        spans.setdefault((message, channel), []).append((start, end, e["number"]))
    of: dict[int, list[Piece]] = {}
    for piece in pieces(t, asked):
        of.setdefault(piece.message, []).append(piece)
    for i, m in enumerate(t.messages):
        at = (m.timestamp or "")[:40]
        for piece in of.get(i, ()):
            found = runs(mask(piece.text), piece.channel, spans.get((i, piece.channel.value), ()))
            yield _block(i, piece.channel.value, m, at, found, mask)
            at = ""
        if i not in of and (text := m.content or m.reasoning or "\n".join(c.text for c in m.tool_calls)):
            channel = "copied" if m.origin in ("copied", "prefilled") else "echo"
            yield _block(i, channel, m, at, runs(mask(text), Channel.INJECTED, ()), mask)


def _block(i: int, channel: str, m: Message, at: str, found: list[Run], mask: Callable[[str], str]) -> dict[str, Any]:
    about = [mask(m.name)] if m.name and channel == "observation" else []
    about += [f"exit {m.exit_code}"] if m.exit_code is not None else []
    about += ["error"] if m.is_error else []
    about += [m.origin] if m.origin != "main" else []
    return {
        "message": i, "channel": channel, "about": about, "at": at, "runs": found,
    }  # fmt: skip


def _short(value: Any) -> str:
    return excerpt(value if isinstance(value, str) else json.dumps(value, ensure_ascii=True), 400)


def raw(shelf: Shelf, con: duckdb.DuckDBPyConnection, given: str) -> str:
    """The record as auditor read it, as JSON in ASCII: nothing in it can act on who reads it."""
    transcript = shelf.transcript(con, row_of(con, given))
    return json.dumps(transcript.model_dump(mode="json", exclude_defaults=True), indent=1, ensure_ascii=True)
