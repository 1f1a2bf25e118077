"""Edits that stand in what the model says or hands in: diffs, and fenced blocks of code that it shows."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from auditor.ledger import diffs
from auditor.ledger.commands import COMMAND_FENCES
from auditor.ledger.found import Found, of_diff

# Fenced blocks in these are no code that the model hands in.
_NO_CODE = COMMAND_FENCES | frozenset(
    "console text txt output log json jsonl yaml yml toml csv markdown md mermaid plaintext plain xml html shell-session shellsession powershell ps1 cmd bat ini env traceback stdout stderr terminal none".split()
)
_DIFFS = frozenset(("diff", "patch", "udiff"))
# An unnamed block is code only where it has the look of it.
_CODE_WORDS = (
    "def ",
    " = ",
    "import ",
    "return",
    "class ",
    "function ",
    "const ",
    "#include",
    "func ",
    "=> ",
    "let ",
    "fn ",
    "public ",
    "assert",
    "lambda",
    "struct ",
)
_PATH = re.compile(r"[\w./@+-]{0,200}[\w-]\.[A-Za-z]\w{0,9}")
_NAMES = re.compile(
    r"(?:#|//|--|/\*|<!--|;|%)[ \t]*(?:[Ff]ile(?:name)?:?[ \t]+)?([\w./@+-]{1,200}\.[A-Za-z]\w{0,9})[ \t]*(?:\*/|-->|[(:—-][^\n]{0,60})?[ \t\r]*$",
    re.MULTILINE,
)


class Block(NamedTuple):
    """A fenced block: its language (lower case), the rest of its first line, its body [start, end), where its fence begins."""

    language: str
    info: str
    start: int
    end: int
    fence: int


def blocks(text: str) -> Iterator[Block]:
    """The fenced blocks of a text, in order; one that never closes reaches to the end."""
    at = 0
    while (fence := text.find("```", at)) >= 0:
        line = text.rfind("\n", 0, fence) + 1
        stop = text.find("\n", fence)
        if stop < 0:
            return
        ticks = 3
        while text[fence + ticks : fence + ticks + 1] == "`":
            ticks += 1
        info = text[fence + ticks : min(stop, fence + ticks + 300)].strip()
        if text[line : min(fence, line + 20)].strip(" \t>-*0123456789.") or "`" in info:
            at = fence + ticks  # in the middle of a line: no fence
            continue
        end = _closing(text, stop, "`" * ticks)
        language, _, rest = info.partition(" ")
        language, colon, path = language.partition(":")
        yield Block(language.strip("{}.").lower(), path if colon else rest, stop + 1, max(end, stop + 1), line)
        close = text.find("\n", end)
        if end >= len(text) or close < 0:
            return
        at = close


def _closing(text: str, at: int, fence: str) -> int:
    """Where the line with the closing fence begins."""
    while (at := text.find("\n", at)) >= 0:
        found = text.find(fence, at)
        if found < 0:
            return len(text)
        line = text.rfind("\n", 0, found) + 1
        if (
            not text[line : min(found, line + 40)].strip()
            and not text[found + len(fence) : found + len(fence) + 20].split("\n", 1)[0].strip()
        ):
            return line
        at = found
    return len(text)


def of_prose(text: str) -> Iterator[Found]:
    """The diffs and code blocks of a text, in order; spans are in the text."""
    before = 0
    if "```" in text:
        for block in blocks(text):
            yield from _raw(text, before, block.fence)
            yield from _of_block(text, block)
            before = block.end
    yield from _raw(text, before, len(text))


def _raw(text: str, start: int, end: int) -> Iterator[Found]:
    part = text if end - start == len(text) else text[start:end]
    if diffs.looks_like_diff(part):
        yield from of_diff(part, start)


def _of_block(text: str, block: Block) -> Iterator[Found]:
    body = text[block.start : block.end]
    if diffs.looks_like_diff(body):
        found = list(of_diff(body, block.start))
        if found:
            path = found[0].path or _named(text, block, body)
            yield found[0]._replace(path=path)
            yield from found[1:]
            return
    if block.language in _DIFFS:
        bare = diffs.bare(body, block.start)
        if bare.added or bare.removed:
            yield Found(_named(text, block, body), "patch", bare.added, bare.removed)
        return
    if block.language in _NO_CODE or not body.strip():
        return
    if not block.language and not any(word in body for word in _CODE_WORDS):
        return
    yield Found(_named(text, block, body), "shown", [(block.start, block.end)])


def _named(text: str, block: Block, body: str) -> str | None:
    """The path of a block: in its first line, its first comment, or the line just before it."""
    for part in block.info.replace("=", " ").replace('"', " ").split():
        if _PATH.fullmatch(part):
            return part
    comment = _NAMES.match(body.lstrip()[:300])
    if comment:
        return comment.group(1)
    head = text[max(0, block.fence - 300) : block.fence].rstrip()
    line = head.rpartition("\n")[2]
    if not line or len(line) > 160:
        return None
    ticked = [part for part in line.split("`")[1::2] if _PATH.fullmatch(part)]
    if ticked:
        return ticked[-1] if len(set(ticked)) == 1 else None
    plain = [word for word in line.strip("#*>:-` \t").split() if _PATH.fullmatch(word.strip("*:`()"))]
    return (
        plain[0].strip("*:`()")
        if len(plain) == 1
        and (len(line.split()) <= 4 or line.endswith(":"))
        and plain[0].rpartition(".")[2].strip("*:`()") not in ("e", "g", "i")
        else None
    )
