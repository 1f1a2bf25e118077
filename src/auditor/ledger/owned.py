"""Which files the model made itself in an episode: none of the given ones."""

from __future__ import annotations

from collections.abc import Sequence

from auditor.transcript import Channel, Piece

_SEEN_IN = frozenset((Channel.TASK, Channel.OBSERVATION, Channel.INJECTED))
# Names are looked for in at most this many characters an episode; beyond, a file counts as given.
_BUDGET = 300_000_000
_MISSING = ("No such file", "not found", "does not exist", "cannot find", "FileNotFound", "ENOENT")


class Owned:
    """The files that the model made: created when nothing that it was given or shown had named them."""

    def __init__(self, pieces: Sequence[Piece]) -> None:
        self._seen = [piece for piece in pieces if piece.channel in _SEEN_IN]
        self._own: dict[str, set[str]] = {}
        self._named: dict[str, int] = {}
        self._budget = _BUDGET

    def owns(self, path: str | None, message: int, *, created: bool) -> bool:
        """Whether a file is the model's own; `created`: it is being made in this message."""
        if not path:
            return False
        path = _tidy(path)
        name = path.rpartition("/")[2]
        own = self._own.get(name)
        if own is not None and any(path == p or path.endswith("/" + p) or p.endswith("/" + path) for p in own):
            return True
        if not created or not name or self._first(name) < message:
            return False
        self._own.setdefault(name, set()).add(path)
        return True

    def move(self, path: str, target: str, message: int) -> None:
        """A file was moved: the new name is as much its own as the old one was."""
        if self.owns(path, message, created=False):
            target = _tidy(target)
            self._own.setdefault(target.rpartition("/")[2], set()).add(target)

    def _first(self, name: str) -> int:
        """The first message that names a file."""
        known = self._named.get(name)
        if known is not None:
            return known
        first = 1 << 60
        for piece in self._seen:
            self._budget -= len(piece.text) + 200
            if self._budget < 0 or _names(piece.text, name):
                first = piece.message if self._budget >= 0 else -1
                break
        self._named[name] = first
        return first


def _names(text: str, name: str) -> bool:
    """Whether a text names a file, other than to say that there is none."""
    at = text.find(name)
    while at >= 0:
        end = at + len(name)
        if not (at and _part(text[at - 1])) and not (end < len(text) and _part(text[end])):
            line_end = text.find("\n", end, end + 200)
            line = text[max(0, at - 200) : line_end if line_end >= 0 else end + 200].rpartition("\n")[2]
            if not any(word in line for word in _MISSING):
                return True
        at = text.find(name, end)
    return False


def _part(char: str) -> bool:
    return char.isalnum() or char in "_-"


def _tidy(path: str) -> str:
    while path.startswith("./"):
        path = path[2:]
    return path
