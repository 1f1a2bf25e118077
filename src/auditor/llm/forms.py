"""What a server takes: a request fitted to what is known of it, and what a refusal teaches."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson

from auditor.llm.endpoints import Endpoint
from auditor.llm.failures import Failure
from auditor.llm.limits import Known
from auditor.llm.wire import request_body

_FORMS = ("schema", "json", "text")


def fitted(known: Known, to: Endpoint, messages: list[dict[str, Any]], schema: dict[str, Any] | None) -> dict[str, Any]:
    """The body of a request, in the best form that the server has not refused."""
    body = request_body(to, messages, schema if known.form == 0 else None)
    for name in known.dropped:
        body.pop(name, None)
    for old, new in known.renamed.items():
        if old in body:
            body[new] = body.pop(old)
    if schema is not None and known.form:
        told = f"\n\nAnswer with one JSON object of this JSON schema, and nothing else.\nJSON Schema:\n{orjson.dumps(schema).decode()}"
        body["messages"] = [*messages[:-1], {**messages[-1], "content": messages[-1]["content"] + told}]
        if _FORMS[known.form] == "json":
            body["response_format"] = {"type": "json_object"}
    return body


def learn(known: Known, to: Endpoint, failure: Failure, body: dict[str, Any], say: Callable[[str], None]) -> bool:
    """Remember what the server refused; whether there is another way to ask. Calls that were in flight learn nothing new."""
    if failure.act == "form":
        kind = body.get("response_format", {}).get("type")
        tried = {"json_schema": 0, "json_object": 1}.get(str(kind), 2)
        if tried >= known.form and known.form < 2:
            known.form = tried + 1
            way = "JSON mode" if known.form == 1 else "plain text"
            say(f"{to.name}: takes no {'JSON schema' if tried == 0 else 'JSON mode'}, so {way} is used ({failure.words[:120]})")
        return tried < known.form
    name = failure.parameter or ""
    if name == "max_tokens" and "max_completion_tokens" in failure.words:
        known.renamed[name] = "max_completion_tokens"
        say(f"{to.name}: takes max_completion_tokens in place of max_tokens")
    else:
        known.dropped.add(name)
        say(f"{to.name}: takes no {name}, so it is left out ({failure.words[:120]})")
    return True
