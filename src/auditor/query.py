"""Documented DuckDB views over an audit, read only.

episodes   episode_id, model, task, environment, epoch, checkpoint, elicitation, reasoning_kind, ended, score, passed,
           format, source, record, "offset", line, messages, tokens, content_hash, ignored, metadata, developer, series
verdicts   episode_id, model, rubric, rubric_hash, detector, detector_version, view, tier, status, flagged, level,
           attributes, rationale, weight, error
evidence   episode_id, rubric, detector, view, signal, message, channel, start, "end", quote
answers    episode_id, model, rung, sample, control, mode, status, answer_class, answer, question, reply, signal, asked, wording,
           seed, reasoning, reasoning_in_context, tier, detector, rubric, level, flagged, quote, stances, attributes, error, pair,
           match, clean_by, founded, weight, fact, kind, knew, deliberate, material, ledger_hash, endpoint, questions
facts      episode_id, model, control, pair, match, clean_by, tier, ledger_hash, target, fact, kind, text, happened, kinds,
           material, knew, deliberate, told, source, rubric, rank, message, channel, start, "end", quote
rates      model, checkpoint, stage, elicited, rubric, at_least, tier, detector, k, n, episodes, tasks, share, low, high, method,
           best, worst, task_mean, unknown, outside, why      (worked out by `auditor.rates_view` when a query names it)

A model that a log does not name is NULL; `developer` and `series` are NULL without a `families.yaml` (see `auditor.families`). An episode that stands in two files is one row. Of every (episode, rubric, view,
detector) there is one row; detectors are `signals`, `judge:<name>` and, where there are several judges, `judge:majority`; and, of
rubrics for which people gave labels, `reviewer:<name>` and `reviewer:agreed` (tier reviewed, see `auditor.reviewed`).

`answers` holds questions inside the logs (mode `log`, rung `in_log`; `question` and `reply` are messages) and those of
`auditor ask` (mode `native` or `rendered`, NULL where nothing was asked; rung L1 … LT; control '' for an episode with a
fact to admit, else `clean`, `sham` or `random`). `facts` is what the latter are held against, frozen before the first
question: `happened` is false for what a control is charged with; `target` is the fact that specific questions are about.
Answers that are held against verdicts which have changed since are left out until `auditor ask` is run again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import duckdb

from auditor import families, reviewed
from auditor.errors import QueryError
from auditor.live import quoted, table, unreadable
from auditor.plan import scan_options
from auditor.sources import Sources
from auditor.store import Audit, Commit, basis_of, is_pack, verdicts_of
from auditor.tables import ANSWERS, ASKED, EPISODES, FACTS, VERDICTS
from auditor.text import excerpt
from auditor.transcript import Transcript

if TYPE_CHECKING:
    pass


_TRIES = 5


def connect(audit: Audit) -> duckdb.DuckDBPyConnection:
    """A connection with the views, closed to everything outside the audit's own files.

    Where a writer replaces a part meanwhile (a log that has grown, a judge run again) it is opened anew. StoreError for a part
    that is missing or damaged for good.
    """
    for left in reversed(range(_TRIES)):
        commits = list(audit.commits())
        try:
            return _connect(audit, commits)
        except duckdb.IOException as error:
            if not left or list(audit.commits()) == commits:
                raise unreadable(audit, error) from None
    raise AssertionError("the last try returns or raises")


def _connect(audit: Audit, commits: Sequence[Commit]) -> duckdb.DuckDBPyConnection:
    con = duckdb.connect(":memory:", config={"threads": 2, "memory_limit": "700MB"})
    con.execute("SET autoinstall_known_extensions=false; SET autoload_known_extensions=false")
    if audit.disk.filesystem is not None:
        con.register_filesystem(audit.disk.filesystem)
    places = ", ".join(quoted(f"{place}/") for place in audit.disk.spellings())
    con.execute(f"SET allowed_directories=[{places}]; SET temp_directory=''")
    con.execute("SET enable_external_access=false")
    table(con, "_episodes", audit, [(c.episodes, c.shard) for c in commits], EPISODES)
    table(con, "_verdicts", audit, [one for c in commits for one in verdicts_of(c)], VERDICTS, _older(commits))
    table(con, "_answers", audit, [(c.answers, c.shard) for c in commits if c.answers], ANSWERS)
    asking = [(c.asking, c.shard) for c in commits if c.asking and c.asking.basis == basis_of(c)]
    table(con, "_asked", audit, [(a.answers, shard) for a, shard in asking if a.answers], ASKED)
    table(con, "_facts", audit, [(a.facts, shard) for a, shard in asking], FACTS)
    twice = audit.disk.exists("duplicates.parquet")
    if twice:
        con.execute(f"CREATE VIEW _duplicates AS SELECT * FROM read_parquet({quoted(audit.disk.at('duplicates.parquet'))})")
    _families(con, audit)
    _views(con, audit, twice=twice)
    con.execute("SET lock_configuration=true")
    return con


def _families(con: duckdb.DuckDBPyConnection, audit: Audit) -> None:
    con.execute("CREATE TABLE _families(member VARCHAR, developer VARCHAR, series VARCHAR)")
    if known := families.load(audit):
        models = [m for (m,) in con.execute("SELECT DISTINCT model FROM _episodes WHERE model IS NOT NULL").fetchall()]
        if rows := families.named(models, known):
            con.executemany("INSERT INTO _families VALUES (?, ?, ?)", rows)


def stale(audit: Audit) -> int:
    """Shards whose answers are left out, since the verdicts that they are held against have changed."""
    return sum(c.asking is not None and c.asking.basis != basis_of(c) for c in audit.commits())


def _views(con: duckdb.DuckDBPyConnection, audit: Audit, *, twice: bool) -> None:
    # Joins cost more than the scan: none is made where no episode stands twice.
    kept, own = "WHERE true", "t.episode_id"
    if twice:
        kept = "LEFT JOIN _duplicates d USING (shard, row) WHERE (d.shard IS NULL OR d.new_id IS NOT NULL)"
        own = "COALESCE(d.new_id, t.episode_id) AS episode_id"
    con.execute(f"CREATE VIEW _rows AS SELECT {own}, t.* EXCLUDE (episode_id) FROM _episodes t {kept}")
    named = con.execute("SELECT count(*) FROM _families").fetchall()[0][0]
    family = (
        "f.developer, f.series FROM _rows r LEFT JOIN _families f ON f.member = r.model"
        if named
        else "NULL::VARCHAR AS developer, NULL::VARCHAR AS series FROM _rows r"
    )
    # The condition keeps every row. DuckDB takes one to keep a fifth: joined to verdicts, it then holds the episodes in memory, not these.
    con.execute(f"CREATE VIEW episodes AS SELECT r.* EXCLUDE (shard, row), {family} WHERE r.episode_id IS NOT NULL")
    con.execute(f"CREATE VIEW _machine AS SELECT {own}, t.* EXCLUDE (episode_id) FROM _verdicts t {kept}")
    reviewed.add(con, audit)
    con.execute("CREATE VIEW verdicts AS SELECT * EXCLUDE (shard, row, evidence) FROM _live")
    con.execute(
        "CREATE VIEW evidence AS SELECT episode_id, rubric, detector, view, e.signal, e.message, e.channel, e.start, e.end, e.quote"
        " FROM (SELECT episode_id, rubric, detector, view, unnest(evidence) AS e FROM _live)"
    )
    # A control without its partner controls nothing.
    alone = "(control NOT IN ('clean', 'sham') OR pair IN (SELECT episode_id FROM _asked WHERE control = ''))"
    asked = f"SELECT {own}, t.* EXCLUDE (episode_id, shard, row, rubric_hash) FROM _asked t {kept} AND {alone}"
    con.execute(
        f"CREATE VIEW answers AS SELECT {own}, t.* EXCLUDE (episode_id, shard, row, rubric_hash), 'candidate' AS tier, 'signals' AS detector"
        f" FROM _answers t {kept} UNION ALL BY NAME {asked}"
    )
    con.execute(
        "CREATE VIEW facts AS SELECT episode_id, model, control, pair, match, clean_by, tier, ledger_hash, f.id = target AS target, f.id AS fact, f.kind, f.text,"
        ' f."true" AS happened, f.kinds, f.material, f.knew, f.deliberate, f.told, f.source, f.rubric, f.rank, f.message, f.channel, f.start, f."end", f.quote'
        f" FROM (SELECT {own}, t.* EXCLUDE (episode_id, facts), unnest(facts) AS f FROM _facts t {kept})"
    )


def _older(commits: Sequence[Commit]) -> set[str]:
    """Verdict parts of shards whose rubric or judge was changed and run again: the older ones count for what they still stand for."""
    pairs = [({part for part, _ in c.rubrics.values()}, {j.part for j in c.judged}) for c in commits]
    return {part for pair in pairs for parts in pair if len(parts) > 1 for part in parts if not is_pack(part)}


def run(con: duckdb.DuckDBPyConnection, sql: str, parameters: Sequence[Any] = ()) -> tuple[list[str], list[tuple[Any, ...]]]:
    """Columns and rows of one SELECT. QueryError for anything else, in one line."""
    check(con, sql)
    try:
        result = con.execute(sql, list(parameters))
        return [d[0] for d in result.description or []], result.fetchall()
    except duckdb.Error as error:
        hint = (
            "; text is written in single quotes, and 'python -m pydoc auditor.query' lists views and columns"
            if "Binder" in str(error) or "Catalog" in str(error)
            else ""
        )
        raise QueryError(f"the query failed: {str(error).splitlines()[0]}{hint}") from None


def check(con: duckdb.DuckDBPyConnection, sql: str) -> None:
    """QueryError unless `sql` is exactly one SELECT."""
    try:
        statements = con.extract_statements(sql)
    except duckdb.Error as error:
        raise QueryError(f"not SQL: {str(error).splitlines()[0]}") from None
    if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
        raise QueryError("an audit is read only: give one SELECT (or an expression for --where)")


def find_episodes(
    con: duckdb.DuckDBPyConnection,
    *,
    rubric: str | None = None,
    model: str | None = None,
    min_level: int | None = None,
    where: str | None = None,
    every: bool = False,
    limit: int | None = None,
) -> tuple[list[str], list[tuple[Any, ...]]]:
    """Verdicts joined to their episode and their first quote; flagged ones alone unless `every`.

    With a `rubric`, a condition or `every`, the answers to `auditor ask` stand beside the verdicts, one row each, under the
    rubric that coded them; `rung`, `sample` and `control` are theirs alone. `where` is SQL over the columns of `verdicts`,
    `episodes` (joined), these, and `answer_class` (of a verdict: that of the last question inside the log).
    """
    verdicts = (
        "SELECT v.*, NULL::VARCHAR AS rung, NULL::BIGINT AS sample, NULL::VARCHAR AS control, NULL::VARCHAR AS mode, a.answer_class,"
        " q.message, q.channel, q.quote FROM verdicts v"
        " LEFT JOIN (SELECT episode_id, rubric, detector, view, evidence[1].message AS message, evidence[1].channel AS channel,"
        " evidence[1].quote AS quote FROM _live) q USING (episode_id, rubric, detector, view)"
        " LEFT JOIN (SELECT episode_id, last(answer_class) AS answer_class FROM answers WHERE mode = 'log' GROUP BY 1) a USING (episode_id)"
    )
    asked = (
        "SELECT episode_id, model, rubric, detector, 'all' AS view, tier, status, flagged, level, attributes, asked AS rationale, weight, error,"
        " rung, sample, control, mode, answer_class, 'reply' AS channel, coalesce(quote, answer) AS quote FROM answers WHERE rung <> 'in_log'"
    )
    both = f"{verdicts} UNION ALL BY NAME {asked}" if rubric or where or every else verdicts
    sql = (
        "SELECT episode_id, v.model, task, environment, rubric, tier, detector, view, status, flagged, level, rationale, error,"
        " message, channel, quote, source, rung, sample, control, answer_class"
        f" FROM ({both}) v JOIN (SELECT * EXCLUDE (model) FROM episodes) e USING (episode_id)"
    )
    conditions, parameters = [], []
    for column, value in (("rubric", rubric), ("v.model", model)):
        if value is not None:
            conditions.append(f"{column} = ?")
            parameters.append(value)
    _known(con, "verdicts", "rubric", rubric)
    _known(con, "episodes", "model", model)
    if min_level is not None:
        conditions.append("level >= ?")
        parameters.append(min_level)  # type: ignore[arg-type]  # a parameter may be of any type
    if where:
        check(con, f"SELECT 1 WHERE ({where}\n)")
        conditions.append(f"({where}\n)")
    elif not every:
        conditions.append("flagged")
    if conditions:
        sql += " WHERE " + " AND ".join(conditions)
    sql += " ORDER BY v.model NULLS LAST, rubric, episode_id, tier, detector, view, control NULLS FIRST, rung, sample"
    if limit is not None:
        sql += f" LIMIT {int(limit)}"
    return run(con, sql, parameters)


def _known(con: duckdb.DuckDBPyConnection, view: str, name: str, value: str | None) -> None:
    """QueryError for a name that the audit does not hold: nothing found must not look like nothing there."""
    if value is not None and not run(con, f"SELECT 1 FROM {view} WHERE {name} = ? LIMIT 1", [value])[1]:
        known = [
            str(r[0]) for r in run(con, f"SELECT DISTINCT {name} FROM {view} WHERE {name} IS NOT NULL ORDER BY 1 LIMIT 20")[1]
        ]
        raise QueryError(
            f"--{name} {excerpt(value, 60)}: none in this audit; there are {', '.join(excerpt(k, 60) for k in known) or 'none'}"
        )


def find_row(audit: Audit, con: duckdb.DuckDBPyConnection, episode: str) -> tuple[str, str, int, str, str]:
    """(id, shard, row, source, content hash) of an episode, by its id or a beginning of it that names only one; else QueryError."""
    sql = "SELECT episode_id AS id, shard, row, source, content_hash FROM _rows"
    _, rows = run(con, f"SELECT * FROM ({sql}) WHERE id = ?", [episode])
    if not rows:
        _, rows = run(con, f"SELECT * FROM ({sql}) WHERE starts_with(id, ?) LIMIT 6", [episode])
    if not rows:
        raise QueryError(f"no episode {excerpt(episode, 80)} in {audit.where}; 'auditor query {audit.where} --all' lists them")
    if len(rows) > 1:
        raise QueryError(
            f"{excerpt(episode, 80)} begins several ids: {', '.join(excerpt(r[0], 60) for r in rows[:5])}; give more of it"
        )
    name, shard, row, source, content = rows[0]
    return name, shard, row, source, content


def find_transcript(audit: Audit, con: duckdb.DuckDBPyConnection, episode: str) -> tuple[str, Transcript]:
    """The episode's id and transcript, by its id or a beginning of it that names only one.

    Flagged episodes come out of the audit; others are read from their source again. QueryError when neither is there.
    """
    name, shard, row, source, content = find_row(audit, con, episode)
    for _, transcript in Sources(audit, scan_options(audit, "")).read(audit.load(shard), {row: content}):
        return name, transcript
    raise QueryError(
        f"{excerpt(name, 80)} was not flagged, so it is not kept in the audit, and its source {source} is gone or has changed"
    )
