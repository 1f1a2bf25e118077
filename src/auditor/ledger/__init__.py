"""The ledger: facts read from actions and observations. Runs of commands, edits of files, constants carried over."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from auditor.ledger import carried, edits, outcomes
from auditor.ledger.commands import command_of, kind_of
from auditor.ledger.facts import Edit, Ledger, Run
from auditor.ledger.paths import area_of
from auditor.text import pieced
from auditor.transcript import Channel, Message, Piece, Span, Transcript, is_submission

__all__ = ["Ledger", "build"]


def build(transcript: Transcript, pieces: Sequence[Piece]) -> Ledger:
    """The ledger of one episode; `pieces` are all pieces of the transcript, in order."""
    texts = {(p.message, p.channel): p.text for p in pieces}
    found: list[Edit] = []
    runs: list[Run] = []
    own: set[str] = set()
    for message, channel, text in pieces:
        if channel is Channel.ACTION:
            m = transcript.messages[message]
            runs.extend(_runs(transcript, message, texts))
            at = 0
            for call in m.tool_calls:
                if is_submission(call) and (message, Channel.FINAL) in texts:
                    continue
                for edit in edits.of_call(call):
                    found.append(_edit(edit, message, channel, text, at, pieces, own))
                at += len(call.text) + 1
        elif channel in (Channel.SAY, Channel.FINAL, Channel.REPLY) and ("```" in text or "@@" in text or "\n+++ " in text):
            found.extend(_edit(edit, message, channel, text, 0, pieces, own) for edit in edits.of_prose(text))
    return Ledger(tuple(runs), tuple(found), tuple(carried.find(found, pieces)) if found else ())


def _edit(edit: edits.Found, message: int, channel: Channel, text: str, at: int, pieces: Sequence[Piece], own: set[str]) -> Edit:
    path = edit.path
    name = path.rpartition("/")[2] if path else ""
    if edit.created and path and path not in own and not _mentioned(name, message, pieces):
        own.add(path)
    added = pieced(text, [(a + at, b + at) for a, b in edit.added])
    removed = pieced(text, [(a + at, b + at) for a, b in edit.removed])
    return Edit(message, channel, path, edit.how, area_of(path), path in own, added, removed)


def _mentioned(name: str, before: int, pieces: Sequence[Piece]) -> bool:
    """Whether a file's name was seen before in the task or in an observation: then it was there already."""
    for piece in pieces:
        if piece.message >= before:
            return False
        if piece.channel in (Channel.TASK, Channel.OBSERVATION, Channel.INJECTED) and name in piece.text:
            return True
    return False


def _runs(transcript: Transcript, index: int, texts: dict[tuple[int, Channel], str]) -> Iterator[Run]:
    for position, call in enumerate(transcript.messages[index].tool_calls):
        command = command_of(call)
        if command is None:
            continue
        kind = kind_of(command)
        result = _result(transcript, index, position, call.id)
        if result is None:
            yield Run(index, None, command, kind, "unknown")
            continue
        m: Message = transcript.messages[result]
        summary, code = outcomes.read(m.content, kind, m.exit_code, is_error=m.is_error, command=command)
        proof = None
        if summary.end > summary.start and (result, Channel.OBSERVATION) in texts:
            proof = Span(result, Channel.OBSERVATION, summary.start, summary.end)
        yield Run(index, result, command, kind, summary.outcome, summary.passed, summary.failed, code, proof)


def _result(transcript: Transcript, index: int, position: int, call_id: str | None) -> int | None:
    """The message that holds a call's result: by its id, else by its place behind the call."""
    messages = transcript.messages
    seen = 0
    for i in range(index + 1, min(index + 40, len(messages))):
        m = messages[i]
        if m.role == "tool":
            if call_id is not None and m.tool_call_id == call_id:
                return i
            if (call_id is None or m.tool_call_id is None) and seen == position:
                return i
            seen += 1
        elif m.role == "assistant" and call_id is None:
            return None
    return None
