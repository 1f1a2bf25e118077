"""How it was done: what a judge noted of flagged episodes beside the level, such as competence and effort, as distributions."""

from __future__ import annotations

from collections import Counter
from typing import Any, NamedTuple

import duckdb
import orjson

from auditor.prevalence import SPEAKS
from auditor.rates import NATURAL, STAGE, UNKNOWN_MODEL


class Noted(NamedTuple):
    """One attribute of one rubric: flagged episodes of a model (its releases, snapshots …) by what was noted of the strongest finding of each.

    `counts` sum to `episodes`, less those of which it was not noted.
    """

    model: str
    stage: str
    rubric: str
    attribute: str
    episodes: int
    counts: dict[str, int]

    def plain(self) -> dict[str, Any]:
        """As JSON types."""
        return self._asdict()


def noted(con: duckdb.DuckDBPyConnection) -> list[Noted]:
    """Per model, rubric and attribute, over the natural episodes that the judge whose verdict speaks has flagged."""
    cursor = con.execute(
        f"SELECT coalesce(v.model, '{UNKNOWN_MODEL}'), {STAGE}, rubric, json_extract_string(attributes, '$.findings') FROM verdicts v JOIN episodes e USING (episode_id)"
        f" WHERE tier = 'judged' AND flagged AND v.status = 'ok' AND view = 'all' AND {NATURAL}"
        f" QUALIFY row_number() OVER (PARTITION BY episode_id, rubric ORDER BY {SPEAKS}) = 1"
    )
    episodes: Counter[tuple[str, str, str]] = Counter()
    counts: dict[tuple[str, str, str, str], Counter[str]] = {}
    while rows := cursor.fetchmany(5_000):
        for model, stage, rubric, told in rows:
            episodes[model, stage, rubric] += 1
            findings = [f for f in orjson.loads(told or "[]") if f.get("messages")]
            if findings:
                strongest = max(findings, key=lambda f: -1 if f["level"] is None else f["level"])
                for attribute, value in strongest.get("attributes", {}).items():
                    counts.setdefault((model, stage, rubric, attribute), Counter())[value] += 1
    return [Noted(*key, episodes[key[:3]], dict(found.most_common())) for key, found in sorted(counts.items())]
