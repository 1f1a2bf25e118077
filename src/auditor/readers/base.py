"""What every reader is made of: `Reader`, `Head`, `Record`, `Reject`, `Context`, and helpers for odd shapes.

A reader is one file that exports `READER`. Its `sniff` looks at a `Head` (never at the file's name) and its
`read` turns what the container holds into transcripts. There are four kinds:

kind      read(...) is called with                                for
raw       bytes of one record, Context                            a record is an episode, parsed by pydantic
record    one parsed JSON value, Context                          a record is an episode (or several)
session   an iterator of all Records of the file, Context         a file is an episode, or mixes several
file      Context (path to open by itself)                        Parquet, zip

`read` returns an iterable of transcripts. It raises ShapeError for a record that is not what it seems; any
record that cannot be taken becomes a Reject, and the rest of the file goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple
from uuid import UUID

import orjson
from pydantic import JsonValue

from auditor.errors import InputError, ShapeError
from auditor.transcript import Source, Transcript

Container = Literal["lines", "document", "array", "parquet", "zip"]
Kind = Literal["raw", "record", "session", "file"]


class Head(NamedTuple):
    """The first 64 kB of a file, decompressed and parsed as far as they go.

    `values`: the records seen (lines), the one object, possibly cut (document), the elements (array).
    `names`: first member's name (zip) or column names (parquet).
    """

    path: str
    container: Container
    values: list[JsonValue]
    names: tuple[str, ...] = ()

    @property
    def objects(self) -> list[dict[str, JsonValue]]:
        """The values that are JSON objects."""
        return [value for value in self.values if isinstance(value, dict)]


class Record(NamedTuple):
    """One JSON value of a file and where it stood; `line` is 1-based, None where lines mean nothing."""

    value: JsonValue
    offset: int
    line: int | None


class Reject(NamedTuple):
    """A record that could not be read: nothing is dropped without one."""

    path: str
    line: int | None
    offset: int | None
    reason: str
    hint: str


@dataclass(frozen=True, slots=True)
class Context:
    """What a reader may know beside its record: where it is, and the JSON files beside its file.

    `beside("../result.json")` gives the parsed neighbour, None where there is none or it is no JSON.
    `local()` gives a path on this machine for readers of kind `file`.
    `reject(reason, hint, record)` sets a part of the file aside while the rest goes on.

    For readers that have `cuts`: read only records that begin in the bytes [`start`, `end`), and before each of them ask
    `go(number, name)`, numbers from 0; where it says False leave the record out.
    """

    source: Source
    beside: Callable[[str], JsonValue] = field(default=lambda _: None)
    local: Callable[[], str] = field(default=lambda: "")
    reject: Callable[[str, str, Record | None], None] = field(default=lambda *_: None)
    start: int = 0
    end: int | None = None
    go: Callable[[int, str], bool] = field(default=lambda *_: True)


@dataclass(frozen=True, slots=True)
class Reader:
    """One log format. Raise `version` when the same file would give another transcript."""

    name: str
    title: str
    version: int
    kind: Kind
    sniff: Callable[[Head], bool]
    read: Callable[..., Iterable[Transcript]]
    companion: Callable[[Head], bool] = field(default=lambda _: False)
    """A file that belongs to an episode read from another file (a result.json): not an episode, not a reject."""
    group: Callable[[Head], bool] = field(default=lambda _: False)
    """All files of this kind in one folder are the records of one session (one event a file)."""
    cuts: Callable[[str], Iterable[tuple[int, int]]] | None = None
    """For kind `file`: where each record of a file begins (byte offset, ascending) and how large it is unpacked, found
    without reading any, so that parts of a large file are read apart; nothing where it must be read in one go.
    """
    generic: bool = False
    """Tried after all others, because its shape is a part of theirs."""
    ignores: tuple[str, ...] = ()
    """Source fields that say nothing about the episode, as dotted paths with `[]` for list items, `*` for the rest."""


# ---- odd shapes -----------------------------------------------------------------------------------------


def mapping(value: Any, what: str) -> dict[str, Any]:
    """`value` if it is a JSON object, else ShapeError naming `what`."""
    if isinstance(value, dict):
        return value
    raise ShapeError(f"{what} should be an object, it is {_kind(value)}")


def listing(value: Any, what: str) -> list[Any]:
    """`value` if it is a JSON array ([] for null), else ShapeError naming `what`."""
    if value is None:
        return []
    if isinstance(value, list):
        return value
    raise ShapeError(f"{what} should be a list, it is {_kind(value)}")


def text_of(content: Any, what: str = "content") -> str:
    """Plain text of content that is a string, null, or a list of parts; other media become `[image]` and so on."""
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    if isinstance(content, dict):
        content = [content]
    return "\n".join(part for part in (_part(p) for p in listing(content, what)) if part)


def _part(part: Any) -> str:
    if isinstance(part, str):
        return part
    part = mapping(part, "content part")
    for key in ("text", "refusal", "input_text", "output_text"):
        if isinstance(part.get(key), str):
            return str(part[key])
    if "content" in part:
        return text_of(part["content"])
    kind = str(part.get("type", "unknown")).removeprefix("input_").removesuffix("_url")
    return f"[{kind[:40]}]"


def arguments_of(value: Any) -> dict[str, JsonValue]:
    """Tool arguments as an object: parsed when they are a JSON string, under `input` when they are no object."""
    if isinstance(value, str):
        try:
            parsed = orjson.loads(value)
        except orjson.JSONDecodeError:
            return {"input": value} if value else {}
        value = parsed if isinstance(parsed, dict) else value
    if value is None:
        return {}
    return value if isinstance(value, dict) else {"input": value}


def string(value: Any) -> str | None:
    """`value` as a string, None for null and empty; numbers are written out."""
    if isinstance(value, str):
        return value or None
    return str(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def number(value: Any) -> float | None:
    """`value` as a float, None for anything that is no number (true and false count as 1 and 0)."""
    return float(value) if isinstance(value, (int, float)) else None


def integer(value: Any) -> int | None:
    """`value` as an int, None for anything else."""
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def whole_number(text: str) -> int | None:
    """The number that `text` is, white space aside; None for other text and for numbers beyond ten digits (no exit code is)."""
    text = text.strip()
    digits = text.removeprefix("-")
    return int(text) if digits.isdecimal() and len(digits) <= 10 else None


def unique_id(value: Any) -> str | None:
    """`value` if it is a UUID, so unique in the world and fit to be a transcript's id, else None."""
    try:
        return str(value) if isinstance(value, str) and UUID(value) else None
    except ValueError:
        return None


def one_or_all(values: Iterable[JsonValue]) -> JsonValue:
    """What a log says over and over: the one value, or the list of all distinct ones in order, null for none."""
    distinct: list[JsonValue] = []
    for value in values:
        if value is not None and value not in distinct:
            distinct.append(value)
    return distinct[0] if len(distinct) == 1 else distinct or None


def each(records: Iterable[Record]) -> Iterator[tuple[Record, dict[str, Any]]]:
    """The records that are JSON objects, each with its object."""
    for record in records:
        if isinstance(record.value, dict):
            yield record, record.value


@contextmanager
def aside(context: Context, record: Record, what: str) -> Iterator[None]:
    """Within this block a bad part of a session becomes a Reject that names `what`, and the session goes on."""
    try:
        yield
    except (InputError, KeyError, TypeError, AttributeError, ValueError, IndexError) as error:
        reason = f"{error} is missing" if isinstance(error, KeyError) else " ".join(str(error).split())[:300]
        context.reject(f"{what}: {reason}", "the rest of the session was read", record)


def _kind(value: Any) -> str:
    names = {str: "a string", list: "a list", dict: "an object", bool: "a boolean", type(None): "missing"}
    return names.get(type(value), "a number")
