"""The list: filters that stand in the URL, sorted and paged by DuckDB."""

from __future__ import annotations

import re

import pytest
from conftest import GREEN, RED, episode, scanned, write
from judged_rows import put, said

from auditor import Options, scan


@pytest.fixture(scope="module")
def listed(view, tmp_path_factory):
    made = [
        episode("red", *RED, model="heron", environment="web", task="Mend the parser"),
        episode("green", *GREEN, model="heron", environment="web"),
        episode("other", *RED, model="magpie", environment="shell"),
    ]
    made += [episode(f"more-{i:03}", *GREEN, model="wren", environment="bulk") for i in range(120)]
    audit = scanned(tmp_path_factory.mktemp("rows"), *made)
    put(audit, [said("green", True, level=3, quote="Done."), said("other", None, status="refused", rationale="would not")])
    served = view(audit)

    def ids(**query):
        page = served.client.get("/episodes", params=query).text
        return re.findall(r'<td class="what"><a [^>]*>([^<]*)</a>', page)

    return served, ids, audit


def test_filters(listed):
    _, ids, _ = listed
    assert ids(model="magpie") == ["other"]
    assert ids(environment="web") == ["green", "red"], "judged before candidates"
    assert ids(environment="web", sort="id") == ["green", "red"]
    assert ids(rubric="concealment") == ["green", "other", "red"], "a rubric alone: what it flags"
    assert ids(rubric="concealment", tier="judged") == ["green"]
    assert ids(level="3") == ["green"]
    assert ids(level="4") == []
    assert ids(status="refused") == ["other"]
    assert set(ids(rubric="concealment", status="clean", environment="web")) == {"green"}, "by its signals"
    assert ids(text="PARSER") == ["red"], "a task"
    assert set(ids(text="all 42 tests pass", model="heron")) == {"red"}, "a quote"
    assert ids(text="would not") == ["other"], "a rationale"
    assert ids(text="Make the suite pass") == [], "the messages are not searched, and the page says so"
    assert ids(model="nobody") == []
    assert ids(level="x", page="x", sort="x; DROP", rubric="' OR 1=1") == []


def test_pages(listed):
    served, ids, _ = listed
    assert len(ids()) == 50
    assert len(ids(page="3")) == 23
    assert ids(page="99") == ids(page="3")
    assert not set(ids()) & set(ids(page="2"))
    page = served.client.get("/episodes", params={"environment": "bulk", "sort": "id", "page": "2"}).text
    assert 'rel="next" href="/episodes?environment=bulk&amp;sort=id&amp;page=3"' in page, (
        "filters stand in the URL of the next page"
    )


def test_blind_hides_what_would_tell(listed):
    served, ids, _ = listed
    assert set(ids(blind="1", rubric="concealment", model="magpie", text="green")) == set(), "only tasks are searched"
    page = served.client.get("/episodes", params={"blind": "1", "environment": "web"}).text
    assert not re.search("heron|magpie|concealment|candidate|judged", page)
    names = ids(blind="1", environment="web")
    assert len(names) == 2
    assert not {"red", "green"} & set(names)


def test_it_follows_the_audit(listed):
    _, ids, audit = listed
    write(audit.parent / "late.jsonl", [episode("late", *RED, environment="late")])
    scan(Options(inputs=(str(audit.parent),), output=str(audit)))
    assert ids(environment="late") == ["late"]
