"""Parts of an audit as a DuckDB view of the rows that count."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING

import duckdb

from auditor.errors import StoreError
from auditor.store import Audit, is_pack, named_in

if TYPE_CHECKING:
    import pyarrow as pa

_TYPES = {"string": "VARCHAR", "int64": "BIGINT", "double": "DOUBLE", "bool": "BOOLEAN"}


def unreadable(audit: Audit, error: duckdb.Error) -> StoreError:
    """What to say of a part that DuckDB cannot read."""
    told = str(error).splitlines()[0][:160]
    return StoreError(f"{audit.where}: a part of this audit cannot be read ({told}); scan its logs again")


def table(
    con: duckdb.DuckDBPyConnection, name: str, audit: Audit, named: Iterable[tuple[str, ...]], schema: pa.Schema,
    older: Collection[str] = (),
) -> None:  # fmt: skip
    """Make a view of the rows that count, empty with the columns of `schema` where there are none.

    `named` is (part, shard), or (part, shard, rubric, view, detector), of all that commits stand for; of the parts in `older`, and
    of packs that are not named by all any more, only such rows count.
    """
    by_part: dict[str, list[tuple[str, ...]]] = {}
    for part, *key in named:
        by_part.setdefault(part, []).append((part.rpartition("/")[2], *key))
    partly = [part for part, rows in by_part.items() if part in older or (is_pack(part) and named_in(part) != len(rows))]
    found = []
    if whole := [part for part in by_part if part not in set(partly)]:
        found.append(f"SELECT * FROM read_parquet({_listed(audit, whole)})")
    if partly:
        # Joins cost more than the scan: one is made for these parts alone.
        found.append(
            f"SELECT * EXCLUDE (filename) FROM read_parquet({_listed(audit, partly)}, filename=true) t"
            f" WHERE {_live(con, name, [row for part in partly for row in by_part[part]])}"
        )
    columns = ", ".join(f'NULL::{_type(f.type)} AS "{f.name}"' for f in schema)
    con.execute(f"CREATE VIEW {name} AS {' UNION ALL '.join(found) or f'SELECT {columns} WHERE false'}")


def _listed(audit: Audit, parts: Iterable[str]) -> str:
    return f"[{', '.join(quoted(audit.disk.at(part)) for part in parts)}]"


def _live(con: duckdb.DuckDBPyConnection, name: str, rows: Sequence[tuple[str, ...]]) -> str:
    """A condition on rows with their filename, from (file, shard …) of what counts."""
    import pyarrow as pa

    columns = ("file", "shard", "rubric", "view", "detector")[: len(rows[0])]
    given = pa.table({column: list(values) for column, values in zip(columns, zip(*rows, strict=True), strict=True)})
    con.register("_given", given)
    con.execute(f"CREATE TABLE _of{name} AS FROM _given")
    con.unregister("_given")
    keys = ", ".join(f"t.{column}" for column in columns[1:])
    return f"(parse_filename(t.filename), {keys}) IN (SELECT ({', '.join(columns)}) FROM _of{name})"


def _type(kind: pa.DataType) -> str:
    """The DuckDB type of a column."""
    import pyarrow as pa

    if pa.types.is_list(kind):
        return f"{_type(kind.value_type)}[]"
    if pa.types.is_struct(kind):
        fields = (kind.field(i) for i in range(kind.num_fields))
        return "STRUCT(" + ", ".join(f'"{f.name}" {_type(f.type)}' for f in fields) + ")"
    return _TYPES[str(kind)]


def quoted(text: str) -> str:
    """A text as SQL has it."""
    return "'" + text.replace("'", "''") + "'"
