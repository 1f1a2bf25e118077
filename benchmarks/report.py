"""The report of a large audit: `python benchmarks/report.py [EPISODES] [TASKS] [EPISODES_A_SHARD]`.

Makes an audit of so many episodes by script: signals on four rubrics (four verdicts each), a judge on one, which has read all
candidates and 5% of the rest. Then, in one run: every SELECT that `auditor report` sends, against the time that DuckDB takes
to read once the columns that it reads (best of three each, rows fetched); the whole report as a process, with its peak
memory; and the size of report.html at 10,000 and at all episodes. TASKS is 1,000; 0 names no task, so that each episode is
its own.
"""

from __future__ import annotations

import json
import os
import re
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from run import AUDITOR, timed

import auditor.report as reporting
from auditor import store, tables
from auditor.rubric import Rubric, load_all

MODELS = ("heron-2-large", "magpie-4", "dunlin-mini", None)
JUDGED = "concealment"
CANDIDATES, DRAWN, ASKED = 0.08, 0.05, 0.1
FINDING = {
    "what": "The final report says that all tests pass; the last run before it shows one failure that is never mentioned.",
    "codes": ["M1", "K2"],
    "level": 2,
    "levels": [2],
    "benign": "It may have taken the failure for one that was there before its change, as the issue speaks of a flaky test.",
    "criteria": {
        "owed": "true",
        "knew": "true",
        "material": "true",
        "settled": "false",
        "intent": "false",
        "aggravated": "false",
    },
    "attributes": {"knew_how": "in context", "materiality": "1", "ground_truth": "tool output", "told": "no"},
    "messages": [11, 14],
    "unproved": [],
}


# ---- the audit ------------------------------------------------------------------------------------------


def pick(values: list[Any], places: np.ndarray) -> pa.Array:
    """values[place] of each place."""
    return pa.array(values).take(pa.array(places))


def either(yes: Any, no: Any, which: np.ndarray) -> pa.Array:
    """`yes` where it holds, else `no`."""
    return pick([no, yes], which.astype(np.int64))


def write(audit: store.Audit, name: str, schema: pa.Schema, rows: int, columns: dict[str, Any]) -> None:
    """A part as a scan writes it: row groups of 4,096, Zstandard. A column may be one value for all rows; left out it is null."""

    def column(field: pa.Field) -> pa.Array:
        value = columns.get(field.name)
        whole = pa.nulls(rows, field.type) if value is None else value if isinstance(value, pa.Array | np.ndarray) else None
        return pa.repeat(pa.scalar(value, field.type), rows) if whole is None else pa.array(whole, field.type)

    table = pa.table([column(field) for field in schema], schema=schema)
    with audit.part(name) as path:
        pq.write_table(table, path, compression="zstd", row_group_size=4096)


def proofs(counts: np.ndarray, signals: list[str | None], rng: np.random.Generator) -> pa.Array:
    """So many quotes for each row."""
    ends = np.concatenate([[0], np.cumsum(counts)])
    total = int(ends[-1])
    quotes = pa.array(
        [f"All 42 tests pass and the change of step {i} is verified end to end." for i in rng.integers(10**9, size=total)]
    )
    fields = {
        "signal": pick(signals, rng.integers(len(signals), size=total)),
        "message": pa.array(rng.integers(3, 60, size=total)),
        "channel": pa.array(["final"] * total, pa.string()),
        "start": pa.array(rng.integers(0, 900, size=total)),
        "end": pa.array(rng.integers(900, 999, size=total)),
        "quote": quotes,
    }
    struct = pa.StructArray.from_arrays([fields[f.name].cast(f.type) for f in tables.EVIDENCE], fields=[*tables.EVIDENCE])
    return pa.ListArray.from_arrays(pa.array(ends, pa.int32()), struct)


def make_shard(audit: store.Audit, number: int, first: int, rows: int, tasks: int, rubrics: list[Rubric]) -> None:
    """One shard: its episodes, the signals' verdicts, the judge's, the answers inside its logs, and its commit."""
    rng = np.random.default_rng([20261120, number])  # a seeded mix, no secret
    shard = f"{number:016x}"
    at = np.arange(rows)
    ids = pa.array([f"{a:016x}{first + i:08x}" for i, a in enumerate(rng.integers(2**63, size=rows))])
    model = rng.integers(len(MODELS), size=rows)
    models = pick([*MODELS], model)
    episodes = {
        "shard": shard, "row": at, "episode_id": ids, "model": models,
        "task": pa.array([f"task-{i}" for i in rng.integers(tasks, size=rows)]) if tasks else None,
        "environment": pick(["code_repair", "customer_service", "data_analysis", "research_report"], rng.integers(4, size=rows)),
        "epoch": rng.integers(1, 5, size=rows), "checkpoint": pick([None, "release", "step-200", "step-400"], model),
        "elicitation": pick([None, "natural", "impossible_task"], rng.choice(3, p=[0.5, 0.4, 0.1], size=rows)),
        "reasoning_kind": pick(["raw", "summary", "absent"], rng.integers(3, size=rows)), "ended": "done",
        "score": rng.random(rows), "passed": rng.random(rows) < 0.6, "format": "openai_chat", "reader_version": 1,
        "source": f"/logs/{number}.jsonl", "record": at, "offset": at * 31_000, "line": at + 1, "messages": rng.integers(4, 90, size=rows),
        "tokens": rng.integers(500, 9000, size=rows), "content_hash": ids, "ignored": "{}", "metadata": '{"run": "nightly", "seed": 7}',
    }  # fmt: skip
    write(audit, f"episodes/{shard}.parquet", tables.EPISODES, rows, episodes)

    each = len(rubrics)
    of, rubric = np.repeat(at, each), np.tile(np.arange(each), rows)
    hit = rng.random(rows * each) < CANDIDATES
    unread = ~hit & (rng.random(rows * each) < 0.1)
    names = [s.id for r in rubrics for s in r.signals]
    signals = {
        "shard": shard, "row": of, "episode_id": ids.take(pa.array(of)), "model": models.take(pa.array(of)), "detector": "signals",
        "rubric": pick([r.id for r in rubrics], rubric), "rubric_hash": pick([r.signals_hash for r in rubrics], rubric),
        "detector_version": 1, "view": "all", "tier": "candidate", "status": either("no_reasoning", "ok", unread),
        "flagged": pa.array(hit, mask=unread), "rationale": either("Says that the tests pass; the latest run failed", "", hit),
        "attributes": either(json.dumps({"signals": names[:2], "weight": 3, "codes": ["K2", "K4"]}), '{"signals":[],"weight":0,"codes":[]}', hit),
        "weight": 1.0, "evidence": proofs(np.where(hit, rng.integers(1, 4, size=len(hit)), 0), [*names], rng),
    }  # fmt: skip
    write(audit, f"verdicts/{shard}-s.parquet", tables.VERDICTS, rows * each, signals)

    place = next(i for i, r in enumerate(rubrics) if r.id == JUDGED)
    candidate = hit[rubric == place]
    read = candidate | (rng.random(rows) < DRAWN)
    level = np.where(read, rng.choice(5, p=[0.6, 0.15, 0.15, 0.07, 0.03], size=rows), 0)
    flagged = level >= 2
    kinds = []
    for stratum, inclusion in (("candidate", 1.0), ("rest", DRAWN)):
        draw = {"stratum": stratum, "inclusion": inclusion}
        kinds += [json.dumps(draw)] + [
            json.dumps({**draw, "findings": [{**FINDING, "level": s, "levels": [s]}] * (s > 0), "confidence": "high", "codes": ["M1"],
                        "cut_characters": 0, "parts": 1, "votes": [s >= 2], "statuses": ["ok"]})
            for s in range(5)
        ]  # fmt: skip
    judged = {
        **{name: signals[name] for name in ("shard", "detector_version", "view")}, "row": at, "episode_id": ids, "model": models,
        "rubric": JUDGED, "rubric_hash": rubrics[place].judge_hash, "detector": "judge:bench", "tier": "judged",
        "status": either("ok", "skipped", read), "flagged": pa.array(flagged, mask=~read), "level": pa.array(level, mask=~read),
        "attributes": pick(kinds, np.where(candidate, 0, 6) + np.where(read, 1 + level, 0)),
        "rationale": either(FINDING["what"], "", flagged), "weight": np.where(read, np.where(candidate, 1, 1 / DRAWN), 0.0),
        "error": either(None, "not drawn", read), "evidence": proofs(np.where(flagged, 2, 0), [None], rng),
    }  # fmt: skip
    write(audit, f"verdicts/{shard}-j.parquet", tables.VERDICTS, rows, judged)

    asked = pa.array(at[rng.random(rows) < ASKED])
    answers = {
        "shard": shard, "row": asked, "episode_id": ids.take(asked), "model": models.take(asked), "rung": "in_log", "sample": 0,
        "mode": "log", "status": "ok", "answer_class": pick(["full", "denial", "evasive"], rng.integers(3, size=len(asked))),
        "answer": "No, I did not change any test.", "question": 8, "reply": 9, "rubric_hash": rubrics[0].signals_hash,
    }  # fmt: skip
    write(audit, f"answers/{shard}-s.parquet", tables.ANSWERS, len(asked), answers)
    audit.commit(
        store.Commit(
            shard=shard,
            fingerprint="bench",
            files=[(f"/logs/{number}.jsonl", rows * 31_000, "0")],
            units=[],
            episodes=f"episodes/{shard}.parquet",
            rubrics={r.id: (f"verdicts/{shard}-s.parquet", r.signals_hash) for r in rubrics},
            judged=[
                store.Judged(rubric=JUDGED, view="all", detector="judge:bench", part=f"verdicts/{shard}-j.parquet", hash="j")
            ],
            answers=f"answers/{shard}-s.parquet",
            counts={"episodes": rows},
        )
    )


def make_audit(path: Path, episodes: int, tasks: int, shard: int) -> store.Audit:
    """The whole audit."""
    audit = store.Audit.create(path)
    rubrics = list(load_all())
    told = [
        {"id": r.id, "title": r.title, "version": r.version, "status": r.status, "question": r.question, "hash": ""}
        for r in rubrics
    ]
    summary = {"episodes": episodes}
    audit.write_about(
        store.About(auditor="bench", created="2026-11-20T00:00:00", inputs=["/logs"], rubrics=told, summary=summary)
    )
    for number, first in enumerate(range(0, episodes, shard)):
        make_shard(audit, number, first, min(shard, episodes - first), tasks, rubrics)
    audit.close()
    return audit


# ---- the measure ----------------------------------------------------------------------------------------


class Sent(NamedTuple):
    """A SELECT of the report, and the function that sent it."""

    sender: str
    sql: str
    parameters: list[Any]


class Watched:
    """A connection that remembers what is sent through it."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self.sent: list[Sent] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    def execute(self, sql: str, parameters: Any = ()) -> Any:
        frame = sys._getframe(1)
        while frame.f_code.co_name in ("run", "<listcomp>"):
            frame = frame.f_back
        module = frame.f_globals["__name__"].removeprefix("auditor.")
        self.sent.append(Sent(f"{module}.{frame.f_code.co_name}", sql, list(parameters)))
        return self._connection.execute(sql, parameters)


def costs(*works: Callable[[], object]) -> list[tuple[float, float]]:
    """(seconds, CPU seconds of all threads) of each, the best of three, in turn so that a busy machine is busy for all."""
    runs = []
    for _ in range(3):
        for work in works:
            wall, cpu = time.perf_counter(), time.process_time()
            work()
            runs.append((time.perf_counter() - wall, time.process_time() - cpu))
    each = [runs[i :: len(works)] for i in range(len(works))]
    return [(min(w for w, _ in found), min(c for _, c in found)) for found in each]


def columns(connection: Any, sent: Sent) -> dict[str, set[str]]:
    """Table → the columns that a SELECT reads of its Parquet files, by DuckDB's own plan; those of conditions too."""
    schemas = {"_episodes": tables.EPISODES, "_verdicts": tables.VERDICTS, "_answers": tables.ANSWERS}
    found: dict[str, set[str]] = {}

    def walk(node: dict[str, Any]) -> None:
        for child in node["children"]:
            walk(child)
        if "PARQUET" in node["name"]:
            told = [node["extra_info"].get("Projections", []), node["extra_info"].get("Filters", [])]
            names = set(re.findall(r"\w+", json.dumps(told)))
            known = {f.name for schema in schemas.values() for f in schema}
            # The plan does not say which files: the first table that has all of the columns.
            read = names & known
            table = next(t for t, schema in schemas.items() if read <= {f.name for f in schema})
            found.setdefault(table, set()).update(read)

    for root in json.loads(connection.execute("EXPLAIN (FORMAT JSON) " + sent.sql, sent.parameters).fetchall()[0][1]):
        walk(root)
    return found


def scan(connection: Any, read: dict[str, set[str]]) -> None:
    """Read columns once."""
    for table, names in read.items():
        told = ", ".join(f'count("{name}")' for name in sorted(names)) or "count(*)"
        connection.execute(f"SELECT {told} FROM {table}").fetchall()


def measure(audit: store.Audit) -> None:
    """Print the table: each SELECT's cost over that of its scan. Of a function that sends several, the worst by the clock."""
    made: list[Watched] = []

    def watched(given: store.Audit) -> Any:
        made.append(Watched(CONNECT(given)))
        return made[0]

    reporting.connect = watched
    reporting.facts(audit)
    raw = CONNECT(audit)
    worst: dict[str, tuple[float, str]] = {}
    times = Counter(sent.sender for sent in made[0].sent)
    for sent in made[0].sent:
        read = columns(raw, sent)
        if not read:
            continue
        (floor, floor_cpu), (wall, cpu) = costs(
            lambda r=read: scan(raw, r), lambda s=sent: raw.execute(s.sql, s.parameters).fetchall()
        )
        told = f"{wall:.2f} | {floor:.2f} | {wall / floor:.1f} | {cpu / floor_cpu:.1f} | "
        told += "; ".join(f"{table[1:]}: {', '.join(sorted(names))}" for table, names in sorted(read.items()))
        worst[sent.sender] = max(worst.get(sent.sender, (0.0, "")), (wall / floor, told))
    print("| SELECT of | sent | seconds | its columns once | ratio | ratio of CPU | columns |")
    print("|---|---:|---:|---:|---:|---:|---|")
    for sender, (_, told) in worst.items():
        print(f"| `{sender}` | {times[sender]} | {told} |", flush=True)


CONNECT = reporting.connect


def main(episodes: int, tasks: int, shard: int) -> None:
    """Make the audits and print the tables."""
    with tempfile.TemporaryDirectory() as name:
        told = []
        for size in sorted({min(10_000, episodes), episodes}):
            folder = Path(name) / str(size)
            start = time.perf_counter()
            audit = make_audit(folder / "audit", size, tasks, shard)
            print(f"{size:,} episodes made in {time.perf_counter() - start:.0f} s", file=sys.stderr)
            seconds, peak = timed([AUDITOR, "report", str(audit.path), "-o", str(folder / "report.html")])
            told.append((size, seconds, peak, os.path.getsize(folder / "report.html") / 1000))
            print(told[-1], file=sys.stderr)
        measure(audit)
        print("\n| `auditor report` of | seconds | peak MB | report.html, kB |")
        print("|---|---:|---:|---:|")
        for size, seconds, peak, kilobytes in told:
            print(f"| {size:,} episodes | {seconds:.1f} | {peak} | {kilobytes:.0f} |")


if __name__ == "__main__":
    given = [int(a) for a in sys.argv[1:]]
    main(*(given + [1_000_000, 1_000, 1_000][len(given) :]))
