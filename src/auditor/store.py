"""The audit directory: parts, commits, resume.

    audit.json                 what was run, on what, with which rubrics and versions
    commits/<shard>.json       the shard's files, parts, rejects and counts: it exists, or the shard was not done
    episodes/<shard>.parquet   verdicts/<shard>-<pass>.parquet   answers/<shard>-<pass>.parquet
    flagged/<shard>-<pass>.jsonl.zst   flagged episodes whole, so that an audit can be read without its sources
    replies/<shard>.parquet    where several machines judge: what the judge said of the shard, paid for
    facts/<shard>-<hash>.parquet       what the episodes that are asked are held against, frozen before the first question
    answers/<shard>-a<hash>.parquet    what they answered
    commits/pack-<generation>-<hash>.jsonl     many commits, one a line (see `auditor.commits`), and in each folder
    episodes/pack-<n>-<hash>.parquet           many parts in one: made by `auditor compact`; n is how often commits name it
    rejects.jsonl              records that could not be read: file, line or offset, reason, hint
    duplicates.parquet         rows that are the same episode as an earlier row, or share its id

What survives a crash: every file is written under a temporary name, fsynced and renamed; a shard counts only
once its commit is there, and the commit is written last. So a kill at any moment loses at most the shards in
flight, which the next run does again from the start. Parts without a commit are invisible, and removed.

Rows of a pack that no commit stands for any more (the shard has changed, or was judged again) stay in it until the next
compaction: whoever reads one takes only the rows of the shard that it wants (`Audit.table`), or all if it is named n times.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Self

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict, Field

from auditor.commits import Commits, Found, own_file
from auditor.disk import HOUR, Folder, disk
from auditor.errors import StoreError
from auditor.readers.auditor import read as read_line
from auditor.readers.base import Context
from auditor.readers.files import lines, open_plain, plain
from auditor.transcript import Source, Transcript

FORMAT = 1
FOLDERS = ("episodes", "verdicts", "answers", "facts", "flagged")


class Judged(BaseModel):
    """The live verdicts of one judge on one rubric and view of a shard; `hash` is over all that they depend on.

    `open` rows (failed, out of budget, waiting for a batch) are tried again by the next run.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    rubric: str
    view: str
    detector: str
    part: str
    hash: str
    open: int = 0


class Asking(BaseModel):
    """What was asked of a shard's episodes: the frozen facts, the answers, and a hash over all that they depend on.

    Without `answers` the facts are frozen and nothing has been asked. `open` rows are tried again by the next run. `basis`
    is of the verdicts that the facts were made from: where those have changed, the answers do not count.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    facts: str
    answers: str | None = None
    hash: str = ""
    open: int = 0
    basis: str = ""
    frozen: str = ""
    """Where `facts` is a pack: the name under which they were frozen."""

    @property
    def known_as(self) -> str:
        """The name of the facts that changes only with them."""
        return self.frozen or self.facts


class Commit(BaseModel):
    """What one shard holds. `rubrics` names the live verdict part of each rubric and the hash it was made with."""

    model_config = ConfigDict(extra="forbid")
    shard: str
    fingerprint: str
    files: list[tuple[str, int, str]]
    units: list[dict[str, Any]]
    episodes: str
    rubrics: dict[str, tuple[str, str]] = Field(default_factory=dict)
    judged: list[Judged] = Field(default_factory=list)
    answers: str | None = None
    asking: Asking | None = None
    flagged: list[str] = Field(default_factory=list)
    frames: dict[str, tuple[int, int]] = Field(default_factory=dict)
    """Of a pack in `flagged`: where the shard's own bytes start, and how many they are."""
    rejects: list[tuple[str, int | None, int | None, str, str]] = Field(default_factory=list)
    skip: list[tuple[str, int, int]] = Field(default_factory=list)
    """Records that kill their reader: left out, and in `rejects`."""
    counts: dict[str, int] = Field(default_factory=dict)
    ignored: dict[str, int] = Field(default_factory=dict)


class Duplicates(BaseModel):
    """How many episodes stand twice (dropped) or share an id alone (renamed), in the episodes that `of` is a hash of."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    of: str
    dropped: int = 0
    renamed: int = 0


class About(BaseModel):
    """`audit.json`: what this audit is."""

    model_config = ConfigDict(extra="forbid")
    format: int = FORMAT
    auditor: str
    created: str
    finished: str | None = None
    inputs: list[str]
    rubrics: list[dict[str, Any]]
    summary: dict[str, int] = Field(default_factory=dict)
    duplicates: Duplicates | None = None
    judge: dict[str, Any] = Field(default_factory=dict)
    """How the last judge was set up (never a key), and what its run sent, got and cost."""
    scan: dict[str, str | None] = Field(default_factory=dict)
    """With which rubrics, mapping and join file the logs were read."""
    ask: dict[str, Any] = Field(default_factory=dict)
    """How the audited models were asked last, of what, and what that sent, got and cost."""


class Audit:
    """An audit directory. `open` reads one, `create` makes or takes up one for writing and holds its lock."""

    def __init__(self, path: str | Path) -> None:
        self.disk = disk(path)
        self.where = self.disk.where
        self._commits = Commits(self.disk)

    @property
    def path(self) -> Path:
        """The folder. StoreError for an audit on object storage: what a person does with it needs a copy here."""
        if isinstance(self.disk, Folder):
            return self.disk.path
        raise StoreError(f"{self.where}: this needs the audit on this machine: auditor merge {self.where} -o FOLDER")

    @classmethod
    def open(cls, path: str | Path) -> Self:
        """An audit to read. StoreError when there is none."""
        audit = cls(path)
        if not audit.disk.exists("audit.json"):
            raise StoreError(f"{path}: no audit here (no audit.json); make one with 'auditor scan LOGS -o {path}'")
        audit.about()
        return audit

    @classmethod
    def create(cls, path: str | Path) -> Self:
        """An audit to write, new or taken up. StoreError when the place holds something else or is in use."""
        audit = cls(path)
        audit.disk.begin()
        if audit.disk.exists("audit.json"):
            audit.about()
        return audit

    def close(self) -> None:
        """Let go of the lock."""
        self.disk.end()

    def about(self) -> About:
        """`audit.json`. StoreError when it cannot be read or is of a newer version."""
        where = self.disk.at("audit.json")
        try:
            about = About.model_validate_json(self.disk.read("audit.json"))
        except (OSError, ValueError) as error:
            raise StoreError(f"{where}: cannot be read as an audit ({' '.join(str(error).split())[:120]})") from None
        if about.format > FORMAT:
            raise StoreError(f"{where}: made by a newer auditor ({about.auditor}); upgrade with pip install -U auditor")
        return about

    def write_about(self, about: About) -> None:
        """Replace `audit.json`."""
        self.write("audit.json", orjson.dumps(about.model_dump(mode="json"), option=orjson.OPT_INDENT_2) + b"\n")

    def write(self, name: str, data: bytes) -> None:
        """Write one file, whole or not at all."""
        with self.part(name) as temporary:
            temporary.write_bytes(data)

    def part(self, name: str) -> contextlib.AbstractContextManager[Path]:
        """A temporary path to write to; it gets its name when the block ends without an error."""
        return self.disk.part(name)

    def table(self, name: str, shard: str | None, columns: list[str] | None = None) -> pa.Table:
        """The rows of a shard in a Parquet part, in their order: a pack holds those of others too. None: all rows."""
        with self.disk.open(name) as file:
            return pq.read_table(file, columns=columns, filters=[("shard", "=", shard)] if shard else None)

    def commits(self) -> Iterator[Commit]:
        """All shards that are done."""
        for commit, _ in self.found():
            yield commit

    def found(self) -> Iterator[tuple[Commit, Found]]:
        """The same, each with the file that it stands in."""
        for found in self._commits.each():
            try:
                yield Commit.model_validate_json(found.data), found
            except ValueError as error:
                where = self.disk.at(found.file)
                raise StoreError(f"{where}: damaged ({' '.join(str(error).split())[:80]}); delete it and scan again") from None

    def load(self, shard: str) -> Commit:
        """One shard that is done. FileNotFoundError where it is not."""
        return Commit.model_validate_json(self._commits.find(shard))

    def commit(self, commit: Commit) -> None:
        """Make a shard count."""
        self.write(own_file(commit.shard), commit.model_dump_json().encode())

    def drop(self, commit: Commit) -> None:
        """Forget a shard whose sources changed. Its commit goes first, so that no half of it is ever read."""
        self._commits.drop(commit.shard)
        self.sweep(parts_of(commit))  # what was paid for stays: the shard may come back

    def sweep(self, names: Iterable[str]) -> None:
        """Delete parts that a shard no longer names. Packs stay: other shards may name them (`tidy` knows)."""
        for name in names:
            if not is_pack(name):
                self.disk.remove(name)

    def tidy(self, *, now: bool = False) -> int:
        """Delete what nothing names: left by a kill, or replaced by a compaction an hour ago (with `now`: just now). Returns how many."""
        found = self.orphans(now=now)
        self.disk.clear(found)
        return len(found)

    def orphans(self, *, now: bool = False) -> list[str]:
        """Parts and temporary files that no commit names. Parts that a compaction replaced less than an hour ago are still read,
        so while the newest pack of commits is younger no part is one. With `now` nobody else reads or writes here: all are.
        """
        live = {name for commit in self.commits() for name in parts_of(commit)}
        commits = self.disk.listed("commits")
        young = not now and any(commits[name].age < HOUR for name in self._commits.packs() if name in commits)
        found = {f"commits/{name}": file for name, file in commits.items() if name.endswith(".tmp")}
        for folder in FOLDERS:
            here = self.disk.listed(folder).items()
            found |= {f"{folder}/{name}": file for name, file in here if not young or name.endswith(".tmp")}
        return [name for name, file in found.items() if name not in live and (now or file.age >= self.disk.grace)]

    def flagged(self, commit: Commit) -> Iterator[Transcript]:
        """The flagged episodes of a shard, as they were read."""
        for name in commit.flagged:
            frame = commit.frames.get(name)
            with plain(io.BytesIO(self.disk.range(name, *frame))) if frame else open_plain(self.disk.at(name)) as stream:
                for line in lines(stream):
                    yield from read_line(line.data or b"", Context(Source(path=name)))


def is_pack(name: str) -> bool:
    """Whether a part holds rows of several shards."""
    return "/pack-" in name


def named_in(pack: str) -> int:
    """How often commits named a pack when it was made, by its name. While they do, all of its rows count."""
    return int(pack.rpartition("/")[2].split("-")[1])


def basis_of(commit: Commit) -> str:
    """Changes when a shard's verdicts do."""
    live = [*sorted(commit.rubrics.items()), *sorted((j.rubric, j.view, j.detector, j.hash, j.open) for j in commit.judged)]
    return hashlib.sha256(repr(live).encode()).hexdigest()[:16]


def verdicts_of(commit: Commit) -> list[tuple[str, str, str, str, str]]:
    """(part, shard, rubric, view, detector) of all verdicts that a shard stands for."""
    signals = [(part, commit.shard, rubric, "all", "signals") for rubric, (part, _) in commit.rubrics.items()]
    return [*signals, *((j.part, commit.shard, j.rubric, j.view, j.detector) for j in commit.judged)]


def parts_of(commit: Commit) -> set[str]:
    """The names of all parts of a shard."""
    parts = {commit.episodes, *commit.flagged, *(part for part, _ in commit.rubrics.values()), *(j.part for j in commit.judged)}
    if commit.asking:
        parts |= {commit.asking.facts, *([commit.asking.answers] if commit.asking.answers else [])}
    return parts | ({commit.answers} if commit.answers else set())
