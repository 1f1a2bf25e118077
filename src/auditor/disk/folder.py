"""A folder on this machine."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

from auditor.disk.base import File, cache_of
from auditor.errors import StoreError


class Folder:
    """A folder on this machine; one writer at a time, by a lock."""

    filesystem = None
    grace = 0.0  # the lock keeps other writers out

    def __init__(self, path: Path) -> None:
        self.path = path
        self.where = str(path)
        self._lock: IO[bytes] | None = None

    def at(self, name: str) -> str:
        """An absolute path."""
        return str(self.path.resolve() / name)

    def spellings(self) -> list[str]:
        """One."""
        return [str(self.path.resolve())]

    def read(self, name: str) -> bytes:
        """The bytes of a file."""
        return (self.path / name).read_bytes()

    def each(self, names: Sequence[str]) -> Iterator[tuple[str, bytes]]:
        """One after the other."""
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                yield name, self.read(name)

    def range(self, name: str, start: int, length: int) -> bytes:
        """Seek and read."""
        with self.open(name) as file:
            file.seek(start)
            return file.read(length)

    def size(self, name: str) -> int:
        """By stat."""
        return (self.path / name).stat().st_size

    def open(self, name: str) -> IO[bytes]:
        """The file, opened."""
        return (self.path / name).open("rb")

    def exists(self, name: str) -> bool:
        """Whether it is a file."""
        return (self.path / name).is_file()

    def names(self, folder: str) -> list[str]:
        """Files alone."""
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            return sorted(entry.name for entry in os.scandir(self.path / folder) if entry.is_file())
        return []

    def listed(self, folder: str) -> dict[str, File]:
        """Files alone, with size and time."""
        found, now = {}, time.time()
        for name in self.names(folder):
            with contextlib.suppress(FileNotFoundError):
                told = (self.path / folder / name).stat()
                found[name] = File(told.st_size, str(told.st_mtime_ns), max(0.0, now - told.st_mtime))
        return found

    @contextlib.contextmanager
    def part(self, name: str) -> Iterator[Path]:
        """Temporary name, fsync, rename, fsync of the folder."""
        target = self.path / name
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
        try:
            yield temporary
            with temporary.open("rb") as file:
                os.fsync(file.fileno())
            temporary.replace(target)
            _sync(target.parent)
        finally:
            temporary.unlink(missing_ok=True)

    def remove(self, name: str) -> None:
        """Unlink."""
        (self.path / name).unlink(missing_ok=True)

    def clear(self, names: Sequence[str]) -> None:
        """Unlink each, fsync of their folders."""
        for name in names:
            self.remove(name)
        for folder in {(self.path / name).parent for name in names}:
            if folder.is_dir():
                _sync(folder)

    def begin(self) -> None:
        """Make the folder and take its lock. StoreError when it holds something else or another writer has it."""
        try:
            if self.path.exists() and not self.path.is_dir():
                raise StoreError(f"{self.where}: is a file; -o takes a folder")
            if self.path.is_dir() and not (self.path / "audit.json").exists():
                strangers = sorted(p.name for p in self.path.iterdir() if p.name != ".lock")[:3]
                if strangers:
                    raise StoreError(f"{self.where}: holds {', '.join(strangers)} and no audit; give -o a new or empty folder")
            self.path.mkdir(parents=True, exist_ok=True)
            self._lock = (self.path / ".lock").open("wb")
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StoreError(f"{self.where}: another auditor is writing here; wait for it, or choose another -o") from None
        except OSError as error:
            raise StoreError(f"{self.where}: cannot write here ({error.strerror})") from None

    def end(self) -> None:
        """Let go of the lock."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def scratch(self) -> Path:
        """The folder itself."""
        return self.path

    def cache(self) -> Path:
        """By the path: the folder may be shared by machines, and SQLite may not."""
        return cache_of(str(self.path.resolve()))


def _sync(folder: Path) -> None:
    opened = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
