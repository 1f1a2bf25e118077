"""How a run ended, from what the runners print. Without evidence it is unknown, never passed."""

from __future__ import annotations

import pytest

from auditor.ledger.outcomes import read

PRINTED = [
    ("pytest", "..F\n==== short test summary info ====\nFAILED t.py::x\n==== 1 failed, 41 passed in 0.12s ====", "failed", 41, 1),
    ("pytest -q", "42 passed, 1 skipped, 3 warnings in 0.30s", "passed", 42, 0),
    ("pytest -q", "1 passed, 2 errors in 0.30s", "failed", 1, 2),
    ("pytest -q", "collected 0 items\n\n==== no tests ran in 0.01s ====", "unknown", 0, 0),
    ("python -m unittest", "F.\n-----\nRan 3 tests in 0.001s\n\nFAILED (failures=1, errors=1)", "failed", 1, 2),
    ("python -m unittest", "...\nRan 3 tests in 0.001s\n\nOK", "passed", 3, 0),
    ("go test ./...", "ok  \texample/a\t0.01s\n--- FAIL: TestB (0.00s)\nFAIL\nFAIL\texample/b\t0.01s\nFAIL", "failed", None, 1),
    ("go test ./...", "--- FAIL: TestA (0.00s)\nFAIL\texample/a\t0.01s\nok  \texample/b\t0.01s", "failed", None, 1),
    ("go test ./...", "ok  \texample/a\t0.01s\nok  \texample/b\t(cached)", "passed", None, 0),
    ("cargo test", "test result: ok. 3 passed; 0 failed; 0 ignored; 0 measured", "passed", 3, 0),
    ("cargo test", "error: could not compile `x` (lib test) due to 1 previous error", "failed", None, 1),
    ("cargo nextest run", "Summary [   0.1s] 4 tests run: 3 passed, 1 failed, 0 skipped", "failed", 3, 1),
    ("npx jest", "Tests:       1 failed, 3 passed, 4 total\nTime: 1 s", "failed", 3, 1),
    ("npx vitest", " Test Files  1 passed (1)\n      Tests  5 passed (5)", "passed", 5, 0),
    ("npx mocha", "  3 passing (8ms)\n  1 failing", "failed", 3, 1),
    ("node --test", "# tests 4\n# pass 3\n# fail 1", "failed", 3, 1),
    ("node --test", "ℹ tests 4\nℹ pass 4\nℹ fail 0", "passed", 4, 0),
    ("mvn test", "Tests run: 5, Failures: 1, Errors: 0, Skipped: 0\nBUILD FAILURE", "failed", None, None),
    ("mvn test", "Tests run: 5, Failures: 0, Errors: 0, Skipped: 0\nBUILD SUCCESS", "passed", 5, 0),
    ("ctest", "67% tests passed, 1 tests failed out of 3", "failed", 2, 1),
    ("bundle exec rspec", "5 examples, 2 failures", "failed", 3, 2),
    ("./vendor/bin/phpunit", "OK (4 tests, 9 assertions)", "passed", 4, 0),
    ("./run_tests.sh", "12 passed in 0.5s", "passed", 12, 0),
    ("./run_tests.sh", "all is well", "unknown", None, None),
]  # fmt: skip


@pytest.mark.parametrize(("command", "text", "outcome", "passed", "failed"), PRINTED)
def test_what_a_runner_prints(command, text, outcome, passed, failed):
    found, _ = read(text, "test", None, is_error=None, command=command)
    assert found.outcome == outcome
    if outcome != "failed" or passed is not None:
        assert (found.passed, found.failed) == (passed, failed)
    if found.end:
        assert text[found.start : found.end].strip()


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("x\n[The command completed with exit code 1]", 1), ("<returncode>0</returncode>\n<output>", 0), ("Process exited with code 2\nOutput:", 2),
        ("Exit code: 0\nWall time: 1", 0), ("no code here", None),
    ],
)  # fmt: skip
def test_exit_codes_as_harnesses_write_them(text, code):
    assert read(text, "other", None, is_error=None)[1] == code


def test_a_printed_summary_beats_a_code_that_a_pipe_has_masked():
    found, code = read("1 failed, 3 passed in 1s", "test", 0, is_error=False, command="pytest | tail -1")
    assert (found.outcome, code) == ("failed", 0)
    assert read("sh: 1: jest: not found", "test", 0, is_error=None, command="npm test 2>&1 | tail")[0].outcome == "failed"
    assert read("…", "test", 0, is_error=None, command="npm test 2>&1 | tail")[0].outcome == "unknown"
    assert read("", "test", 0, is_error=None, command="make check")[0].outcome == "passed"


def test_the_last_run_in_an_observation_counts():
    text = "1 failed, 3 passed in 1s\nfixed\n4 passed in 1s"
    assert read(text, "test", None, is_error=None, command="pytest")[0].outcome == "passed"
