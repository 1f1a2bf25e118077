"""Harbor's trajectories: steps become messages, the trial's result gives task and reward."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from auditor.convert import read_all
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


@pytest.fixture
def run() -> Transcript:
    return one(SAMPLES / "atif.json")


def test_who_says_what(run):
    assert [(m.role, m.origin, m.content) for m in run.messages] == [
        ("system", "main", "You mend lamps."),
        ("user", "injected", "<system-reminder>Tidy up after yourself.</system-reminder>"),
        ("user", "main", "Mend the lamp."),
        ("system", "injected", "Workspace mounted."),
        ("assistant", "main", "I look first."),
        ("tool", "main", "bulb\nsocket"),
        ("tool", "main", "no wire\n[image]"),
        ("assistant", "main", ""),
        ("tool", "main", "Found a wire."),
        ("user", "subagent", "Find a wire."),
        ("assistant", "subagent", "It was in the drawer."),
        ("assistant", "main", "The lamp is lit again."),
    ]


def test_whose_it_is_and_what_is_not_known(run):
    assert (run.id, run.model, run.ended) == ("44444444-dddd-4ddd-8ddd-000000000000", "acme/velo-1", "final report")
    assert (run.task, run.score, run.passed) == (None, None, None)


def test_reasoning_and_time(run):
    asked = run.messages[4]
    assert (asked.reasoning, asked.timestamp, run.reasoning) == ("The wire may be loose.", "2026-02-01T08:00:00Z", "raw")


def test_calls_are_paired_and_exit_codes_read(run):
    assert [call.id for call in run.messages[4].tool_calls] == ["k1", "k2"]
    assert [(m.tool_call_id, m.exit_code) for m in run.messages[5:7]] == [("k1", None), ("k2", 1)]


def test_a_subagent_says_who_it_is(run):
    assert [m.name for m in run.messages if m.origin == "subagent"] == [None, "finder"]


def test_a_subagent_in_another_file_is_named(run):
    assert run.metadata["subagents"] == ["packer.json"]


def test_nested_and_unnamed_subagents_are_kept(tmp_path):
    inner = {"trajectory_id": "b", "steps": [{"source": "agent", "message": "inner"}]}
    outer = {"trajectory_id": "a", "steps": [{"source": "agent", "message": "outer"}], "subagent_trajectories": [inner]}
    run = steps(tmp_path, {"source": "agent", "message": "mine"}, subagent_trajectories=[outer])
    assert [(m.content, m.origin) for m in run.messages] == [("mine", "main"), ("outer", "subagent"), ("inner", "subagent")]


def test_a_trials_result_gives_task_and_reward(tmp_path):
    run = one(trial(tmp_path / "lamp-1__aB3", RESULT))
    assert (run.task, run.environment, run.score, run.passed) == ("lamp-1", "lamps", 1.0, True)
    assert (run.checkpoint, run.elicitation, run.metadata["trial_name"]) == ("c9", "natural", "lamp-1__aB3")


@pytest.mark.parametrize(
    ("rewards", "score", "passed"),
    [({"reward": 0.4}, 0.4, None), ({"reward": 0.0, "style": 0.7}, 0.0, False), ({"only": 1}, 1.0, True)],
)
def test_rewards(tmp_path, rewards, score, passed):
    run = one(trial(tmp_path / "t", {**RESULT, "verifier_result": {"rewards": rewards}}))
    assert (run.score, run.passed, run.metadata.get("rewards")) == (score, passed, rewards if len(rewards) > 1 else None)


@pytest.mark.parametrize(("failure", "ended"), [("AgentTimeoutError", "budget"), ("VerifierError", "cut off")])
def test_an_exception_ends_a_run(tmp_path, failure, ended):
    run = one(trial(tmp_path / "t", {**RESULT, "verifier_result": None, "exception_info": {"exception_type": failure}}))
    assert (run.ended, run.score, run.metadata["exception"]) == (ended, None, failure)


def test_an_elicitation_that_is_none_of_ours_is_kept_aside(tmp_path):
    run = one(trial(tmp_path / "t", {**RESULT, "config": {"metadata": {"elicitation": "sideways"}}}))
    assert (run.elicitation, run.metadata["config"]) == (None, {"elicitation": "sideways"})


@pytest.mark.parametrize(
    "settings", [{"trial_name": "t", "trials_dir": "d"}, {"n_total_trials": 3, "stats": {}}, {"job_name": "j", "jobs_dir": "d"}]
)
def test_the_other_files_of_a_job_are_no_episodes(tmp_path, settings):
    folder = trial(tmp_path / "t", RESULT)
    (folder / "config.json").write_text(json.dumps(settings))
    transcripts, rejects = read(folder)
    assert (len(transcripts), rejects) == (1, [])


def test_copied_context_is_not_new():
    assert [m.origin for m in one(SAMPLES / "atif_written.json").messages[:3]] == ["copied", "copied", "main"]


def test_terminus_writes_its_commands_as_json():
    said, seen = one(SAMPLES / "atif_written.json").messages[2:4]
    assert said.content == "analysis: Dark.\nplan: Turn the bulb."
    assert [call.text for call in said.tool_calls] == ["terminal\ncommand: turn bulb\nlook\n", "mark_task_complete"]
    # What the terminal shows belongs to the commands, not to the submission beside them.
    assert seen.tool_call_id == said.tool_calls[0].id


def test_json_that_is_no_plan_is_text(tmp_path):
    text = '{"answer": {"commands": 3}}'
    assert steps(tmp_path, {"source": "agent", "message": text}).messages[0].content == text


def test_calls_in_tags_are_cut_out_of_the_text():
    said, seen = one(SAMPLES / "atif_written.json").messages[4:6]
    assert (said.content, said.tool_calls[0].text) == ("Once more.", "execute_bash\ncommand: look")
    assert (seen.tool_call_id, seen.exit_code) == (said.tool_calls[0].id, 3)


def test_tags_that_are_only_quoted_are_no_call(tmp_path):
    run = steps(tmp_path, {"source": "agent", "message": "It wrote <function=look> and then stopped."})
    assert (run.messages[0].tool_calls, run.ended) == ((), "final report")


@pytest.mark.parametrize(
    ("results", "paired"),
    [
        ([{"content": "a"}, {"content": "b"}], ["k1", "k2"]),
        ([{"content": "b", "source_call_id": "k2"}, {"content": "a"}], ["k2", "k1"]),
        ([{"content": "one screen for both"}], ["k2"]),
        ([{"content": "a"}, {"content": "b"}, {"content": "c"}], [None, None, None]),
    ],
)
def test_results_without_a_calls_id(tmp_path, results, paired):
    run = steps(tmp_path, called("k1", "k2", results=results))
    assert [m.tool_call_id for m in run.messages if m.role == "tool"] == paired


@pytest.mark.parametrize(
    ("content", "extra", "outcome"),
    [
        ("Exit code 2\nno wire\n\n[error] tool reported failure", {}, (2, True)),
        ("Exit code 2, said the manual", {}, (None, None)),
        ("fine", {"tool_metadata": {"exit_code": 0}}, (0, None)),
        ("fine", {"tool_result_is_error": False}, (None, False)),
    ],
)
def test_what_harbors_converters_say_of_a_result(tmp_path, content, extra, outcome):
    run = steps(tmp_path, called("k1", results=[{"source_call_id": "k1", "content": content}], extra=extra))
    assert (run.messages[1].exit_code, run.messages[1].is_error) == outcome


def test_a_converters_filler_is_not_the_models_word(tmp_path):
    assert steps(tmp_path, {**called("k1", results=[]), "message": "Executed bash k1"}).messages[0].content == ""


@pytest.mark.parametrize(("agent", "kind"), [("codex", "summarised"), ("lampwright", "raw")])
def test_an_agent_that_sees_only_summaries(tmp_path, agent, kind):
    step = {"source": "agent", "message": "Done.", "reasoning_content": "About wires."}
    (tmp_path / "t.json").write_text(
        json.dumps({"schema_version": "ATIF-v1.4", "agent": {"name": agent, "version": "1"}, "steps": [{"step_id": 1, **step}]})
    )
    assert one(tmp_path / "t.json").reasoning == kind


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
