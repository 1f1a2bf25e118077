"""What a tool call runs, and whether that is a test, a build, a lint or something else."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from auditor.ledger import kinds
from auditor.ledger.facts import RunKind
from auditor.ledger.shell import Step, steps
from auditor.transcript import ToolCall

_KEYS = ("command", "cmd", "script", "commands", "keystrokes", "code", "input")
# Editors whose `command` argument names an operation, not a shell command.
EDITOR_COMMANDS = frozenset(("view", "create", "str_replace", "insert", "undo_edit", "delete", "rename"))
_NOT_SHELL = (
    "edit",
    "write",
    "read",
    "view",
    "create",
    "search",
    "grep",
    "glob",
    "patch",
    "todo",
    "think",
    "submit",
    "finish",
    "stdin",
    "browser",
    "fetch",
)
_SHELL = ("exec", "shell", "bash", "terminal", "run_", "command", "python", "console")
_PYTHON = ("python", "jupyter", "notebook", "interpreter", "run_code", "execute_code")
# Languages of a fenced block that a text-mode agent's harness runs.
COMMAND_FENCES = frozenset(("bash", "sh", "shell", "mswea_bash_command", "zsh"))
# Lines shorter than this that hold none of these words run nothing but `other`.
_SHORT = 400
_HINTS = ("test", "spec", "check", "jest", "mocha", "tox", "nox", "verify", "bats", "prove", "trial", "make", "build", "lint", "ruff", "mypy", "fmt", "black", "tsc", "gcc", "g++", "clang", "go ", "cargo", "mvn", "gradle", "compile", "flake8", "pyright", "isort", "prettier", "commit", "rubocop", "javac", "rustc", "nvcc", "ninja", "cc ", "ava", "karma", "cypress", "install", "package", "vet", "clippy")  # fmt: skip


def command_of(call: ToolCall) -> str | None:
    """The shell command that a call runs (code in another language as a here-document), None for calls that run nothing."""
    arguments = call.arguments
    for key in _KEYS:
        if key not in arguments:
            continue
        value = arguments[key]
        if isinstance(value, list):
            value = _of_list(value)
        if not isinstance(value, str) or not value or value in EDITOR_COMMANDS:
            continue
        name = call.name.lower()
        if key in ("code", "input") and any(word in name for word in _PYTHON):
            return f"python - <<CODE\n{value}\nCODE"
        if any(word in name for word in _NOT_SHELL) and not any(word in name for word in _SHELL):
            return None
        if key in ("code", "input") and not any(word in name for word in _SHELL):
            return None
        return value
    return None


def _of_list(value: Sequence[object]) -> str | None:
    if not value or not all(isinstance(part, str) for part in value):
        return None
    parts = [str(part) for part in value]
    if len(parts) >= 3 and parts[1].startswith("-") and "c" in parts[1]:
        return parts[2]
    return " ".join(parts) if len(parts[0].split()) == 1 else "\n".join(parts)


def kind_of(command: str) -> RunKind:
    """The most test-like kind among the simple commands of a shell line."""
    return told(command)[0]


def told(command: str) -> tuple[RunKind, bool]:
    """The kind of a line, and whether its exit code is that of the run which made it so (no pipe, `||` or `;` hides it)."""
    if len(command) > _SHORT:
        return _told(command)
    if not any(hint in command for hint in _HINTS):
        return "other", True
    return _told_cached(command)


@lru_cache(maxsize=4_096)
def _told_cached(command: str) -> tuple[RunKind, bool]:
    return _told(command)


def _told(command: str) -> tuple[RunKind, bool]:
    best: RunKind = "other"
    last = -1
    found = steps(command)
    for i, step in enumerate(found):
        kind = kinds.of_words(step.words)
        if kind != "other" and kinds.RANK[kind] >= kinds.RANK[best]:
            best, last = kind, i
    if best == "other":
        return best, True
    return best, not _masked(found[last:], pipefail="pipefail" in command)


def _masked(rest: list[Step], *, pipefail: bool) -> bool:
    """Whether the exit code of a line is not that of its step `rest[0]`."""
    for i, step in enumerate(rest):
        more = i + 1 < len(rest)
        if step.operator in ("|", "|&"):
            if not pipefail:
                return True
        elif step.operator == "||":
            return more and rest[i + 1].words[:1] != ["exit"]
        elif step.operator in (";", "\n", "&") and more and rest[i + 1].words[:1] not in (["done"], ["fi"], ["}"], ["exit"]):
            return True
    return False


def echoes_code(command: str) -> bool:
    """Whether a line prints the exit code of its run itself."""
    return "echo" in command and ("$?" in command or "PIPESTATUS" in command)
