"""A join file fills what the log lacks, and only that."""

from __future__ import annotations

import pytest

from auditor.errors import InputError
from auditor.join import Join
from auditor.transcript import Message, Source, Transcript

T = Transcript(id="a", messages=(Message(role="user", content="x"),), source=Source(path="logs/s-7.jsonl"))


def load(tmp_path, text: str, name: str = "join.csv") -> Join:
    (tmp_path / name).write_text(text)
    Join.load.cache_clear()
    return Join.load(str(tmp_path / name))


def test_by_id_by_session_and_by_file(tmp_path):
    join = load(tmp_path, "id,model,score,passed,epoch\na,m-1,0.5,true,2\ns-7,m-2,,no,\nu-1,m-3,,,\n")
    first = join.apply(T)
    assert (first.model, first.score, first.passed, first.epoch) == ("m-1", 0.5, True, 2)
    second = join.apply(T.model_copy(update={"id": "b"}))
    assert (second.model, second.score, second.passed) == ("m-2", None, False)
    third = join.apply(T.model_copy(update={"id": "c", "metadata": {"session_id": "u-1"}}))
    assert third.model == "m-3"


def test_what_the_log_says_stands(tmp_path):
    join = load(tmp_path, '{"id": "a", "model": "m-1", "task": "t"}\n', "join.jsonl")
    assert join.apply(T.model_copy(update={"model": "own"})).model == "own"
    assert join.apply(T.model_copy(update={"model": "own"})).task == "t"


@pytest.mark.parametrize(
    ("text", "told"),
    [("model\nm\n", "join.csv:2: no key"), ("id,score\na,high\n", "join.csv:2: score is 'high'"), ("id\na\na\n", "stands twice"), ("id,passed\na,maybe\n", "write true or false")],
)  # fmt: skip
def test_mistakes_name_file_and_line(tmp_path, text, told):
    with pytest.raises(InputError, match=told):
        load(tmp_path, text)
