"""Few large parts of many small ones, and one file of all commits: the same rows, for a folder and for object storage.

Shards are grouped by name, up to `GROUP_SHARDS` or `GROUP_BYTES`; of each group there is one pack a role. Packs are written first,
then the commits that name them, then what was replaced goes: a kill at any point leaves the same rows, and the next run goes on.
"""

from __future__ import annotations

import hashlib
import shutil
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import pyarrow as pa

from auditor import commits as files
from auditor import store, tables
from auditor.disk import HOUR, File
from auditor.errors import StoreError
from auditor.packs import Piece, write
from auditor.store import Audit, Commit, is_pack, named_in, parts_of, verdicts_of

GROUP_SHARDS = 1000
GROUP_BYTES = 256 << 20
_AT_ONCE = 256


@dataclass(frozen=True, eq=False)
class Role:
    """One kind of part: its folder, a letter that tells it from another kind there, its schema (None: no Parquet), and what a shard
    stands for in it: (part, shard), or (part, shard, rubric, view, detector) of verdicts.
    """

    folder: str
    letter: str
    schema: pa.Schema | None
    named: Callable[[Commit], list[tuple[str, ...]]]


def _one(part: Callable[[Commit], str | None]) -> Callable[[Commit], list[tuple[str, ...]]]:
    return lambda c: [(name, c.shard)] if (name := part(c)) else []


EPISODES = Role("episodes", "", tables.EPISODES, _one(lambda c: c.episodes))
SIGNALS = Role("verdicts", "s", tables.VERDICTS, lambda c: [one for one in verdicts_of(c) if one[-1] == "signals"])
JUDGES = Role("verdicts", "j", tables.VERDICTS, lambda c: [one for one in verdicts_of(c) if one[-1] != "signals"])
ANSWERS = Role("answers", "", tables.ANSWERS, _one(lambda c: c.answers))
ASKED = Role("answers", "a", tables.ASKED, _one(lambda c: c.asking.answers if c.asking else None))
FACTS = Role("facts", "", tables.FACTS, _one(lambda c: c.asking.facts if c.asking else None))
FLAGGED = Role("flagged", "", None, lambda c: [(part, c.shard) for part in c.flagged])
ROLES = (EPISODES, SIGNALS, JUDGES, ANSWERS, ASKED, FACTS, FLAGGED)


@dataclass
class Compacted:
    """What was made of what: named parts, files of commits. `waiting` replaced files are still there, for `seconds` more; `removed` went."""

    shards: int
    parts: tuple[int, int] = (0, 0)
    commits: tuple[int, int] = (0, 0)
    waiting: int = 0
    seconds: float = 0.0
    removed: int = 0
    changed: bool = False


@dataclass
class State:
    """The audit as it was found: commits by shard, digests of the shards' own files, what listings tell of the parts."""

    commits: dict[str, Commit]
    own: dict[str, str]
    files: dict[str, File]
    holders: Counter[str] = field(default_factory=Counter)
    """part → how often commits name it."""
    shards: Counter[str] = field(default_factory=Counter)
    """part → how many shards name it."""

    def __post_init__(self) -> None:
        for commit in self.commits.values():
            self.holders.update(part for role in ROLES for part, *_ in role.named(commit))
            self.shards.update(parts_of(commit))

    def whole(self, part: str) -> bool:
        """Whether it is a pack all of whose rows count."""
        return is_pack(part) and named_in(part) == self.holders[part]

    def weight(self, commit: Commit) -> float:
        """The bytes of a shard; of a pack its share."""
        return sum(self.files[part].size / self.shards[part] for part in parts_of(commit))


def compact(path: str, report: Callable[[Counter[str]], None] = lambda _: None, *, now: bool = False) -> Compacted:
    """Compact an audit, doing only what is missing. What is replaced stays for an hour for those who read it (`now`: it does not).

    `report` is told of parts that are done, out of how many, and of commits. StoreError where there is no audit.
    """
    Audit.open(path)
    audit = Audit.create(path)
    try:
        return _compact(audit, report, now=now)
    except OSError as error:
        raise StoreError(f"{path}: {error.strerror or error}; nothing is lost, run the same command again") from error
    finally:
        audit.close()


def _compact(audit: Audit, report: Callable[[Counter[str]], None], *, now: bool) -> Compacted:
    # Listed first: what is written from now on is no part of this, and stays.
    before = [name for name in audit.disk.names(files.FOLDER) if not name.endswith(".tmp")]
    state = _state(audit)
    made = Compacted(len(state.commits), (len(state.holders), len(state.holders)), (len(before), len(before)))
    if len(state.commits) > 1:
        counts: Counter[str] = Counter()
        after = dict(state.commits)
        groups = _groups(state)
        counts["groups"] = len(groups)
        for group in groups:
            report(counts)
            after.update(_pack(audit, state, group, counts))
            counts["done"] += 1
        report(counts)
        made.changed = _replace(audit, state, after, before)
        named = {part for commit in after.values() for part in parts_of(commit)}
        left = [name for name in audit.disk.names(files.FOLDER) if not name.endswith(".tmp")]
        made.parts, made.commits = (len(state.holders), len(named)), (len(before), len(left))
    _clean(audit, made, now=now)
    return made


def _clean(audit: Audit, made: Compacted, *, now: bool) -> None:
    """Remove what nothing names once its hour is over, with `now` at once; and count what waits."""
    made.removed = audit.tidy(now=now)
    live = {name for commit in audit.commits() for name in parts_of(commit)}
    made.waiting = len({f"{folder}/{name}" for folder in store.FOLDERS for name in audit.disk.names(folder)} - live)
    ages = [file.age for name, file in audit.disk.listed(files.FOLDER).items() if name.startswith("pack-")]
    made.seconds = max(0.0, HOUR - min(ages, default=HOUR))


def _state(audit: Audit) -> State:
    """Everything that there is. StoreError for a part that is missing."""
    commits: dict[str, Commit] = {}
    own: dict[str, str] = {}
    for commit, found in audit.found():
        commits[commit.shard] = commit
        if found.place is None:
            own[commit.shard] = _digest(found.data)
    listed = {f"{folder}/{name}": file for folder in store.FOLDERS for name, file in audit.disk.listed(folder).items()}
    for commit in commits.values():
        if lost := sorted(parts_of(commit) - listed.keys()):
            raise StoreError(
                f"{audit.disk.at(lost[0])}: is missing; if nobody writes here, restore it from a copy, or scan its logs anew"
            )
    return State(commits, own, listed)


# ---- groups ---------------------------------------------------------------------------------------------


def _groups(state: State) -> list[list[Commit]]:
    """Shards that belong together, by name. Groups that are packed, whole and at least half full stay as they are; smaller ones are
    made into fewer where that is possible.
    """
    packed: dict[str, list[Commit]] = defaultdict(list)
    loose: list[Commit] = []
    for shard in sorted(state.commits):
        commit = state.commits[shard]
        (packed[commit.episodes] if state.whole(commit.episodes) else loose).append(commit)
    settled = [group for group in packed.values() if _large(state, group)]
    small = [group for group in packed.values() if not _large(state, group)]
    chunks = list(_chunks(state, sorted([*loose, *(c for group in small for c in group)], key=lambda c: c.shard)))
    return [*settled, *(chunks if loose or len(chunks) < len(small) else small)]


def _large(state: State, group: Sequence[Commit]) -> bool:
    return len(group) >= GROUP_SHARDS // 2 or sum(map(state.weight, group)) >= GROUP_BYTES / 2


def _chunks(state: State, given: Iterable[Commit]) -> Iterator[list[Commit]]:
    group: list[Commit] = []
    size = 0.0
    for commit in given:
        weight = state.weight(commit)
        if group and (size + weight > GROUP_BYTES or len(group) >= GROUP_SHARDS):
            yield group
            group, size = [], 0.0
        group.append(commit)
        size += weight
    if group:
        yield group


# ---- packs of parts -------------------------------------------------------------------------------------


def _pack(audit: Audit, state: State, group: Sequence[Commit], counts: Counter[str]) -> dict[str, Commit]:
    """One pack of each role of a group, and the commits that name them. A role that stands in one whole pack stays there."""
    packs: dict[Role, str] = {}
    frames: dict[str, tuple[int, int]] = {}
    for role in ROLES:
        named = [one for commit in group for one in role.named(commit)]
        sources = {part for part, *_ in named}
        if not named or (len(sources) == 1 and all(state.whole(part) and state.holders[part] == len(named) for part in sources)):
            continue
        ending = "parquet" if role.schema is not None else "jsonl.zst"
        # The stamps too: a judge that tries again writes other rows under the same name.
        told = repr([*named, *((part, state.files[part][:2]) for part in sorted(sources))])
        size = len(named) if role.schema is not None else len({shard for _, shard in named})
        name = packs[role] = f"{role.folder}/pack-{size}-{role.letter}{_digest(told.encode())}.{ending}"
        if role.schema is None:
            frames = _frames(state, group)
        if not audit.disk.exists(name):
            if role.schema is not None:
                write(audit, name, role.schema, _pieces(named, state))
            else:
                _concatenate(audit, name, group, sum(length for _, length in frames.values()))
        counts["parts"] += len(sources)
    if not packs:
        return {}
    return {commit.shard: _renamed(commit, packs, frames.get(commit.shard)) for commit in group}


def _pieces(named: Iterable[tuple[str, ...]], state: State) -> list[Piece]:
    """The parts of each shard, in order, with the verdicts of each that count."""
    found: dict[tuple[str, str], set[tuple[str, ...]]] = defaultdict(set)
    for part, shard, *verdict in named:
        found[shard, part].add(tuple(verdict))
    return [Piece(part, shard, state.files[part].size, keys - {()}) for (shard, part), keys in sorted(found.items())]


def _frames(state: State, group: Iterable[Commit]) -> dict[str, tuple[int, int]]:
    """Where the bytes of each shard will stand in the pack of what is flagged."""
    frames, start = {}, 0
    for commit in group:
        length = sum(commit.frames[name][1] if name in commit.frames else state.files[name].size for name in commit.flagged)
        if commit.flagged:
            frames[commit.shard] = (start, length)
        start += length
    return frames


def _concatenate(audit: Audit, name: str, group: Iterable[Commit], expected: int) -> None:
    """Zstandard frames one behind the other: they are read one by one as they were."""
    with audit.part(name) as path:
        with path.open("wb") as file:
            for commit in group:
                for part in commit.flagged:
                    if part in commit.frames:
                        file.write(audit.disk.range(part, *commit.frames[part]))
                        continue
                    with audit.disk.open(part) as source:
                        shutil.copyfileobj(source, file)
        if path.stat().st_size != expected:
            raise StoreError(f"{audit.disk.at(name)}: its parts changed meanwhile; run the same command again")


def _renamed(commit: Commit, packs: Mapping[Role, str], frame: tuple[int, int] | None) -> Commit:
    """The commit as it names the packs. It stands for the same verdicts, so what was asked stays as good as it was."""
    update: dict[str, object] = {"episodes": packs.get(EPISODES, commit.episodes)}
    if SIGNALS in packs:
        update["rubrics"] = {rubric: (packs[SIGNALS], made) for rubric, (_, made) in commit.rubrics.items()}
    if JUDGES in packs:
        update["judged"] = [judged.model_copy(update={"part": packs[JUDGES]}) for judged in commit.judged]
    if commit.answers and ANSWERS in packs:
        update["answers"] = packs[ANSWERS]
    if commit.flagged and FLAGGED in packs and frame is not None:
        update |= {"flagged": [packs[FLAGGED]], "frames": {packs[FLAGGED]: frame}}
    after = commit.model_copy(update=update)
    if commit.asking is None:
        return after
    asking = commit.asking
    basis = store.basis_of(after) if asking.basis == store.basis_of(commit) else asking.basis
    answers = packs.get(ASKED, asking.answers) if asking.answers else None
    told = {"facts": packs.get(FACTS, asking.facts), "frozen": asking.known_as, "answers": answers, "basis": basis}
    return after.model_copy(update={"asking": asking.model_copy(update=told)})


# ---- commits --------------------------------------------------------------------------------------------


def _replace(audit: Audit, state: State, after: Mapping[str, Commit], before: Sequence[str]) -> bool:
    """Write the pack of all commits, then remove what it replaces, in an order that loses no shard. Returns whether anything changed.

    On object storage there is no lock: a commit that was rewritten meanwhile stays, and wins.
    """
    packs = [name for name in before if name.startswith("pack-")]
    last = max(map(files.generation, packs), default=0)
    hashed = hashlib.sha256()
    for line in _lines(after):
        hashed.update(line)
    ending = f"-{hashed.hexdigest()[:16]}.jsonl"
    known = files.newest(packs)
    written = len(known) != 1 or not known[0].endswith(ending)
    if written:
        name = f"pack-{last + 1:06d}{ending}"
        with audit.part(f"{files.FOLDER}/{name}") as path, path.open("wb") as file:
            file.writelines(_lines(after))
        known = [name]
    replaced = [name for name in packs if name not in known]
    hidden = [name for name in before if name.endswith(".gone")]
    audit.disk.clear([f"{files.FOLDER}/{name}" for name in replaced])
    audit.disk.clear([f"{files.FOLDER}/{name}" for name in hidden])
    own = [files.own_file(shard) for shard in state.own]
    for start in range(0, len(own), _AT_ONCE):  # removed soon after they are looked at
        some = audit.disk.each(own[start : start + _AT_ONCE])
        audit.disk.clear([name for name, data in some if _digest(data) == state.own[files.own_shard(name)]])
    return bool(written or replaced or hidden or own)


def _lines(commits: Mapping[str, Commit]) -> Iterator[bytes]:
    for shard in sorted(commits):
        yield commits[shard].model_dump_json().encode() + b"\n"


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]
