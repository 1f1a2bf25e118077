"""What a call costs: the user's price, else that of the genai-prices package, else unknown."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import orjson

from auditor.llm.endpoints import Endpoint

_CHARACTERS_A_TOKEN = 4
_COMPLETION = 1_500


@lru_cache(maxsize=64)
def _listed(model: str, base_url: str | None) -> tuple[float, float] | None:
    """USD per token (in, out) by the kept price list, None where it does not know the model."""
    from genai_prices import Usage, calc_price

    try:
        both = [
            float(calc_price(usage, model_ref=model, provider_api_url=base_url).total_price)
            for usage in (Usage(input_tokens=1_000, output_tokens=0), Usage(input_tokens=0, output_tokens=1_000))
        ]
    except LookupError:
        return None
    return both[0] / 1_000, both[1] / 1_000


def known_price(to: Endpoint) -> bool:
    """Whether a price is known."""
    return cost_of(to, 1, 1) is not None


def cost_of(to: Endpoint, prompt: int, completion: int) -> float | None:
    """USD of a call by its tokens, None where the price is not known."""
    if to.price is not None:
        return (prompt * to.price[0] + completion * to.price[1]) / 1e6
    listed = _listed(to.model, to.base_url)
    return None if listed is None else prompt * listed[0] + completion * listed[1]


def estimate(to: Endpoint, messages: list[dict[str, Any]], schema: dict[str, Any] | None) -> tuple[int, float | None]:
    """(tokens in, USD) of a call before it is sent: characters / 4, and 1,500 tokens of answer."""
    size = sum(len(m["content"] or "") for m in messages) + (len(orjson.dumps(schema)) if schema else 0)
    prompt = size // _CHARACTERS_A_TOKEN
    return prompt, cost_of(to, prompt, _COMPLETION)
