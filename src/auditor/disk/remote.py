"""A place on object storage, through fsspec."""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import IO, Any, cast

import fsspec
from tenacity import Retrying, retry_if_not_exception_type, stop_after_attempt, stop_after_delay, wait_random_exponential

from auditor.disk.base import HOUR, File, cache_of
from auditor.errors import StoreError


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
        return cache_of(self.where)

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
