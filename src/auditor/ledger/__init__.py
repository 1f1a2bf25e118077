"""The ledger: facts read from actions and observations. Runs of commands, edits of files, constants carried over."""

from __future__ import annotations

from collections.abc import Sequence

from auditor.ledger import carried
from auditor.ledger.edits import of_call
from auditor.ledger.facts import Edit, Ledger, Run, RunKind
from auditor.ledger.found import Found
from auditor.ledger.owned import Owned
from auditor.ledger.paths import area_of
from auditor.ledger.prose import of_prose
from auditor.ledger.runs import Results, of_message, of_text
from auditor.ledger.writes import of_shell
from auditor.text import Lens, composed, pieced
from auditor.transcript import Channel, Piece, Transcript, is_submission

__all__ = ["Ledger", "build", "latest"]

_SPOKEN = frozenset((Channel.SAY, Channel.FINAL, Channel.REPLY))


def build(transcript: Transcript, pieces: Sequence[Piece]) -> Ledger:
    """The ledger of one episode; `pieces` are all pieces of the transcript, in order."""
    return _Builder(transcript, pieces).build()


def latest(ledger: Ledger, kind: RunKind, before: int) -> Run | None:
    """The last run of a kind whose result (its call, where it has none) stands before message `before`."""
    for run in reversed(ledger.runs):
        if run.kind == kind and (run.message if run.result is None else run.result) < before:
            return run
    return None


class _Builder:
    """What is carried from message to message: the file that an editor has open, the files that the model made."""

    def __init__(self, transcript: Transcript, pieces: Sequence[Piece]) -> None:
        self.messages = transcript.messages
        self.pieces = pieces
        self.results = Results(transcript, pieces)
        self.owned = Owned(pieces)
        self.opened: str | None = None
        self.edits: list[Edit] = []
        self.runs: list[Run] = []

    def build(self) -> Ledger:
        for piece in self.pieces:
            channel = piece.channel
            if channel is Channel.ACTION:
                self._action(piece)
            elif channel in _SPOKEN:
                self._spoken(piece)
        found = self.edits
        return Ledger(tuple(self.runs), tuple(found), tuple(carried.find(found, self.pieces)) if found else ())

    def _action(self, piece: Piece) -> None:
        index = piece.message
        self.runs.extend(of_message(self.messages[index], index, self.results))
        calls = self.messages[index].tool_calls
        handed_in = self.results.submitted(index)
        at = 0
        for call in calls:
            if handed_in and is_submission(call):
                continue
            for found in of_call(call):
                self._add(found, piece, at)
            self.opened = _opens(call.name, call.arguments) or self.opened
            if len(calls) > 1:
                at += len(call.text) + 1

    def _spoken(self, piece: Piece) -> None:
        text = piece.text
        fenced = "```" in text
        if fenced and not self.messages[piece.message].tool_calls:
            for command, run in of_text(text, piece.message, self.results):
                self.runs.append(run)
                for found in of_shell(text[command.start : command.end], command.start):
                    self._add(found, piece, 0)
        if fenced or "\n@@" in text or "\n+++ " in text or "diff --git " in text:
            for found in of_prose(text):
                self._add(found, piece, 0)

    def _add(self, found: Found, piece: Piece, at: int) -> None:
        path = self.opened if found.opened and found.path is None else found.path
        if found.opened:
            self.opened = path
        own = False
        if found.how != "shown":
            if found.moved is not None and path is not None:
                self.owned.move(path, found.moved, piece.message)
            own = self.owned.owns(path, piece.message, created=found.created)
        area = area_of(path)
        if found.moved is not None and area_of(found.moved) in ("test", "harness"):
            area = area_of(found.moved)
        added, removed = _lens(found, piece.text, at, found.added), _lens(found, piece.text, at, found.removed)
        self.edits.append(Edit(piece.message, piece.channel, path, found.how, area, own, added, removed))


_NONE = Lens("")


def _lens(found: Found, text: str, at: int, spans: list[tuple[int, int]]) -> Lens:
    if not spans:
        return _NONE
    if found.source is None:
        return pieced(text, [(a + at, b + at) for a, b in spans] if at else spans)
    source = found.source
    if at:
        source = Lens(source.text, source.starts, tuple(origin + at for origin in source.origins))
    return composed(source, pieced(source.text, spans))


def _opens(name: str, arguments: object) -> str | None:
    """The file that SWE-agent's `open` shows: later edits without a path are edits of it."""
    if not isinstance(arguments, dict):
        return None
    if name == "open":
        path = arguments.get("path")
        return path if isinstance(path, str) else None
    command = arguments.get("command")
    if isinstance(command, str) and command.startswith("open "):
        words = command.split("\n", 1)[0].split()
        return words[1].strip("\"'") if len(words) > 1 else None
    return None
