"""Inspect logs (`.eval` and `.json`), read by inspect_ai itself: attachments and message pools are resolved there.

One episode a sample and epoch; of an `.eval` file one sample at a time is in memory, and a large one is cut into ranges
of samples (`_inspect_zip.py`). Where a sample has a timeline named `target` (Petri), that conversation is the episode, not
the auditor's. Needs the extra `inspect`.
"""

from __future__ import annotations

import zipfile
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator
from io import BytesIO
from typing import TYPE_CHECKING, Any, NamedTuple

import zstandard

from auditor.errors import InputError, MissingExtra, ShapeError
from auditor.readers._inspect_zip import cuts, is_zip, samples
from auditor.readers.base import Context, Head, Reader, arguments_of, number, text_of
from auditor.readers.files import document
from auditor.transcript import Ended, Message, Origin, ReasoningKind, ToolCall, Transcript, content_hash

if TYPE_CHECKING:
    from inspect_ai.log import EvalLog, EvalSample
    from inspect_ai.model import ChatMessage

# What a member whose bytes are damaged may raise; a disk or a network that fails is another matter, and ends the reading.
_DAMAGE = (ValueError, KeyError, IndexError, EOFError, NotImplementedError, zlib.error, zstandard.ZstdError, zipfile.BadZipFile)
_GRADES = {"C": 1.0, "I": 0.0, "P": 0.5, "N": 0.0}
_BUDGETS = ("token", "time", "working", "message", "cost", "turn")
# How Inspect's own tool servers are called: their exit code is not the command's.
_SUPPORT = ("inspect-tool-support", "inspect-sandbox-tools")


def sniff(head: Head) -> bool:
    """A zip that begins with one of Inspect's members, or a document with `eval.task` and `eval.model`."""
    if head.container == "zip":
        name = head.names[0] if head.names else ""
        return name in ("header.json", "summaries.json", "reductions.json") or name.startswith(("_journal/", "samples/"))
    return head.container == "document" and any(_log(value) for value in head.objects[:1])


def _log(value: dict[str, Any]) -> bool:
    spec = value.get("eval")
    return isinstance(spec, dict) and {"task", "model"} <= set(spec) and "version" in value


def read(context: Context) -> Iterator[Transcript]:
    """All samples of a log, or those in the context's range. A sample that cannot be read, or says nothing, is set aside.

    Raises MissingExtra without inspect_ai, InputError for a log that would unpack to an absurd size.
    """
    try:
        from inspect_ai.log import read_eval_log
    except ImportError as error:
        raise MissingExtra("an Inspect log", "inspect") from error
    path = context.local()
    if is_zip(path):
        yield from _samples(path, context)
        return
    log = read_eval_log(BytesIO(document(path)), format="json", resolve_attachments="core")
    if not log.samples:
        raise ShapeError(f"the log has no samples (status {log.status})")
    for sample in log.samples:
        yield from _aside(sample, log, context)


def _samples(path: str, context: Context) -> Iterator[Transcript]:
    from inspect_ai.log import read_eval_log, read_eval_log_sample

    found = samples(path)
    try:
        log = read_eval_log(path, header_only=True, format="eval")
    except _DAMAGE:
        if context.start:
            return  # the first range says so, once for the log
        raise
    if context.start == 0:
        _missing(path, log, {(sample.id, sample.epoch) for sample in found}, context)
    mine = (s for s in found if context.start <= s.offset and (context.end is None or s.offset < context.end))
    for number_, (ident, epoch, _, _) in enumerate(mine):
        name = f"sample {ident} epoch {epoch}"
        if not context.go(number_, name):
            continue
        try:
            sample = read_eval_log_sample(path, ident, epoch, resolve_attachments="core", format="eval")
        except _DAMAGE as error:
            context.reject(f"{name}: {' '.join(str(error).split())[:200]}", "the rest of the log was read", None)
            continue
        yield from _aside(sample, log, context)


def _missing(path: str, log: EvalLog, there: set[tuple[str, int]], context: Context) -> None:
    """Set aside what the log's summaries name and the log does not hold. ShapeError for a log of no samples at all."""
    from inspect_ai.log import read_eval_log_sample_summaries

    summaries = read_eval_log_sample_summaries(path, format="eval")
    if not summaries and not there:
        raise ShapeError(f"the log has no samples (status {log.status})")
    for summary in summaries:
        if (str(summary.id), summary.epoch) not in there:
            reason = f"sample {summary.id} epoch {summary.epoch}: its summary is there, the sample is not"
            context.reject(reason, "the rest of the log was read", None)


def _aside(sample: EvalSample, log: EvalLog, context: Context) -> Iterator[Transcript]:
    try:
        yield _transcript(sample, log, context)
    except (InputError, ValueError, KeyError, TypeError, AttributeError) as error:
        reason = " ".join(str(error).split())[:300]
        context.reject(f"sample {sample.id} epoch {sample.epoch}: {reason}", "the rest of the log was read", None)


def _transcript(sample: EvalSample, log: EvalLog, context: Context) -> Transcript:
    heard = _target(sample) or _main(sample)
    said = _Said(_exit_codes(sample), f"{heard.model} {log.eval.model}")
    marked = any(chat.source == "input" for chat, _ in heard.messages)
    before = ""
    for chat, origin in heard.messages:
        # A user turn right behind a tool's result, in a log that marks its input, is the scaffold's (token counts, say).
        ours = marked and chat.role == "user" and chat.source is None and before == "tool" and origin == "main"
        said.take(chat, "injected" if ours else origin)
        before = chat.role
    if not said.messages:
        error = f", it ended with {sample.error.message[:200]}" if sample.error else ""
        raise ShapeError(f"no messages{error}")
    score, passed, scores = _score(sample)
    facts = {
        "sample_uuid": sample.uuid, "run_id": log.eval.run_id, "task_id": log.eval.task_id, "eval_id": log.eval.eval_id,
        "output_model": sample.output.model or None, "status": log.status, "target": sample.target, "scores": scores or None,
        "metadata": sample.metadata or None, "limit": sample.limit.type if sample.limit else None, "started": sample.started_at,
        "error": sample.error.message if sample.error else None, "errors": len(sample.error_retries or []) or None,
    }  # fmt: skip
    transcript = Transcript(
        id=sample.uuid or "",
        model=heard.model or log.eval.model,
        task=f"{log.eval.task}/{sample.id}",
        environment=log.eval.task,
        epoch=sample.epoch,
        reasoning_kind=next((kind for kind in ("raw", "summarised", "encrypted") if kind in said.kinds), None),
        ended=_ended(sample, said.messages),
        score=score,
        passed=passed,
        messages=tuple(said.messages),
        metadata={key: fact for key, fact in facts.items() if fact is not None},
        ignored=dict(Counter(f"event/{event.event}" for event in sample.events)),
        format=READER.name,
        reader_version=READER.version,
        source=context.source,
    )
    return transcript if transcript.id else transcript.model_copy(update={"id": content_hash(transcript)})


class _Heard(NamedTuple):
    """A conversation, and its model where that is not the log's."""

    messages: list[tuple[ChatMessage, Origin]]
    model: str | None


def _main(sample: EvalSample) -> _Heard:
    given = sample.messages or _last([event for event in sample.events if event.event == "model"])
    return _Heard([(m, "main") for m in given], None)


def _target(sample: EvalSample) -> _Heard | None:
    """The conversation of the timeline `target`; what its abandoned branches say more is kept as rewound."""
    line = next((t for t in getattr(sample, "timelines", None) or [] if t.name == "target"), None)
    calls, branches = _calls(line.root) if line else ([], [])
    if not calls and not branches:
        return None
    messages: list[tuple[ChatMessage, Origin]] = [(m, "main") for m in _last(calls or branches[-1])]
    for branch in branches:
        other = _last(branch)
        same = 0
        while same < min(len(other), len(messages)) and _alike(other[same], messages[same][0]):
            same += 1
        messages[same:same] = [(m, "rewound") for m in other[same:]]
    return _Heard(messages, (calls or branches[-1])[-1].model)


def _calls(span: Any) -> tuple[list[Any], list[list[Any]]]:
    """The model events of a span and the spans in it, and those of each abandoned branch."""
    calls: list[Any] = []
    branches = [_calls(branch)[0] for branch in span.branches]
    for item in span.content:
        if item.type == "span":
            inner, more = _calls(item)
            calls += inner
            branches += more
        elif item.event.event == "model":
            calls.append(item.event)
    return calls, [branch for branch in branches if branch]


def _last(calls: list[Any]) -> list[ChatMessage]:
    """The conversation as the last model call had it, with its answer."""
    if not calls:
        return []
    call = calls[-1]
    return [*call.input, *([call.output.message] if call.output and call.output.choices else [])]


def _alike(a: ChatMessage, b: ChatMessage) -> bool:
    return a.role == b.role and a.text == b.text and getattr(a, "tool_calls", None) == getattr(b, "tool_calls", None)


class _Said:
    """Messages made of Inspect's, and the kinds of reasoning met."""

    def __init__(self, exits: dict[str, int], model: str) -> None:
        self.messages: list[Message] = []
        self.kinds: set[ReasoningKind] = set()
        self._exits = exits
        # Since Claude 4 the signed text is a summary; 3.7 gave the reasoning itself.
        self._signed_is_raw = "3-7" in model

    def take(self, m: ChatMessage, origin: Origin) -> None:
        """Take one message; a tool that the server ran gives a call and a result."""
        parts = [m.content] if isinstance(m.content, str) else m.content
        texts, thoughts = list[str](), list[str]()
        calls, results = list[ToolCall](), list[Message]()
        for part in parts:
            if isinstance(part, str) or part.type == "text":
                texts.append(part if isinstance(part, str) else part.text)
            elif part.type == "reasoning":
                thoughts.append(self._thought(part))
            elif part.type == "tool_use":
                calls.append(ToolCall(id=part.id, name=part.name, arguments=arguments_of(part.arguments)))
                results.append(
                    Message(role="tool", content=text_of(part.result), tool_call_id=part.id, name=part.name, origin=origin)
                )
            else:
                texts.append(f"[{part.type}]")
        made = Message(role=m.role, content="\n".join(t for t in texts if t), origin=origin)
        update: dict[str, Any] = {}
        if m.role == "assistant":
            for call in m.tool_calls or []:
                given = call.arguments if not call.parse_error else call.arguments or {"input": call.parse_error}
                calls.append(ToolCall(id=call.id, name=call.function, arguments=arguments_of(given)))
            update = {"reasoning": "\n".join(t for t in thoughts if t) or None, "tool_calls": tuple(calls)}
            if m.source == "input" and origin == "main":
                # An answer in the sample's input is an example or a prefill, not this model's.
                update["origin"] = "prefilled"
        elif m.role == "tool":
            failed = m.error.message if m.error else ""
            text = made.content if failed in made.content else "\n".join(t for t in (made.content, failed) if t)
            code = self._exits.get(m.tool_call_id or "")
            update = {"content": text, "tool_call_id": m.tool_call_id, "name": m.function, "exit_code": code}
            update["is_error"] = True if m.error else None
        self.messages.append(made.model_copy(update=update))
        self.messages += results

    def _thought(self, part: Any) -> str:
        summary = part.summary or ""
        if part.redacted:
            self.kinds.add("summarised" if summary else "encrypted")
            return summary
        text = part.reasoning or summary
        if text:
            whole = part.reasoning and (self._signed_is_raw or not part.signature)
            self.kinds.add("raw" if whole else "summarised")
        return text


def _exit_codes(sample: EvalSample) -> dict[str, int]:
    """Exit codes by tool call, where exactly one command ran in the call's span."""
    owner: dict[str, str] = {}
    codes: dict[str, list[int | None]] = {}
    begun: str | None = None
    for event in sample.events:
        if event.event == "span_begin":
            begun = event.id
        elif event.event == "tool" and begun is not None and begun not in owner:
            owner[begun] = event.id
        elif event.event == "sandbox" and event.action == "exec" and event.span_id in owner:
            own = any(name in (event.cmd or "") for name in _SUPPORT)
            codes.setdefault(owner[event.span_id], []).append(None if own else event.result)
    return {call: found[0] for call, found in codes.items() if len(found) == 1 and found[0] is not None}


def _score(sample: EvalSample) -> tuple[float | None, bool | None, dict[str, Any]]:
    """The first scorer's value as a number; passed where that is 0 or 1; all scores as they are."""
    given = sample.scores or {}
    scores: dict[str, Any] = {n: s.model_dump(mode="json", exclude_none=True, exclude={"history"}) for n, s in given.items()}
    first: Any = next((entry.get("value") for entry in scores.values()), None)
    score = _GRADES.get(first) if isinstance(first, str) else number(first)
    return score, bool(score) if score in (0.0, 1.0) else None, scores


def _ended(sample: EvalSample, messages: Iterable[Message]) -> Ended | None:
    if sample.limit:
        return "budget" if sample.limit.type in _BUDGETS else "cut off"
    if sample.error:
        return "cut off"
    main = [m for m in messages if m.origin == "main" and m.role == "assistant"]
    if not main:
        return None
    return "submitted" if main[-1].submits else "cut off" if main[-1].tool_calls else "final report"


READER = Reader(
    "inspect",
    "Inspect logs (.eval, .json)",
    2,
    "file",
    sniff,
    read,
    cuts=cuts,
    ignores=("store.*", "events.*", "attachments.*"),
)
