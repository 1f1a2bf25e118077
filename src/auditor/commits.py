"""The commits of an audit as files: one a shard, and packs of many (made by `auditor compact`). Bytes only: what they mean is the store's.

    commits/<shard>.json                       a shard's own commit; it wins over what a pack says of the shard
    commits/<shard>.gone                       the shard is in a pack, and counts no more
    commits/pack-<generation>-<hash>.jsonl     a commit a line; only packs of the highest generation count

A pack is there before anything that it replaces is removed. So a reader takes the shards' own files first, then the packs: what
vanishes before its eyes is in a pack by then.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import NamedTuple

import orjson

from auditor.disk import Disk
from auditor.errors import StoreError

FOLDER = "commits"
_BLOCK = 8 << 20


class Found(NamedTuple):
    """One commit: its shard, the file it stands in, where in it (None: it is all of the file), its bytes."""

    shard: str
    file: str
    place: tuple[int, int] | None
    data: bytes


class Commits:
    """The commits on a disk."""

    def __init__(self, disk: Disk) -> None:
        self._disk = disk
        self._places: dict[str, tuple[str, int, int]] | None = None

    def each(self) -> Iterator[Found]:
        """Every shard once, however the files change meanwhile."""
        seen: set[str] = set()
        own = [f"{FOLDER}/{name}" for name in self._disk.names(FOLDER) if name.endswith(".json")]
        for file, data in self._disk.each(own):
            shard = own_shard(file)
            seen.add(shard)
            yield Found(shard, file, None, data)
        for found in self._packed():
            if found.shard not in seen:
                seen.add(found.shard)
                yield found

    def find(self, shard: str) -> bytes:
        """The commit of one shard. FileNotFoundError where there is none."""
        with contextlib.suppress(FileNotFoundError):
            return self._disk.read(own_file(shard))
        if self._places is not None and shard in self._places:
            with contextlib.suppress(FileNotFoundError):  # compacted again meanwhile: it is in the next pack
                return self._disk.range(*self._places[shard])
        places = self._look()
        if shard not in places:
            raise FileNotFoundError(self._disk.at(own_file(shard)))
        return self._disk.range(*places[shard])

    def drop(self, shard: str) -> None:
        """Forget a shard. What hides the packed commit is there before the own one goes."""
        shared = self._disk.grace > 0  # others write too: it may be in a pack in a moment
        if shared or shard in (self._look() if self._places is None else self._places):
            with self._disk.part(f"{FOLDER}/{shard}.gone") as path:
                path.write_bytes(b"")
        self._disk.remove(own_file(shard))

    def packs(self) -> list[str]:
        """The packs that count."""
        return newest([name for name in self._disk.names(FOLDER) if name.startswith("pack-")])

    def _look(self) -> dict[str, tuple[str, int, int]]:
        self._places = {f.shard: (f.file, *f.place) for f in self._packed() if f.place is not None}
        return self._places

    def _packed(self) -> Iterator[Found]:
        """What the packs say (of a shard twice, where it was begun again). A listing is not made in one moment: packs that came
        or went while it was made, or since, are seen by looking again.
        """
        before: list[str] | None = None
        while True:
            names = self._disk.names(FOLDER)
            packs = newest([name for name in names if name.startswith("pack-") and name.endswith(".jsonl")])
            if packs == before:
                return
            hidden = {name.removesuffix(".gone") for name in names if name.endswith(".gone")}
            before = None
            with contextlib.suppress(FileNotFoundError):
                for name in packs:
                    yield from (found for found in self._lines(f"{FOLDER}/{name}") if found.shard not in hidden)
                before = packs

    def _lines(self, file: str) -> Iterator[Found]:
        """The lines of a pack, read a block at a time, so that memory stays flat."""
        size, at, start, rest = self._disk.size(file), 0, 0, b""
        while at < size:
            block = self._disk.range(file, at, min(_BLOCK, size - at))
            at += len(block)
            *lines, rest = (rest + block).split(b"\n")
            for line in lines:
                yield Found(self._shard(file, line), file, (start, len(line)), line)
                start += len(line) + 1
            if not block:
                break
        if rest or start < size:
            raise StoreError(f"{self._disk.at(file)}: cut short; restore it from a copy, or delete it and scan again")

    def _shard(self, file: str, line: bytes) -> str:
        try:
            return str(orjson.loads(line)["shard"])
        except (ValueError, KeyError, TypeError):
            raise StoreError(f"{self._disk.at(file)}: damaged; restore it from a copy, or delete it and scan again") from None


def own_file(shard: str) -> str:
    """The file of a shard's own commit."""
    return f"{FOLDER}/{shard}.json"


def own_shard(file: str) -> str:
    """The shard of such a file."""
    return file.rpartition("/")[2].removesuffix(".json")


def generation(name: str) -> int:
    """Of a pack, by its name."""
    return int(name.split("-")[1])


def newest(names: list[str]) -> list[str]:
    """Those of the highest generation."""
    last = max(map(generation, names), default=0)
    return [name for name in names if generation(name) == last]
