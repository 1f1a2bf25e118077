"""What a scan has to do: options, and the shards that are missing.

A unit is a file, a byte range of a large one that can be read in parts, or a folder of one-event files; a shard is a batch
of units.
"""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from auditor import readers
from auditor.errors import InputError, QueryError
from auditor.join import Join
from auditor.readers import Unit, files
from auditor.readers import mapping as mappings
from auditor.readers.base import Reader, Reject
from auditor.rubric import Rubric, load_all, path_of
from auditor.store import Audit, Commit
from auditor.transcript import Transcript

SHARD_BYTES = 32 << 20
FIRST_BYTES = 256 << 10
"""Shards begin small and double, so that a judge has work while the rest is still being read."""
SHARD_FILES = 512
REJECT, COMPANION = "!", "+"
"""In place of a reader's name: a file that cannot be read (with the reason), a file read beside another."""


@dataclass(frozen=True)
class Options:
    """What a scan is told. Paths are as the user gave them."""

    inputs: tuple[str, ...]
    output: str
    rubrics: str | None = None
    mapping: str | None = None
    join: str | None = None
    jobs: int = 1

    def everywhere(self) -> Options:
        """The same for workers in other folders and on other machines: paths are absolute."""

        def absolute(path: str | None) -> str | None:
            return path if path is None or "://" in path else os.path.abspath(path)

        given = tuple(absolute(i) or i for i in self.inputs)
        return replace(
            self, inputs=given, output=absolute(self.output) or self.output, rubrics=absolute(self.rubrics),
            mapping=absolute(self.mapping), join=absolute(self.join),
        )  # fmt: skip

    def fingerprint(self) -> str:
        """Changes when the same source could give other transcripts."""
        parts = [f"cut:{FIRST_BYTES}:{SHARD_BYTES}", *(f"{r.name}:{r.version}" for r in readers.registry().values())]
        for path in (self.mapping, self.join):
            parts.append(hashlib.sha256(Path(path).read_bytes()).hexdigest() if path else "")
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def scan_options(audit: Audit, output: str) -> Options:
    """The options to judge an audit that is there: nothing new to read, what it was scanned with."""
    told = audit.about().scan
    return Options((), output, rubrics=told.get("rubrics"), mapping=told.get("mapping"), join=told.get("join"))


def rubrics_of(audit: Audit) -> list[Rubric]:
    """The rubrics that an audit was scanned with, as they are now; the shipped ones where their folder is gone."""
    folder = path_of(audit.about().scan.get("rubrics"))
    return load_all(folder if folder is None or folder.is_dir() else None)


def rubric_of(audit: Audit, name: str) -> Rubric:
    """One of them. QueryError names those that there are."""
    known = {r.id: r for r in rubrics_of(audit)}
    if name not in known:
        raise QueryError(f"--rubric {name}: none in this audit; there are {', '.join(known)}")
    return known[name]


class Killer(NamedTuple):
    """A record that kills its reader: file, where its unit starts, and its number there (`readers.WHOLE`: the unit)."""

    path: str
    start: int
    record: int


class Task(NamedTuple):
    """One shard to scan with the rubrics named; `base` is its commit where it was done with other rubrics; `skip` is left out."""

    shard: str
    files: tuple[files.Found, ...]
    units: tuple[tuple[Unit, str], ...]
    rubrics: tuple[str, ...]
    base: Commit | None = None
    skip: tuple[Killer, ...] = ()


def tasks(
    audit: Audit, options: Options, rubrics: Sequence[Rubric], found: Sequence[files.Found], keep: Callable[[Commit], None]
) -> Iterator[Task]:
    """What is missing: shards never done, sources that changed, rubrics that changed. `keep` is told of the rest."""
    hashes = {r.id: r.signals_hash for r in rubrics}
    here = {f.path: f for f in found}
    fingerprint = options.fingerprint()
    done: set[tuple[str, int]] = set()
    covered: Counter[str] = Counter()
    for commit in audit.commits():
        given = [f for f in commit.files if f[0] in here]
        if given and (commit.fingerprint != fingerprint or any(here[f[0]] != f for f in given)):
            audit.drop(commit)
            continue
        units = units_in(commit)
        for path, start, size in _covers(units, here):
            done.add((path, start))
            covered[path] += size
        stale = tuple(r for r, h in hashes.items() if commit.rubrics.get(r, ("", ""))[1] != h)
        if stale and len(given) == len(commit.files):
            yield Task(commit.shard, tuple(files.Found(*f) for f in commit.files), units, stale, commit, _killers(commit))
        elif not stale:
            keep(commit)
    mapping = mappings.load(options.mapping) if options.mapping else None
    # What its units cover is done, and is not opened again.
    todo = [f for f in found if (f.path, 0) not in done or covered[f.path] < f.size]
    large = _large(todo, mapping)
    apart = set(large)
    others = (f for f in todo if f not in apart)
    rest = pack((u for u in units_of(others, mapping) if (u[1].paths[0], u[1].start) not in done), tuple(hashes))
    # A small shard comes first, so that a judge has work; then what one worker has to read alone to its end.
    yield from islice(rest, 1)
    yield from pack(units_of(large, mapping), tuple(hashes))
    yield from rest


def _covers(units: Iterable[tuple[Unit, str]], here: Mapping[str, files.Found]) -> Iterator[tuple[str, int, int]]:
    """Path, start and bytes of each file of these units that is still there."""
    for unit, _ in units:
        for path in unit.paths:
            if path in here:
                yield path, unit.start, _bytes(unit, here[path].size)


def _bytes(unit: Unit, size: int) -> int:
    """How much of a file of this size a unit covers."""
    return size if unit.end is None else min(unit.end, size) - unit.start


def weight(task: Task) -> int:
    """Bytes of the files of a shard that are its own, as they lie there: those of all shards add up to all files."""
    sizes = {f.path: f.size for f in task.files}
    return sum(_bytes(unit, sizes[path]) for unit, _ in task.units for path in unit.paths)


def _large(found: Iterable[files.Found], mapping: Reader | None) -> list[files.Found]:
    """The files of more than a shard's bytes that cannot be read in parts, largest first."""
    alone = [f for f in found if f.size > SHARD_BYTES and not _in_parts(f, mapping)]
    return sorted(alone, key=lambda f: -f.size)


def _in_parts(file: files.Found, mapping: Reader | None) -> bool:
    """Whether a file is cut, or is one of a folder whose files are read together."""
    unit, _, grouped = _identify(file, mapping)
    return grouped or len(list(islice(_ranges(file, unit, mapping), 2))) > 1


def _killers(commit: Commit) -> tuple[Killer, ...]:
    return tuple(Killer(*one) for one in commit.skip)


def read_units(
    units: Iterable[tuple[Unit, str]],
    mapping: Reader | None,
    skip: Sequence[Killer] = (),
    mark: Callable[[Killer], None] = lambda _: None,
) -> Iterator[Transcript | Reject]:
    """The transcripts of a shard in order (the n-th transcript is row n), and what could not be read.

    What is in `skip` becomes a Reject; `mark` is told of each record before it is read.
    """
    for unit, why in units:
        if unit.reader == REJECT:
            hint = "" if "auditor formats" in why else "see 'auditor formats' for what can be read"
            yield Reject(unit.paths[0], None, None, why, hint)
        elif unit.reader != COMPANION:

            def go(record: int, unit: Unit = unit) -> bool:
                here = Killer(unit.paths[0], unit.start, record)
                if here in skip:
                    return False
                mark(here)
                return True

            yield from readers.read(unit, mapping or readers.registry()[unit.reader], go)


def transcripts_in(commit: Commit, mapping: Reader | None, join: Join | None) -> Iterator[Transcript]:
    """The transcripts of a shard, read again from its sources: the n-th is row n."""
    for item in read_units(units_in(commit), mapping, _killers(commit)):
        if isinstance(item, Transcript):
            yield join.apply(item) if join else item


def gone(commit: Commit) -> str | None:
    """Why the sources of a shard cannot be read again, None where they can."""
    for path, size, _ in commit.files:
        if "://" not in path and (not os.path.isfile(path) or os.path.getsize(path) != size):
            return f"its source {path} is gone or has changed; scan it again"
    return None


def units_in(commit: Commit) -> tuple[tuple[Unit, str], ...]:
    """The units of a shard as they were committed."""
    return tuple((Unit(**{**u["unit"], "paths": tuple(u["unit"]["paths"])}), u["why"]) for u in commit.units)


def pack(units: Iterable[tuple[files.Found, Unit, str, int]], rubrics: tuple[str, ...]) -> Iterator[Task]:
    """Units in order, packed into shards of at most `SHARD_BYTES` (the first ones less) and `SHARD_FILES`."""
    batch: list[tuple[files.Found, Unit, str]] = []
    size, limit = 0, FIRST_BYTES
    for found, unit, why, weight in units:
        if batch and (size + weight > limit or len(batch) >= SHARD_FILES):
            yield _task(batch, rubrics)
            batch, size = [], 0
            limit = min(limit * 2, SHARD_BYTES)
        batch.append((found, unit, why))
        size += weight
    if batch:
        yield _task(batch, rubrics)


def _task(batch: list[tuple[files.Found, Unit, str]], rubrics: tuple[str, ...]) -> Task:
    name = hashlib.sha256(repr([(f, u, w) for f, u, w in batch]).encode()).hexdigest()[:16]
    extra = [files.Found(*_stat(path)) for _, unit, _ in batch for path in unit.paths[1:]]
    return Task(name, (*(f for f, _, _ in batch), *extra), tuple((u, w) for _, u, w in batch), rubrics)


def _stat(path: str) -> tuple[str, int, str]:
    return next(iter(files.find([path])))


def units_of(found: Iterable[files.Found], mapping: Reader | None) -> Iterator[tuple[files.Found, Unit, str, int]]:
    """Each file as units with its weight in bytes; files of one event each are grouped by folder."""
    group: list[files.Found] = []
    group_unit: Unit | None = None
    for file in found:
        unit, why, grouped = _identify(file, mapping)
        if group and group_unit and not (grouped and unit.reader == group_unit.reader and _folder(file) == _folder(group[0])):
            yield group[0], group_unit._replace(paths=tuple(g.path for g in group)), "", sum(g.size for g in group)
            group = []
        if grouped:
            group.append(file)
            group_unit = unit
        else:
            for start, end, size in _ranges(file, unit, mapping):
                yield file, unit._replace(start=start, end=end), why, size
    if group and group_unit:
        yield group[0], group_unit._replace(paths=tuple(g.path for g in group)), "", sum(g.size for g in group)


Range = tuple[int, int | None, int]
"""Where a part of a file starts and ends (None: at the file's end), and what it weighs: bytes unpacked, where those are known."""


def _ranges(file: files.Found, unit: Unit, mapping: Reader | None) -> Iterator[Range]:
    """The parts of a file that are read apart, at least one; they depend on nothing but the file."""
    reader = mapping or readers.registry().get(unit.reader)
    whole: Range = (0, None, file.size)
    if reader is None or file.size <= FIRST_BYTES:
        yield whole
    elif reader.cuts is not None:
        yield from _between(file, reader.cuts) or [whole]
    elif unit.container == "lines" and reader.kind in ("raw", "record") and files.splittable(file.path):
        yield from _doubling(file.size)
    else:
        yield whole


def _between(file: files.Found, cuts: Callable[[str], Iterable[tuple[int, int]]]) -> list[Range]:
    """Ranges of whole records, of `SHARD_BYTES` unpacked or one record; none where the file cannot be cut."""
    try:
        records = list(cuts(file.path))
    except (InputError, *files.READ_ERRORS):
        return []  # who reads it says why
    made: list[Range] = []
    start = size = 0
    for offset, unpacked in records:
        if size and size + unpacked > SHARD_BYTES and offset > start:
            made.append((start, offset, size))
            start, size = offset, 0
        size += unpacked
    return [*made, (start, file.size, size)] if made else [(0, None, max(size, file.size))]


def _doubling(size: int) -> Iterator[Range]:
    """Byte ranges that cover a file, the first ones small."""
    start, step = 0, FIRST_BYTES
    while start < size:
        yield start, start + step, step
        start += step
        step = min(step * 2, SHARD_BYTES)


def _folder(file: files.Found) -> str:
    return file.path.rpartition("/")[0]


def _identify(file: files.Found, mapping: Reader | None) -> tuple[Unit, str, bool]:
    """The unit of a file, why it cannot be read (with REJECT), and whether it is one event of a folder."""
    try:
        head = files.head(file.path)
        if head is None:
            return Unit((file.path,), REJECT, "lines"), "empty file", False
        beside = None if mapping else readers.companion(head)
        if beside:
            return Unit((file.path,), COMPANION, head.container), beside, False
        reader = mapping or readers.sniff(head)
        return Unit((file.path,), reader.name, head.container), "", reader.group(head)
    except (InputError, *files.READ_ERRORS) as error:
        return Unit((file.path,), REJECT, "lines"), str(error) or type(error).__name__, False
