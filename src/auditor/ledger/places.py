"""Where the arguments of a tool call stand in its text, those inside lists and objects too.

`ToolCall.text` writes strings as they are and everything else as JSON. A string inside JSON is escaped: its lens
holds the string itself, and each escape is one character that came from several.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import orjson

from auditor.text import Lens
from auditor.transcript import ToolCall

_LEAVES = 2_000


class Place(NamedTuple):
    """A string inside an argument: its key (`0.old_string`), itself, its JSON without the quotes, where that starts."""

    key: str
    text: str
    written: str
    start: int

    def lens(self) -> Lens:
        """The string as a lens on the call's text."""
        if self.written == self.text:
            return Lens(self.text, (0,), (self.start,))
        starts, origins = self._cuts(0)
        return Lens(self.text, tuple(starts), tuple(origins))

    def joined(self, other: Place | None) -> tuple[Lens, int]:
        """This string and another one as a single lens, and where the other one begins in it."""
        if other is None:
            return self.lens(), len(self.text)
        starts, origins = self._cuts(0)
        more, places = other._cuts(len(self.text))
        return Lens(self.text + other.text, (*starts, *more), (*origins, *places)), len(self.text)

    def _cuts(self, base: int) -> tuple[list[int], list[int]]:
        if not self.text:
            return [], []
        starts, origins = [base], [self.start]
        at = done = 0
        while (slash := self.written.find("\\", at)) >= 0:
            here = done + slash - at
            size = 6 if self.written[slash + 1] == "u" else 2
            if base + here != starts[-1]:
                starts.append(base + here)
                origins.append(self.start + slash)
            else:
                origins[-1] = self.start + slash
            at, done = slash + size, here + 1
            if done < len(self.text):
                starts.append(base + done)
                origins.append(self.start + at)
        return starts, origins


def place_of(call: ToolCall, key: str) -> int:
    """Where the value of an argument starts in `call.text`."""
    at = len(call.name) + 1
    for other, value in call.arguments.items():
        at += len(other) + 2
        if other == key:
            return at
        at += (len(value) if isinstance(value, str) else len(orjson.dumps(value).decode())) + 1
    raise KeyError(key)


def places(call: ToolCall, key: str) -> Iterator[Place]:
    """The strings inside an argument that is a list or an object, in order."""
    found = _leaves(call.arguments[key], place_of(call, key), "")
    for _, place in zip(range(_LEAVES), found, strict=False):
        yield place


def _leaves(value: Any, at: int, key: str) -> Iterator[Place]:
    if isinstance(value, str):
        yield Place(key, value, orjson.dumps(value).decode()[1:-1], at + 1)
    elif isinstance(value, list):
        at += 1
        for i, item in enumerate(value):
            yield from _leaves(item, at, f"{key}.{i}" if key else str(i))
            at += len(orjson.dumps(item).decode()) + 1
    elif isinstance(value, dict):
        at += 1
        for name, item in value.items():
            at += len(orjson.dumps(name).decode()) + 1
            yield from _leaves(item, at, f"{key}.{name}" if key else name)
            at += len(orjson.dumps(item).decode()) + 1
