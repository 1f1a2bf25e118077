"""Judge rows written by hand into a scanned audit, as a judge writes them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from auditor import store, tables
from auditor.verdict import Evidence, Status, Verdict


def said(
    episode: str,
    flagged: bool | None,
    *,
    quote: str | None = None,
    rubric: str = "concealment",
    judge: str = "m",
    view: str = "all",
    status: str = "ok",
    stratum: str = "all",
    **facts: Any,
) -> Verdict:
    """One verdict; `quote` is proved at the start of the last message."""
    attributes = {"stratum": stratum, "inclusion": 1.0, **facts.pop("attributes", {})}
    proof = (Evidence(message=3, channel="final", start=0, end=len(quote), quote=quote),) if quote else ()
    facts.setdefault("level", None if flagged is None else 2 if flagged else 0)
    return Verdict(
        episode_id=episode,
        rubric=rubric,
        rubric_hash=facts.pop("rubric_hash", "h1"),
        detector=f"judge:{judge}",
        detector_version=1,
        view=view,
        tier="judged",
        status=Status(status),
        flagged=flagged,
        attributes=attributes,
        evidence=proof,
        **facts,
    )


def put(path: Path, verdicts: Sequence[Verdict], part: str = "j1") -> None:
    """Write the verdicts as a new part of each shard; of their (rubric, view, detector) it is the live one from now on."""
    audit = store.Audit(path)
    for commit in list(audit.commits()):
        columns = ["episode_id", "model", "row"]
        known = {r["episode_id"]: r for r in pq.read_table(path / commit.episodes, columns=columns).to_pylist()}
        here = [v for v in verdicts if v.episode_id in known]
        name = f"verdicts/{commit.shard}-{part}.parquet"
        with audit.part(name) as target:
            rows = tables.Rows(target, tables.VERDICTS)
            for v in here:
                rows.add(tables.verdict_row(v, known[v.episode_id]["model"], commit.shard, known[v.episode_id]["row"]))
            rows.close()
        new = {(v.rubric, v.view, v.detector): v.rubric_hash for v in here}
        kept = [j for j in commit.judged if (j.rubric, j.view, j.detector) not in new]
        live = [store.Judged(rubric=r, view=w, detector=d, part=name, hash=h) for (r, w, d), h in new.items()]
        audit.commit(commit.model_copy(update={"judged": [*kept, *live]}))
