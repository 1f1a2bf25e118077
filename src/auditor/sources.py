"""Episodes of an audit read again, some rows of a shard at a time: from the audit's own copies, else from their sources."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property

from auditor import plan
from auditor.join import Join
from auditor.plan import Options, gone
from auditor.readers import Reader
from auditor.readers import mapping as mappings
from auditor.store import Audit, Commit
from auditor.transcript import Transcript, content_hash


class Sources:
    """Reads what a scan read, in the same way."""

    def __init__(self, audit: Audit, options: Options) -> None:
        self.audit, self._options = audit, options

    # Loaded when they are needed: the audit's own copies are there without them.
    @cached_property
    def _mapping(self) -> Reader | None:
        return mappings.load(self._options.mapping) if self._options.mapping else None

    @cached_property
    def _join(self) -> Join | None:
        return Join.load(self._options.join) if self._options.join else None

    def read(self, commit: Commit, rows: Mapping[int, str]) -> Iterator[tuple[int, Transcript]]:
        """(row, transcript) of the rows named, with their content hashes. A row that is nowhere any more does not come."""
        left = dict(rows)
        by_content = {content: row for row, content in rows.items()}
        for transcript in self.audit.flagged(commit):
            row = by_content.get(content_hash(transcript))
            if row is not None and left.pop(row, None) is not None:
                yield row, transcript
        if not left or gone(commit) is not None:
            return
        for row, transcript in enumerate(plan.transcripts_in(commit, self._mapping, self._join)):
            if left.get(row) == content_hash(transcript):
                del left[row]
                yield row, transcript
                if not left:
                    return
