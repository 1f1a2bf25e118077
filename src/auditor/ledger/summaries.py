"""The summaries that test runners print, one parser each: a mark to look for, and how the text around it is read.

Parsers see a window of a few thousand characters, never a whole observation, and a parser's pattern sees a few
hundred from its mark on. So the standard `re` is safe here: what it is run on is short, whoever wrote it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

from auditor.ledger.facts import Outcome

# A mark that stands more often than this in a window was not written by a test runner's summary.
_MOST_MARKS = 40
_REACH = 600


class Summary(NamedTuple):
    """What a text says of a run: characters [start, end) say so."""

    outcome: Outcome
    passed: int | None
    failed: int | None
    start: int
    end: int


Counts = tuple[int | None, int | None]


class _Parser(NamedTuple):
    """`whole`: one run prints several such lines, and they are added up. `read` is None for what says nothing."""

    mark: str
    pattern: re.Pattern[str]
    read: Callable[[re.Match[str]], Counts | None]
    whole: bool = False


_PAIR = re.compile(
    r"(\d+) (?:\w+ )?(passed|passing|pass|failed|failing|failures?|fail|errors?|errored|xfailed|xpassed|exceptions?|timed out|total|succeeded)\b"
)
_EQUAL = re.compile(r"(\w[\w ]*?)=(\d+)")
_BAD = ("fail", "err", "exc", "tim")


def _pairs(match: re.Match[str]) -> Counts | None:
    """`3 failed, 41 passed, 1 error` in any order. Expected failures did run, and count as neither."""
    passed = failed = 0
    told = ran = False
    for number, word in _PAIR.findall(match.group()):
        if word in ("xfailed", "xpassed"):
            ran = ran or int(number) > 0
        elif word.startswith(("pass", "succ")):
            passed, told = passed + int(number), True
        elif word.startswith(_BAD):
            failed, told = failed + int(number), True
    return (passed, failed) if told and not (ran and not passed and not failed) else (None, 0) if ran else (0, 0)


def _unittest(match: re.Match[str]) -> Counts:
    counts = {key.strip(): int(number) for key, number in _EQUAL.findall(match.group(3) or "")}
    failed = counts.get("failures", 0) + counts.get("errors", 0) + counts.get("unexpected successes", 0)
    ran = int(match.group(1)) - counts.get("skipped", 0)
    return (ran, 0) if match.group(2) == "OK" else (max(0, ran - failed), failed or 1) if match.group(2) == "FAILED" else (0, 0)


def _last_line(match: re.Match[str]) -> Counts:
    failed = sum(int(n) for key, n in _EQUAL.findall(match.group(2) or "") if "failure" in key or "error" in key)
    return (None, 0) if match.group(1) == "OK" else (None, failed or 1)


def _rest(total: int, *bad: str | None) -> Counts:
    failed = sum(int(n) for n in bad if n)
    return max(0, total - failed), failed


def _pass_fail(match: re.Match[str]) -> Counts:
    return int(match.group(1)), int(match.group(2))


def _fail_pass(match: re.Match[str]) -> Counts:
    return int(match.group(2)), int(match.group(1))


def _suites(match: re.Match[str]) -> Counts | None:
    """Jest and vitest: a suite that cannot run fails the run, though no test of it is counted."""
    suites, tests = match.group(1), match.group(2)
    found = _pairs_of(tests) or (0, 0)
    return (found[0], found[1] or 1) if "failed" in suites else found


def _pairs_of(text: str) -> Counts | None:
    match = re.match(r"[\s\S]*", text)
    return _pairs(match) if match else None


def _dots(match: re.Match[str]) -> Counts | None:
    """The progress lines of `pytest -qq`: `..F.x [100%]`."""
    marks = match.group(1)
    bad = marks.count("F") + marks.count("E")
    return (None, bad) if bad or "." in marks else None


def _surefire(match: re.Match[str]) -> Counts:
    return _rest(int(match.group(1)) - int(match.group(4) or 0), match.group(2), match.group(3))


def _phpunit(match: re.Match[str]) -> Counts:
    counts = {key: int(number) for key, number in re.findall(r"(\w+): (\d+)", match.group())}
    failed = counts.get("Failures", 0) + counts.get("Errors", 0)
    return max(0, counts.get("Tests", 0) - failed - counts.get("Skipped", 0) - counts.get("Incomplete", 0)), failed


def _mocha(match: re.Match[str]) -> Counts:
    return int(match.group(1) or 0), int(match.group(2) or 0)


_FAILED: Callable[[re.Match[str]], Counts] = lambda _: (None, 1)  # noqa: E731  # a table's entry
_PASSED: Callable[[re.Match[str]], Counts] = lambda _: (None, 0)  # noqa: E731
_NOTHING: Callable[[re.Match[str]], Counts] = lambda _: (0, 0)  # noqa: E731
_R = re.compile

# `^` is the beginning of the line in which the mark stands.
PARSERS = (
    # pytest: the last line, with or without its rule; what stands there when nothing was counted; errors before a start
    _Parser(" in ", _R(r"(?:=+ )?(?:\d+ [a-z]+(?: [a-z]+)?,? ?){1,9}in \d[\d.:]*s[^\n]{0,80}"), _pairs),
    _Parser("no tests ran", _R(r"(?:=+ )?no tests ran in [\d.]+s[ =]*(?:\nERROR: [^\n]{1,300})?"), lambda m: (None, 1) if "ERROR" in m[0] else (0, 0)),
    _Parser("Interrupted:", _R(r"!+ Interrupted: (\d+) errors? during collection"), lambda m: (0, int(m[1]))),
    _Parser("while loading conftest", _R(r"ImportError while loading conftest"), _FAILED),
    _Parser("%]", _R(r"([.FEsxX]+) +\[100%\]"), _dots),
    _Parser("FAILED ", _R(r"(?:FAILED|ERROR) [\w./\\-]+\.py(?:::|\s|$)[^\n]{0,300}"), _FAILED),
    # unittest, nose, Django
    _Parser("Ran ", _R(r"Ran (\d+) tests? in [^\n]{1,40}\n(?:[ \t\r]*\n){0,3}(OK|FAILED|NO TESTS RAN)(?: \(([^)\n]{0,200})\))?"), _unittest),
    _Parser("FAILED (", _R(r"(FAILED) \(((?:failures|errors|unexpected successes|skipped|expected failures)=[^)\n]{1,100})\)"), _last_line),
    # sympy
    _Parser("tests finished:", _R(r"=+ tests finished: [^\n]{1,120}"), _pairs),
    # go: any package that fails fails the run
    _Parser("ok ", _R(r"ok  ?[\t ]*[\w./~-]+[\t ]+(?:[\d.]+m?s|\(cached\))(?!.*\[no tests to run\])[^\n]{0,80}"), _PASSED, whole=True),
    _Parser("FAIL", _R(r"(?:FAIL[\t ]+[\w./~-]+[\t ]*(?:[\d.]+s|\[[a-z ]+ failed\])|FAIL\r?$|\s{0,12}--- FAIL: [^\n]{1,200})", re.MULTILINE), _FAILED, whole=True),
    _Parser("[no test files]", _R(r"\?[\t ]+[\w./~-]+[\t ]+\[no test files\]"), _NOTHING, whole=True),
    _Parser("DONE ", _R(r"DONE (\d+) tests?(?:, \d+ skipped)?(?:, (\d+) failures?)?(?:, (\d+) errors?)? in [\d.]+m?s"), lambda m: _rest(int(m[1]), m[2], m[3])),
    # cargo: one line a target, added up; a target that failed or did not compile
    _Parser("test result:", _R(r"test result: \w+\. (\d+) passed; (\d+) failed"), _pass_fail, whole=True),
    _Parser("error: could not compile", _R(r"error: could not compile [^\n]{1,120}"), _FAILED, whole=True),
    _Parser("tests run:", _R(r"\s*Summary \[[^\]\n]{1,20}\] +\d+(?:/\d+)? tests? run: [^\n]{1,160}"), _pairs),
    _Parser("test run:", _R(r"\s*Summary \[[^\]\n]{1,20}\] +\d+(?:/\d+)? tests? run: [^\n]{1,160}"), _pairs),
    # jest, vitest
    _Parser("Test Suites:", _R(r"Test Suites: ([^\n]{1,120})\n+Tests: +([^\n]{1,120})"), _suites),
    _Parser("Test Files ", _R(r"\s*Test Files  ([^\n]{1,120})\n *Tests  ([^\n]{1,120})"), _suites),
    _Parser("Tests: ", _R(r"Tests: +((?:\d+ \w+, )*\d+ total)"), _pairs),
    # mocha; node:test; ava; bun; deno
    _Parser(" passing", _R(r"\s*(\d+) passing\b[^\n]{0,40}(?:\n\s*\d+ pending\b[^\n]{0,20})?(?:\n\s*(\d+) failing\b)?"), _mocha),
    _Parser(" failing", _R(r"\s*(0)?\b(\d+) failing\r?$", re.MULTILINE), _mocha),
    _Parser(" pass ", _R(r"(?:#|ℹ) pass (\d+)\r?\n(?:#|ℹ) fail (\d+)"), _pass_fail),
    _Parser(" pass\n", _R(r"\s*(\d+) pass\n(?:\s*\d+ (?:skip|todo)\n)*\s*(\d+) fail\b"), _pass_fail),
    _Parser(" passed | ", _R(r"(?:ok|FAILED) \| (\d+) passed[^|\n]{0,40}\| (\d+) failed"), _pass_fail),
    # TAP: bats, prove, tape
    _Parser("not ok ", _R(r"not ok \d+[^\n]{0,200}"), lambda m: None if "# TODO" in m[0] or "# SKIP" in m[0] else (None, 1), whole=True),
    _Parser("ok ", _R(r"ok \d+ [^\n]{0,200}"), _PASSED, whole=True),
    _Parser("Result: ", _R(r"Result: (PASS|FAIL|NOTESTS)\b"), lambda m: (None, int(m[1] == "FAIL")) if m[1] != "NOTESTS" else (0, 0)),
    _Parser(" tests, ", _R(r"\s*(\d+) tests?, (\d+) failures?\b"), lambda m: _rest(int(m[1]), m[2])),
    # Maven, Gradle, ctest
    _Parser("Tests run:", _R(r"(?:\[\w+\] +)?Tests run: (\d+), +Failures: (\d+)(?:, +Errors: (\d+))?(?:, +Skipped: (\d+))?"), _surefire),
    _Parser("BUILD FAIL", _R(r"(?:\[\w+\] +)?BUILD FAIL(?:ED|URE)"), _FAILED, whole=True),
    _Parser("BUILD SUCC", _R(r"(?:\[\w+\] +)?BUILD SUCCESS(?:FUL)?"), _PASSED, whole=True),
    _Parser("tests completed", _R(r"(\d+) tests completed(?:, (\d+) failed)?"), lambda m: _rest(int(m[1]), m[2])),
    _Parser("tests passed", _R(r"\d+% tests passed, (\d+) tests? failed out of (\d+)"), lambda m: _rest(int(m[2]), m[1])),
    _Parser("No tests were found", _R(r"No tests were found!!!"), _NOTHING),
    # RSpec, minitest, PHPUnit, googletest, Catch2, .NET, XCTest, sbt
    _Parser("example", _R(r"(\d+) examples?, (\d+) failures?(?:, \d+ pending)?(?:, (\d+) errors? occurred)?"), lambda m: _rest(int(m[1]), m[2], m[3])),
    _Parser(" runs, ", _R(r"(\d+) runs?, \d+ assertions?, (\d+) failures?, (\d+) errors?(?:, (\d+) skips?)?"), lambda m: _rest(int(m[1]) - int(m[4] or 0), m[2], m[3])),
    _Parser("OK (", _R(r"OK \((\d+) tests?, \d+ assertions?\)"), lambda m: (int(m[1]), 0)),
    _Parser("Assertions: ", _R(r"Tests: \d+, Assertions: \d+[^\n]{0,160}"), _phpunit),
    _Parser("[  PASSED  ]", _R(r"\[  PASSED  \] (\d+) tests?(?:\.[\s\S]{0,40}\n\[  FAILED  \] (\d+) tests?)?"), lambda m: (int(m[1]), int(m[2] or 0))),
    _Parser("[  FAILED  ]", _R(r"\[  FAILED  \] (\d+) tests?, listed below"), lambda m: (None, int(m[1]))),
    _Parser("test cases:", _R(r"test cases: +\d+ \|[^\n]{1,120}"), _pairs),
    _Parser("All tests passed", _R(r"All tests passed \(\d+ assertions? in (\d+) test cases?\)"), lambda m: (int(m[1]), 0)),
    _Parser("Failed: ", _R(r"\s*(?:Passed!|Failed!)  - Failed: +(\d+), Passed: +(\d+)"), _fail_pass, whole=True),
    _Parser("Executed ", _R(r"\s*Executed (\d+) tests?, with (?:\d+ tests? skipped and )?(\d+) failures?"), lambda m: _rest(int(m[1]), m[2])),
    _Parser("Passed: Total", _R(r"(?:\[\w+\] )?(?:Passed|Failed): Total (\d+), Failed (\d+), Errors (\d+)"), lambda m: _rest(int(m[1]), m[2], m[3])),
    _Parser("Failed: Total", _R(r"(?:\[\w+\] )?(?:Passed|Failed): Total (\d+), Failed (\d+), Errors (\d+)"), lambda m: _rest(int(m[1]), m[2], m[3])),
    # nothing was found to run
    _Parser("No test", _R(r"(?:\W{0,3}Error: )?No tests? (?:files )?found\b[^\n]{0,80}"), _NOTHING),
    _Parser("No tests executed", _R(r"No tests executed!"), _NOTHING),
    # tox
    _Parser("congratulations :)", _R(r"\s*congratulations :\)"), _PASSED),
    _Parser("evaluation failed :(", _R(r"\s*evaluation failed :\("), _FAILED),
)  # fmt: skip
# Checks that people write themselves; believed where no runner's summary stands.
_RATIO = _R(
    r"[^\n\w]{0,20}(?:(?:tests?|checks?|cases?|results?|summary|total|passed|overall)\b[^\n\w]{0,4} ?){0,2}(\d+) ?(?:/|of|out of) ?(\d+)\b(?: \w{1,12}){0,2}",
    re.IGNORECASE,
)


def _ratio(match: re.Match[str]) -> Counts | None:
    passed, total = int(match.group(1)), int(match.group(2))
    return (passed, total - passed) if "pass" in match.group().lower() and passed <= total else None


_ALL = _R(
    r"[^\n\w]{0,20}all (?:\d+ )?(?:\w+ )?(?:tests?|checks?|cases?|assertions?)(?: (?:have|are))? (?:pass(?:ed|ing)?|ok|successful)\b[^\n\w]{0,20}$",
    re.IGNORECASE | re.MULTILINE,
)
HOMEMADE = (
    *(_Parser(mark, _RATIO, _ratio) for mark in ("pass", "Pass", "PASS")),
    *(_Parser(mark, _ALL, _PASSED) for mark in ("ll ", "LL ")),
    _Parser("passed", _R(r"[^\n]{0,60}?\b(\d+) passed\b[^\n\d]{1,12}(\d+) failed\b"), _pass_fail),
    _Parser("assed: ", _R(r"[^\n]{0,40}?\b[Pp]assed: +(\d+)[^\d]{1,16}[Ff]ailed: +(\d+)"), _pass_fail),
    *(_Parser(mark, _R(r"[ \t]{0,8}(?:\[?FAIL(?:ED)?\]?:? |❌|✗ |✘ )[^\n]{1,200}"), _FAILED) for mark in ("FAIL", "❌", "✗ ", "✘ ")),
    _Parser("OK", _R(r"(OK)(?: \(((?:skipped|expected failures)=\d+)\))?\s*\Z"), _last_line),
)  # fmt: skip


def last(text: str, parsers: tuple[_Parser, ...]) -> tuple[Summary | None, bool]:
    """The last summary in a window, and whether it is a total that no line further up could change.

    The lines of a runner that reports in parts are added up, and one part that failed fails it.
    """
    best: Summary | None = None
    final = False
    for parser in parsers:
        if parser.mark not in text:
            continue
        found = list(_found(text, parser))
        if not found:
            continue
        one = _united(found) if parser.whole else found[0]
        if best is None or _outranks(one, best, parts=parser.whole):
            best, final = one, not parser.whole and one.passed is not None
    return best, final


def _outranks(one: Summary, best: Summary, *, parts: bool) -> bool:
    """The later one wins, but a part that passed undoes no part that failed; of two that agree, the one with counts."""
    if one.outcome == best.outcome and (one.passed is None) != (best.passed is None):
        return one.passed is not None
    if parts and best.passed is None and {one.outcome, best.outcome} == {"passed", "failed"}:
        return one.outcome == "failed"
    if parts and one.outcome == "unknown":
        return False
    if best.start <= one.start < best.end or one.start <= best.start < one.end:
        return one.end - one.start > best.end - best.start
    return one.start > best.start


def _found(text: str, parser: _Parser) -> Iterator[Summary]:
    """The summaries of one parser, the last one first."""
    at = len(text)
    for _ in range(_MOST_MARKS):
        at = text.rfind(parser.mark, 0, at)
        if at < 0:
            return
        line = text.rfind("\n", 0, at) + 1
        # Two lines may be one match where the mark stands in the second.
        if at - line <= _REACH and (match := parser.pattern.match(text, line, line + _REACH)) is not None and match.end() > at:
            counts = parser.read(match)
            if counts is not None:
                passed, failed = counts
                outcome: Outcome = "failed" if failed else "unknown" if passed == 0 else "passed"
                start = match.start() + len(match.group()) - len(match.group().lstrip())
                yield Summary(
                    outcome,
                    passed,
                    failed if passed is not None or (failed and failed > 1) or failed == 0 else None,
                    start,
                    len(match.group().rstrip()) + match.start(),
                )
                if not parser.whole:
                    return


def _united(found: list[Summary]) -> Summary:
    failed = [s for s in found if s.outcome == "failed"]
    shown = (failed or [s for s in found if s.outcome == "passed"] or found)[0]
    if any(s.passed is None for s in found):
        return shown
    return shown._replace(passed=sum(s.passed or 0 for s in found), failed=sum(s.failed or 0 for s in found))
