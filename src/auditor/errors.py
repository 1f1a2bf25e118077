"""Every error that a user can meet. Each message is one line: what, where, and the way out.

AuditorError                 exit code 2
├── InputError               a path, a file or a record that cannot be used
│   ├── UnknownFormat        no reader takes this file
│   ├── ShapeError           a record is not shaped as its format says
│   └── MissingExtra         an optional package is needed for this file
├── RubricError              a rubric that cannot be used: file, rubric, signal, key
├── StoreError               the audit directory cannot be read or written
├── QueryError               a question to an audit that cannot be answered
└── ServerError              a model server that cannot be used: key, name, address, quota
"""

from __future__ import annotations


class AuditorError(Exception):
    """Base of all errors that are a user's to mend; printed as one line, without a traceback."""


class InputError(AuditorError):
    """A path, file or record that cannot be used."""


class UnknownFormat(InputError):
    """No reader takes this file."""


class ShapeError(InputError):
    """A record is not shaped as its format says."""


class MissingExtra(InputError):
    """An optional package is needed."""

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(f"{what} needs an optional package: pip install 'auditor[{extra}]'")


class RubricError(AuditorError):
    """A rubric that cannot be used."""


class StoreError(AuditorError):
    """The audit directory cannot be read or written."""


class QueryError(AuditorError):
    """A question to an audit that cannot be answered."""


class ServerError(AuditorError):
    """A model server that cannot be used."""
