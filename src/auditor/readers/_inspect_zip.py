"""The zip of an Inspect log: which samples it holds and where, from its directory alone."""

from __future__ import annotations

import zipfile
from importlib.util import find_spec
from typing import IO, NamedTuple

from auditor.errors import InputError
from auditor.readers.files import open_bytes

MAX_MEMBER = 2 * 1024**3
"""Bytes of a member, unpacked: one sample at a time is in memory."""
BOMB = (200, 100 * 1024**2)
"""A member, or a log, over this many bytes that unpacks to over this many times its size is refused."""


class Sample(NamedTuple):
    """A sample as the directory names it; `offset` is where its member begins, `size` its bytes unpacked."""

    id: str
    epoch: int
    offset: int
    size: int


def is_zip(path: str) -> bool:
    """Whether a log is an `.eval` file, whatever its name."""
    with open_bytes(path) as stream:
        return stream.read(4) == b"PK\x03\x04"


def samples(path: str) -> list[Sample]:
    """The samples of a log in the order in which they lie there. InputError for a damaged zip, and for an absurd size."""
    with open_bytes(path) as stream:
        members = _members(stream)
    # A sample that was run again stands there twice: the last one counts, for Inspect's own readers too.
    last = {member.filename: member for member in members}
    found = [sample for member in last.values() if (sample := _sample(member)) is not None]
    return sorted(found, key=lambda sample: sample.offset)


def cuts(path: str) -> list[tuple[int, int]]:
    """Where each sample begins, and its bytes unpacked; nothing for a `.json` log. Raises what `samples` does.

    Without inspect_ai nothing too: that it is missing is to be said once a log.
    """
    if find_spec("inspect_ai") is None or not is_zip(path):
        return []
    return [(sample.offset, sample.size) for sample in samples(path)]


def _sample(member: zipfile.ZipInfo) -> Sample | None:
    name, _, epoch = member.filename.removeprefix("samples/").removesuffix(".json").rpartition("_epoch_")
    if member.filename != f"samples/{name}_epoch_{epoch}.json" or not (epoch.isascii() and epoch.isdecimal() and len(epoch) < 10):
        return None
    return Sample(name, int(epoch), member.header_offset, member.file_size)


def _members(stream: IO[bytes]) -> list[zipfile.ZipInfo]:
    try:
        members = zipfile.ZipFile(stream).infolist()
    except (zipfile.BadZipFile, ValueError, NotImplementedError, EOFError) as error:
        raise InputError(f"damaged zip: {error}; was the file cut off while it was written?") from error
    for member in members:
        if member.file_size > MAX_MEMBER:
            raise InputError(
                f"{member.filename[:80]} unpacks to {member.file_size >> 20:,} MB; at most {MAX_MEMBER >> 20:,} MB are read"
            )
        _refuse_air(member.filename[:80], member.file_size, member.compress_size)
    # Members that lie over each other unpack to any size: the file itself must have room for them.
    _refuse_air("the log", sum(member.file_size for member in members), stream.seek(0, 2))
    return members


def _refuse_air(what: str, unpacked: int, packed: int) -> None:
    if unpacked > BOMB[1] and unpacked > BOMB[0] * max(packed, 1):
        raise InputError(f"{what} unpacks to {unpacked >> 20:,} MB, over 200 times its size: a zip bomb?")
