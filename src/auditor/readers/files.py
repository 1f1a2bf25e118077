"""Bytes under the readers: finding, opening, decompressing and cutting files into records.

Lines are split on `\\n` bytes alone (U+2028 is legal inside a JSON string). Nothing here holds more than one
record of a lines file in memory; documents and arrays are read whole, up to `MAX_DOCUMENT`.
"""

from __future__ import annotations

import bz2
import contextlib
import gzip
import hashlib
import io
import json
import os
import shutil
import tempfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from typing import IO, Any, NamedTuple, cast

import fsspec
import orjson
import pydantic_core
import zstandard
from pydantic import JsonValue

from auditor.errors import InputError, ShapeError
from auditor.readers.base import Container, Head, Record

SNIFF_BYTES = 64 * 1024
MAX_RECORD = 64 * 1024 * 1024
MAX_DOCUMENT = 512 * 1024 * 1024
_BLOCK = 1024 * 1024
# What a truncated or damaged compressed stream, or a disk, may raise while it is read.
READ_ERRORS = (OSError, EOFError, zlib.error, zstandard.ZstdError)


class Found(NamedTuple):
    """A file that exists: where, how large (compressed), and a mark that changes when its content does."""

    path: str
    size: int
    stamp: str


class Line(NamedTuple):
    """One line without its end; `data` is None where it is longer than `MAX_RECORD`."""

    offset: int
    data: bytes | None
    length: int


def find(patterns: Iterable[str]) -> Iterator[Found]:
    """Files under the given files, folders, globs and fsspec URLs, sorted, each once. InputError when one names nothing."""
    seen: set[str] = set()
    for pattern in patterns:
        found = False
        for file in _expand(pattern):
            found = True
            if file.path not in seen:
                seen.add(file.path)
                yield file
        if not found:
            raise InputError(f"{pattern}: no such file or folder, or nothing in it; give files, folders, globs, '-' or URLs")


def _expand(pattern: str) -> Iterator[Found]:
    if "://" in pattern:
        yield from _expand_url(pattern)
    elif os.path.isdir(pattern):
        for folder, folders, names in os.walk(pattern):
            folders[:] = sorted(f for f in folders if f != ".git" and not os.path.exists(os.path.join(folder, f, "audit.json")))
            yield from (_local(os.path.join(folder, name)) for name in sorted(names) if not name.startswith(".DS_"))
    elif os.path.exists(pattern):
        yield _local(pattern)
    else:
        from glob import glob

        yield from (_local(path) for path in sorted(glob(pattern, recursive=True)) if os.path.isfile(path))


def _local(path: str) -> Found:
    try:
        stat = os.stat(path)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}; is it a broken link?") from error
    return Found(path, stat.st_size, str(stat.st_mtime_ns))


def _expand_url(url: str) -> Iterator[Found]:
    try:
        fs, path = fsspec.core.url_to_fs(url)
        listed = fs.find(path, detail=True) if not fs.isfile(path) and "*" not in path else fs.glob(path, detail=True)
    except Exception as error:  # every backend has errors of its own (credentials, DNS, a missing package)
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"{url}: {reason}; see the backend's own settings (for s3://: pip install 'auditor[s3]')") from error
    for name, info in sorted(listed.items()):
        if info.get("type") == "file":
            stamp = next((str(info[k]) for k in ("ETag", "etag", "mtime", "LastModified", "created") if info.get(k)), "")
            yield Found(fs.unstrip_protocol(name), int(info.get("size") or 0), stamp)


_FETCH = 4 << 20
"""Bytes fetched at once from object storage: a backend's own choice may be 50 MB, for a range of 256 kB."""


def open_bytes(path: str) -> IO[bytes]:
    """The file as it lies, compressed or not."""
    if "://" in path:
        system, name = fsspec.core.url_to_fs(path)
        return cast(IO[bytes], system.open(name, "rb", block_size=_FETCH))
    return open(path, "rb", buffering=0)


def open_plain(path: str) -> IO[bytes]:
    """The file decompressed, by its content: gzip, bzip2, Zstandard (several frames too) or as it is."""
    return plain(open_bytes(path))


def plain(raw: IO[bytes]) -> IO[bytes]:
    """The same of a stream."""
    magic = raw.read(4)
    raw.seek(0)
    if magic[:2] == b"\x1f\x8b":
        return cast(IO[bytes], gzip.GzipFile(fileobj=raw))
    if magic[:3] == b"BZh":
        return cast(IO[bytes], bz2.BZ2File(raw))
    if magic == b"\x28\xb5\x2f\xfd":
        stream = zstandard.ZstdDecompressor(max_window_size=2**31).stream_reader(raw, read_across_frames=True)
        return cast(IO[bytes], io.BufferedReader(cast(Any, stream)))
    return raw


def splittable(path: str) -> bool:
    """Whether byte ranges of the file can be read apart: it is not compressed, and whoever serves it serves ranges."""
    with open_bytes(path) as file:
        if not file.seekable():
            return False
        magic = file.read(4)
    return not (magic[:2] == b"\x1f\x8b" or magic[:3] == b"BZh" or magic == b"\x28\xb5\x2f\xfd")


def head(path: str) -> Head | None:
    """The first 64 kB of a file, parsed as far as they go; None for an empty file.

    Raises InputError for what is no JSON, Parquet or zip, READ_ERRORS for a stream that breaks.
    """
    with open_plain(path) as stream:
        data = _read_upto(stream, SNIFF_BYTES)
    if not data.strip():
        return None
    if data[:4] == b"PK\x03\x04":
        length = int.from_bytes(data[26:28], "little")
        return Head(path, "zip", [], (data[30 : 30 + length].decode(errors="replace"),))
    if data[:4] == b"PAR1":
        return Head(path, "parquet", [], _columns(path))
    text = data.removeprefix(b"\xef\xbb\xbf").lstrip()
    container = _container(text, whole=len(data) < SNIFF_BYTES)
    if container == "lines":
        return Head(path, "lines", [v for v in map(_lenient, text.split(b"\n")) if v is not None])
    value = _partial(text)
    return Head(path, container, list(value) if isinstance(value, list) else [value])


def _container(text: bytes, *, whole: bool) -> Container:
    first, newline, rest = text.partition(b"\n")
    if text[:1] == b"[" and not (newline and _strict(first) is not None and rest.strip()):
        return "array"
    if text[:1] not in (b"{", b"["):
        if any(_strict(line) is not None for line in text.split(b"\n")[:50] if line[:1] == b"{"):
            return "lines"
        raise InputError("neither JSON, JSON Lines, Parquet nor zip; see 'auditor formats'")
    if not newline:
        return "lines" if not whole or _strict(text) is None else "document"
    if _strict(first) is not None or len(first) > 200:
        return "lines" if rest.strip() else "document"
    if whole and _strict(text) is not None:
        return "document"
    return "lines" if any(_strict(line) is not None for line in rest.split(b"\n")[:50] if line[:1] == b"{") else "document"


def _strict(data: bytes) -> JsonValue:
    try:
        return cast(JsonValue, orjson.loads(data))
    except orjson.JSONDecodeError:
        return None


def _lenient(line: bytes) -> JsonValue:
    value = _strict(line)
    return _partial(line) if value is None and line.strip() else value


def _partial(data: bytes) -> JsonValue:
    try:
        return cast(JsonValue, pydantic_core.from_json(data, allow_partial="trailing-strings"))
    except ValueError:
        return None


def _read_upto(stream: IO[bytes], limit: int) -> bytes:
    parts: list[bytes] = []
    left = limit
    while left > 0 and (block := stream.read(left)):
        parts.append(block)
        left -= len(block)
    return b"".join(parts)


def lines(stream: IO[bytes], start: int = 0, end: int | None = None) -> Iterator[Line]:
    """The lines that begin in [start, end) of a stream, with their byte offsets, empty ones left out."""
    if start:
        stream.seek(start - 1)
        at = start - 1
        skip = True
    else:
        at, skip = 0, False
    rest: list[bytes] = []
    length = 0
    begin = at
    while True:
        block = stream.read(_BLOCK)
        if not block:
            break
        cut = block.split(b"\n")
        for i, part in enumerate(cut):
            length += len(part)
            if length <= MAX_RECORD:
                rest.append(part)
            if i == len(cut) - 1:
                break
            if skip:
                skip = False
            elif length:
                yield Line(begin, b"".join(rest) if length <= MAX_RECORD else None, length)
            begin += length + 1
            rest, length = [], 0
            if end is not None and begin >= end:
                return
        if length > MAX_RECORD:
            rest = []
    if length and not skip:
        yield Line(begin, b"".join(rest) if length <= MAX_RECORD else None, length)


def parse(data: bytes) -> list[JsonValue]:
    """The JSON values of one line: one, or several glued together. ShapeError says what is wrong, and where."""
    try:
        return [cast(JsonValue, orjson.loads(data))]
    except orjson.JSONDecodeError as error:
        reason = str(error)
    if b"\0" in data:
        raise ShapeError("holds NUL bytes; the file was probably cut by a crash or is no text")
    try:
        text = data.removeprefix(b"\xef\xbb\xbf").decode()
    except UnicodeDecodeError as error:
        raise ShapeError(f"not UTF-8 at byte {error.start} of the line; convert the file with iconv") from error
    values: list[JsonValue] = []
    at = 0
    try:
        while at < len(text):
            value, at = json.JSONDecoder().raw_decode(text, at)
            values.append(value)
            at += len(text[at:]) - len(text[at:].lstrip())
    except RecursionError:
        raise ShapeError("nested too deeply; no agent log is") from None
    except json.JSONDecodeError:
        if "recursion" in reason.lower() or "depth" in reason.lower():
            reason = "nested too deeply; no agent log is"
        raise ShapeError(f"broken JSON: {reason}") from None
    # Half of a surrogate pair (a string that JavaScript cut) is legal in JSON, but no text: it becomes "?".
    return cast(list[JsonValue], orjson.loads(json.dumps(values, ensure_ascii=False).encode("utf-8", "replace")))


def _columns(path: str) -> tuple[str, ...]:
    """The column names of a Parquet file. InputError for one that is damaged."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    with open_bytes(path) as stream:
        try:
            return tuple(pq.read_schema(stream).names)
        except pa.ArrowException as error:
            raise InputError(f"damaged Parquet: {' '.join(str(error).split())[:200]}") from None


def rows(path: str) -> Iterator[JsonValue]:
    """The rows of a Parquet file, a batch at a time. InputError for one that is damaged."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    with open_bytes(path) as stream:
        try:
            for batch in pq.ParquetFile(stream).iter_batches(64):
                yield from batch.to_pylist()
        except pa.ArrowException as error:
            raise InputError(f"damaged Parquet: {' '.join(str(error).split())[:200]}") from None


def document(path: str) -> bytes:
    """The whole decompressed file. InputError when it is larger than `MAX_DOCUMENT`."""
    with open_plain(path) as stream:
        data = _read_upto(stream, MAX_DOCUMENT + 1)
    if len(data) > MAX_DOCUMENT:
        raise InputError(f"one JSON document of more than {MAX_DOCUMENT >> 20} MB; write it as JSON Lines")
    return data.removeprefix(b"\xef\xbb\xbf")


@contextlib.contextmanager
def spooled(stream: IO[bytes]) -> Iterator[str]:
    """A stream that can be read only once as a temporary file, named by its content so that the same input is the same file."""
    digest = hashlib.sha256()
    with tempfile.TemporaryDirectory(prefix="auditor-") as folder:
        path = os.path.join(folder, "stdin")
        with open(path, "wb") as file:
            while block := stream.read(_BLOCK):
                digest.update(block)
                file.write(block)
        target = os.path.join(tempfile.gettempdir(), f"auditor-stdin-{digest.hexdigest()[:16]}")
        shutil.move(path, target)
        os.utime(target, (0, 0))
        try:
            yield target
        finally:
            os.unlink(target)


def beside(path: str) -> Callable[[str], JsonValue]:
    """A function that reads the JSON file at a path relative to `path`; None where there is none or it is no JSON."""

    def read(relative: str) -> JsonValue:
        folder = path.rsplit("/", 1)[0] if "/" in path else "."
        parts = f"{folder}/{relative}".split("/")
        while ".." in parts[1:]:
            i = parts.index("..", 1)
            parts[i - 1 : i + 1] = [".."] if parts[i - 1] in ("..", ".", "") else []
            if parts[i - 1 : i] == [".."]:
                break
        target = "/".join(parts) if "://" in path else os.path.normpath(os.path.join(os.path.dirname(path), relative))
        try:
            return _strict(document(target))
        except (InputError, *READ_ERRORS):
            return None

    return read


def as_record(value: JsonValue, offset: int = 0, line: int | None = None) -> Record:
    """A Record of one value."""
    return Record(value, offset, line)
