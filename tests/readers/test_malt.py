"""METR MALT: a tree of messages and the labels of a run."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from auditor.convert import read_all
from auditor.readers.base import Reject
from auditor.transcript import Transcript

SAMPLES = Path(__file__).parent / "samples"


def read(path: Path) -> tuple[list[Transcript], list[Reject]]:
    items = list(read_all([str(path)]))
    return [t for t in items if isinstance(t, Transcript)], [r for r in items if isinstance(r, Reject)]


def rows(name: str) -> list[dict[str, object]]:
    return [json.loads((SAMPLES / name).read_text())]


def one(path: Path) -> Transcript:
    (transcript,), rejects = read(path)
    assert (rejects, transcript.format) == ([], "malt")
    return transcript


@pytest.fixture
def run() -> Transcript:
    return one(SAMPLES / "malt.json")


def test_labels_and_facts(run):
    assert run.metadata["labels"] == ["bypass_constraints"]
    assert (run.model, run.task, run.environment, run.ended) == ("acme/velo-1", "lamps/mend", "lamps", "submitted")
    assert (run.metadata["run_id"], run.metadata["run_source"], run.metadata["manually_reviewed"]) == (4711, "hcast", True)


def test_the_branch_that_was_left_is_rewound(run):
    assert [m.content for m in run.messages if m.origin == "rewound"] == ["I guess."]
    assert [m.role for m in run.messages if m.origin == "main"] == ["system", "user", "assistant", "tool", "assistant"]


def test_a_functions_result_belongs_to_the_call_above_it(run):
    look, result = run.messages[3:5]
    assert (look.tool_calls[0].arguments, result.tool_call_id) == ({"command": "ls lamp"}, look.tool_calls[0].id)


def test_generations_are_put_together():
    run = one(SAMPLES / "malt_samples.json")
    assert [(m.role, m.content, m.origin) for m in run.messages] == [
        ("user", "Mend it.", "main"), ("assistant", "I look.", "main"), ("assistant", "I wait.", "rewound"),
        ("tool", "wire", "main"), ("assistant", "It is mended.", "main"),
    ]  # fmt: skip
    assert (run.metadata["labels"], run.messages[-1].reasoning) == (["normal"], "The wire is whole.")
    assert run.messages[3].tool_call_id == run.messages[1].tool_calls[0].id


def test_parquet_gives_the_same(tmp_path, run):
    pq.write_table(pa.Table.from_pylist(rows("malt.json")), tmp_path / "a.parquet")
    assert one(tmp_path / "a.parquet").id == run.id


def test_a_damaged_parquet_is_set_aside(tmp_path):
    (tmp_path / "a.parquet").write_bytes(b"PAR1 and then nothing")
    transcripts, rejects = read(tmp_path / "a.parquet")
    assert transcripts == []
    assert "damaged Parquet" in rejects[0].reason


def test_a_tree_that_goes_round_in_a_circle_ends(tmp_path):
    (row,) = rows("malt.json")
    row["nodes"][4]["parent_node_id"] = 4
    (tmp_path / "a.json").write_text(json.dumps(row))
    assert one(tmp_path / "a.json").messages[4].tool_call_id is None
