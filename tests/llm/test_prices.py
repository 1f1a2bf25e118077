"""Prices: the user's, else the kept list's, else unknown; never guessed."""

from __future__ import annotations

import pytest
from pydantic import SecretStr

from auditor.llm.endpoints import Endpoint
from auditor.llm.prices import cost_of, estimate, known_price


def to(model: str, **more) -> Endpoint:
    return Endpoint(name=model, model=model, key=SecretStr("k"), **more)


def test_the_users_price_wins():
    assert cost_of(to("gpt-5-mini", price=(10, 20)), 1_000_000, 500_000) == 20


def test_a_listed_model_has_a_price_and_an_unlisted_none():
    assert known_price(to("gpt-5-mini"))
    assert not known_price(to("my-own-model"))
    assert cost_of(to("my-own-model"), 10, 10) is None
    # The same name at a server of one's own need not cost what the maker takes.
    assert cost_of(to("gpt-5-mini", base_url="http://127.0.0.1:8000/v1"), 10, 10) is None


def test_an_estimate_counts_characters():
    tokens, cost = estimate(to("x", price=(1, 0)), [{"role": "user", "content": "x" * 400}], None)
    assert (tokens, cost) == (100, pytest.approx(0.0001))
