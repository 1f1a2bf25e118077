"""What the parts of an audit hold: the columns of each kind, and how rows of them are made and written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import zstandard

from auditor.asked import Answer
from auditor.readers.auditor import write as write_line
from auditor.readers.base import Reject
from auditor.transcript import Source, Transcript
from auditor.verdict import Verdict

_FLUSH_ROWS = 4096

EPISODES = pa.schema(
    [("shard", pa.string()), ("row", pa.int64()), ("episode_id", pa.string()), ("model", pa.string()), ("task", pa.string())]
    + [("environment", pa.string()), ("epoch", pa.int64()), ("checkpoint", pa.string()), ("elicitation", pa.string())]
    + [("reasoning_kind", pa.string()), ("ended", pa.string()), ("score", pa.float64()), ("passed", pa.bool_())]
    + [("format", pa.string()), ("reader_version", pa.int64()), ("source", pa.string()), ("record", pa.int64())]
    + [("offset", pa.int64()), ("line", pa.int64()), ("messages", pa.int64()), ("tokens", pa.int64())]
    + [("content_hash", pa.string()), ("ignored", pa.string()), ("metadata", pa.string())]
)  # fmt: skip
EVIDENCE = pa.struct(
    [("signal", pa.string()), ("message", pa.int64()), ("channel", pa.string()), ("start", pa.int64()), ("end", pa.int64())]
    + [("quote", pa.string())]
)
VERDICTS = pa.schema(
    [("shard", pa.string()), ("row", pa.int64()), ("episode_id", pa.string()), ("model", pa.string()), ("rubric", pa.string())]
    + [("rubric_hash", pa.string()), ("detector", pa.string()), ("detector_version", pa.int64()), ("view", pa.string())]
    + [("tier", pa.string()), ("status", pa.string()), ("flagged", pa.bool_()), ("level", pa.int64())]
    + [("attributes", pa.string()), ("rationale", pa.string()), ("weight", pa.float64()), ("error", pa.string())]
    + [("evidence", pa.list_(EVIDENCE))]
)
ANSWERS = pa.schema(
    [("shard", pa.string()), ("row", pa.int64()), ("episode_id", pa.string()), ("model", pa.string()), ("rung", pa.string())]
    + [("sample", pa.int64()), ("control", pa.string()), ("mode", pa.string()), ("status", pa.string())]
    + [("answer_class", pa.string()), ("answer", pa.string()), ("question", pa.int64()), ("reply", pa.int64())]
    + [("signal", pa.string()), ("rubric_hash", pa.string())]
)


def _fields(told: str) -> list[tuple[str, pa.DataType]]:
    """`name` is a string, `name:i`, `name:f` and `name:b` an integer, a float, a truth value."""
    kinds = {"": pa.string(), "i": pa.int64(), "f": pa.float64(), "b": pa.bool_()}
    return [(name, kinds[kind]) for name, _, kind in (word.partition(":") for word in told.split())]


FACT = pa.struct(
    [
        *_fields("id kind text true:b material:b knew deliberate:b told:b source rank:i rubric"),
        ("kinds", pa.list_(pa.string())),
        ("says", pa.list_(pa.string())),
        *_fields("signal message:i channel start:i end:i quote"),
    ]
)
FACTS = pa.schema(
    [
        *_fields("shard row:i episode_id model control pair match clean_by weight:f turn:i tier target ledger_hash"),
        ("facts", pa.list_(FACT)),
    ]
)
ASKED = pa.schema(
    _fields(
        "shard row:i episode_id model rung sample:i control mode status answer_class answer asked wording:i seed:i reasoning"
        " reasoning_in_context:b tier detector rubric rubric_hash level:i flagged:b quote stances attributes error pair match"
        " clean_by founded weight:f fact kind knew deliberate:b material:b ledger_hash endpoint questions"
    )
)
REPLIES = pa.schema(
    _fields("key created endpoint model status text error prompt_tokens:i completion_tokens:i cost:f reasoning left_out")
)


class Rows:
    """A Parquet part written column by column, a group of rows at a time, so that memory stays flat."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self._writer = pq.ParquetWriter(path, schema, compression="zstd")
        self._schema = schema
        self._rows: list[tuple[Any, ...]] = []

    def add(self, row: tuple[Any, ...]) -> None:
        """One row, its values in the order of the schema."""
        self._rows.append(row)
        if len(self._rows) >= _FLUSH_ROWS:
            self.flush()

    def flush(self) -> None:
        """Write what has been added."""
        columns = zip(*self._rows, strict=True) if self._rows else [() for _ in self._schema]
        arrays = [pa.array(column, type=field.type) for column, field in zip(columns, self._schema, strict=True)]
        self._writer.write_batch(pa.record_batch(arrays, schema=self._schema))
        self._rows.clear()

    def close(self) -> None:
        """Write the rest and the footer."""
        self.flush()
        self._writer.close()


class Lines:
    """A Zstandard file of transcripts, one a line."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("wb")
        self._stream: Any = zstandard.ZstdCompressor(level=3).stream_writer(self._file)
        self.count = 0

    def add(self, transcript: Transcript) -> None:
        """One transcript."""
        self._stream.write(write_line(transcript))
        self.count += 1

    def close(self) -> None:
        """End the frame."""
        self._stream.close()
        self._file.close()


def episode_row(t: Transcript, shard: str, row: int, content: str) -> tuple[Any, ...]:
    """A row of `EPISODES`. `tokens` is an estimate: characters / 4."""
    source = t.source or Source(path="")
    size = sum(len(m.content) + len(m.reasoning or "") + sum(len(c.text) for c in m.tool_calls) for m in t.messages)
    return (
        shard, row, t.id, t.model, t.task, t.environment, t.epoch, t.checkpoint, t.elicitation, t.reasoning, t.ended, t.score,
        t.passed, t.format, t.reader_version, source.path, source.record, source.offset, source.line, len(t.messages), size // 4,
        content, orjson.dumps(t.ignored).decode(), orjson.dumps(t.metadata).decode(),
    )  # fmt: skip


def verdict_row(v: Verdict, model: str | None, shard: str, row: int) -> tuple[Any, ...]:
    """A row of `VERDICTS`."""
    proof = [
        {"signal": e.signal, "message": e.message, "channel": e.channel.value, "start": e.start, "end": e.end, "quote": e.quote}
        for e in v.evidence
    ]
    return (
        shard, row, v.episode_id, model, v.rubric, v.rubric_hash, v.detector, v.detector_version, v.view, v.tier, v.status.value,
        v.flagged, v.level, orjson.dumps(v.attributes).decode(), v.rationale, v.weight, v.error, proof,
    )  # fmt: skip


def answer_row(a: Answer, t: Transcript, shard: str, row: int, number: int, rubric_hash: str) -> tuple[Any, ...]:
    """A row of `ANSWERS`: a question that was asked inside the log (mode `log`)."""
    status = "ok" if a.reply is not None else "unanswered"
    return (
        shard, row, t.id, t.model, "in_log", number, None, "log", status, a.answer_class, a.text, a.question, a.reply, a.signal,
        rubric_hash,
    )  # fmt: skip


def reject_line(reject: tuple[str, int | None, int | None, str, str]) -> bytes:
    """One line of `rejects.jsonl`."""
    path, line, offset, reason, hint = Reject(*reject)
    return orjson.dumps({"file": path, "line": line, "offset": offset, "reason": reason, "hint": hint}) + b"\n"
