"""A join file fills what a log lacks: session id → model, task, environment, epoch, checkpoint, elicitation, score, passed.

CSV or JSON Lines. The key is in a column `id` (or `episode_id`, `session_id`); it is compared with the transcript's id,
its metadata `session_id` and `log_id`, and the stem of its file. What the log itself says is never overwritten.
"""

from __future__ import annotations

import csv
import os
from dataclasses import dataclass
from functools import cache
from typing import Any

import jsonlines

from auditor.errors import InputError
from auditor.transcript import Transcript

_KEYS = ("id", "episode_id", "session_id")
_FIELDS = ("model", "task", "environment", "epoch", "checkpoint", "elicitation", "score", "passed", "reasoning_kind")
_TRUE, _FALSE = frozenset(("true", "1", "yes", "pass", "passed")), frozenset(("false", "0", "no", "fail", "failed"))


@dataclass(frozen=True)
class Join:
    """Rows by key. Build with `load`; `apply` fills one transcript."""

    rows: dict[str, dict[str, Any]]

    @staticmethod
    @cache
    def load(path: str) -> Join:
        """Read a join file. InputError names file, line and column."""
        rows: dict[str, dict[str, Any]] = {}
        for number, row in enumerate(_rows(path), 2 if path.endswith(".csv") else 1):
            key = next((str(row[k]) for k in _KEYS if row.get(k) not in (None, "")), None)
            if key is None:
                raise InputError(f"{path}:{number}: no key; the join file needs a column id, episode_id or session_id")
            if key in rows:
                raise InputError(f"{path}:{number}: the id {key!r} stands twice")
            rows[key] = {field: _typed(path, number, field, row[field]) for field in _FIELDS if row.get(field) not in (None, "")}
        return Join(rows)

    def apply(self, transcript: Transcript) -> Transcript:
        """The transcript with what the join file knows of it and the log does not."""
        keys = [transcript.id, transcript.metadata.get("session_id"), transcript.metadata.get("log_id")]
        if transcript.source is not None:
            keys.append(os.path.basename(transcript.source.path).partition(".")[0])
        row = next((self.rows[key] for key in keys if isinstance(key, str) and key in self.rows), None)
        if row is None:
            return transcript
        missing = {k: v for k, v in row.items() if getattr(transcript, k) is None}
        return Transcript.model_validate({**dict(transcript), **missing}) if missing else transcript


def _rows(path: str) -> list[dict[str, Any]]:
    try:
        if path.endswith(".csv"):
            with open(path, encoding="utf-8-sig", newline="") as file:
                return list(csv.DictReader(file))
        with jsonlines.open(path) as reader:
            return list(reader.iter(type=dict, skip_empty=True))
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from None
    except (jsonlines.InvalidLineError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: {error}; a join file is CSV (name it .csv) or JSON Lines") from None


def _typed(path: str, number: int, field: str, value: Any) -> Any:
    try:
        if field == "epoch":
            return int(value)
        if field == "score":
            return float(value)
    except ValueError:
        raise InputError(f"{path}:{number}: {field} is {value!r}, which is no number") from None
    if field == "passed" and isinstance(value, str):
        if value.lower() not in _TRUE | _FALSE:
            raise InputError(f"{path}:{number}: passed is {value!r}; write true or false")
        return value.lower() in _TRUE
    return value
