"""Episodes of an audit read again, some rows of a shard at a time: from the audit's own copies, else from their sources."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from auditor import plan
from auditor.join import Join
from auditor.judging.shards import gone
from auditor.plan import Options
from auditor.readers import mapping as mappings
from auditor.store import Audit, Commit
from auditor.transcript import Transcript, content_hash


class Sources:
    """Reads what a scan read, in the same way."""

    def __init__(self, audit: Audit, options: Options) -> None:
        self.audit = audit
        self._mapping = mappings.load(options.mapping) if options.mapping else None
        self._join = Join.load(options.join) if options.join else None

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
