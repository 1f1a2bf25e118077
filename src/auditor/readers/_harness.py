"""Text that a harness wraps in tags inside a turn: told apart from what the user or a tool said."""

from __future__ import annotations

from collections.abc import Collection, Iterator


def split(text: str, tags: Collection[str]) -> Iterator[tuple[str, bool]]:
    """The text in order as (part, injected): blocks `<tag …>…</tag>` of `tags` at its two ends, and what is between.

    Only the ends are looked at: the same tag in the middle is quoted text (a file that was read, say).
    """
    front = _front(text, tags)
    yield from ((part.strip(), True) for part in front)
    rest = text[sum(map(len, front)) :]
    back = list(_back(rest, tags))
    middle = rest[: len(rest) - sum(map(len, back))]
    if middle.strip():
        yield middle.strip("\n"), False
    yield from ((part.strip(), True) for part in reversed(back))


def tail(text: str, tags: Collection[str]) -> tuple[str, str]:
    """A tool's text, and the harness blocks that were put behind it ("" when there are none)."""
    back = list(_back(text, tags))
    if not back:
        return text, ""
    return text[: len(text) - sum(map(len, back))].rstrip("\n"), "".join(reversed(back)).strip()


def _front(text: str, tags: Collection[str]) -> list[str]:
    found: list[str] = []
    at = 0
    while True:
        start = at
        while text[start : start + 1].isspace():
            start += 1
        tag = _tag(text, start, tags)
        end = text.find(f"</{tag}>", start) if tag else -1
        if end < 0:
            return found
        stop = end + len(f"</{tag}>")
        found.append(text[at:stop])
        at = stop


def _back(text: str, tags: Collection[str]) -> Iterator[str]:
    stop = len(text)
    while True:
        end = stop
        while text[end - 1 : end].isspace():
            end -= 1
        tag = next((t for t in tags if text.endswith(f"</{t}>", 0, end)), None)
        start = text.rfind(f"<{tag}", 0, end) if tag else -1
        if start < 0 or _tag(text, start, tags) != tag:
            return
        yield text[start:stop]
        stop = start


def _tag(text: str, at: int, tags: Collection[str]) -> str | None:
    """The tag of `tags` that opens at a place."""
    if text[at : at + 1] != "<":
        return None
    return next((t for t in tags if text.startswith(t, at + 1) and text[at + 1 + len(t) : at + 2 + len(t)] in (">", " ")), None)
