"""Endpoints: flags, environment, file; every mistake is one line, and no key is ever shown."""

from __future__ import annotations

import pytest

from auditor.errors import ServerError
from auditor.llm.endpoints import endpoint


@pytest.fixture(autouse=True)
def _none(monkeypatch):
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "AUDITOR_ENDPOINTS", "MY_KEY"):
        monkeypatch.delenv(name, raising=False)


def test_no_key_says_what_to_set():
    with pytest.raises(ServerError, match="set OPENAI_API_KEY, or point --base-url"):
        endpoint("gpt-5-mini")
    assert endpoint("qwen", base_url="http://localhost:8000/v1/").base_url == "http://localhost:8000/v1"


def test_the_environment_names_key_and_server(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-from-the-environment")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://gateway/v1")
    to = endpoint("m", headers=["X-Team: safety-secret"], params=["temperature=0.5", "reasoning_effort=low"])
    assert (to.base_url, to.params) == ("http://gateway/v1", {"temperature": 0.5, "reasoning_effort": "low"})
    assert "sk-from" not in repr(to)
    assert "safety-secret" not in repr(to)
    assert to.scrub("sk-from-the-environment\nsafety-secret leaked \x1b[2J") == "… … leaked \\x1b[2J"


def test_a_file_names_endpoints(tmp_path, monkeypatch):
    file = tmp_path / "e.yaml"
    file.write_text(
        "local: {model: org/qwen, base_url: 'http://h/v1', key_env: MY_KEY, price: [0, 0], concurrency: 7, params: {seed: 1}}"
    )
    with pytest.raises(ServerError, match="endpoint local: no API key: the environment variable MY_KEY is not set"):
        endpoint("local", file=str(file))
    monkeypatch.setenv("MY_KEY", "k-123456")
    monkeypatch.setenv("AUDITOR_ENDPOINTS", str(file))
    to = endpoint("local", timeout=9)
    assert (to.name, to.model, to.concurrency, to.timeout, to.price, to.params) == (
        "local",
        "org/qwen",
        7,
        9,
        (0, 0),
        {"seed": 1},
    )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("- a list", "should map names to endpoints"),
        ("x: {modle: y}", r"e\.yaml: endpoint x: modle: Extra inputs"),
        ("x: {model: y, colour: red}", "endpoint x: colour: Extra inputs"),
        ("x: [", "cannot be read as a file of endpoints"),
    ],
)
def test_a_bad_file_is_one_line(tmp_path, text, words):
    (tmp_path / "e.yaml").write_text(text)
    with pytest.raises(ServerError, match=words) as caught:
        endpoint("x", file=str(tmp_path / "e.yaml"))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("more", "words"),
    [({"headers": ["nocolon"]}, "--header"), ({"params": ["=3"]}, "--param"), ({"concurrency": -3}, "concurrency")],
)
def test_bad_flags(more, words):
    with pytest.raises(ServerError, match=words):
        endpoint("m", base_url="http://h/v1", **more)


def test_a_bad_header_is_not_repeated():
    with pytest.raises(ServerError) as caught:
        endpoint("m", base_url="http://h/v1", headers=["Bearer-sk-12345678"])
    assert "12345678" not in str(caught.value)
