"""Harbor's trajectories: steps become messages, the trial's result gives task and reward."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from auditor.pipeline import read_all
from auditor.readers.base import Reject
from auditor.transcript import Transcript

SAMPLES = Path(__file__).parent / "samples"
RESULT = {
    "task_name": "lamp-1", "trial_name": "lamp-1__aB3", "source": "lamps", "exception_info": None,
    "verifier_result": {"rewards": {"reward": 1.0}}, "config": {"metadata": {"checkpoint": "c9", "elicitation": "natural"}},
}  # fmt: skip


def read(path: Path) -> tuple[list[Transcript], list[Reject]]:
    items = list(read_all([str(path)]))
    return [t for t in items if isinstance(t, Transcript)], [r for r in items if isinstance(r, Reject)]


def one(path: Path) -> Transcript:
    (transcript,), rejects = read(path)
    assert (rejects, transcript.format) == ([], "atif")
    return transcript


def trial(folder: Path, result: dict[str, object], sample: str = "atif.json") -> Path:
    (folder / "agent").mkdir(parents=True)
    (folder / "agent" / "trajectory.json").write_bytes((SAMPLES / sample).read_bytes())
    (folder / "result.json").write_text(json.dumps(result))
    return folder


def steps(folder: Path, *given: dict[str, object], **more: object) -> Transcript:
    numbered = [{"step_id": i, **step} for i, step in enumerate(given, 1)]
    agent = {"name": "a", "version": "1", "model_name": "m"}
    (folder / "t.json").write_text(
        json.dumps({"schema_version": "ATIF-v1.4", "session_id": "s", "agent": agent, "steps": numbered, **more})
    )
    return one(folder / "t.json")


def called(*ids: str, results: list[dict[str, object]], **more: object) -> dict[str, object]:
    calls = [{"tool_call_id": i, "function_name": "bash", "arguments": {"command": i}} for i in ids]
    return {"source": "agent", "message": "", "tool_calls": calls, "observation": {"results": results}, **more}


def test_a_step_without_a_model_call_is_the_harness():
    assert one(SAMPLES / "atif_written.json").messages[-1].origin == "injected"


def test_a_session_that_is_no_uuid_is_no_id():
    run = one(SAMPLES / "atif_written.json")
    assert (len(run.id), run.metadata["session_id"]) == (32, "lamp-run")


def test_a_continuation_has_an_id_of_its_own(tmp_path):
    value = json.loads((SAMPLES / "atif.json").read_bytes())
    value["agent"]["extra"] = {"continuation_index": 2}
    (tmp_path / "t.json").write_text(json.dumps(value))
    assert one(tmp_path / "t.json").id == "44444444-dddd-4ddd-8ddd-000000000000:2"


def test_a_run_that_goes_on_in_another_file_has_not_ended(tmp_path):
    run = steps(tmp_path, called("k1", results=[]), continued_trajectory_ref="t.cont-1.json")
    assert (run.ended, run.metadata["continued_in"]) == (None, "t.cont-1.json")


def test_without_a_version_and_with_roles():
    run = one(SAMPLES / "atif_roles.json")
    assert [(m.role, m.content) for m in run.messages] == [("user", "Is it lit?"), ("assistant", "Yes.")]
    assert run.model == "acme/velo-2"


def test_one_line_of_more_than_64_kilobytes(tmp_path):
    long = {"source": "user", "message": "x" * 100_000}
    assert steps(tmp_path, long, {"source": "agent", "message": "Read."}).messages[1].content == "Read."


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"schema_version": "ATIF-v1.2", "steps": []}, "a trajectory without steps"),
        ({"schema_version": "ATIF-v1.2", "steps": [{"step_id": 7, "source": "ghost"}]}, "step 7: unknown source 'ghost'"),
        ({"schema_version": "ATIF-v1.2", "steps": "none"}, "steps should be a list, it is a string"),
    ],
)
def test_what_is_no_trajectory_is_set_aside(tmp_path, given, reason):
    (tmp_path / "t.json").write_text(json.dumps(given))
    transcripts, rejects = read(tmp_path / "t.json")
    assert (transcripts, [r.reason for r in rejects]) == ([], [reason])
