"""tau-bench results: one entry a conversation, with its reward."""

from __future__ import annotations

from pathlib import Path

import pytest

from auditor.convert import read_all
from auditor.readers.base import Reject
from auditor.transcript import Transcript

SAMPLES = Path(__file__).parent / "samples"


def read(path: Path) -> tuple[list[Transcript], list[Reject]]:
    items = list(read_all([str(path)]))
    return [t for t in items if isinstance(t, Transcript)], [r for r in items if isinstance(r, Reject)]


@pytest.fixture(scope="module")
def found() -> tuple[list[Transcript], list[Reject]]:
    return read(SAMPLES / "tau_bench.json")


def test_reward_trial_and_task(found):
    sold, handed = found[0]
    assert (sold.task, sold.epoch, sold.score, sold.passed) == ("7", 2, 1.0, True)
    assert (handed.task, handed.score, handed.passed) == ("8", 0.0, False)
    assert sold.model is None
    assert sold.metadata["info"]["task"]["instruction"] == "Return the blue lamp."


def test_a_call_and_its_refusal(found):
    call, result = found[0][0].messages[2:4]
    assert (call.tool_calls[0].name, call.tool_calls[0].arguments) == ("find_order", {"who": "ola_1"})
    assert (result.role, result.tool_call_id, result.is_error) == ("tool", "c1", True)


def test_the_end_is_the_users_stop_or_a_person(found):
    assert [t.ended for t in found[0]] == ["final report", None]


def test_a_run_that_failed_at_once_is_set_aside_with_its_error(found):
    assert [r.reason for r in found[1]] == ["the run failed before its first message: the model server was away"]
