"""Edits: the text that the model put into files and took out of them, as lenses on what it wrote.

Editors are known by their arguments (old and new text, or a path and a content), not by their tools' names.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import re2

from auditor.ledger import diffs
from auditor.ledger.commands import command_of
from auditor.ledger.facts import How
from auditor.transcript import ToolCall

_PATHS = (
    "file_path",
    "path",
    "filename",
    "file_name",
    "file",
    "target_file",
    "filepath",
    "absolute_path",
    "notebook_path",
    "relative_path",
)
_OLD = ("old_string", "old_str", "old_text", "old", "search", "old_content", "find", "target")
_NEW = ("new_string", "new_str", "new_text", "new", "replace", "new_content", "replacement", "new_source", "replace_with")
_WHOLE = ("content", "file_text", "contents", "text", "file_content", "body")
_WRITERS = ("write", "create", "save", "new_file", "insert", "append", "str_replace", "edit")
_HEREDOC = re2.compile(
    r"(?:(?:cat|tee)\b[^\n<]*?(?:>>?\s*|tee\s+(?:-a\s+)?)([^\s<>|;&\"']+|\"[^\"\n]+\"|'[^'\n]+')?[^\n<]*)?<<-?\s*[\"']?(\w+)[\"']?([^\n]*)\n"
)
_TARGET = re2.compile(r">>?\s*([^\s<>|;&\"']+|\"[^\"\n]+\"|'[^'\n]+')")
_ECHO = re2.compile(r"\b(?:echo|printf)\s+(?:-\w+\s+)*([^\n>|;]+?)\s*>>?\s*([^\s|;&]+)")
_SED = re2.compile(r"\bsed\s+(?:-\w+\s+)*-i\S*\s+(?:-\w\s+)*('[^'\n]*'|\"[^\"\n]*\")((?:\s+[^\s|;&<>]+)+)")
_REMOVE = re2.compile(r"(?:^|[;&|\n]\s*)(?:sudo\s+)?(?:git\s+)?(?:rm|unlink|shred)\s+((?:-\S+\s+)*)([^\n;&|]+)")
_WINDOW = re2.compile(r"(?m)^edit\s+(?:\d+:\d+|\S+)\n")
_FENCE = re2.compile(r"(?m)^[ \t]*```([\w+#.-]*)[^\n]*\n")
# Fenced blocks in these are no code that the model hands in.
_PROSE_FENCES = frozenset(
    (
        "bash",
        "sh",
        "shell",
        "console",
        "text",
        "txt",
        "output",
        "log",
        "json",
        "yaml",
        "yml",
        "toml",
        "csv",
        "markdown",
        "md",
        "mermaid",
        "zsh",
        "plaintext",
        "xml",
        "html",
    )
)
_FIRST_COMMENT = re2.compile(r"^\s*(?:#|//|--|/\*)\s*([\w./-]+\.\w{1,5})\s*(?:\*/)?\s*\n")


class Found(NamedTuple):
    """One edit before its path is judged; spans are in the text it was found in."""

    path: str | None
    how: How
    added: diffs.Spans
    removed: diffs.Spans
    created: bool = False


def of_call(call: ToolCall) -> Iterator[Found]:
    """The edits of one tool call; spans are in `call.text`."""
    at = len(call.name) + 1
    places: dict[str, tuple[int, str]] = {}
    for key, value in call.arguments.items():
        start = at + len(key) + 2
        shown = value if isinstance(value, str) else call_text(value)
        places[key] = (start, shown)
        at = start + len(shown) + 1
    for start, text in places.values():
        if diffs.looks_like_diff(text):
            found = list(of_diff(text, start))
            if found:
                yield from found
                return
    path = next((places[k][1] for k in _PATHS if k in places), None)
    old = next((places[k] for k in _OLD if k in places), None)
    new = next((places[k] for k in _NEW if k in places), None)
    if path is not None and new is not None:
        yield Found(path, "replace", [_span(new)], [_span(old)] if old else [])
        return
    if path is not None and isinstance(call.arguments.get("edits"), list):
        yield Found(path, "replace", [_span(places["edits"])], [])
        return
    whole = next((places[k] for k in _WHOLE if k in places), None)
    if (
        path is not None
        and whole is not None
        and any(word in call.name.lower() or word == call.arguments.get("command") for word in _WRITERS)
    ):
        yield Found(path, "create", [_span(whole)], [], created=True)
        return
    if path is not None and "delete" in call.name.lower():
        yield Found(path, "delete", [], [])
        return
    command = command_of(call)
    if command is None:
        return
    for start, text in places.values():
        if text and (text == command or command.find(text) >= 0):
            yield from of_shell(text, start)
            return


def call_text(value: object) -> str:
    """A value that is no string, as `ToolCall.text` writes it."""
    import orjson

    return orjson.dumps(value).decode()


def of_shell(command: str, base: int) -> Iterator[Found]:
    """The edits that a shell command makes; spans are moved by `base`."""
    if "<<" in command:
        yield from _heredocs(command, base)
    if command.startswith("edit ") or "\nedit " in command:
        for mark in _WINDOW.finditer(command):
            end = command.find("end_of_edit", mark.end())
            yield Found(None, "replace", [(base + mark.end(), base + (end if end >= 0 else len(command)))], [])
    if "sed " in command and "-i" in command:
        for mark in _SED.finditer(command):
            start, end = mark.span(1)
            added, removed = _sed(command, start + 1, end - 1)
            for path in mark.group(2).split():
                yield Found(path.strip("'\""), "replace", [_moved(s, base) for s in added], [_moved(s, base) for s in removed])
    if ">" in command and ("echo" in command or "printf" in command):
        for mark in _ECHO.finditer(command):
            yield Found(mark.group(2).strip("'\""), "create", [_moved(mark.span(1), base)], [], created=True)
    if "rm " in command or "unlink " in command or "shred " in command:
        for mark in _REMOVE.finditer(command):
            for path in mark.group(2).split():
                if not path.startswith(("-", ">", "2>", "<", "#", "--")):
                    yield Found(path.strip("'\""), "delete", [], [])


def _heredocs(command: str, base: int) -> Iterator[Found]:
    at = 0
    while (mark := _HEREDOC.search(command, at)) is not None:
        word, start = mark.group(2), mark.end()
        end = command.find(f"\n{word}", start - 1)
        stop = end + 1 if end >= 0 else len(command)
        target = mark.group(1)
        if target is None:
            line = command[command.rfind("\n", 0, mark.start()) + 1 : start]
            aim = _TARGET.search(line)
            target = aim.group(1) if aim else None
        yield Found(target.strip("'\"") if target else None, "create", [(base + start, base + stop)], [], target is not None)
        at = stop + len(word)
        if end < 0:
            return


def _sed(command: str, start: int, end: int) -> tuple[diffs.Spans, diffs.Spans]:
    script = command[start:end]
    if len(script) > 2 and script[0] == "s":
        cut = script.split(script[1])
        if len(cut) >= 4:
            old = start + 2
            new = old + len(cut[1]) + 1
            return [(new, new + len(cut[2]))], [(old, old + len(cut[1]))]
    return [(start, end)], []


def of_diff(text: str, base: int) -> Iterator[Found]:
    """The edits of the diffs in a text; spans are moved by `base`."""
    for file in diffs.parse(text):
        if file.added or file.removed or file.deleted:
            how: How = "delete" if file.deleted else "patch"
            yield Found(
                file.path, how, [_moved(s, base) for s in file.added], [_moved(s, base) for s in file.removed], file.created
            )


def of_prose(text: str) -> Iterator[Found]:
    """Diffs and code blocks that stand in what the model says."""
    if diffs.looks_like_diff(text):
        found = list(of_diff(text, 0))
        if found:
            yield from found
            return
    if "```" not in text:
        return
    marks = list(_FENCE.finditer(text))
    at = 0
    for mark in marks:
        if mark.start() < at:
            continue
        end = text.find("```", mark.end())
        stop = end if end >= 0 else len(text)
        at = stop + 3
        if mark.group(1).lower() not in _PROSE_FENCES:
            head = text[mark.end() : min(stop, mark.end() + 200)]
            named = _FIRST_COMMENT.search(head)
            yield Found(named.group(1) if named else None, "shown", [(mark.end(), stop)], [])


def _span(place: tuple[int, str]) -> tuple[int, int]:
    return place[0], place[0] + len(place[1])


def _moved(span: tuple[int, int], base: int) -> tuple[int, int]:
    return span[0] + base, span[1] + base
