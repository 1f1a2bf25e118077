"""An edit as it is found, before its path is judged."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from auditor.ledger import diffs
from auditor.ledger.facts import How
from auditor.text import Lens


class Found(NamedTuple):
    """One edit; spans are in the text that it was found in, or, where `source` is given, in that lens's text."""

    path: str | None
    how: How
    added: diffs.Spans = []  # noqa: RUF012  # never changed
    removed: diffs.Spans = []  # noqa: RUF012
    created: bool = False
    source: Lens | None = None
    moved: str | None = None
    """The new path, where a file is moved or copied."""
    opened: bool = False
    """The path is the file that an editor with a state has open."""


def of_diff(text: str, base: int, source: Lens | None = None) -> Iterator[Found]:
    """The edits of the diffs in a text; spans are moved by `base`."""
    for file in diffs.parse(text, base):
        if file.added or file.removed or file.deleted or file.moved or file.created:
            how: How = "delete" if file.deleted else "patch" if file.added or file.removed or not file.moved else "move"
            yield Found(file.path, how, file.added, file.removed, file.created, source, file.moved)
