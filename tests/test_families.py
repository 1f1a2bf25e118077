"""A family file groups models by developer and series; the first pattern that fits counts."""

from __future__ import annotations

import pytest
from conftest import GREEN, RED, episode, write

import auditor as face
from auditor.errors import QueryError, StoreError


@pytest.fixture
def audit(auditor, tmp_path):
    names = ("heron-1", "heron-2", "magpie", None)
    write(
        tmp_path / "logs.jsonl",
        [episode(f"e{i}", *(RED if i < 4 else GREEN), model=names[i % 4], task=f"t{i}") for i in range(8)],
    )
    auditor("scan", "logs.jsonl", "-o", "audit")
    return tmp_path / "audit"


def test_models_are_grouped(audit):
    (audit / "families.yaml").write_text(
        "- {model: 'heron-*', developer: Nest, series: heron}\n- {model: 'heron-2', series: other}\n- {model: magpie, developer: Corvid}\n"
    )
    opened = face.open_audit(audit)
    frame = opened.rates(by=["developer"], rubric="concealment")
    assert dict(zip(frame["group"], zip(frame.k, frame.n, strict=True), strict=True)) == {
        "developer Corvid": (1, 2), "developer Nest": (2, 4), "developer unknown": (1, 2),
    }  # fmt: skip
    sql = "SELECT DISTINCT model FROM episodes WHERE developer IS NULL OR series IS NULL ORDER BY 1 NULLS LAST"
    assert [m if isinstance(m, str) else None for m in opened.sql(sql).model] == ["magpie", None]


def test_without_a_file_it_says_where_one_goes(audit):
    with pytest.raises(QueryError, match=r"families.yaml in the audit's folder"):
        face.open_audit(audit).rates(by=["series"])


@pytest.mark.parametrize("text", ["model: x", "- {model: x, family: y}", "- [", "- {developer: x}", "x"])
def test_a_file_that_cannot_be_read_is_named(audit, text):
    (audit / "families.yaml").write_text(text)
    with pytest.raises(StoreError, match=r"families.yaml: .*; write a list of entries such as"):
        face.open_audit(audit).rates()
