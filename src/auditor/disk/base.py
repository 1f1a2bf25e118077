"""What a disk is, whatever lies behind it."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any, NamedTuple, Protocol

HOUR = 3600.0
"""How long what others may still read or write is left alone, in seconds."""


class File(NamedTuple):
    """What a listing tells of a file: bytes, a stamp that changes when it is written again, seconds since it was written."""

    size: int
    stamp: str
    age: float


class Disk(Protocol):
    """Files by name. `where` is what a user calls it; `filesystem` is fsspec's, None for a folder. A file that nothing names may be
    another writer's work in progress while it is younger than `grace` seconds.
    """

    where: str
    filesystem: Any
    grace: float

    def at(self, name: str) -> str:
        """The path or URL of a file."""

    def spellings(self) -> list[str]:
        """The place itself, in all ways in which DuckDB may spell it."""

    def read(self, name: str) -> bytes:
        """A whole file. FileNotFoundError where there is none."""

    def each(self, names: Sequence[str]) -> Iterator[tuple[str, bytes]]:
        """Many small files, whole, in order; one that is gone by now is left out."""

    def range(self, name: str, start: int, length: int) -> bytes:
        """Some bytes of a file. FileNotFoundError where there is none."""

    def size(self, name: str) -> int:
        """The bytes of a file. FileNotFoundError where there is none."""

    def open(self, name: str) -> IO[bytes]:
        """A file to read from."""

    def exists(self, name: str) -> bool:
        """Whether there is such a file."""

    def names(self, folder: str) -> list[str]:
        """The files right in a folder ("" is the audit itself), sorted; none where there is no folder."""

    def listed(self, folder: str) -> dict[str, File]:
        """The same files, with what the listing tells of them."""

    def part(self, name: str) -> contextlib.AbstractContextManager[Path]:
        """A local path to write to; the file has its name once the block ends without an error."""

    def remove(self, name: str) -> None:
        """Delete a file, if it is there."""

    def clear(self, names: Sequence[str]) -> None:
        """Delete many. When this returns, they stay deleted whatever happens to the machine."""

    def begin(self) -> None:
        """Make the place ready for one writer. StoreError where that cannot be."""

    def end(self) -> None:
        """The writer is done."""

    def scratch(self) -> Path:
        """A local folder for what cannot lie on object storage: kept replies, spilled queries."""

    def cache(self) -> Path:
        """A folder of this machine's cache for this audit: what is lost with it is only made or asked again."""


def cache_of(where: str) -> Path:
    """The folder of this machine's cache for an audit, by its path or URL."""
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = home / "auditor" / hashlib.sha256(where.encode()).hexdigest()[:16]
    folder.mkdir(parents=True, exist_ok=True)
    return folder
