"""How a run ended, read from what it printed: the summaries of test runners, exit codes, and clear errors.

A printed summary beats an exit code, which a pipe may have masked. Without evidence the outcome is unknown, never passed.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

import re2

from auditor.ledger.facts import Outcome, RunKind

_TAIL = 16_384
_HEAD = 4_096


class Summary(NamedTuple):
    """What a text says of a run: characters [start, end) say so."""

    outcome: Outcome
    passed: int | None
    failed: int | None
    start: int
    end: int


class _Parser(NamedTuple):
    tools: tuple[str, ...]
    """Words in a command that name the runner: where one is there, only its parsers are tried."""
    marks: tuple[str, ...]
    pattern: Any
    read: Callable[[Any], tuple[int | None, int | None] | None]
    """(passed, failed) of a match; (None, 1) for failed without a count; None where it says nothing."""


def _int(text: str | None) -> int | None:
    return int(text) if text else None


def _words(match: Any) -> tuple[int | None, int | None] | None:
    """`3 failed, 41 passed, 1 error` in any order (pytest, jest, vitest, nextest)."""
    passed = failed = 0
    told = False
    for number, word in _COUNT.findall(match.group(0)):
        if word.startswith("pass"):
            passed, told = passed + int(number), True
        elif word.startswith(("fail", "error")):
            failed, told = failed + int(number), True
    return (passed, failed) if told else None


_COUNT = re2.compile(r"(\d+) (passed|passing|failed|failing|errors?)\b")


def _unittest(match: Any) -> tuple[int | None, int | None]:
    ran, verdict = int(match.group(1)), match.group(2)
    failed = sum(int(n) for n in _UNITTEST_COUNT.findall(match.group(3) or ""))
    return (ran, 0) if verdict == "OK" else (max(0, ran - failed), failed or 1)


_UNITTEST_COUNT = re2.compile(r"(?:failures|errors|unexpected successes)=(\d+)")


def _surefire(match: Any) -> tuple[int | None, int | None]:
    run, failures, errors = (int(match.group(i)) for i in (1, 2, 3))
    return run - failures - errors, failures + errors


def _two(match: Any) -> tuple[int | None, int | None]:
    return _int(match.group(1)), _int(match.group(2))


def _total(match: Any) -> tuple[int | None, int | None]:
    total, failed = int(match.group(1)), int(match.group(2))
    return total - failed, failed


def _rspec(match: Any) -> tuple[int | None, int | None]:
    passed, failed = _total(match)
    return passed, (failed or 0) + (_int(match.group(3)) or 0)


def _ctest(match: Any) -> tuple[int | None, int | None]:
    failed, total = int(match.group(1)), int(match.group(2))
    return total - failed, failed


_PARSERS = (
    _Parser(("pytest", "py.test", "tox", "nox"), (" in ",), re2.compile(r"(?m)^(?:=+ )?[^\n]{0,60}\b\d+ (?:passed|failed|errors?)\b[^\n]{0,120} in [\d.:]+ ?s[^\n]*$"), _words),
    _Parser(("unittest", "manage.py", "runtests", "nose"), ("Ran ",), re2.compile(r"(?m)^Ran (\d+) tests? in [^\n]+\n+(OK|FAILED)(?: \(([^)\n]*)\))?"), _unittest),
    _Parser(("cargo",), ("test result:",), re2.compile(r"(?m)^test result: \w+\. (\d+) passed; (\d+) failed"), _two),
    _Parser(("nextest",), ("tests run:",), re2.compile(r"Summary \[[^\]\n]*\][^\n]*tests? run:[^\n]*"), _words),
    _Parser(("jest", "vitest"), ("Tests:", "Tests "), re2.compile(r"(?m)^\s*Tests:?\s+[^\n]*\b\d+ (?:passed|failed)\b[^\n]*"), _words),
    _Parser(("mocha",), ("passing", "failing"), re2.compile(r"(?m)^\s*\d+ passing\b[^\n]*(?:\n\s*\d+ pending[^\n]*)?(?:\n\s*\d+ failing\b)?|^\s*\d+ failing\b"), _words),
    _Parser(("--test",), ("pass ",), re2.compile(r"(?m)^(?:#|ℹ) pass (\d+)\n(?:#|ℹ) fail (\d+)"), _two),
    _Parser(("mvn",), ("Tests run:",), re2.compile(r"Tests run: (\d+), Failures: (\d+), Errors: (\d+)"), _surefire),
    _Parser(("gradle",), ("tests completed",), re2.compile(r"(\d+) tests completed, (\d+) failed"), _total),
    _Parser(("ctest",), ("tests passed",), re2.compile(r"\d+% tests passed, (\d+) tests? failed out of (\d+)"), _ctest),
    _Parser(("rspec",), ("example",), re2.compile(r"(\d+) examples?, (\d+) failures?(?:, (\d+) errors?[^\n]*)?"), _rspec),
    _Parser(("phpunit",), ("OK (",), re2.compile(r"(?m)^OK \((\d+) tests?, \d+ assertions?\)"), lambda m: (_int(m.group(1)), 0)),
    _Parser(("phpunit",), ("Failures:",), re2.compile(r"(?m)^Tests: (\d+), Assertions: \d+,[^\n]*?(?:Failures|Errors): (\d+)"), _total),
    _Parser(("go test",), ("FAIL",), re2.compile(r"(?m)^(?:--- FAIL: [^\n]+|FAIL\s+\S+[^\n]*|FAIL)$"), lambda _: (None, 1)),
    _Parser(("go test",), ("ok ",), re2.compile(r"(?m)^ok  ?\t? *\S+[./]\S+\s+(?:[\d.]+s|\(cached\))"), lambda _: (None, 0)),
    _Parser(("mvn", "gradle"), ("BUILD ",), re2.compile(r"BUILD (?:FAILURE|FAILED)"), lambda _: (None, 1)),
    _Parser(("pytest", "cargo", "tox"), ("error",), re2.compile(r"(?m)^(?:!+ Interrupted: \d+ errors? during collection|ERROR collecting|=+ (?:no tests ran[^\n]*, )?\d+ errors? in|error: could not compile|ImportError while loading conftest)"), lambda _: (None, 1)),
)  # fmt: skip
_NOTHING = re2.compile(r"no tests ran|collected 0 items|\[no test files\]|No tests found|Ran 0 tests|running 0 tests|0 passing")
_EXIT = re2.compile(
    r"(?i)(?:(?:process|command)?\s*(?:exit(?:ed)?(?: with)?(?: code| status| value)?|return ?code|finished with exit code)\"?\s*[:=>]?\s*(-?\d{1,3})\b)"
)
_ERROR = re2.compile(
    r"(?m)^Traceback \(most recent call last\)|^\S*(?:Error|Exception): |\berror(?:\[E\d+\])?: |^npm ERR!|command not found|: not found$|: No such file or directory"
    r"|^make(?:\[\d+\])?: \*\*\*|Segmentation fault|\bfatal: |panicked at "
)


def read(
    text: str, kind: RunKind, exit_code: int | None, *, is_error: bool | None, command: str = ""
) -> tuple[Summary, int | None]:
    """The outcome of a run and its exit code, from the text of its observation and what the log's structure says."""
    if exit_code is None:
        exit_code = _exit_code(text)
    if kind == "test":
        found = _summary(text, _parsers(command))
        if found is not None:
            return found, exit_code
        nothing = _NOTHING.search(text[-_TAIL:])
        if nothing and not exit_code:
            return Summary("unknown", 0, 0, *_shift(nothing, text)), exit_code
        if exit_code == 0 and ("|" in command or ";" in command):
            # The code is that of `tail` or `true`: without a summary only an error in the text says anything.
            error = _ERROR.search(text[-_TAIL:])
            return Summary("failed" if error else "unknown", None, None, *(_shift(error, text) if error else (0, 0))), None
    if exit_code is not None:
        return Summary("failed" if exit_code else "passed", None, None, 0, 0), exit_code
    error = _ERROR.search(text[-_TAIL:]) if kind in ("test", "build") else None
    if error:
        return Summary("failed", None, None, *_shift(error, text)), None
    return Summary("failed" if is_error else "unknown", None, None, 0, 0), None


def _shift(match: Any, text: str) -> tuple[int, int]:
    base = max(0, len(text) - _TAIL)
    return match.start() + base, match.end() + base


@lru_cache(maxsize=4096)
def _parsers(command: str) -> tuple[_Parser, ...]:
    """The parsers of the runners that a command names; all where it names none (a script, a make target)."""
    return tuple(p for p in _PARSERS if any(tool in command for tool in p.tools)) or _PARSERS


def _summary(text: str, parsers: tuple[_Parser, ...]) -> Summary | None:
    """The last summary in a text; where several runners or packages report, one that failed counts."""
    found: list[Summary] = []
    base = max(0, len(text) - _TAIL)
    tail = text[base:]
    for parser in parsers:
        for mark in parser.marks:
            if mark in tail:
                break
        else:
            continue
        for match in parser.pattern.finditer(tail):
            counts = parser.read(match)
            if counts is None:
                continue
            passed, failed = counts
            outcome: Outcome = "failed" if failed else "unknown" if passed == 0 else "passed"
            found.append(Summary(outcome, passed, failed, base + match.start(), base + match.end()))
    if not found:
        return None
    last = max(found, key=lambda s: s.start)
    # A package that failed before the last line (go test ./..., a workspace) fails the run; an earlier run of the same
    # runner that was repeated does not: those print the same kind of counted summary, and the last one counts.
    uncounted = [s for s in found if s.outcome == "failed" and s.passed is None]
    return uncounted[-1] if uncounted and last.outcome == "passed" and last.passed is None else last


def _exit_code(text: str) -> int | None:
    """The exit code that a harness wrote at the beginning or the end of an observation."""
    for part in (text[-300:], text[:200]):
        if "xit" in part or "eturn" in part:
            codes = _EXIT.findall(part)
            if codes:
                return int(codes[-1])
    return None
