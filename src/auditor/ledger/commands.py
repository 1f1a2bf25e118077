"""What a tool call runs: the shell command in it, and whether that is a test, a build, a lint or something else."""

from __future__ import annotations

from functools import lru_cache

import re2

from auditor.ledger.facts import RunKind
from auditor.transcript import ToolCall

_KEYS = ("command", "cmd", "script", "commands", "code", "input")
# Editors whose `command` argument names an operation, not a shell command.
_EDITOR_COMMANDS = frozenset(("view", "create", "str_replace", "insert", "undo_edit", "delete", "rename"))
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
)
_HINTS = ("test", "spec", "check", "jest", "mocha", "tox", "nox", "verify", "bats")

_PREFIX = re2.compile(
    r"^(?:\(|\{|\s|(?:sudo|time|nice|nohup|exec|command|env|xvfb-run|poetry run|pipenv run|uv run(?: --\S+)*|pdm run|hatch run|rye run"
    r"|bundle exec|conda run(?: -n \S+)?|coverage run(?: -\S+)*(?: -m)?|docker(?:-compose| compose)? (?:exec|run)(?: -\S+)* \S+"
    r"|timeout(?: -\S+(?: \S+)?)* [\d.]+[smh]?|[A-Za-z_]\w*=(?:\"[^\"]*\"|'[^']*'|\S*))\s)+"
)
_TEST = re2.compile(
    r"^(?:\S*/)?(?:pytest|py\.test|nosetests?|tox|nox|jest|vitest|mocha|ava|rspec|ctest|phpunit|bats|karma|cypress run|playwright test)(?:\s|$)"
    r"|^(?:\S*/)?python[\d.]*\s+(?:-\S+\s+)*(?:-m\s+(?:pytest|unittest|nose2?|tox|doctest|django test)\b|\S*(?:/|\b)(?:test_\w+|\w+_tests?|tests?|run_?tests?|check_\w+|verify\w*)\.py\b|\S*manage\.py\s+test\b|\S*setup\.py\s+test\b)"
    r"|^(?:npx|yarn|pnpm|bun|npm)\s+(?:run\s+|exec\s+|-\S+\s+)*(?:test\S*|t|jest|vitest|mocha|ava)(?:\s|$)"
    r"|^go\s+test\b|^cargo\s+(?:\+\S+\s+)?(?:nextest\s+run|test|t)\b|^(?:\S*/)?(?:mvnw?|mvnd)\s.*\b(?:test|verify)\b"
    r"|^(?:\S*/)?gradlew?\s.*\b(?:test|check)\w*\b|^g?make\s.*\b(?:test|tests|check|unittest)\b|^node\s.*--test\b|^deno\s+test\b"
    r"|^rake\s+(?:test|spec)\b|^dotnet\s+test\b|^swift\s+test\b|^mix\s+test\b|^(?:bash\s+|sh\s+)?(?:\S*/)?(?:run_?)?(?:tests?|checks?|verify)\w*\.sh\b|^\./check\w*\b"
)
_NO_RUN = re2.compile(r"--collect-only|--co\b|--version|--help|\s-h\b|--list-?tests|--list\b|--fixtures|--markers|--no-run\b")
_BUILD = re2.compile(
    r"^(?:g?make|cmake|ninja|gcc|g\+\+|clang\S*|cc|javac|tsc|npx tsc|rustc|nvcc|bazel build|docker build|cargo (?:build|check|b)|go (?:build|vet|install)"
    r"|(?:mvnw?|\./mvnw) .*(?:compile|package|install)|(?:\./)?gradlew? .*(?:build|assemble)|(?:npm|yarn|pnpm|bun) (?:run )?build|python[\d.]* (?:setup\.py build|-m build|-m py_compile|-m compileall))\b"
)
_LINT = re2.compile(
    r"^(?:npx\s+|python[\d.]*\s+-m\s+)?(?:ruff|mypy|flake8|pylint|black|isort|eslint|prettier|pyright|stylelint|shellcheck|golangci-lint|rubocop|cargo (?:clippy|fmt)|gofmt|go fmt|pre-commit|(?:npm|yarn|pnpm) (?:run )?lint)\b"
)
_HEREDOC = re2.compile(r"<<-?\s*[\"']?(\w+)[\"']?")
_PREFIX_WORDS = frozenset(
    "sudo time nice nohup exec command env xvfb-run poetry pipenv uv pdm hatch rye bundle conda coverage docker docker-compose timeout ( {".split()
)
_BUILD_WORDS = frozenset(
    "make gmake cmake ninja gcc g++ clang clang++ cc javac tsc npx rustc nvcc bazel docker cargo go mvn mvnw gradle gradlew npm yarn pnpm bun python python3".split()
)
_LINT_WORDS = frozenset(
    "ruff mypy flake8 pylint black isort eslint prettier pyright stylelint shellcheck golangci-lint rubocop cargo gofmt go pre-commit npm npx yarn pnpm python python3".split()
)
_MAX_COMMAND = 20_000


def command_of(call: ToolCall) -> str | None:
    """The shell command (or code) that a call runs, None for calls that run nothing."""
    name = call.name.lower()
    for key in _KEYS:
        value = call.arguments.get(key)
        if isinstance(value, list) and value and all(isinstance(part, str) for part in value):
            parts = [str(part) for part in value]
            value = parts[-1] if len(parts) >= 3 and parts[1].startswith("-") and "c" in parts[1] else " ".join(parts)
        if not isinstance(value, str) or not value or value in _EDITOR_COMMANDS:
            continue
        if key in ("code", "input") and ("python" in name or "ipython" in name):
            return f"python - <<CODE\n{value}\nCODE"
        if any(word in name for word in _NOT_SHELL) and "exec" not in name and "shell" not in name:
            return None
        return value if key != "code" else None
    return None


def segments(command: str) -> list[str]:
    """The simple commands of a shell line, without here-document bodies and without prefixes such as `timeout 60`."""
    if "<<" in command:
        command = _without_bodies(command)
    text = command[:_MAX_COMMAND].replace("&&", "\n").replace("|", "\n").replace(";", "\n")
    found = []
    for part in text.split("\n"):
        part = part.strip()
        if not part or part[0] == "#":
            continue
        word = part.split(None, 1)[0]
        if word in _PREFIX_WORDS or "=" in word or part[0] in "({":
            part = _PREFIX.sub("", part + " ").strip()
            word = part.split(None, 1)[0] if part else ""
        if word.endswith("sh") and " -" in part and (word in ("bash", "sh", "zsh")) and "c " in part:
            part = part.partition("c ")[2].strip("\"' ")
        if part:
            found.append(part)
    return found


def _without_bodies(command: str) -> str:
    kept: list[str] = []
    ends: str | None = None
    for line in command.split("\n"):
        if ends is not None:
            if line.strip() == ends:
                ends = None
            continue
        kept.append(line)
        mark = _HEREDOC.search(line)
        if mark:
            ends = mark.group(1)
    return "\n".join(kept)


@lru_cache(maxsize=4096)
def kind_of(command: str) -> RunKind:
    """The most test-like kind among the simple commands of a shell line."""
    parts = segments(command)
    if any(hint in command for hint in _HINTS):
        for part in parts:
            if _TEST.search(part) and not _NO_RUN.search(part):
                return "test"
    words = [part.split(None, 1)[0].rpartition("/")[2] for part in parts]
    for word, part in zip(words, parts, strict=True):
        if word in _BUILD_WORDS and _BUILD.search(part):
            return "build"
    for word, part in zip(words, parts, strict=True):
        if word in _LINT_WORDS and _LINT.search(part):
            return "lint"
    return "other"
