"""The reviewed tier: what people said of episodes, as verdict rows beside those of signals and judges.

For each rubric with labels: a row a label (detector `reviewer:<name>`), and a row an episode (`reviewer:agreed`). All reviewers of
an episode must agree, or its row is not known; one that nobody labelled is `skipped`, "not drawn (…)".

The strata, from the other verdicts on the whole episode (view `all`):

    disagreement   judges disagree with each other, or the judge that speaks with the signals
    high           the verdict that speaks has level 3 or more
    flagged        it flags
    rest           it does not, or nothing is known
    by hand        picked by a reviewer, not drawn: such episodes stand for themselves alone

The verdict that speaks is the majority's, else the first judge's that is known, else the signals'. An episode that lacks what the
rubric needs (nobody asked, no reasoning, no report) is outside of the question and in no stratum, as in the other tiers. Strata
are those of now: where a judge was run after some labels, they count in the stratum that the episode has come to.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from auditor import labels
from auditor.store import Audit
from auditor.tables import EVIDENCE

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

AGREED = "reviewer:agreed"
STRATA = ("disagreement", "high", "flagged", "rest", "by hand")
"""In the order in which they are read; `by hand` is never drawn from."""
_HIGH = 3
_OUTSIDE = "('no_reasoning', 'no_report', 'not_asked')"

_STRATA_SQL = f"""
SELECT s.episode_id, s.rubric, s.status,
    CASE WHEN judge IS NULL AND s.status IN {_OUTSIDE} THEN NULL
         WHEN split OR (judge IS NOT NULL AND s.flagged IS NOT NULL AND judge <> s.flagged) THEN 'disagreement'
         WHEN level >= {_HIGH} THEN 'high' WHEN coalesce(judge, s.flagged) THEN 'flagged' ELSE 'rest' END AS drawn_from
FROM (SELECT episode_id, rubric, status, CASE WHEN status = 'ok' THEN flagged END AS flagged FROM _machine
      WHERE detector = 'signals' AND view = 'all') s
LEFT JOIN (
    SELECT episode_id, rubric, arg_min(flagged, place) AS judge, arg_min(level, place) AS level,
        bool_or(flagged) FILTER (detector <> 'judge:majority') <> bool_and(flagged) FILTER (detector <> 'judge:majority') AS split
    FROM (SELECT *, (detector <> 'judge:majority')::INT::VARCHAR || detector AS place FROM _machine
          WHERE view = 'all' AND tier = 'judged' AND status = 'ok' AND flagged IS NOT NULL)
    GROUP BY episode_id, rubric
) USING (episode_id, rubric)"""

_TABLE_SQL = """
CREATE TABLE _labelled AS
SELECT episode_id, rubric, bool_or(queued) AS drawn,
    bool_and(flagged) FILTER (stands) AS every, bool_or(flagged) FILTER (stands) AS one,
    count(*) FILTER (stands AND flagged IS NULL) AS unclear, min(level) FILTER (stands) AS level,
    max(rubric_hash) FILTER (stands) AS rubric_hash
FROM _labels GROUP BY ALL"""

# The rubrics with labels stand in it as constants: DuckDB pushes those down to the files, and a subquery it does not.
_PLACED_SQL = """
CREATE VIEW _placed AS
SELECT s.episode_id, s.rubric, s.status, l.* EXCLUDE (episode_id, rubric), l.episode_id IS NOT NULL AS labelled,
    CASE WHEN l.drawn = false THEN 'by hand' ELSE drawn_from END AS stratum
FROM _strata s LEFT JOIN _labelled l USING (episode_id, rubric) WHERE s.rubric IN ({rubrics})"""

_SAMPLED_SQL = """
INSERT INTO _sampled SELECT rubric, stratum, count(*) AS size, count(*) FILTER (labelled) AS drawn FROM _placed
WHERE stratum IS NOT NULL AND rubric = ? GROUP BY ALL"""

# Of an audit without labels: nothing is handed to DuckDB, which would import pandas for it.
_COLUMNS = (
    "reviewer VARCHAR, rubric VARCHAR, episode_id VARCHAR, level BIGINT, flagged BOOLEAN, note VARCHAR, queued BOOLEAN, stratum VARCHAR,"
    " rubric_hash VARCHAR, stands BOOLEAN"
)

_ATTRIBUTES = (
    "CASE WHEN p.stratum IS NULL THEN '{}' ELSE to_json({'stratum': p.stratum, 'inclusion': c.drawn / c.size})::VARCHAR END"
)

_AGREED_SQL = f"""
SELECT r.shard, r.row, p.episode_id, r.model, p.rubric, p.rubric_hash, '{AGREED}' AS detector, 1 AS detector_version, 'all' AS view,
    'reviewed' AS tier, CASE WHEN labelled THEN 'ok' WHEN stratum IS NULL THEN p.status ELSE 'skipped' END AS status,
    CASE WHEN unclear = 0 AND every = one THEN every END AS flagged, CASE WHEN unclear = 0 AND every = one THEN p.level END AS level,
    {_ATTRIBUTES} AS attributes, '' AS rationale, CASE WHEN labelled THEN coalesce(c.size / c.drawn, 1.0) ELSE 0.0 END AS weight,
    CASE WHEN NOT labelled AND stratum IS NOT NULL THEN 'not drawn (' || c.drawn || ' of ' || c.size || ' ' || stratum || ' were reviewed)' END AS error,
    NULL AS evidence
FROM _placed p JOIN _rows r USING (episode_id) LEFT JOIN _sampled c USING (rubric, stratum)"""

_EACH_SQL = f"""
SELECT r.shard, r.row, l.episode_id, r.model, l.rubric, l.rubric_hash, 'reviewer:' || reviewer AS detector, 1 AS detector_version, 'all' AS view,
    'reviewed' AS tier, 'ok' AS status, l.flagged, l.level, {_ATTRIBUTES} AS attributes, note AS rationale,
    coalesce(c.size / c.drawn, 1.0) AS weight, NULL AS error, l.evidence
FROM _labels l JOIN _placed p USING (episode_id, rubric) JOIN _rows r USING (episode_id)
LEFT JOIN _sampled c ON c.rubric = l.rubric AND c.stratum = p.stratum
WHERE stands"""


def add(con: duckdb.DuckDBPyConnection, audit: Audit) -> None:
    """Make the view `_live` of `_machine` (what signals and judges said) and of what reviewers said; and `_strata`.

    Without labels `_live` is `_machine`: nothing is read, nothing computed. StoreError for labels that cannot be read.
    """
    con.execute(f"CREATE VIEW _strata AS {_STRATA_SQL}")
    told = labels.load(audit)
    con.execute("CREATE TABLE _sampled(rubric VARCHAR, stratum VARCHAR, size BIGINT, drawn BIGINT)")
    if told:
        con.register("_given", _table(told))
        con.execute("CREATE TABLE _all_labels AS SELECT * FROM _given")
        con.unregister("_given")
        con.execute(
            "CREATE TABLE _labels AS SELECT l.* FROM _all_labels l SEMI JOIN _rows USING (episode_id)"
            " WHERE rubric IN (SELECT DISTINCT rubric FROM _machine)"
        )
    else:
        con.execute(f"CREATE TABLE _all_labels({_COLUMNS}); CREATE TABLE _labels AS FROM _all_labels")
    con.execute(_TABLE_SQL)
    if not told:
        con.execute("CREATE VIEW _live AS SELECT * FROM _machine")
        return
    rubrics = [name for (name,) in con.execute("SELECT DISTINCT rubric FROM _labelled ORDER BY 1").fetchall()]
    con.execute(_PLACED_SQL.format(rubrics=", ".join("'" + name.replace("'", "''") + "'" for name in rubrics) or "NULL"))
    for name in rubrics:
        con.execute(_SAMPLED_SQL, [name])
    con.execute(f"CREATE VIEW _live AS SELECT * FROM _machine UNION ALL BY NAME {_AGREED_SQL} UNION ALL BY NAME {_EACH_SQL}")


def ignored(con: duckdb.DuckDBPyConnection) -> int:
    """How many labels that stand are of episodes or rubrics that the audit does not hold: they count nowhere."""
    sql = "SELECT (SELECT count(*) FROM _all_labels WHERE stands) - (SELECT count(*) FROM _labels WHERE stands)"
    return int(con.execute(sql).fetchall()[0][0])


def moved(con: duckdb.DuckDBPyConnection) -> int:
    """How many labels that stand were drawn from another stratum than their episode is in now: their weights are rough."""
    sql = "SELECT count(*) FROM _labels l JOIN _placed p USING (episode_id, rubric) WHERE stands AND queued AND l.stratum <> p.stratum"
    return int(con.execute(sql).fetchall()[0][0]) if con.execute("SELECT 1 FROM _labels LIMIT 1").fetchall() else 0


def unread(con: duckdb.DuckDBPyConnection) -> dict[str, str]:
    """Of each rubric with labels the strata of which nobody has read an episode, with their sizes: no weight can stand for them."""
    sql = "SELECT rubric, string_agg(size || ' ' || stratum, ', ' ORDER BY stratum) FROM _sampled WHERE drawn = 0 GROUP BY 1 ORDER BY 1"
    return dict(con.execute(sql).fetchall())


def _table(told: list[labels.Label]) -> pa.Table:
    """All labels as a table; `stands` marks the last of each reviewer, rubric and episode."""
    import pyarrow as pa

    standing = {id(one) for one in labels.standing(told)}
    schema = pa.schema(
        [*((name, pa.string()) for name in ("reviewer", "rubric", "episode_id")), ("level", pa.int64()), ("flagged", pa.bool_())]
        + [("note", pa.string()), ("queued", pa.bool_()), ("stratum", pa.string()), ("rubric_hash", pa.string()), ("stands", pa.bool_()), ("evidence", pa.list_(EVIDENCE))]
    )  # fmt: skip
    rows = [
        one.model_dump(
            include={"reviewer", "rubric", "episode_id", "level", "flagged", "note", "queued", "stratum", "rubric_hash"}
        )
        | {"stands": id(one) in standing, "evidence": [{"signal": None, **mark.model_dump(mode="json")} for mark in one.evidence]}
        for one in told
    ]
    return pa.Table.from_pylist(rows, schema=schema)
