"""Labels to hold detectors against: an audit's own reviews, a file of labels, or a field of the logs."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import duckdb
import orjson

from auditor.errors import InputError, QueryError
from auditor.query import run
from auditor.reviewed import AGREED, unread
from auditor.rubric import Rubric
from auditor.store import Audit
from auditor.text import excerpt

_YES = frozenset(("true", "1", "1.0", "yes"))
_NO = frozenset(("false", "0", "0.0", "no"))


class Truth(NamedTuple):
    """What is true of an episode under a rubric: None is not known. `weight` is 1 / the probability with which it was labelled."""

    rubric: str
    episode_id: str
    flagged: bool | None
    weight: float = 1.0


class Labels(NamedTuple):
    """Labels and where they come from, in words; `unmatched` are of no episode of the audit.

    `unread`: of a rubric the strata (with sizes) that nobody has read, so that no weighted share speaks of them.
    """

    told: str
    rows: list[Truth]
    unmatched: int = 0
    unread: Mapping[str, str] = MappingProxyType({})


def own(audit: Audit, con: duckdb.DuckDBPyConnection, rubric: str | None = None) -> Labels:
    """What reviewers agree on, with the weight of its stratum. QueryError where nobody has labelled anything."""
    found = agreed(con, rubric)
    if not found.rows:
        of = f" of {rubric}" if rubric else ""
        raise QueryError(
            f"{audit.where}: no labels{of} yet; make some with 'auditor label {audit.where} --rubric {rubric or 'RUBRIC'}', or give --labels FILE or --field NAME"
        )
    return found


def agreed(con: duckdb.DuckDBPyConnection, rubric: str | None = None) -> Labels:
    """What reviewers agree on, of one rubric or all, with weights; no rows where nobody has labelled anything."""
    _, rows = run(
        con,
        "SELECT rubric, episode_id, flagged, weight FROM verdicts WHERE detector = ? AND status = 'ok' AND (? IS NULL OR rubric = ?) ORDER BY ALL",
        [AGREED, rubric, rubric],
    )
    return Labels("reviewers of this audit", [Truth(*row) for row in rows], unread=unread(con))


def from_file(con: duckdb.DuckDBPyConnection, path: str, rubrics: Sequence[Rubric], rubric: str | None = None) -> Labels:
    """Labels of a CSV or JSON Lines file: `id` (or `episode_id`), `rubric` unless given, `flagged` or `level`.

    Of an episode the last line of each `reviewer` stands; where reviewers differ it is not known. InputError names file, line and column of what cannot be used; QueryError where no label is of an episode of this audit.
    """
    known = {r.id: r for r in rubrics}
    said: dict[tuple[str, str], dict[str, bool | None]] = {}
    for line, row in _lines(path):
        name, of = row.get("episode_id") or row.get("id"), row.get("rubric") or rubric
        if not name:
            raise InputError(f"{path}, line {line}: no id; a label has id (or episode_id), rubric, and flagged or level")
        if of is None:
            raise InputError(f"{path}, line {line}: no rubric; add a column rubric, or give --rubric")
        if of not in known:
            raise InputError(f"{path}, line {line}: rubric {excerpt(str(of), 40)} is none of this audit's: {', '.join(known)}")
        if rubric is None or of == rubric:
            flagged = _flag(row, known[str(of)], f"{path}, line {line}")
            said.setdefault((str(of), str(name)), {})[str(row.get("reviewer"))] = flagged
    return _matched(con, path, [Truth(of, name, _agreed([*told.values()])) for (of, name), told in said.items()])


def _agreed(told: Sequence[bool | None]) -> bool | None:
    return told[0] if len({*told}) == 1 else None


def _lines(path: str) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """(line number, columns) of a file."""
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            if path.lower().endswith(".csv"):
                yield from enumerate(csv.DictReader(file), 2)
                return
            for number, line in enumerate(file, 1):
                row = orjson.loads(line) if line.strip() else {}
                if not isinstance(row, dict):
                    raise InputError(
                        f"{path}, line {number}: no JSON object; a label is one, such as {{'id': …, 'flagged': true}}"
                    )
                if row:
                    yield number, row
    except orjson.JSONDecodeError:
        raise InputError(f"{path}, line {number}: no JSON; labels are JSON Lines, or a file that ends in .csv") from None
    except csv.Error as error:
        raise InputError(f"--labels {path}: no CSV ({error})") from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"--labels {path}: cannot be read ({getattr(error, 'strerror', None) or 'no UTF-8'})") from None


def _flag(row: Mapping[str, Any], rubric: Rubric, where: str) -> bool | None:
    """`flagged`, else `level` held against the rubric's own; None where neither says anything."""
    if "flagged" not in row and "level" not in row:
        raise InputError(f"{where}: neither flagged nor level; there are {', '.join(map(str, row))[:100]}")
    given = row.get("flagged")
    if given not in (None, ""):
        told = _bool(given)
        if told is None:
            raise InputError(f"{where}: flagged is {excerpt(str(given), 40)}; it is true, false or empty")
        return told
    level = row.get("level")
    if level in (None, ""):
        return None
    try:
        return float(str(level)) >= rubric.flag_from
    except ValueError:
        raise InputError(f"{where}: level is {excerpt(str(level), 40)}; it is a number or empty") from None


def _bool(value: Any) -> bool | None:
    word = str(value).strip().lower()
    return True if word in _YES else False if word in _NO else None


def _matched(con: duckdb.DuckDBPyConnection, path: str, rows: list[Truth]) -> Labels:
    names = sorted({row.episode_id for row in rows})
    found = {
        r[0] for r in run(con, "SELECT episode_id FROM episodes WHERE episode_id IN (SELECT unnest(?::VARCHAR[]))", [names])[1]
    }
    if not rows:
        raise QueryError(f"{path}: no labels in it for this rubric")
    if not found:
        _, some = run(con, "SELECT episode_id FROM episodes ORDER BY 1 LIMIT 1")
        here = f"; an id here is {excerpt(some[0][0], 60)}" if some else "; it holds none"
        raise QueryError(
            f"{path}: none of its {len(names):,} ids (such as {excerpt(names[0], 60)}) is an episode of this audit{here}. Labels of other logs, or ids made by another tool?"
        )
    kept = [row for row in rows if row.episode_id in found]
    return Labels(os.path.basename(path), kept, len(rows) - len(kept))


def from_field(con: duckdb.DuckDBPyConnection, field: str, rubric: str) -> Labels:
    """A field of the logs as the truth of one rubric: `passed`, or `metadata.KEY` (dots go deeper); true is flagged.

    `FIELD=VALUE` flags where the field is VALUE, or is a list that holds it. QueryError for a field that no episode has, or one that is
    neither true nor false where no VALUE is given.
    """
    name, _, value = field.partition("=")
    sql = _field_sql(con, name)
    _, rows = run(con, f"SELECT episode_id, {sql} FROM episodes ORDER BY 1")
    told = [(episode, json.loads(text)) for episode, text in rows if text is not None]
    if not told:
        raise QueryError(f"--field {name}: no episode of this audit has it; there are {', '.join(_fields(con))}")
    found = [Truth(rubric, episode, _held(name, given, value)) for episode, given in told]
    return Labels(field, found)


def _field_sql(con: duckdb.DuckDBPyConnection, name: str) -> str:
    if name == "passed":
        return "to_json(passed)::VARCHAR"
    key = name.removeprefix("metadata.")
    if key == name or not key:
        raise QueryError(f"--field {name}: no such field; there are {', '.join(_fields(con))}")
    whole, deep = ("$" + "".join(f".{json.dumps(part)}" for part in parts) for parts in ([key], key.split(".")))
    whole, deep = (path.replace("'", "''") for path in (whole, deep))
    return f"coalesce(json_extract(metadata, '{whole}'), json_extract(metadata, '{deep}'))::VARCHAR"


def _fields(con: duckdb.DuckDBPyConnection) -> list[str]:
    _, rows = run(con, "SELECT DISTINCT unnest(json_keys(metadata)) AS key FROM episodes ORDER BY 1 LIMIT 20")
    return ["passed", *(f"metadata.{excerpt(row[0], 40)}" for row in rows)]


def _held(name: str, given: Any, value: str) -> bool | None:
    if given is None:
        return None
    if value:
        return any(str(one).lower() == value.lower() for one in (given if isinstance(given, list) else [given]))
    told = _bool(given)
    if told is None:
        raise QueryError(
            f"--field {name}: it holds {excerpt(json.dumps(given), 60)}, neither true nor false; say what counts as flagged: --field {name}=VALUE"
        )
    return told
