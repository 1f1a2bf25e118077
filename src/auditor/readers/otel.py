"""OpenTelemetry spans of model calls: GenAI conventions, OpenInference, and the Vercel AI SDK.

Each call repeats the conversation before it, so calls of one conversation (or trace) are joined where one goes on
from the other; each conversation that stands alone is an episode. Spans that only wrap calls are not read twice.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from pydantic import JsonValue

from auditor.errors import ShapeError
from auditor.readers._spans import Span, is_flat, is_span, messages, parsed, spans_in, under
from auditor.readers.base import Context, Head, Reader, Record, aside, number, string, unique_id
from auditor.transcript import Ended, Message, Transcript, content_hash

_PAIRS = (
    ("gen_ai.input.messages", "gen_ai.output.messages"),
    ("llm.input_messages", "llm.output_messages"),
    ("ai.prompt.messages", ""),
    ("gen_ai.prompt", "gen_ai.completion"),
    ("ai.prompt", ""),
)
_WRAPPERS = ("ai.generateText", "ai.streamText", "ai.generateObject", "ai.streamObject", "invoke_agent")
_NOT_CALLS = ("embeddings", "execute_tool", "create_agent", "EMBEDDING", "TOOL", "RETRIEVER", "RERANKER", "CHAIN", "GUARDRAIL")
_ROLE_EVENTS = {f"gen_ai.{role}.message": role for role in ("system", "user", "assistant", "tool")}
_DETAILS = "gen_ai.client.inference.operation.details"
_MODELS = ("gen_ai.request.model", "llm.model_name", "ai.model.id", "gen_ai.response.model", "ai.response.model")
_GROUPS = ("gen_ai.conversation.id", "session.id", "ai.telemetry.metadata.sessionId")


def sniff(head: Head) -> bool:
    """OTLP exports, spans with attributes, or a span's bare GenAI attributes; not the schemas that describe them."""
    return any(_ours(value) for value in head.objects[:5])


def _ours(value: dict[str, Any]) -> bool:
    if "resourceSpans" in value or "resourceLogs" in value or is_span(value) or is_flat(value):
        return True
    lists = [item for item in value.values() if isinstance(item, list) and item]
    return bool(lists) and len(lists) == len(value) and is_span(lists[0][0])


def read(records: Iterable[Record], context: Context) -> Iterator[Transcript]:
    """All conversations of a file. ShapeError where no span holds one, saying what its spans are."""
    spans: list[Span] = []
    for record in records:
        with aside(context, record, "span"):
            spans += spans_in(record.value)
    ignored: Counter[str] = Counter()
    calls: list[_Call] = []
    for span in sorted(spans, key=lambda s: s.start or 0.0):
        with aside(context, Record(None, 0, None), f"span {span.name[:60]}"):
            call = _call(span)
            calls += [call] if call else []
            if call is None:
                ignored[f"span/{_operation(span) or span.name}"[:80]] += 1
    inner = [call for call in calls if not call.wrapper]
    kept = inner + [call for call in calls if call.wrapper and not any(_inside(i, call) for i in inner)]
    if wrapped := len(calls) - len(kept):
        ignored["span/wrapper of other spans"] = wrapped
    if not kept:
        kinds = ", ".join(f"{n} {kind.removeprefix('span/')}" for kind, n in ignored.most_common(4)) or "none at all"
        raise ShapeError(f"no span holds a model's conversation (spans: {kinds})")
    groups: dict[str | None, list[_Thread]] = {}
    for call in kept:
        _join(groups.setdefault(call.group, []), call)
    for span in spans:
        _grade(span, groups)
    first = True
    for group, threads in groups.items():
        for thread in threads:
            # What was no call belongs to the file: it is counted once.
            yield _transcript(thread, group if len(threads) == 1 else None, ignored if first else Counter(), context)
            first = False


@dataclass
class _Call:
    """One model call: the conversation before it, and what it answered."""

    span: Span
    before: list[Message]
    answer: list[Message]
    group: str | None
    wrapper: bool


@dataclass
class _Thread:
    """Calls that go on from each other."""

    messages: list[Message]
    spans: list[Span]
    score: float | None = None
    label: str | None = None
    facts: dict[str, JsonValue] = field(default_factory=dict)


def _operation(span: Span) -> str:
    a = span.attributes
    return str(a.get("ai.operationId") or a.get("gen_ai.operation.name") or a.get("openinference.span.kind") or "")


def _call(span: Span) -> _Call | None:
    """The call of a span, None for a span that is none."""
    attributes = dict(span.attributes)
    for name, given in span.events:
        attributes.update(given if name == _DETAILS else {})
    operation = _operation(span)
    if operation in _NOT_CALLS or operation.startswith(("ai.embed", "ai.toolCall")):
        return None
    before, answer = _conversation(attributes, span)
    system = messages(under(attributes, "gen_ai.system_instructions"), "system")
    if not any(m.role == "assistant" for m in answer) and not before:
        return None
    group = next((string(attributes[key]) for key in _GROUPS if attributes.get(key)), None) or span.trace
    return _Call(span._replace(attributes=attributes), system + before, answer, group, operation in _WRAPPERS)


def _conversation(a: dict[str, Any], span: Span) -> tuple[list[Message], list[Message]]:
    for asked, answered in _PAIRS:
        given = under(a, asked)
        reply = under(a, answered) if answered else None
        if given is not None or reply is not None:
            return messages(given, "user"), messages(reply, "assistant", span.time) or _vercel(a, span)
    told = [messages([{"role": _ROLE_EVENTS[n], **e}], "user") for n, e in span.events if n in _ROLE_EVENTS]
    choices = [messages([{**e, **(m if isinstance(m := parsed(e.get("message")), dict) else {})}], "assistant", span.time)
               for n, e in span.events if n == "gen_ai.choice"]  # fmt: skip
    if told or choices:
        return [m for some in told for m in some], [m for some in choices[:1] for m in some]
    if a.get("openinference.span.kind") == "LLM":
        return messages(parsed(a.get("input.value")), "user"), messages(parsed(a.get("output.value")), "assistant", span.time)
    return [], []


def _vercel(a: dict[str, Any], span: Span) -> list[Message]:
    text = a.get("ai.response.text") or a.get("ai.response.object")
    given = {"content": text, "reasoning": a.get("ai.response.reasoning"), "tool_calls": a.get("ai.response.toolCalls")}
    return messages([given], "assistant", span.time) if any(given.values()) else []


def _inside(inner: _Call, outer: _Call) -> bool:
    """Whether a wrapper says what one of its calls says: they share a trace, or (context lost) the answer."""
    if inner.group is not None and inner.group == outer.group:
        return True
    return bool(inner.answer) and [m.content for m in inner.answer] == [m.content for m in outer.answer]


def _key(m: Message) -> tuple[str, str, tuple[str, ...]]:
    return m.role, m.content.strip(), tuple(call.text for call in m.tool_calls)


def _join(threads: list[_Thread], call: _Call) -> None:
    """Put a call onto the thread that it goes on from, else begin a new one."""
    whole = [*call.before, *call.answer]
    keys = [_key(m) for m in whole]
    for thread in threads:
        known = [_key(m) for m in thread.messages]
        if keys[: len(known)] == known:
            # The messages that are known stay: an answer has its reasoning and its time, its repetition often has not.
            thread.messages += whole[len(known) :]
            thread.spans.append(call.span)
            return
        if known[: len(keys)] == keys:
            thread.spans.append(call.span)
            return
    threads.append(_Thread(whole, [call.span]))


def _grade(span: Span, groups: dict[str | None, list[_Thread]]) -> None:
    """Give an evaluation's result to the conversation whose call bears it, or to the only one of its trace."""
    found = [given for name, given in span.events if name == "gen_ai.evaluation.result"]
    for given in found:
        group = next((string(span.attributes[key]) for key in _GROUPS if span.attributes.get(key)), None) or span.trace
        threads = groups.get(group, [])
        own = [t for t in threads if any(s.events is span.events for s in t.spans)] or (threads if len(threads) == 1 else [])
        for thread in own:
            label = string(given.get("gen_ai.evaluation.score.label"))
            thread.score, thread.label = number(given.get("gen_ai.evaluation.score.value")), label.lower() if label else None
            thread.facts |= {key: value for key, value in given.items() if key.startswith("gen_ai.evaluation.")}


def _transcript(thread: _Thread, group: str | None, ignored: Counter[str], context: Context) -> Transcript:
    last = thread.spans[-1].attributes
    attributes = {key: value for span in thread.spans for key, value in span.attributes.items()}
    facts: dict[str, JsonValue] = {
        "trace_id": thread.spans[0].trace,
        "conversation_id": next((string(attributes[key]) for key in _GROUPS if attributes.get(key)), None),
        "response_model": string(last.get("gen_ai.response.model")),
        "agent": string(attributes.get("gen_ai.agent.name")),
        "finish_reasons": last.get("gen_ai.response.finish_reasons") or last.get("ai.response.finishReason"),
        **thread.facts,
    }
    own = group if group and (unique_id(group) or (len(group) == 32 and not set(group) - set("0123456789abcdef"))) else ""
    transcript = Transcript(
        id=own,
        model=next((string(attributes[key]) for key in _MODELS if attributes.get(key)), None),
        ended=_ended(thread.messages, str(facts["finish_reasons"] or "")),
        score=thread.score,
        passed={"pass": True, "passed": True, "fail": False, "failed": False}.get(thread.label or ""),
        messages=tuple(thread.messages),
        metadata={key: fact for key, fact in facts.items() if fact is not None},
        ignored=dict(ignored),
        format=READER.name,
        reader_version=READER.version,
        source=context.source,
    )
    return transcript if own else transcript.model_copy(update={"id": content_hash(transcript)})


def _ended(said: list[Message], reasons: str) -> Ended | None:
    if not said or "length" in reasons or "max_tokens" in reasons:
        return "cut off" if said else None
    if said[-1].submits:
        return "submitted"
    return "final report" if said[-1].role == "assistant" and not said[-1].tool_calls else "cut off"


_SPANS = "resourceSpans[].scopeSpans[].spans[]"

READER = Reader(
    "otel",
    "OpenTelemetry GenAI and OpenInference spans (OTLP JSON, JSON, JSON Lines)",
    1,
    "session",
    sniff,
    read,
    ignores=(
        "resourceSpans[].resource.*", "resourceSpans[].scopeSpans[].scope.*", f"{_SPANS}.name", f"{_SPANS}.spanId",
        f"{_SPANS}.parentSpanId", f"{_SPANS}.endTimeUnixNano", f"{_SPANS}.events[].timeUnixNano",
    ),
)  # fmt: skip
