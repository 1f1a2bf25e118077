"""Reading without an audit: everything in some logs as transcripts, and as the project's own JSON Lines."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import nullcontext

from auditor import plan
from auditor.errors import StoreError
from auditor.join import Join
from auditor.readers import files
from auditor.readers import mapping as mappings
from auditor.readers.auditor import write as write_line
from auditor.readers.base import Reject
from auditor.transcript import Transcript


def read_all(inputs: Iterable[str], mapping: str | None = None, join: str | None = None) -> Iterator[Transcript | Reject]:
    """Stream everything in files, folders, globs or URLs as transcripts and rejects, in this process."""
    reader = mappings.load(mapping) if mapping else None
    joined = Join.load(join) if join else None
    for task in plan.pack(plan.units_of(files.find(inputs), reader), ()):
        for item in plan.read_units(task.units, reader):
            yield joined.apply(item) if joined and isinstance(item, Transcript) else item


def convert(inputs: Iterable[str], output: str, mapping: str | None, join: str | None) -> tuple[int, list[Reject]]:
    """Write everything in `inputs` as the project's own JSON Lines ('-': standard output); returns how many, and the rejects."""
    done = 0
    rejects: list[Reject] = []
    try:
        with open(output, "wb") if output != "-" else nullcontext(sys.stdout.buffer) as stream:
            for item in read_all(inputs, mapping, join):
                if isinstance(item, Reject):
                    rejects.append(item)
                else:
                    stream.write(write_line(item))
                    done += 1
    except BrokenPipeError:
        raise
    except OSError as error:
        raise StoreError(f"{output}: cannot write here ({error.strerror})") from None
    return done, rejects
