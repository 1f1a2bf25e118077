"""Long transcripts: chunks at turns within a budget of characters; the task and the report are in each, one turn overlaps."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from auditor.judge.shown import Line, cut
from auditor.transcript import Channel

_FRAME = (Channel.TASK, Channel.FINAL)
_ROW = 40
"""Characters that a line costs beside its text."""


def split(shown: Sequence[Line], budget: int) -> list[list[Line]]:
    """The lines as one chunk where they fit into `budget` characters, else as several, each in message order."""
    if _size(shown) <= budget:
        return [list(shown)]
    frame = _frame(shown, budget)
    held = {(line.message, line.channel) for line in frame}
    room = max(budget - _size(frame), budget // 4)
    turns = _turns([line for line in shown if (line.message, line.channel) not in held], room)
    chunks: list[list[Line]] = []
    current: list[list[Line]] = []
    for turn in turns:
        if current and sum(map(_size, current)) + _size(turn) > room:
            chunks.append([line for t in current for line in t])
            # The last turn again, so that what spans two chunks is seen whole once; not where there is no room for it.
            last = current[-1]
            current = [last] if len(current) > 1 and _size(last) + _size(turn) <= room else []
        current.append(turn)
    if current:
        chunks.append([line for t in current for line in t])
    return [sorted([*frame, *chunk], key=lambda line: line.message) for chunk in chunks or [[]]]


def window(shown: Sequence[Line], messages: Collection[int], budget: int) -> list[Line]:
    """The lines around some messages (one to each side), with task and report, cut to fit into `budget` characters."""
    near = {m + d for m in messages for d in (-1, 0, 1)}
    first = next((line.message for line in shown if line.channel is Channel.TASK), None)
    picked = [line for line in shown if line.message in near or line.channel is Channel.FINAL or line.message == first]
    limit = 20_000
    while _size(picked) > budget and limit > 100:
        limit //= 2
        picked = [cut(line, limit) for line in picked]
    return picked


def _size(shown: Sequence[Line]) -> int:
    return sum(len(line.text) + _ROW for line in shown)


def _frame(shown: Sequence[Line], budget: int) -> list[Line]:
    """What every chunk holds: the first task, the report. Each at most a sixth of the budget."""
    first = next((line for line in shown if line.channel is Channel.TASK), None)
    held = [line for line in shown if line is first or line.channel is Channel.FINAL]
    return [cut(line, budget // 6) for line in held]


def _turns(shown: Sequence[Line], room: int) -> list[list[Line]]:
    """Lines grouped into turns: what the model did in one message, and all that came back before its next."""
    turns: list[list[Line]] = []
    speaker = -1
    back = (Channel.OBSERVATION, Channel.TASK, Channel.INJECTED)
    for line in shown:
        if not turns or (line.channel not in back and line.message != speaker):
            turns.append([])
        if line.channel not in back:
            speaker = line.message
        turns[-1].append(line)
    fitted = []
    for turn in turns:
        limit = room
        while _size(turn) > room and limit > 100:
            limit //= 2
            turn = [cut(line, limit) for line in turn]
        fitted.append(turn)
    return fitted
