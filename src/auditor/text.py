"""Hostile text: folded for matching with offsets kept, and made visible for showing.

`Lens` is a text together with the way back: every position in it names a position in the text it was
made from. Patterns run on lenses; evidence is always reported in the original.
"""

from __future__ import annotations

import unicodedata
from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass

# One character for one character, so that offsets stay: quotes, dashes, spaces, full-width ASCII.
_FOLD = {
    **dict.fromkeys(map(ord, "‘’‚‛′ʼ`´"), "'"),
    **dict.fromkeys(map(ord, "“”„‟″«»"), '"'),
    **dict.fromkeys(map(ord, "‐‑‒–—―−"), "-"),
    **dict.fromkeys(map(ord, "\u00a0\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u202f\u205f\u3000"), " "),
    **{code: chr(code - 0xFEE0) for code in range(0xFF01, 0xFF5F)},
}
del _FOLD[ord("`")]  # a code fence, not a quote
_FOLD_CHARS = {chr(code): char for code, char in _FOLD.items()}
_NARROW = tuple(char for char in _FOLD_CHARS if ord(char) < 0xFF01)
# UTF-8 beginnings of all characters above: text without them is as it is (box drawing, emoji, other scripts).
_LEADS = (b"\xc2", b"\xca\xbc", b"\xe2\x80", b"\xe2\x81", b"\xe2\x88\x92", b"\xe3\x80\x80", b"\xef\xbb", b"\xef\xbc", b"\xef\xbd")
_INVISIBLE = "\u00ad\u200b\u200c\u200d\u2060\ufeff\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"


@dataclass(frozen=True, slots=True)
class Lens:
    """`text`, made of segments: segment i starts at `starts[i]` here and at `origins[i]` in the original."""

    text: str
    starts: tuple[int, ...] = (0,)
    origins: tuple[int, ...] = (0,)

    def origin(self, start: int, end: int) -> tuple[int, int]:
        """The span [start, end) of this text as a span of the original (gaps inside it are included)."""
        first = bisect_right(self.starts, start) - 1
        if end <= start:
            here = self.origins[first] + start - self.starts[first]
            return here, here
        last = bisect_right(self.starts, end - 1) - 1
        return self.origins[first] + start - self.starts[first], self.origins[last] + end - self.starts[last]


def pieced(text: str, spans: Iterable[tuple[int, int]]) -> Lens:
    """A lens on the given [start, end) spans of `text`, joined without anything between them."""
    parts: list[str] = []
    starts: list[int] = []
    origins: list[int] = []
    at = 0
    for start, end in spans:
        if end <= start:
            continue
        parts.append(text[start:end])
        starts.append(at)
        origins.append(start)
        at += end - start
    if not parts:
        return Lens("")
    return Lens("".join(parts), tuple(starts), tuple(origins))


def composed(outer: Lens, inner: Lens) -> Lens:
    """`inner` was made from `outer.text`: the lens from `inner` to the original of `outer`."""
    if outer.starts == (0,) and len(inner.starts) == 1:
        return Lens(inner.text, (0,), (inner.origins[0] + outer.origins[0],))
    cuts: list[tuple[int, int]] = []
    for i, (start, origin) in enumerate(zip(inner.starts, inner.origins, strict=True)):
        end = inner.starts[i + 1] if i + 1 < len(inner.starts) else len(inner.text)
        stop = origin + end - start
        cuts.append((start, outer.origin(origin, origin)[0]))
        low, high = bisect_right(outer.starts, origin), bisect_right(outer.starts, stop - 1)
        cuts.extend((start + outer.starts[k] - origin, outer.origins[k]) for k in range(low, high))
    return Lens(inner.text, tuple(a for a, _ in cuts), tuple(b for _, b in cuts))


def fold(text: str) -> Lens:
    """`text` with typographic quotes, dashes and spaces as ASCII and invisible characters gone."""
    if text.isascii():
        return Lens(text)
    raw = text.encode("utf-8", "surrogatepass")
    if not any(lead in raw for lead in _LEADS):
        return Lens(text)
    if b"\xef\xbc" in raw or b"\xef\xbd" in raw:
        folded = text.translate(_FOLD)
    else:
        folded = text
        for char in _NARROW:
            if char in folded:
                folded = folded.replace(char, _FOLD_CHARS[char])
    if not any(mark in folded for mark in _INVISIBLE):
        return Lens(folded)
    spans: list[tuple[int, int]] = []
    start = 0
    for i, char in enumerate(folded):
        if char in _INVISIBLE:
            spans.append((start, i))
            start = i + 1
    spans.append((start, len(folded)))
    return pieced(folded, spans)


def visible(text: str, *, newlines: bool = True) -> str:
    """`text` with control, format and bidirectional characters spelled out, safe for a terminal or a prompt."""
    if text.isascii() and text.isprintable():
        return text
    keep = "\n\t \u00a0\u3000" if newlines else " \u00a0\u3000"
    spelled = {ord(char): _spelled(char) for char in set(text) if char not in keep and unicodedata.category(char)[0] in "CZ"}
    return text.translate(spelled) if spelled else text


def _spelled(char: str) -> str:
    return f"\\x{ord(char):02x}" if ord(char) < 0x100 else f"\\u{ord(char):04x}"


def excerpt(text: str, limit: int = 200) -> str:
    """One visible line of at most `limit` characters, cut in the middle with a mark that says how much."""
    line = visible(" ".join(text.split()), newlines=False)
    if len(line) <= limit:
        return line
    half = max(1, (limit - 12) // 2)
    return f"{line[:half]} […{len(line) - 2 * half}…] {line[-half:]}"
