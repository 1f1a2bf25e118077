"""Several audits into one: their shards side by side, what stands in two of them once; or a copy of one, from object storage to here."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

from auditor import labels
from auditor.errors import StoreError
from auditor.judging import carried
from auditor.pipeline import finish
from auditor.replies import Replies
from auditor.store import About, Audit, Commit, is_pack, parts_of


def merge(sources: Sequence[str], output: str, report: Callable[[Counter[str]], None] = lambda _: None) -> Audit:
    """Write `output` from the `sources`, doing only what is missing; a kill costs what was being copied.

    A shard that stands in several is taken from the one that has judged and asked more of it. Episodes that stand in several
    shards count once, as in any audit. Kept replies and labels come along. StoreError where two were scanned with rubrics of
    one name and other signals: their verdicts would be no verdicts of one rubric.
    """
    opened = [Audit.open(source) for source in sources]
    abouts = [audit.about() for audit in opened]
    _agree(sources, abouts)
    target = Audit.create(output)
    counts: Counter[str] = Counter()
    try:
        if not target.disk.exists("audit.json"):
            target.write_about(abouts[0].model_copy(update={"finished": None, "summary": {}}))
        else:
            _agree([output, *sources], [target.about(), *abouts])
        target.tidy()
        there = {commit.shard: commit for commit in target.commits()}
        for audit in opened:
            for commit in audit.commits():
                before = there.get(commit.shard)
                if before is None or _done(commit) > _done(before):
                    _copy(audit, target, commit, anew=before is not None)
                    target.commit(commit)
                    if before is not None:
                        target.sweep(parts_of(before) - parts_of(commit))
                    there[commit.shard] = commit
                    counts["copied"] += 1
                counts["shards"] += 1
                report(counts)
            carried.hand_on(audit, target)
            _replies(audit, target)
            _labels(audit, target)
        inputs = list(dict.fromkeys(i for about in (target.about(), *abouts) for i in about.inputs))
        judged = next((a for a in abouts if a.judge), abouts[0])
        asked = next((a for a in abouts if a.ask), abouts[0])
        target.write_about(target.about().model_copy(update={"inputs": inputs, "judge": judged.judge, "ask": asked.ask}))
        finish(target)
    except OSError as error:
        raise StoreError(f"{output}: {error.strerror or error}; what was copied is kept, run the same command again") from error
    finally:
        target.close()
    return target


def _agree(names: Iterable[str], abouts: Sequence[About]) -> None:
    known: dict[str, tuple[str, str]] = {}
    for name, about in zip(names, abouts, strict=True):
        for rubric in about.rubrics:
            first, hashed = known.setdefault(rubric["id"], (name, rubric["hash"]))
            if hashed != rubric["hash"]:
                raise StoreError(
                    f"{name}: its rubric {rubric['id']} is not that of {first}; scan one of them again with the rubrics of the other"
                )


def _done(commit: Commit) -> tuple[int, int, int]:
    """What a shard has: verdicts of judges, less those that are open, and answers."""
    asked = commit.asking is not None and commit.asking.answers is not None
    return len(commit.judged), -sum(j.open for j in commit.judged), int(asked)


def _copy(source: Audit, target: Audit, commit: Commit, *, anew: bool) -> None:
    """The parts of a shard. `anew`: where another try of a judge wrote other rows under a name that is there already."""
    along = carried.name_of(commit.shard)
    for name in (*sorted(parts_of(commit)), *([along] if source.disk.exists(along) else [])):
        if (anew and not is_pack(name)) or not target.disk.exists(name):
            with source.disk.open(name) as given, target.part(name) as path, path.open("wb") as file:
                shutil.copyfileobj(given, file)


def _replies(source: Audit, target: Audit) -> None:
    there = source.disk.scratch() / "llm.sqlite"
    if there.exists():
        kept = Replies.open(target.disk.scratch() / "llm.sqlite")
        try:
            kept.take(there)
        finally:
            kept.close()


def _labels(source: Audit, target: Audit) -> None:
    if source.disk.exists(labels.NAME):
        known = {one.model_dump_json() for one in labels.load(target)} if target.disk.exists(labels.NAME) else set()
        for one in labels.load(source):
            if one.model_dump_json() not in known:
                labels.append(target, one)
