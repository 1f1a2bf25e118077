"""Readers: find the format of a file by its content, and stream its transcripts and rejects.

A new format is one new file in this folder that exports `READER`; see `base.py`.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Callable, Iterator
from functools import cache
from importlib import import_module
from typing import Any, NamedTuple

import orjson
from pydantic import ValidationError

from auditor.errors import InputError, ShapeError, UnknownFormat
from auditor.readers import files
from auditor.readers.base import Context, Head, Reader, Record, Reject
from auditor.transcript import Source, Transcript

__all__ = ["Reader", "Reject", "Unit", "read", "registry", "sniff"]

# What a reader may meet in a record that only looks like its format: each becomes a reject with its reason.
SHAPE_ERRORS = (ShapeError, ValidationError, KeyError, TypeError, AttributeError, ValueError, IndexError, RecursionError)


class Unit(NamedTuple):
    """What is read in one go: a file, the records of a file that begin in a byte range, or a folder of one-event files."""

    paths: tuple[str, ...]
    reader: str
    container: str
    start: int = 0
    end: int | None = None


@cache
def registry() -> dict[str, Reader]:
    """All readers by name."""
    found: dict[str, Reader] = {}
    for module in pkgutil.iter_modules(__path__):
        reader = getattr(import_module(f"{__name__}.{module.name}"), "READER", None)
        if isinstance(reader, Reader):
            found[reader.name] = reader
    return dict(sorted(found.items(), key=lambda item: (item[1].generic, item[0])))


def sniff(head: Head) -> Reader:
    """The reader that takes a file. UnknownFormat names the keys that were seen and the way out."""
    for reader in registry().values():
        if reader.sniff(head):
            return reader
    keys = sorted({key for value in head.objects[:5] for key in value})[:12] or list(head.names)[:12]
    seen = ", ".join(k[:40] for k in keys) if keys else f"no objects in its {head.container}"
    raise UnknownFormat(f"unknown format (keys: {seen}); see 'auditor formats', or describe it with --mapping FILE.yaml")


def companion(head: Head) -> str | None:
    """The name of the reader that reads this file beside another one (a result.json), None if it stands for itself."""
    return next((r.name for r in registry().values() if r.companion(head)), None)


WHOLE = -1
"""In place of a record's number: the unit is read in one go."""
_KILLS = "this record kills the process that reads it (out of memory?)"


def read(unit: Unit, reader: Reader, go: Callable[[int], bool] = lambda _: True) -> Iterator[Transcript | Reject]:
    """Everything in a unit: transcripts, and a Reject for each record that is none. Raises nothing for bad content.

    `go` is told the number of each record before it is read (`WHOLE` for a unit that is one, or before its first record);
    where it says False the record becomes a Reject.
    """
    path = unit.paths[0]
    try:
        if reader.kind in ("raw", "record"):
            yield from _records(unit, reader, go)
        elif not go(WHOLE):
            yield Reject(path, None, None, _KILLS, "it was left out; the other files of its shard were read")
        else:
            yield from _session(unit, reader, go)
    except (InputError, *files.READ_ERRORS) as error:
        yield Reject(path, None, None, _reason(error), "the rest of this file was not read")


def _records(unit: Unit, reader: Reader, go: Callable[[int], bool]) -> Iterator[Transcript | Reject]:
    path = unit.paths[0]
    lookup = files.beside(path)
    rejects: list[Reject] = []
    for index, item in enumerate(_values(unit, raw=reader.kind == "raw")):
        if isinstance(item, Reject):
            yield item
            continue
        value, offset, line = item
        if not go(index):
            yield Reject(path, line, offset, _KILLS, "it was left out; all others were read")
            continue
        source = Source.model_construct(path=path, record=index, offset=offset, line=line)

        def reject(reason: str, hint: str, _: Record | None, source: Source = source) -> None:
            rejects.append(Reject(path, source.line, source.offset, reason, hint))

        try:
            yield from reader.read(value, Context(source, lookup, reject=reject))
        except SHAPE_ERRORS as error:
            yield Reject(path, line, offset, _reason(error), f"not a record of {reader.name}; see 'auditor formats'")
        yield from rejects
        rejects.clear()


def _values(unit: Unit, *, raw: bool) -> Iterator[tuple[Any, int, int | None] | Reject]:
    path = unit.paths[0]
    if unit.container == "lines":
        before = None if unit.start else 0
        with files.open_plain(path) as stream:
            for number, line in enumerate(files.lines(stream, unit.start, unit.end), 1):
                if line.data is None:
                    where = _line_number(path, line.offset)
                    yield Reject(path, where, line.offset, f"a line of {line.length:,} bytes", "no record may be over 64 MB")
                elif raw:
                    yield line.data, line.offset, None if before is None else number
                else:
                    try:
                        for value in files.parse(line.data):
                            yield value, line.offset, None if before is None else number
                    except ShapeError as error:
                        yield Reject(path, _line_number(path, line.offset), line.offset, str(error), "mend or remove this line")
        return
    if unit.container == "parquet":
        yield from ((row, 0, None) for row in files.rows(path))
        return
    data = files.document(path)
    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        yield Reject(path, None, None, f"broken JSON: {error}", "was the file cut off while it was written?")
        return
    for element in value if unit.container == "array" and isinstance(value, list) else [value]:
        yield (orjson.dumps(element) if raw else element), 0, None


def _session(unit: Unit, reader: Reader, go: Callable[[int], bool]) -> Iterator[Transcript | Reject]:
    path = unit.paths[0]
    rejects: list[Reject] = []

    def reject(reason: str, hint: str, record: Record | None) -> None:
        rejects.append(Reject(path, record.line if record else None, record.offset if record else None, reason, hint))

    def go_on(number: int, name: str) -> bool:
        may = go(number)
        if not may:
            reject(f"{name}: {_KILLS}", "it was left out; all others were read", None)
        return may

    def records() -> Iterator[Record]:
        for part in unit.paths:
            for item in _values(unit._replace(paths=(part,)), raw=False):
                if isinstance(item, Reject):
                    rejects.append(item)
                else:
                    yield Record(*item)

    source = Source(path=path)
    context = Context(source, files.beside(path), lambda: path, reject, unit.start, unit.end, go_on)
    try:
        if reader.kind == "file":
            yield from reader.read(context)
        else:
            yield from reader.read(records(), context)
    except SHAPE_ERRORS as error:
        yield Reject(path, None, None, _reason(error), f"not a file of {reader.name}; see 'auditor formats'")
    yield from rejects


def _line_number(path: str, offset: int) -> int | None:
    """1-based line of a byte offset: read only for rejects, which are rare."""
    with files.open_plain(path) as stream:
        count, left = 1, offset
        while left > 0 and (block := stream.read(min(left, 1 << 20))):
            count += block.count(b"\n")
            left -= len(block)
    return count


def _reason(error: BaseException) -> str:
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False, include_input=False)[0]
        return f"{'.'.join(map(str, first['loc'])) or 'record'}: {first['msg']}"
    if isinstance(error, KeyError):
        return f"key {error} is missing"
    text = " ".join(str(error).split())
    return text[:300] or type(error).__name__
