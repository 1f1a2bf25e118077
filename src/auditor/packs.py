"""Many Parquet parts written as one: rows in the order of shards, in large groups of rows, so that a reader of one shard skips the rest.

Small parts are fetched many at once (on object storage each is a round trip), large ones and packs are read a group of rows at a
time: memory is that of `_WINDOW_BYTES` and two groups of rows, whatever the parts hold.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Sequence, Set
from contextlib import ExitStack
from itertools import groupby
from pathlib import Path
from typing import IO, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from auditor.errors import StoreError
from auditor.store import Audit, is_pack

_GROUP_ROWS, _GROUP_BYTES = 32_768, 64 << 20
_WINDOW_FILES, _WINDOW_BYTES = 256, 32 << 20
_KEY = ("rubric", "view", "detector")


class Piece(NamedTuple):
    """The rows of one shard in one part of `size` bytes; of verdicts those whose (rubric, view, detector) is in `keys`."""

    part: str
    shard: str
    size: int
    keys: Set[tuple[str, ...]] = frozenset()


def write(audit: Audit, name: str, schema: pa.Schema, pieces: Sequence[Piece]) -> None:
    """Write a pack of the pieces, which stand in the order of shards. StoreError for a part that cannot be read."""
    with audit.part(name) as path, ExitStack() as stack:
        pack = _Groups(path, schema)
        packs: dict[str, _Pack] = {}
        for window in _windows(pieces):
            small = dict(audit.disk.each([p.part for p in window if not _streamed(p)]))
            for piece in window:
                try:
                    if is_pack(piece.part):
                        if piece.part not in packs:
                            packs[piece.part] = _Pack(stack.enter_context(audit.disk.open(piece.part)))
                        pack.add_all(_kept(table, piece) for table in packs[piece.part].take(piece.shard))
                    elif piece.part in small:
                        pack.add_all(_kept(table, piece) for table in _tables(io.BytesIO(small.pop(piece.part))))
                    else:
                        with audit.disk.open(piece.part) as file:
                            pack.add_all(_kept(table, piece) for table in _tables(file))
                except (OSError, pa.ArrowInvalid) as error:
                    told = " ".join(str(error).split())[:120]
                    raise StoreError(
                        f"{audit.disk.at(piece.part)}: cannot be read ({told}); run the same command again, or scan its logs anew"
                    ) from None
        pack.close()


def _streamed(piece: Piece) -> bool:
    return is_pack(piece.part) or piece.size > _WINDOW_BYTES


def _windows(pieces: Iterable[Piece]) -> Iterator[list[Piece]]:
    """Pieces in order, as many as are held in memory at once."""
    window: list[Piece] = []
    size = 0
    for piece in pieces:
        weight = 0 if _streamed(piece) else piece.size
        if window and (len(window) >= _WINDOW_FILES or size + weight > _WINDOW_BYTES):
            yield window
            window, size = [], 0
        window.append(piece)
        size += weight
    if window:
        yield window


def _tables(file: IO[bytes]) -> Iterator[pa.Table]:
    parquet = pq.ParquetFile(file)
    for group in range(parquet.num_row_groups):
        yield parquet.read_row_group(group)


def _kept(table: pa.Table, piece: Piece) -> pa.Table:
    """Of verdicts, those that count."""
    if not piece.keys or not table.num_rows:
        return table
    found = pc.binary_join_element_wise(*(table.column(name) for name in _KEY), "\x1f")
    return table.filter(pc.is_in(found, pa.array(["\x1f".join(key) for key in piece.keys])))


class _Pack:
    """A pack that is read once, from beginning to end: its rows stand in the order of shards, and so they are taken."""

    def __init__(self, file: IO[bytes]) -> None:
        self._runs = self._each(file)
        self._ahead = next(self._runs, None)

    def take(self, shard: str) -> Iterator[pa.Table]:
        """The rows of a shard; those of shards before it, which nobody wants any more, are passed over."""
        while self._ahead is not None and self._ahead[0] <= shard:
            found, rows = self._ahead
            self._ahead = next(self._runs, None)
            if found == shard:
                yield rows

    @staticmethod
    def _each(file: IO[bytes]) -> Iterator[tuple[str, pa.Table]]:
        for table in _tables(file):
            at = 0
            for shard, same in groupby(table.column("shard").to_pylist()):
                length = sum(1 for _ in same)
                yield shard, table.slice(at, length)
                at += length


class _Groups:
    """A Parquet file written in large groups of rows."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self._writer = pq.ParquetWriter(path, schema, compression="zstd")
        self._schema = schema
        self._tables: list[pa.Table] = []
        self._rows = self._bytes = 0

    def add_all(self, tables: Iterable[pa.Table]) -> None:
        """Rows behind the others."""
        for table in tables:
            self._tables.append(table)
            self._rows += table.num_rows
            self._bytes += table.nbytes
            if self._rows >= _GROUP_ROWS or self._bytes >= _GROUP_BYTES:
                self._flush()

    def _flush(self) -> None:
        table = pa.concat_tables(self._tables) if self._tables else self._schema.empty_table()
        self._writer.write_table(table, row_group_size=max(1, table.num_rows))
        self._tables, self._rows, self._bytes = [], 0, 0

    def close(self) -> None:
        """Write the rest and the footer."""
        if self._rows:
            self._flush()
        self._writer.close()
