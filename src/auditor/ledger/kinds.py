"""Whether one simple command tests, builds or lints."""

from __future__ import annotations

import re

from auditor.ledger.facts import RunKind
from auditor.ledger.tools import BUILDERS, LINTERS, TESTERS, TOOLS, of_package

RANK: dict[RunKind, int] = {"other": 0, "lint": 1, "build": 2, "test": 3}

_NO_RUN = frozenset(
    "--collect-only --co --version --help -h --list --list-tests --listTests --fixtures --markers --no-run --setup-plan --show-only -N --listenvs --list-sessions --print-config --init".split()
)
_TEST_SCRIPT = re.compile(
    r"(?:test_\w[\w-]*|[\w-]+[_.-](?:test|tests|spec)|tests?|run[_-]?tests?\w*|runtests|check|checks|(?:run_?)?check_?\w*|verify\w*|all_?tests|smoke_?test\w*|selftest\w*)\.(?:py|js|mjs|cjs|ts|tsx|rb|pl|php|sh|bash|lua|jl|R|m?exs)\Z"
)
_TEST_PROGRAM = re.compile(
    r"(?:run[_-]?)?(?:tests?|checks?|verify|runtests)(?:[_-]\w+)*(?:\.\w{1,4})?\Z|\w+[_-]tests?\Z|test_\w+\Z"
)
_NOT_SCRIPTS = frozenset("__init__.py setup.py conftest.py manage.py".split())
_PYTHON = re.compile(r"(?:python|pypy|python3?)[\d.]*\Z|py\Z|ipython3?\Z|coverage\Z")
_NODE = frozenset(
    "node nodejs ts-node tsx deno bun ruby php perl bash sh zsh dash lua julia Rscript elixir babel-node source .".split()
)
_PYTHON_TAKES = frozenset(("-W", "-X", "--check-hash-based-pycs"))
_MODULES: dict[str, RunKind] = {
    **dict.fromkeys("pytest unittest nose nose2 tox nox doctest test django trial twisted.trial xdoctest behave green stestr".split(), "test"),
    **dict.fromkeys("build py_compile compileall".split(), "build"),
    **dict.fromkeys("ruff mypy flake8 pylint black isort pyright bandit pycodestyle pydocstyle yapf pyflakes".split(), "lint"),
}  # fmt: skip


def of_words(words: list[str]) -> RunKind:
    """The kind of a command, given behind its prefixes (`shell.bare`)."""
    if not words:
        return "other"
    program = words[0]
    name = program.rpartition("/")[2].removesuffix(".cmd").removesuffix(".exe")
    if name in TESTERS:
        kind: RunKind = "test"
    elif name in BUILDERS:
        kind = "test" if name == "ninja" and "test" in words else "build"
    elif name in LINTERS:
        kind = "lint"
    elif name in TOOLS:
        kind = TOOLS[name](words)
    elif _PYTHON.match(name):
        kind = _python(words)
    elif name in _NODE:
        kind = _interpreter(words)
    elif ("/" in program and (_TEST_PROGRAM.match(name) or _script([program]) == "test")) or (
        "." in name and _TEST_SCRIPT.match(name)
    ):
        kind = "test"
    else:
        return "other"
    if kind == "test" and not _NO_RUN.isdisjoint(words[1:]):
        return "build" if "--no-run" in words else "other"
    if kind == "test" and name in ("pytest", "py.test") and "-V" in words:
        return "other"
    return "other" if kind != "test" and len(words) == 2 and words[1] in ("--version", "--help", "-V", "-v", "-h") else kind


def _python(words: list[str]) -> RunKind:
    at = 1
    if words[0].rpartition("/")[2] == "coverage":
        if words[1:2] != ["run"]:
            return "other"
        at = 2
    while at < len(words) and words[at].startswith("-"):
        word = words[at]
        if word == "-m" or (word.startswith("-") and not word.startswith("--") and word.endswith("m") and len(word) <= 4):
            return _module(words[at + 1 :])
        if word == "-c":
            code = words[at + 1] if at + 1 < len(words) else ""
            return "test" if "pytest.main" in code or "unittest.main" in code else "other"
        if word == "-":
            return "other"
        at += 2 if word in _PYTHON_TAKES else 1
    return _script(words[at:])


def _module(words: list[str]) -> RunKind:
    if not words:
        return "other"
    if words[0] == "coverage" and "run" in words:
        return _python(["coverage", "run", *words[words.index("run") + 1 :]])
    if words[0] == "django":
        return "test" if "test" in words[1:] else "other"
    kind = _MODULES.get(words[0])
    if kind is not None:
        return kind
    last = words[0].rpartition(".")[2]
    return (
        "test"
        if last.startswith("test_") or last.endswith("_test") or words[0].startswith("tests.") or words[0] == "tests"
        else "other"
    )


def _script(words: list[str]) -> RunKind:
    """A script that an interpreter runs: a test by its name, or since it lies among the tests."""
    if not words:
        return "other"
    path = words[0]
    name = path.rpartition("/")[2]
    if name in ("manage.py", "setup.py"):
        return (
            "test"
            if "test" in words[1:3]
            else "build"
            if name == "setup.py" and words[1:2] and words[1].startswith("build")
            else "other"
        )
    if name in TESTERS:
        return "test"
    if name in _NOT_SCRIPTS:
        return "other"
    if _TEST_SCRIPT.match(name) or path.endswith("bin/test"):
        return "test"
    return (
        "test"
        if path.startswith(("tests/", "test/", "./tests/", "./test/")) or "/tests/" in path or "/test/" in path
        else "other"
    )


def _interpreter(words: list[str]) -> RunKind:
    if any(word == "--test" or word.startswith("--test=") for word in words[1:]) or words[1:2] == ["test"]:
        return "test"
    name = words[0].rpartition("/")[2]
    if name == "bun" and words[1:2] == ["run"]:
        return of_package(words)
    if name == "bun" and words[1:2] == ["build"]:
        return "build"
    if name == "deno" and words[1:2] and words[1] in ("lint", "fmt", "check"):
        return "lint"
    if name == "php" and words[1:3] == ["artisan", "test"]:
        return "test"
    if name in ("bash", "sh", "zsh", "dash") and "-n" in words:
        return "lint"
    rest = words[1:]
    while rest and rest[0].startswith("-") and rest[0] not in ("-e", "-c", "-p", "--eval"):
        rest = rest[2:] if rest[0] in ("-r", "--require", "--import", "--loader", "-I") else rest[1:]
    return _script(rest) if rest and not rest[0].startswith("-") else "other"
