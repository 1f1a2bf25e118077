"""Unified diffs and `*** Begin Patch` texts: per file the spans that were added and removed, prefixes left out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

Spans = list[tuple[int, int]]


@dataclass(slots=True)
class FileDiff:
    """One file of a diff; spans are [start, end) in the text that held it, each one line with its newline."""

    path: str | None = None
    created: bool = False
    deleted: bool = False
    added: Spans = field(default_factory=list)
    removed: Spans = field(default_factory=list)


def looks_like_diff(text: str) -> bool:
    """Whether a text holds a diff: quick, and true only where `parse` may find one."""
    return (
        "\n@@" in text
        or text.startswith("@@")
        or "diff --git " in text
        or "*** Begin Patch" in text
        or ("--- " in text and "\n+++ " in text)
    )


def parse(text: str) -> Iterator[FileDiff]:
    """The files of all diffs in a text, with text around and between them passed over."""
    current: FileDiff | None = None
    inside = False
    at = 0
    lines = text.split("\n")
    for number, line in enumerate(lines):
        start, end = at, at + len(line)
        at = end + 1
        if line.startswith("diff --git "):
            if current:
                yield current
            current, inside = FileDiff(_strip(line.rpartition(" b/")[2])), False
        elif line.startswith(("*** Add File: ", "*** Update File: ", "*** Delete File: ")):
            if current:
                yield current
            verb, _, path = line.removeprefix("*** ").partition(" File: ")
            current, inside = FileDiff(path.strip(), created=verb == "Add", deleted=verb == "Delete"), True
        elif line.startswith("*** "):
            inside = inside and line.startswith("*** Move")
        elif line.startswith("--- ") and number + 1 < len(lines) and lines[number + 1].startswith("+++ "):
            if current is None or current.added or current.removed:
                if current:
                    yield current
                current = FileDiff()
            current.created = current.created or line.startswith("--- /dev/null")
            inside = False
        elif line.startswith("+++ ") and current is not None and not inside:
            path = line[4:].split("\t")[0].strip()
            current.deleted = current.deleted or path == "/dev/null"
            if path != "/dev/null":
                current.path = _strip(path)
        elif line.startswith("@@"):
            current, inside = current or FileDiff(), True
        elif line.startswith("new file mode") and current:
            current.created = True
        elif line.startswith("deleted file mode") and current:
            current.deleted = True
        elif inside and current:
            if line.startswith("+"):
                current.added.append((start + 1, min(end + 1, len(text))))
            elif line.startswith("-"):
                current.removed.append((start + 1, min(end + 1, len(text))))
            elif line.startswith("```") or (line and line[0] not in " \\\r" and not line.startswith("***")):
                inside = False
    if current:
        yield current


def _strip(path: str) -> str:
    return path.removeprefix("a/").removeprefix("b/").strip().strip('"')
