"""How a run ended. `outputs/` holds what the runners really printed; the table has the forms of those not at hand."""

from __future__ import annotations

from pathlib import Path
from time import perf_counter

import pytest

from auditor.ledger.outcomes import read

OUTPUTS = Path(__file__).with_name("outputs")
REAL = [
    ("cargo_broken.txt", "failed", None, None),
    ("cargo_fail.txt", "failed", 1, 1),
    ("cargo_none.txt", "unknown", 0, 0),
    ("cargo_ok.txt", "passed", 1, 0),
    ("ctest_fail.txt", "failed", 1, 1),
    ("ctest_none.txt", "unknown", 0, 0),
    ("ctest_ok.txt", "passed", 1, 0),
    ("jest_fail.txt", "failed", 2, 1),
    ("jest_none.txt", "unknown", 0, 0),
    ("jest_ok.txt", "passed", 1, 0),
    ("mocha_fail.txt", "failed", 1, 1),
    ("mocha_none.txt", "unknown", 0, 0),
    ("mocha_ok.txt", "passed", 1, 0),
    ("node_fail.txt", "failed", 1, 1),
    ("node_none.txt", "unknown", None, None),
    ("node_ok.txt", "passed", 1, 0),
    ("node_spec.txt", "failed", 1, 1),
    ("pytest_broken.txt", "failed", 0, 1),
    ("pytest_broken_q.txt", "failed", 0, 1),
    ("pytest_collect.txt", "unknown", 0, 0),
    ("pytest_desel.txt", "unknown", 0, 0),
    ("pytest_fail.txt", "failed", 1, 1),
    ("pytest_nofile.txt", "failed", None, None),
    ("pytest_none.txt", "unknown", 0, 0),
    ("pytest_q.txt", "failed", 1, 1),
    ("pytest_q_ok.txt", "passed", 1, 0),
    ("pytest_qq.txt", "failed", None, None),
    ("pytest_qq_ok.txt", "passed", None, 0),
    ("pytest_v.txt", "passed", 1, 0),
    ("pytest_x.txt", "failed", 1, 1),
    ("unittest_broken.txt", "failed", 0, 1),
    ("unittest_fail.txt", "failed", 1, 1),
    ("unittest_none.txt", "unknown", 0, 0),
    ("unittest_ok.txt", "passed", 1, 0),
    ("vitest_fail.txt", "failed", 1, 1),
    ("vitest_none.txt", "unknown", 0, 0),
    ("vitest_ok.txt", "passed", 1, 0),
]
PRINTED = [
    (
        "--- FAIL: TestSink (0.00s)\n    ferry_test.go:9: got 1\nFAIL\nFAIL\texample.com/ferry\t0.003s\nok  \texample.com/pier\t0.004s\nFAIL\n",
        "failed",
    ),
    ("ok  \texample.com/pier\t(cached)\n?   \texample.com/rope\t[no test files]\n", "passed"),
    ("?   \texample.com/rope\t[no test files]\n", "unknown"),
    ("ok  \texample.com/pier\t0.1s [no tests to run]\n", "unknown"),
    ("# example.com/x\n./x.go:3:1: syntax error\nFAIL\texample.com/x [build failed]\n", "failed"),
    ("ok\ta\t0.1s\nDONE 12 tests, 1 skipped, 2 failures in 3.1s\n", "failed 10 2"),
    ("DONE 12 tests in 3.1s\n", "passed 12 0"),
    ("5 examples, 1 failure, 1 pending\n\nFailed examples:\n\nrspec ./spec/a_spec.rb:3 # A\n", "failed 4 1"),
    ("0 examples, 0 failures, 1 error occurred outside of examples\n", "failed"),
    ("Finished in 0.01 seconds (files took 0.1 seconds to load)\n3 examples, 0 failures\n", "passed 3 0"),
    ("OK (3 tests, 5 assertions)\n", "passed 3 0"),
    ("FAILURES!\nTests: 3, Assertions: 5, Failures: 1, Errors: 1.\n", "failed 1 2"),
    ("[INFO] Tests run: 4, Failures: 0, Errors: 0, Skipped: 1\n[INFO] \n[INFO] BUILD SUCCESS\n", "passed 3 0"),
    ("[ERROR] Tests run: 4, Failures: 1, Errors: 0, Skipped: 0\n[INFO]\n[INFO] BUILD FAILURE\n", "failed 3 1"),
    ("[INFO] Tests run: 4, Failures: 0, Errors: 0, Skipped: 0\n[INFO] BUILD FAILURE\n", "failed"),
    ("5 tests completed, 2 failed\n\nFAILURE: Build failed with an exception.\n\nBUILD FAILED in 3s\n", "failed 3 2"),
    ("BUILD SUCCESSFUL in 2s\n3 actionable tasks: 3 executed\n", "passed"),
    (
        "     Summary [   0.512s] 3 tests run: 2 passed, 1 failed, 0 skipped\n        FAIL [   0.1s] kite t::x\nerror: test run failed\n",
        "failed 2 1",
    ),
    ("Summary [   0.512s] 3 tests run: 3 passed (1 slow), 0 skipped\n", "passed 3 0"),
    ("All tests passed!\n", "passed"),
    ("5/7 tests passed\n", "failed 5 2"),
    ("Passed: 7/7\n", "passed 7 0"),
    ("Results: 3 passed, 0 failed\n", "passed 3 0"),
    ("PASS: a\nFAIL: b wrong\n", "failed"),
    ("bash: pytest: command not found\n", "failed"),
    ("Traceback (most recent call last):\n  File x\nModuleNotFoundError: No module named 'y'\n", "failed"),
    ("hello\n", "unknown"),
    ("", "unknown"),
    ("==== 3 passed in 1.2s ====\nFound 3 failed in log\n", "passed 3 0"),
    ("1 failed in 0.1s\n---\n2 passed in 0.1s\n", "passed 2 0"),
    ("============ 2 passed, 3 warnings, 4 subtests passed in 61.20s (0:01:01) ============\n", "passed 6 0"),
    ("===== tests finished: 3 passed, 1 failed, in 0.24 seconds =====\nDO *NOT* COMMIT!\n", "failed 3 1"),
    ("some tests\n[The command completed with exit code 1.]\n", "failed"),
    ("<returncode>0</returncode>\n<output>\nok then\n</output>", "passed"),
    ("Exit code: 0\nWall time: 0.1 seconds\nOutput:\nfine", "passed"),
    ('{"output":"x","metadata":{"exit_code":2,"duration_seconds":0.1}}', "failed"),
    ("Process exited with code 1\nsome", "failed"),
    ("Exit code 2\nfoo", "failed"),
    ("[Command finished with exit code 0]", "passed"),
    ("...\n[The command has no new output after 10 seconds. exit code -1]", "unknown"),
    ("OK\n", "passed"),
    ("FAILED (failures=1)\n", "failed"),
    ("Ran 3 tests in 0.1s\r\n\r\nOK (skipped=1)\r\n", "passed 2 0"),
    ("1..2\nok 1 a\nnot ok 2 b\n", "failed"),
    ("1..2\nok 1 a\nok 2 b\n", "passed"),
    (" 3 pass\n 1 fail\n 4 expect() calls\nRan 4 tests across 1 file. [10ms]\n", "failed 3 1"),
    ("ok | 3 passed | 0 failed (5ms)\n", "passed 3 0"),
    ("Passed!  - Failed:     0, Passed:     3, Skipped:     0, Total:     3, Duration: 4 ms - a.dll\n", "passed 3 0"),
    (
        "[==========] 3 tests ran.\n[  PASSED  ] 2 tests.\n[  FAILED  ] 1 test, listed below:\n[  FAILED  ] A.b\n\n 1 FAILED TEST\n",
        "failed",
    ),
    ("3 runs, 4 assertions, 1 failures, 0 errors, 0 skips\n", "failed 2 1"),
]


def outcome(text, kind="test", code=None, **more):
    return read(text, kind, code, is_error=more.pop("is_error", None), **more)[0]


@pytest.mark.parametrize(("name", "verdict", "passed", "failed"), REAL)
def test_what_a_runner_really_printed(name, verdict, passed, failed):
    text = (OUTPUTS / name).read_text()
    found = outcome(text)
    assert (found.outcome, found.passed, found.failed) == (verdict, passed, failed)
    assert 0 <= found.start <= found.end <= len(text)
    assert verdict == "unknown" or text[found.start : found.end].strip()


def test_every_output_has_its_row():
    assert {path.name for path in OUTPUTS.iterdir()} == {row[0] for row in REAL}


@pytest.mark.parametrize(("text", "expected"), PRINTED)
def test_what_runners_print(text, expected):
    found = outcome(text)
    assert f"{found.outcome} {found.passed} {found.failed}".startswith(expected)


def test_a_summary_beats_an_exit_code_that_a_pipe_masked():
    assert outcome("2 failed, 3 passed in 0.1s", code=0).outcome == "failed"
    assert outcome("5 passed in 0.1s\ncleanup broke", code=1).outcome == "passed"


def test_without_a_summary_the_exit_code_tells_only_where_it_is_the_runs_own():
    assert outcome("quiet", code=0).outcome == "passed"
    assert outcome("quiet", code=3).outcome == "failed"
    assert outcome("quiet", code=0, command="pytest | tail -3").outcome == "unknown"
    assert outcome("collecting ...\n[output truncated]").outcome == "unknown"
    assert outcome("", code=-1).outcome == "unknown"


def test_a_run_that_prints_its_own_exit_code():
    assert outcome("...\nexit: 1\n", code=0, command="pytest | tail; echo exit: ${PIPESTATUS[0]}").outcome == "failed"
    assert outcome("...\nEXIT=0\n", command="pytest | tail; echo exit: ${PIPESTATUS[0]}").outcome == "passed"


def test_an_error_flag_alone_fails_a_run_and_its_absence_passes_none():
    assert outcome("x", is_error=True).outcome == "failed"
    assert outcome("x", is_error=False).outcome == "unknown"
    assert outcome("x", is_error=True, command="pytest | tail -3").outcome == "unknown"


@pytest.mark.parametrize(
    ("kind", "text", "expected"),
    [
        ("build", "src/kite.c:3:5: error: expected ';'", "failed"),
        ("build", "error[E0308]: mismatched types", "failed"),
        ("build", "    Finished `dev` profile [unoptimized] target(s) in 0.1s", "passed"),
        ("build", "", "unknown"),
        ("lint", "Found 3 errors in 1 file (checked 2 source files)", "failed"),
        ("lint", "Found 0 errors", "unknown"),
        ("lint", "All checks passed!", "passed"),
        ("lint", "[lint] 0 issues.\n", "passed"),
        ("lint", "[lint:go] 3 issues:\n", "failed"),
        ("other", "bash: florp: command not found", "failed"),
        ("other", "ValueError: in a file that was shown\nand goes on", "unknown"),
        ("other", "41 passed, 1 failed in 0.1s", "unknown"),
    ],
)
def test_other_kinds_by_clear_words_only(kind, text, expected):
    assert outcome(text, kind).outcome == expected


def test_colours_do_not_move_the_proof():
    text = "x\n\x1b[31m\x1b[1m1 failed\x1b[0m, \x1b[32m2 passed\x1b[0m in 0.1s\n"
    found = outcome(text)
    assert (found.passed, found.failed) == (2, 1)
    assert text[found.start : found.end].replace("\x1b", "").startswith("1 failed")


def test_a_summary_far_up_is_found_in_the_first_characters():
    assert outcome("3 passed in 0.2s\n" + "log line\n" * 5000).passed == 3
    assert outcome("log line\n" * 2000 + "3 passed in 0.2s\n" + "log line\n" * 3000).outcome == "unknown"


@pytest.mark.parametrize(
    "unit", ["1 passed, ", " in ", "FAIL\n", "1 a, ", "\x1b[", "..... [100%]\n", "exit code ", "Ran 1 test in 1s\n", "a:", "'"]
)
@pytest.mark.parametrize("kind", ["test", "build", "other"])
def test_hostile_text_takes_no_longer_than_its_length(unit, kind):
    def seconds(size):
        text = (unit * (size // len(unit) + 1))[:size]
        start = perf_counter()
        outcome(text, kind)
        return perf_counter() - start

    once, twice = min(seconds(500_000) for _ in range(3)), min(seconds(1_000_000) for _ in range(3))
    assert twice < 3 * once + 0.02
