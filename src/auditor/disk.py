"""Where an audit lies: a folder, or a place on object storage (`s3://`, `gs://`, `az://` …) through fsspec.

Either way a file is whole or absent: a folder gets it by rename, object storage by one put. Names are relative, with `/`.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import IO, Any, NamedTuple, Protocol, cast

import fsspec
from tenacity import Retrying, retry_if_not_exception_type, stop_after_attempt, stop_after_delay, wait_random_exponential

from auditor.errors import StoreError

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


def disk(path: str | os.PathLike[str]) -> Disk:
    """The disk of a path or URL."""
    text = os.fspath(path)
    return Remote(text) if "://" in text else Folder(Path(text))


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
        return _cache(str(self.path.resolve()))


def _sync(folder: Path) -> None:
    opened = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


class Remote:
    """A place on object storage. There is no lock: parts and commits are named by what is in them, so that two workers on one
    shard leave one, and nothing younger than an hour is swept away. A server that was reached once and refuses is asked again
    for two minutes.
    """

    _AT_ONCE = 256
    _DELETED_AT_ONCE = 1000
    grace = HOUR
    patience = 120.0

    def __init__(self, url: str) -> None:
        self.where = url.rstrip("/")
        self._reached = False
        try:
            # The listing is never cached: other machines write too.
            self.filesystem, self._root = fsspec.core.url_to_fs(self.where, use_listings_cache=False)
        except (ImportError, ValueError) as error:
            told = " ".join(str(error).split())
            raise StoreError(f"{url}: {told}; for s3:// pip install 'auditor[s3]'") from None

    def at(self, name: str) -> str:
        """A URL."""
        return f"{self.where}/{name}"

    def spellings(self) -> list[str]:
        """One a protocol of the backend: what is given as `az://` comes back as `abfs://`."""
        known = self.filesystem.protocol
        names = [known] if isinstance(known, str) else list(known)
        return list(dict.fromkeys([self.where, *(f"{name}://{self._root.strip('/')}" for name in names)]))

    def read(self, name: str) -> bytes:
        """One get."""
        return cast(bytes, self._ask(self.filesystem.cat_file, f"{self._root}/{name}"))

    def each(self, names: Sequence[str]) -> Iterator[tuple[str, bytes]]:
        """Hundreds at once: one after the other would take as many round trips."""
        for start in range(0, len(names), self._AT_ONCE):
            some = names[start : start + self._AT_ONCE]
            found = self._ask(self.filesystem.cat, [f"{self._root}/{name}" for name in some], recursive=False, on_error="return")
            for name in some:
                data = found[f"{self._root}/{name}"]
                with contextlib.suppress(FileNotFoundError):
                    # What failed among many is asked for again, with patience.
                    yield name, self.read(name) if isinstance(data, Exception) else data

    def range(self, name: str, start: int, length: int) -> bytes:
        """One get."""
        return cast(bytes, self._ask(self.filesystem.cat_file, f"{self._root}/{name}", start=start, end=start + length))

    def size(self, name: str) -> int:
        """As the server has it."""
        return int(self._ask(self.filesystem.info, f"{self._root}/{name}", refresh=True)["size"])

    def open(self, name: str) -> IO[bytes]:
        """Ranges are read as they are needed."""
        return cast(IO[bytes], self._ask(self.filesystem.open, f"{self._root}/{name}", "rb"))

    def exists(self, name: str) -> bool:
        """Whether there is such an object. (fsspec's own `isfile` takes an error for a no.)"""
        try:
            return bool(self._ask(self.filesystem.info, f"{self._root}/{name}", refresh=True)["type"] == "file")
        except FileNotFoundError:
            return False

    def names(self, folder: str) -> list[str]:
        """The objects right under a prefix."""
        return sorted(name for name, _ in self._ls(folder))

    def listed(self, folder: str) -> dict[str, File]:
        """The same; sizes and times come with the listing."""
        now = time.time()
        return {name: self._file(folder, name, info, now) for name, info in sorted(self._ls(folder), key=lambda one: one[0])}

    def _ls(self, folder: str) -> list[tuple[str, dict[str, Any]]]:
        try:
            found = self._ask(self.filesystem.ls, f"{self._root}/{folder}".rstrip("/"), detail=True, refresh=True)
        except FileNotFoundError:
            return []
        return [(entry["name"].rpartition("/")[2], entry) for entry in found if entry["type"] == "file"]

    def _file(self, folder: str, name: str, info: dict[str, Any], now: float) -> File:
        """Backends name the time as they like; where none is known it is asked for. One that is gone by then is young."""
        known = (info.get(key) for key in ("LastModified", "mtime", "last_modified", "created"))
        written = next((one for one in known if isinstance(one, datetime)), None)
        if written is None:
            with contextlib.suppress(FileNotFoundError):
                written = cast(datetime, self._ask(self.filesystem.modified, f"{self._root}/{folder}/{name}"))
        age = max(0.0, now - written.timestamp()) if written else 0.0
        return File(int(info.get("size") or 0), f"{info.get('ETag') or info.get('etag') or ''}{written}", age)

    @contextlib.contextmanager
    def part(self, name: str) -> Iterator[Path]:
        """Written here, put there in one piece."""
        with tempfile.TemporaryDirectory(prefix="auditor-") as folder:
            path = Path(folder) / name.replace("/", "-")
            yield path
            self._ask(self.filesystem.put_file, str(path), f"{self._root}/{name}")

    def remove(self, name: str) -> None:
        """Delete the object."""
        with contextlib.suppress(FileNotFoundError):
            self._ask(self.filesystem.rm_file, f"{self._root}/{name}")

    def clear(self, names: Sequence[str]) -> None:
        """A thousand at once."""
        for start in range(0, len(names), self._DELETED_AT_ONCE):
            some = names[start : start + self._DELETED_AT_ONCE]
            try:
                self._ask(self.filesystem.rm, [f"{self._root}/{name}" for name in some])
            except FileNotFoundError:  # one of them was gone: some backends stop there
                for name in some:
                    self.remove(name)

    def begin(self) -> None:
        """Whether one can write is told by a first write. StoreError where the place holds something else."""
        if not self.exists("audit.json") and (strangers := self.names("")[:3]):
            raise StoreError(f"{self.where}: holds {', '.join(strangers)} and no audit; give -o a new place")

    def end(self) -> None:
        """Nothing to let go of."""

    def scratch(self) -> Path:
        """The cache."""
        return self.cache()

    def cache(self) -> Path:
        """By the URL."""
        return _cache(self.where)

    def _ask(self, call: Callable[..., Any], *given: Any, **how: Any) -> Any:
        """One operation, tried again while the server refuses. FileNotFoundError passes; other errors of a backend are one line."""
        tries = Retrying(
            retry=retry_if_not_exception_type((FileNotFoundError, PermissionError, ValueError)),
            stop=stop_after_delay(self.patience) if self._reached else stop_after_attempt(1),
            wait=wait_random_exponential(multiplier=0.5, max=10),
            reraise=True,
        )
        try:
            found = tries(call, *given, **how)
        except FileNotFoundError:
            self._reached = True
            raise
        except Exception as error:  # every backend has errors of its own
            told = " ".join(str(error).split())[:200] or type(error).__name__
            raise StoreError(f"{self.where}: {told}; see the backend's own settings (for s3: AWS_ENDPOINT_URL, keys)") from error
        self._reached = True
        return found


def _cache(where: str) -> Path:
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = home / "auditor" / hashlib.sha256(where.encode()).hexdigest()[:16]
    folder.mkdir(parents=True, exist_ok=True)
    return folder
