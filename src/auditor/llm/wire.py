"""Bodies as they go over the wire: a client, a request, a reply."""

from __future__ import annotations

from typing import Any

import openai

from auditor.errors import ServerError
from auditor.llm.endpoints import Endpoint
from auditor.llm.prices import cost_of
from auditor.replies import Reply


def client(to: Endpoint) -> openai.AsyncOpenAI:
    """A client of the openai package for an endpoint, without retries of its own."""
    headers = {name: value.get_secret_value() for name, value in to.headers.items()}
    try:
        return openai.AsyncOpenAI(
            api_key=to.key.get_secret_value(), base_url=to.base_url, default_headers=headers, max_retries=0, timeout=to.timeout
        )
    except Exception as error:  # noqa: BLE001  # whatever the library dislikes about an address is the user's to mend
        raise ServerError(f"{to.name}: {to.base_url}: {to.scrub(str(error))}") from None


def request_body(to: Endpoint, messages: list[dict[str, Any]], schema: dict[str, Any] | None) -> dict[str, Any]:
    """The body of a call as it is first tried: with the strict JSON schema."""
    body: dict[str, Any] = {"model": to.model, "messages": messages, **to.params}
    if schema is not None:
        body["response_format"] = {"type": "json_schema", "json_schema": {"name": "answer", "strict": True, "schema": schema}}
    return body


def reply_of(to: Endpoint, body: dict[str, Any]) -> Reply:
    """The reply in the body of a chat completion; `error` where it is none."""
    try:
        choice = body["choices"][0]
        message = choice["message"]
        text, refusal, finish = _text(message.get("content")), message.get("refusal"), choice.get("finish_reason")
        used = body.get("usage") or {}
        prompt, completion = int(used.get("prompt_tokens") or 0), int(used.get("completion_tokens") or 0)
    except (KeyError, IndexError, TypeError, AttributeError, ValueError):
        return Reply(status="error", error="the server's answer is no chat completion", endpoint=to.name, model=to.model)
    reasoning = _text(message.get("reasoning_content") or message.get("reasoning")) or None
    told: dict[str, Any] = {
        "reasoning": reasoning, "prompt_tokens": prompt, "completion_tokens": completion, "cost": cost_of(to, prompt, completion), "endpoint": to.name,
        "model": to.model,
    }  # fmt: skip
    if refusal or finish == "content_filter":
        return Reply(status="refused", text=text, error=to.scrub(str(refusal or "content filter"))[:300], **told)
    if finish == "length":
        return Reply(status="truncated", text=text, error="the answer was cut off (finish_reason length)", **told)
    return Reply(status="ok", text=text, **told)


def _text(content: Any) -> str:
    """The text of a message; some servers send it as a list of parts."""
    if isinstance(content, list):
        return "".join(str(part.get("text") or "") for part in content if isinstance(part, dict))
    return str(content or "")
