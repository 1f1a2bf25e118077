"""What a failed call means: try again, ask another way, or give up; in the server's words, on one line."""

from __future__ import annotations

from email.utils import parsedate_to_datetime
from typing import Any, Literal, NamedTuple

import openai
import orjson

from auditor.llm.endpoints import Endpoint

Act = Literal["again", "slower", "form", "parameter", "messages", "too_long", "refused", "permanent"]
"""again and slower: retry; form: another response format; parameter: without it; permanent: no retry will help.

messages: a conversation is refused; whoever made it may say the same in one message.
"""
_CONTEXT = (
    "context_length",
    "context length",
    "context window",
    "maximum context",
    "too many tokens",
    "prompt is too long",
    "input is too long",
)
_FORM = ("response_format", "json_schema", "json_object", "structured output", "guided", "grammar", "response format")


class Failure(NamedTuple):
    """One failed call. `kind` is what it is counted as; `after` seconds that the server asked to wait."""

    act: Act
    kind: str
    words: str
    parameter: str | None = None
    after: float | None = None


def of_error(error: Exception, endpoint: Endpoint, sent: dict[str, Any]) -> Failure:
    """The meaning of an exception of the openai package (or a time-out of ours)."""
    if isinstance(error, (openai.APITimeoutError, TimeoutError)):
        return Failure("again", "timeout", f"no answer within {endpoint.timeout:g} s (--timeout)")
    if isinstance(error, openai.APIStatusError):
        return _of_status(error, endpoint, sent)
    if isinstance(error, openai.APIConnectionError):
        cause = error.__cause__
        refused = type(cause).__name__ in ("ConnectError", "UnsupportedProtocol", "InvalidURL", "ConnectTimeout")
        words = endpoint.scrub(f"{type(cause).__name__}: {cause}" if cause else str(error))
        return Failure("again", "unreachable" if refused else "disconnected", words)
    return Failure("again", "disconnected", endpoint.scrub(f"{type(error).__name__}: {error}"))


def _of_status(error: openai.APIStatusError, endpoint: Endpoint, sent: dict[str, Any]) -> Failure:
    status = error.status_code
    body = _details(error)
    words = endpoint.scrub(str(body.get("message") or error.response.text[:300] or f"status {status}"))[:400]
    code, low = str(body.get("code") or body.get("type") or ""), words.lower()
    kind = str(status)
    if status == 402 or "insufficient_quota" in (code, str(body.get("type"))):
        return Failure("permanent", "quota", words)
    if status == 429:
        return Failure("slower", kind, words, after=_after(error))
    if status in (408, 409, 425) or status >= 500:
        return Failure("again", kind, words, after=_after(error))
    if _is_html(error.response.content):
        return Failure("permanent", "html", f"status {status} and a page of HTML")
    if status in (400, 413, 422):
        if status == 413 or "context_length" in code or any(w in low for w in _CONTEXT):
            return Failure("too_long", "too_long", words)
        if "content_filter" in code or "content management policy" in low:
            return Failure("refused", "refused", words)
        named = str(body.get("param") or "")
        if "response_format" in sent and (named.startswith("response_format") or any(w in low for w in _FORM)):
            return Failure("form", kind, words)
        mine = [p for p in sent if p not in ("model", "messages", "response_format")]
        for parameter in mine:
            if named == parameter or f"'{parameter}'" in words or f'"{parameter}"' in words or f"`{parameter}`" in words:
                return Failure("parameter", kind, words, parameter)
        if any(m["role"] not in ("system", "user") for m in sent["messages"]):
            return Failure("messages", kind, words)
    return Failure("permanent", kind, words)


def _details(error: openai.APIStatusError) -> dict[str, Any]:
    body: Any = error.body
    if not isinstance(body, dict):
        try:
            body = orjson.loads(error.response.content)
        except orjson.JSONDecodeError:
            return {}
    if isinstance(body, dict):
        inner = body.get("error", body)
        return inner if isinstance(inner, dict) else {"message": inner}
    return {}


def _after(error: openai.APIStatusError) -> float | None:
    """Seconds that the server asks to wait: `retry-after-ms`, or `retry-after` as seconds or a date."""
    headers = error.response.headers
    try:
        if "retry-after-ms" in headers:
            return float(headers["retry-after-ms"]) / 1000
        given = headers.get("retry-after")
        if given is None:
            return None
        if given.replace(".", "", 1).isdigit():
            return float(given)
        from datetime import UTC, datetime

        return max((parsedate_to_datetime(given) - datetime.now(UTC)).total_seconds(), 0.0)
    except (ValueError, TypeError):
        return None


def _is_html(content: bytes) -> bool:
    return content[:400].lstrip().lower().startswith((b"<!doctype", b"<html"))


def advice(kind: str, words: str, endpoint: Endpoint) -> str:
    """One line for a server that cannot be used: what it said, and what to set."""
    where = endpoint.base_url or "api.openai.com"
    told = {
        "401": "set OPENAI_API_KEY (or key_env of the endpoint) to a key of this server",
        "403": "the key may not use this model; check key and --judge",
        "404": f"is the model named {endpoint.model!r}, and does --base-url end as the server wants it (usually /v1)?",
        "quota": "the account is out of quota or money; top it up and run the same command again",
        "html": "something else answers there; check --base-url (it usually ends in /v1) and your proxy",
        "unreachable": "is the server running, and its address right (--base-url, or base_url in a file)?",
        "400": "the server refuses the request; check --param and --judge",
    }.get(kind, "check the endpoint")
    return f"{endpoint.name} at {where}: {'' if kind in ('html', 'unreachable', 'quota') else kind + ' '}{endpoint.scrub(words)[:300]}; {told}"
