"""How a run ended, read from what it printed: the summaries of test runners, exit codes, and clear errors.

A printed summary beats an exit code, which a pipe may have masked. Without evidence the outcome is unknown, never passed.
"""

from __future__ import annotations

import re

from auditor.ledger.commands import echoes_code, told
from auditor.ledger.facts import Outcome, RunKind
from auditor.ledger.summaries import HOMEMADE, PARSERS, Summary, last
from auditor.text import Lens, pieced

# Most summaries stand in the last lines; if not there, they are looked for in the last and the first characters.
_NEAR, _TAIL, _HEAD = 600, 16_384, 4_096
_EDGE = 400
_ANSI = re.compile(r"\x1b(?:\[[0-9;?]{0,20}[A-Za-z]|[()][A-Z0-9])")
_ZERO = Summary("unknown", None, None, 0, 0)

_CODE = re.compile(
    r"(?im)^[ \t\[(<{*>-]{0,4}(?:error: |error\()?(?:(?:the |your )?(?:command|process|program|script|shell|task|execution)(?: (?:completed|finished|failed|execution))?(?: with)? )?"
    r"(?:exit(?:ed)?(?: with)?(?:[ _-]?(?:code|status|value))+|return[ _]?code|returned (?:non-zero )?exit status|(?<=\[)exit(?:ed)?)\"? ?[:=> ] ?(-?\d{1,3})\b(?!\d|\.\d|[%/])"
)
_JSON_CODE = re.compile(r"\"(?:exit_?[cC]ode|return_?[cC]ode)\": ?(-?\d{1,3})\b")
_ERROR = re.compile(
    r"(?m)^(?:Traceback \(most recent call last\)|[A-Za-z_][\w.]{0,80}(?:Error|Exception)(?:: |$)|error(?:\[E\d+\])?: |npm (?:ERR!|error)|make(?:\[\d+\])?: \*\*\*|(?:Segmentation fault|Aborted|Killed)\b|fatal: "
    r"|thread '[^'\n]{1,80}'(?: \(\d+\))? panicked at |FAILED: |[^\s:]{1,200}:\d+:\d+: (?:fatal )?error: |(?:[\w/.-]{1,60}: )?(?:line \d+: |\d+: )?[^\n:]{1,100}: (?:command not found|No such file or directory|not found|Permission denied)$"
    r"|(?:\S{1,200}: )?can't open file '|\[ERROR\] |Error: Cannot find module|\S{1,200}: No module named )"
)
_TYPES = re.compile(
    r"(?m)^Found [1-9]\d* errors?\b|^✖ \d+ problems? \([1-9]\d* errors?|: error TS\d+: |^(?:\[[^\]\n]{1,40}\] )?(?:[1-9]\d* issues?:$|ERROR task failed)"
)
_CLEAN = re.compile(
    r"(?m)^(?:All checks passed!|(?:\[[^\]\n]{1,40}\] )?0 issues\.|Success: no issues found\b|BUILD SUCCESS|\s*Finished `?(?:dev|release|test|debug)\b)"
)


def read(
    text: str, kind: RunKind, exit_code: int | None, *, is_error: bool | None, command: str = ""
) -> tuple[Summary, int | None]:
    """The outcome of a run and its exit code, from its observation and what the log's structure says.

    `command` tells whether the exit code is the run's own, or that of a `tail` behind it.
    """
    speaks = kind == "other" or told(command)[1]
    echoed = not speaks and echoes_code(command)
    if kind == "test" and (summary := _summary(text)) is not None:
        return summary, _code(text, exit_code)[0] if exit_code is None else exit_code
    code, place = _code(text, exit_code) if exit_code is None or kind != "other" else (exit_code, None)
    start, end = place or (0, 0)
    if echoed and (printed := _echoed(text)) is not None:
        return printed, code
    if code is not None and code != -1 and (speaks or code in (126, 127)):
        return Summary("failed" if code else "passed", None, None, start, end), code
    if kind != "other" or code is None:
        error = _error(text, kind)
        if error is not None:
            return error, code
    if code is None and is_error and speaks:
        return _ZERO._replace(outcome="failed"), None
    return _ZERO, code


def _code(text: str, known: int | None) -> tuple[int | None, tuple[int, int] | None]:
    """The exit code that the log knows or that the harness wrote at an edge of the text, and where it stands."""
    for low, high in ((0, 120), (max(0, len(text) - _EDGE), len(text)), (0, _EDGE)):
        part = text[low:high]
        if "xit" not in part and "eturn" not in part and "XIT" not in part:
            continue
        marks = [m for pattern in (_CODE, _JSON_CODE) for m in pattern.finditer(part)]
        if marks:
            mark = max(marks, key=lambda m: m.start()) if low else marks[0]
            code = int(mark.group(1))
            if known is None or known == code:
                return code, (low + mark.start(), low + mark.end())
    return known, None


_ECHO = re.compile(
    r"(?im)^[^\w\n]{0,12}(?:\w{1,12}[ _-])?(?:exit(?: ?code| status)?|rc|status|code|ret(?:urn)?(?: ?code)?|result)\"?[ :=]{1,4}(\d{1,3})[^\w\n]{0,12}$"
)


def _echoed(text: str) -> Summary | None:
    low = max(0, len(text) - 2 * _EDGE)
    found = list(_ECHO.finditer(text[low:]))
    if not found:
        return None
    mark = found[0] if len(found) > 1 else found[-1]
    outcome: Outcome = "failed" if int(mark.group(1)) else "passed"
    return Summary(outcome, None, None, low + mark.start(), low + mark.end())


def _error(text: str, kind: RunKind) -> Summary | None:
    """Clear words of failure (for a build or lint: of success too) near the end; for other commands only a last line that is one."""
    low = max(0, len(text) - _TAIL)
    part = text[low:]
    if kind == "other":
        low = text.rfind("\n", 0, len(text.rstrip())) + 1
        part = text[low : low + _EDGE]
        mark = _ERROR.match(part)
        return Summary("failed", None, None, low + mark.start(), low + mark.end()) if mark else None
    mark = _ERROR.search(part) or (_TYPES.search(part) if kind in ("lint", "build") else None)
    if mark:
        return Summary("failed", None, None, low + mark.start(), low + mark.end())
    if kind in ("lint", "build") and (mark := _CLEAN.search(part)) is not None:
        return Summary("passed", None, None, low + mark.start(), low + mark.end())
    return None


def _summary(text: str) -> Summary | None:
    """The last summary of a test run in an observation."""
    size = len(text)
    windows = [(max(0, size - _NEAR), size)]
    if size > _NEAR:
        windows.append((max(0, size - _TAIL), size))
    if size > _TAIL:
        windows.append((0, min(_HEAD, size - _TAIL)))
    for low, high in windows:
        # A window begins with a whole line.
        if low:
            low = text.find("\n", low, high) + 1 or low
        lens = _plain(text[low:high])
        found, final = last(lens.text, PARSERS)
        if found is not None and (final or high - low > _NEAR or not low):
            return _placed(found, lens, low)
    lens = _plain(text[-_TAIL:])
    own, _ = last(lens.text, HOMEMADE)
    return _placed(own, lens, max(0, size - _TAIL)) if own is not None else None


def _placed(found: Summary, lens: Lens, low: int) -> Summary:
    start, end = lens.origin(found.start, found.end)
    return found._replace(start=start + low, end=end + low)


def _plain(text: str) -> Lens:
    """The text without colour codes."""
    if "\x1b" not in text:
        return Lens(text)
    cuts = [0, *(edge for mark in _ANSI.finditer(text) for edge in mark.span()), len(text)]
    return pieced(text, zip(cuts[::2], cuts[1::2], strict=True))
