"""Unified diffs and `*** Begin Patch` texts: per file the spans that were added and removed, prefixes left out."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

Spans = list[tuple[int, int]]

_HUNK = re.compile(r"@@ -\d{1,9}(?:,(\d{1,9}))? \+\d{1,9}(?:,(\d{1,9}))? @@")
_PATCH = ("*** Add File: ", "*** Update File: ", "*** Delete File: ")


@dataclass(slots=True)
class FileDiff:
    """One file of a diff; spans are [start, end) in the text that held it, each one line with its newline."""

    path: str | None = None
    created: bool = False
    deleted: bool = False
    moved: str | None = None
    """Where a patch moves the file to."""
    added: Spans = field(default_factory=list)
    removed: Spans = field(default_factory=list)


def looks_like_diff(text: str) -> bool:
    """Whether a text holds a diff: quick, and true only where `parse` may find one."""
    if "@@" in text and ("\n@@" in text or text.startswith("@@")):
        return True
    return "*** Begin Patch" in text or "diff --git " in text or ("\n+++ " in text and "--- " in text)


def parse(text: str, base: int = 0) -> Iterator[FileDiff]:
    """The files of all diffs in a text, with text around and between them passed over; spans are moved by `base`."""
    reader = _Reader()
    lines = text.split("\n")
    start, stop = base, base + len(text)
    for number, line in enumerate(lines):
        at = start
        start += len(line) + 1
        if reader.inside and reader.in_hunk(lines, number, at, min(start, stop)):
            continue
        done = reader.head(lines, number)
        if done is not None:
            yield done
    if reader.current is not None:
        yield reader.current


class _Reader:
    """Where a diff is being read: its file, whether inside a hunk, and the lines that the hunk still owes."""

    def __init__(self) -> None:
        self.current: FileDiff | None = None
        self.inside = self.counted = self.headed = False
        self.old = self.new = 0

    def in_hunk(self, lines: list[str], number: int, start: int, end: int) -> bool:
        """Take a line of a hunk; False where it belongs to none."""
        line = lines[number]
        current = self.current
        if current is None or line.startswith(("diff --git ", "*** ")):
            return False
        mark = line[:1]
        owed = self.counted and (self.old > 0 or self.new > 0)
        if mark in ("+", "-") and (owed or not _is_head(lines, number)):
            if self.counted and not owed and (line.rstrip() == "--" or (line[:2] == "- " and not lines[number - 1].strip())):
                self.inside = False  # a mail's signature, or a list behind the diff
            elif mark == "+":
                current.added.append((start + 1, end))
                self.new -= 1
            else:
                current.removed.append((start + 1, end))
                self.old -= 1
            return True
        if mark in (" ", "\t") or (not line.strip() and (not self.counted or owed)):
            self.old, self.new = self.old - 1, self.new - 1
            return True
        if mark != "\\":
            self.inside = False
        return mark == "\\"

    def head(self, lines: list[str], number: int) -> FileDiff | None:
        """Take a line outside hunks; the file that it ends."""
        line = lines[number]
        if line.startswith("@@"):
            self.current, self.inside = self.current or FileDiff(), True
            mark = _HUNK.match(line)
            self.counted = mark is not None
            if mark is not None:
                self.old, self.new = int(mark.group(1) or 1), int(mark.group(2) or 1)
        elif line.startswith("diff --git "):
            return self._next(FileDiff(_strip(line.rpartition(" b/")[2])))
        elif line.startswith("*** "):
            return self._patch(line)
        elif _is_head(lines, number):
            current = self.current
            fresh = current is None or self.headed or current.added or current.removed
            done = self._next(FileDiff()) if fresh else None
            self.headed = True
            if self.current is not None:
                self.current.created = self.current.created or line.startswith("--- /dev/null")
                if self.current.path is None and not self.current.created:
                    self.current.path = _strip(line[4:].split("\t")[0])
            return done
        elif self.current is not None:
            self._extended(self.current, line)
        return None

    def _next(self, file: FileDiff) -> FileDiff | None:
        done, self.current = self.current, file
        self.inside = self.headed = False
        return done

    def _patch(self, line: str) -> FileDiff | None:
        if line.startswith(_PATCH):
            verb, _, path = line[4:].partition(" File: ")
            done = self._next(FileDiff(path.strip(), created=verb == "Add", deleted=verb == "Delete"))
            self.inside, self.counted = verb != "Delete", False
            return done
        if line.startswith("*** Move to: ") and self.current is not None:
            self.current.moved = line[13:].strip()
        elif not line.startswith("*** End of File"):
            self.inside = False
        return None

    def _extended(self, current: FileDiff, line: str) -> None:
        """The lines of git between a file's name and its hunks."""
        if line.startswith("+++ ") and not current.added and not current.removed:
            path = line[4:].split("\t", maxsplit=1)[0].strip()
            current.deleted = current.deleted or path == "/dev/null"
            if path != "/dev/null":
                current.path = _strip(path)
        elif line.startswith("new file mode"):
            current.created = True
        elif line.startswith("deleted file mode"):
            current.deleted = True
        elif line.startswith("rename to "):
            current.moved = line[10:].strip()


def _is_head(lines: list[str], number: int) -> bool:
    return lines[number].startswith("--- ") and number + 1 < len(lines) and lines[number + 1].startswith("+++ ")


def bare(text: str, base: int) -> FileDiff:
    """A diff without any head, only lines with + and -."""
    found = FileDiff()
    start = base
    for line in text.split("\n"):
        at, start = start, start + len(line) + 1
        end = min(start, base + len(text))
        if line[:1] == "+":
            found.added.append((at + 1, end))
        elif line[:1] == "-":
            found.removed.append((at + 1, end))
    return found


def _strip(path: str) -> str:
    path = path.strip().strip('"')
    return path[2:] if path.startswith(("a/", "b/")) else path
