"""Edits of a tool call: the text that the model put into files and took out of them.

Editors are known by their arguments (old and new text, or a path and a content), not by their tools' names.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from auditor.ledger import diffs
from auditor.ledger.commands import EDITOR_COMMANDS, command_of
from auditor.ledger.found import Found, of_diff
from auditor.ledger.places import Place, place_of, places
from auditor.ledger.writes import of_shell
from auditor.transcript import ToolCall

_PATHS = (
    "file_path",
    "path",
    "filename",
    "file_name",
    "file",
    "target_file",
    "filepath",
    "filePath",
    "absolute_path",
    "AbsolutePath",
    "TargetFile",
    "notebook_path",
    "relative_path",
    "relative_workspace_path",
    "uri",
)
_OLD = (
    "old_string",
    "old_str",
    "old_text",
    "oldString",
    "oldText",
    "old",
    "search",
    "old_content",
    "find",
    "target",
    "old_code",
    "search_text",
    "original",
    "TargetContent",
)
_NEW = (
    "new_string",
    "new_str",
    "new_text",
    "newString",
    "newText",
    "new",
    "replace",
    "new_content",
    "replacement",
    "new_source",
    "replace_with",
    "new_code",
    "replace_text",
    "updated",
    "insert_text",
    "code_edit",
    "ReplacementContent",
)
_WHOLE = ("content", "file_text", "contents", "text", "file_content", "body", "data", "code", "CodeContent")
_LISTS = ("edits", "changes", "replacements", "operations", "ReplacementChunks", "updates")
_WRITERS = (
    "write",
    "create",
    "save",
    "new_file",
    "insert",
    "append",
    "str_replace",
    "edit",
    "replace",
    "update",
    "put",
    "notebook",
)
_READERS = (
    "read",
    "view",
    "search",
    "grep",
    "list",
    "find",
    "glob",
    "open",
    "get",
    "fetch",
    "browser",
    "download",
    "send",
    "message",
    "todo",
    "think",
    "task",
    "plan",
    "memory",
    "comment",
)
# How `command_of` writes code that is no shell.
_HEAD = "python - <<CODE\n"
_KEYS = frozenset((*_PATHS, *_OLD, *_NEW, *_WHOLE, *_LISTS))
_SHELL_KEYS = frozenset(("command", "cmd", "script", "commands", "keystrokes", "code", "input"))


def of_call(call: ToolCall) -> Iterator[Found]:
    """The edits of one tool call; spans are in `call.text`, or in the lens that the edit carries."""
    arguments = call.arguments
    keys = arguments.keys()
    editor = not _KEYS.isdisjoint(keys)
    if editor or _SHELL_KEYS.isdisjoint(keys):
        name = call.name.lower()
        path = next((value for key in _PATHS if isinstance(value := arguments.get(key), str)), None)
        found = list(_by_editor(call, name, path)) if editor else []
        if not found and (path is None or "patch" in name or "diff" in name):
            found = list(_by_diff(call))
        if found:
            yield from found
            return
    if _SHELL_KEYS.isdisjoint(keys):
        return
    command = command_of(call)
    if command is None:
        if not editor:
            yield from _by_diff(call)
        return
    for key in ("command", "cmd", "script", "commands", "keystrokes", "code", "input"):
        if key in arguments:
            yield from _by_shell(call, key, arguments[key])
            return


def _by_shell(call: ToolCall, key: str, value: Any) -> Iterator[Found]:
    if isinstance(value, str):
        if value in EDITOR_COMMANDS:
            return
        base = place_of(call, key)
        if key in ("code", "input") and "python" in call.name.lower():
            yield from of_shell(f"{_HEAD}{value}\nCODE", base - len(_HEAD))
        else:
            yield from of_shell(value, base)
        return
    if not isinstance(value, list):
        return
    parts = list(places(call, key))
    if len(parts) >= 3 and parts[1].text.startswith("-"):
        yield from of_shell(parts[2].text, 0, parts[2].lens())
    elif len(parts) == 2 and "patch" in parts[0].text:
        yield from of_diff(parts[1].text, 0, parts[1].lens())
    else:
        for part in parts if any(" " in p.text for p in parts) else ():
            yield from of_shell(part.text, 0, part.lens())


def _by_editor(call: ToolCall, name: str, path: str | None) -> Iterator[Found]:
    arguments = call.arguments
    command = arguments.get("command")
    if command == "view" or (path is not None and path.endswith((".patch", ".diff")) and _diff_inside(arguments)):
        return
    new = next((key for key in _NEW if isinstance(arguments.get(key), str)), None)
    old = next((key for key in _OLD if isinstance(arguments.get(key), str)), None)
    if command == "create":
        new = old = None
    if (
        new is not None
        and (path is not None or old is not None)
        and (old is not None or not any(word in name for word in _READERS))
    ):
        created = path is not None and old is not None and not arguments[old]
        yield Found(
            path,
            "create" if created else "replace",
            _whole(call, new),
            _whole(call, old) if old else [],
            created,
            opened=path is None,
        )
        return
    for key in _LISTS:
        if isinstance(arguments.get(key), list):
            yield from _by_list(call, key, path)
            return
    whole = next((key for key in _WHOLE if isinstance(arguments.get(key), str)), None)
    writes = any(word in name for word in _WRITERS) or command in ("create", "insert")
    if whole is not None and writes and (path is not None or name == "insert"):
        yield Found(
            path,
            "create" if path is not None and command != "insert" else "replace",
            _whole(call, whole),
            [],
            path is not None,
            opened=path is None,
        )
    elif path is not None and whole is None and ("delete" in name or "remove" in name or command == "delete"):
        yield Found(path, "delete")
    elif path is not None and whole is None and (name == "create" or name.startswith(("create_file", "new_file"))):
        yield Found(path, "create", created=True, opened=name == "create")


def _by_list(call: ToolCall, key: str, path: str | None) -> Iterator[Found]:
    """One edit for each pair of old and new text in a list of edits."""
    groups: dict[str, dict[str, Place]] = {}
    for place in places(call, key):
        group, _, name = place.key.rpartition(".")
        groups.setdefault(group, {})[name] = place
    for pair in groups.values():
        new = next((pair[k] for k in (*_NEW, *_WHOLE) if k in pair), None)
        old = next((pair[k] for k in _OLD if k in pair), None)
        own = next((pair[k].text for k in _PATHS if k in pair), path)
        if new is None or own is None:
            continue
        created = old is not None and not old.text and len(groups) == 1
        # Both texts of a pair are cut from one lens: the new one, then the old one.
        source, split = new.joined(old)
        size = len(source.text)
        yield Found(
            own, "create" if created else "replace", [(0, split)], [(split, size)] if size > split else [], created, source
        )


def _by_diff(call: ToolCall) -> Iterator[Found]:
    for key, value in call.arguments.items():
        if isinstance(value, str):
            if len(value) > 20 and diffs.looks_like_diff(value):
                yield from of_diff(value, place_of(call, key))
        elif isinstance(value, (list, dict)):
            for place in places(call, key):
                if len(place.text) > 20 and diffs.looks_like_diff(place.text):
                    yield from of_diff(place.text, 0, place.lens())


def _diff_inside(arguments: dict[str, Any]) -> bool:
    return any(isinstance(arguments.get(key), str) and diffs.looks_like_diff(arguments[key]) for key in _WHOLE)


def _whole(call: ToolCall, key: str) -> diffs.Spans:
    start = place_of(call, key)
    return [(start, start + len(str(call.arguments[key])))]
