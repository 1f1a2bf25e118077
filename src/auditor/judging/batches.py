"""Batches: requests as files that the OpenAI Batch API takes, and their results into the kept replies.

A request's custom id is its key, so results may come in any order, from any server, in several files, and twice.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Literal, NamedTuple

import orjson

from auditor.errors import InputError, ServerError, StoreError
from auditor.judge import Setup
from auditor.judging.doors import Recording
from auditor.llm import Endpoint, client, reply_of
from auditor.readers.files import lines, open_plain
from auditor.replies import Replies

MAX_REQUESTS, MAX_BYTES = 50_000, 200_000_000
_PATH: Literal["/v1/chat/completions"] = "/v1/chat/completions"


class Collected(NamedTuple):
    """What result files held: replies kept now, already kept, failed at the server (by its words), and lines of no use."""

    kept: int
    known: int
    failed: dict[str, int]
    strange: int


class Writer:
    """Request files in a folder, one series an endpoint and model, each within the limits of a batch."""

    def __init__(self, folder: Path, max_requests: int = MAX_REQUESTS, max_bytes: int = MAX_BYTES) -> None:
        self.folder, self.max_requests, self.max_bytes = folder, max_requests, max_bytes
        self.files: list[Path] = []
        self.counts: dict[Path, int] = {}
        self.owner: dict[Path, Endpoint] = {}
        self.keys: dict[Path, list[str]] = defaultdict(list)
        self._open: dict[str, tuple[Path, IO[bytes], int]] = {}
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(f"{folder}: cannot write here ({error.strerror})") from None
        if strangers := sorted(folder.glob("*.jsonl")):
            raise StoreError(f"{folder}: holds {strangers[0].name} already; give -o a new folder")

    def write(self, key: str, endpoint: Endpoint, body: dict[str, Any]) -> None:
        """One request."""
        line = orjson.dumps({"custom_id": key, "method": "POST", "url": _PATH, "body": body}) + b"\n"
        path, file, size = self._open.get(endpoint.name) or self._next(endpoint)
        if size and (size + len(line) > self.max_bytes or self.counts[path] >= self.max_requests):
            file.close()
            path, file, size = self._next(endpoint)
        file.write(line)
        self.counts[path] += 1
        self.keys[path].append(key)
        self._open[endpoint.name] = (path, file, size + len(line))

    def _next(self, endpoint: Endpoint) -> tuple[Path, IO[bytes], int]:
        safe = "".join(c if c.isalnum() or c in "-." else "-" for c in endpoint.name)[:80]
        number = sum(owner.name == endpoint.name for owner in self.owner.values()) + 1
        path = self.folder / f"{safe}-{number:03d}.jsonl"
        self.files.append(path)
        self.counts[path] = 0
        self.owner[path] = endpoint
        return path, path.open("wb"), 0

    def close(self) -> None:
        """End all files."""
        for _, file, _ in self._open.values():
            file.close()


@contextmanager
def writing(folder: str | os.PathLike[str]) -> Iterator[tuple[Writer, Callable[[Replies], Recording]]]:
    """A writer, and the door that hands requests to it."""
    writer = Writer(Path(folder))
    try:
        yield writer, lambda replies: Recording(replies, writer.write)
    finally:
        writer.close()


def collect(audit: Path, results: Sequence[str], setup: Setup) -> Collected:
    """Read result files into the kept replies. InputError for a file that holds no batch results."""
    replies = Replies.open(audit / "llm.sqlite")
    kept = known = strange = 0
    failed: dict[str, int] = defaultdict(int)
    try:
        for path in results:
            if not os.path.isfile(path):
                raise InputError(f"{path}: no such file; give the result file that the batch wrote")
            seen = 0
            with open_plain(path) as stream:
                for line in lines(stream):
                    outcome = _take(line.data or b"", replies, setup)
                    seen += outcome != "strange"
                    kept += outcome == "kept"
                    known += outcome == "known"
                    strange += outcome == "strange"
                    if outcome not in ("kept", "known", "strange"):
                        failed[outcome] += 1
            if not seen:
                raise InputError(f"{path}: no batch results here; each line should have custom_id and response")
    finally:
        replies.close()
    return Collected(kept, known, dict(failed), strange)


def _take(line: bytes, replies: Replies, setup: Setup) -> str:
    """Keep one result; says what became of it: kept, known, strange, or the server's words for a failure."""
    try:
        value = orjson.loads(line)
        key, response = value["custom_id"], value.get("response") or {}
    except (orjson.JSONDecodeError, TypeError, KeyError, AttributeError):
        return "strange"
    if not isinstance(key, str) or len(key) != 40 or not isinstance(response, dict):
        return "strange"
    if replies.get(key) is not None:
        return "known"
    body = response.get("body")
    if response.get("status_code") != 200 or not isinstance(body, dict):
        told = value.get("error") or (body or {}).get("error") if isinstance(body, dict) else value.get("error")
        words = told.get("message") if isinstance(told, dict) else told
        return " ".join(str(words or f"status {response.get('status_code')}").split())[:200]
    endpoint = next((e for e in setup.judges if e.model == body.get("model")), setup.judges[0])
    reply = reply_of(endpoint, body)
    if reply.status not in ("ok", "refused", "truncated"):
        return reply.error or reply.status
    replies.put(key, reply)
    return "kept"


def send(audit: Path, writer: Writer, say: Callable[[str], None]) -> None:
    """Upload the written files and start a batch for each. ServerError in the server's words."""
    replies = Replies.open(audit / "llm.sqlite")
    try:
        for path in writer.files:
            batch = asyncio.run(_submit(writer.owner[path], path))
            replies.submit(batch, writer.keys[path], writer.owner[path].name, writer.owner[path].model)
            say(f"batch {batch}: {writer.counts[path]:,} requests sent")
    finally:
        replies.close()


async def _submit(endpoint: Endpoint, path: Path) -> str:
    import openai

    async with client(endpoint) as server:
        try:
            file = await server.files.create(file=path, purpose="batch")
            batch = await server.batches.create(input_file_id=file.id, endpoint=_PATH, completion_window="24h")
        except openai.OpenAIError as error:
            raise ServerError(f"{endpoint.name}: the batch was not taken: {' '.join(str(error).split())[:300]}") from None
        return batch.id


def wait(audit: Path, setup: Setup, say: Callable[[str], None], pause: float = 30.0) -> int:
    """Wait for all batches that were sent, keep their replies; returns how many were waited for. Ctrl-C loses nothing."""
    replies = Replies.open(audit / "llm.sqlite")
    try:
        open_ids = list(replies.submitted())
    finally:
        replies.close()
    for batch_id in open_ids:
        folder = audit / "batches"
        files = asyncio.run(_finished(setup.judges[0], batch_id, folder, say, pause))
        done = collect(audit, files, setup) if files else Collected(0, 0, {}, 0)
        for words, number in done.failed.items():
            say(f"batch {batch_id}: {number:,} failed: {words}")
        replies = Replies.open(audit / "llm.sqlite")
        replies.done(batch_id)
        replies.close()
        say(f"batch {batch_id}: {done.kept:,} replies kept")
    return len(open_ids)


async def _finished(endpoint: Endpoint, batch_id: str, folder: Path, say: Callable[[str], None], pause: float) -> list[str]:
    import openai

    folder.mkdir(exist_ok=True)
    async with client(endpoint) as server:
        last = ""
        while True:
            try:
                batch = await server.batches.retrieve(batch_id)
                counts = batch.request_counts
                told = f"batch {batch_id}: {batch.status}" + (
                    f", {counts.completed:,} of {counts.total:,} done" if counts else ""
                )
                if told != last:
                    say(told)
                    last = told
                if batch.status in ("completed", "expired", "cancelled", "failed"):
                    found = []
                    for file_id in (batch.output_file_id, batch.error_file_id):
                        if file_id:
                            path = folder / f"{batch_id}-{'results' if file_id == batch.output_file_id else 'errors'}.jsonl"
                            path.write_bytes((await server.files.content(file_id)).content)
                            found.append(str(path))
                    return found
            except (openai.APIConnectionError, openai.InternalServerError, openai.RateLimitError) as error:
                say(f"batch {batch_id}: {type(error).__name__}, asking again in {pause:.0f} s")
            except openai.OpenAIError as error:
                raise ServerError(f"batch {batch_id}: {' '.join(str(error).split())[:300]}") from None
            time.sleep(pause)


__all__ = ["Collected", "Writer", "collect", "send", "wait", "writing"]
