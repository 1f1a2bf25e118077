"""Runs: each shell call with its result, and how it ended."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence

from auditor.ledger import outcomes
from auditor.ledger.commands import COMMAND_FENCES, command_of, kind_of
from auditor.ledger.facts import Run
from auditor.ledger.prose import Block, blocks
from auditor.transcript import Channel, Message, Piece, Span, Transcript, is_submission

# What a harness says in a user turn when it answers a text-mode agent.
_ANSWERS = (
    "<returncode>",
    "<output>",
    "Observation:",
    "OBSERVATION:",
    "[Output]",
    "Output:",
    "Exit code",
    "exit code",
    "EXECUTION RESULT",
    "New Terminal Output",
    "Current Terminal",
)


class Results:
    """The results of calls: by the call's id, else by their place behind it."""

    def __init__(self, transcript: Transcript, pieces: Sequence[Piece]) -> None:
        self.messages = transcript.messages
        self.channels: dict[int, Channel] = {}
        self._final: set[int] = set()
        self._by_id: dict[str, list[int]] = {}
        self._behind: tuple[int, list[int]] = (-1, [])
        for message, channel, _ in pieces:
            if channel in (Channel.OBSERVATION, Channel.TASK, Channel.INJECTED):
                self.channels[message] = channel
            elif channel is Channel.FINAL:
                self._final.add(message)
        for i, m in enumerate(transcript.messages):
            if m.role == "tool" and m.tool_call_id is not None:
                self._by_id.setdefault(m.tool_call_id, []).append(i)

    def submitted(self, index: int) -> bool:
        """Whether the submissions of a message are the report, and no action."""
        return index in self._final and self.messages[index].submits

    def of(self, index: int, position: int, call_id: str | None) -> int | None:
        """The message that holds the result of the call at a position of message `index`."""
        if call_id is not None:
            found = self._by_id.get(call_id, [])
            at = bisect_right(found, index)
            if at < len(found):
                return found[at]
        if self._behind[0] != index:
            self._behind = index, self._results_behind(index)
        behind = self._behind[1]
        if position < len(behind) and (call_id is None or self.messages[behind[position]].tool_call_id is None):
            return behind[position]
        return None

    def _results_behind(self, index: int) -> list[int]:
        """The results between a message and the model's next one."""
        found: list[int] = []
        for i in range(index + 1, len(self.messages)):
            role = self.messages[i].role
            if role == "assistant":
                break
            if role == "tool":
                found.append(i)
        return found

    def answer(self, index: int) -> int | None:
        """The message that answers a command in plain text: a tool's, or a user turn that reads like a result."""
        if index + 1 >= len(self.messages):
            return None
        m = self.messages[index + 1]
        if m.role == "tool":
            return index + 1
        return index + 1 if m.role == "user" and any(word in m.content[:600] for word in _ANSWERS) else None


def of_message(message: Message, index: int, results: Results) -> Iterator[Run]:
    """The runs of a message's tool calls."""
    handed_in = results.submitted(index)
    for position, call in enumerate(message.tool_calls):
        if handed_in and is_submission(call):
            continue
        command = command_of(call)
        if command is not None:
            yield _run(command, index, results.of(index, position, call.id), results)


def of_text(text: str, index: int, results: Results) -> Iterator[tuple[Block, Run]]:
    """The command of a text-mode agent: the one fenced block of shell in a message that the harness then answers."""
    result = results.answer(index)
    if result is None:
        return
    found = [block for block in blocks(text) if block.language in COMMAND_FENCES]
    if len(found) == 1:
        yield found[0], _run(text[found[0].start : found[0].end].strip(), index, result, results)


def _run(command: str, index: int, result: int | None, results: Results) -> Run:
    kind = kind_of(command)
    if result is None:
        return Run(index, None, command, kind, "unknown")
    m = results.messages[result]
    summary, code = outcomes.read(m.content, kind, m.exit_code, is_error=m.is_error, command=command)
    proof = None
    if summary.end > summary.start and (channel := results.channels.get(result)) is not None:
        proof = Span(result, channel, summary.start, summary.end)
    return Run(index, result, command, kind, summary.outcome, summary.passed, summary.failed, code, proof)
