"""Audits that many tests copy, and labels put into them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from conftest import write

import auditor
from auditor import labels


def scanned(folder: Path, episodes: list[dict[str, object]]) -> Path:
    """An audit of some episodes, scanned here and now."""
    write(folder / "logs.jsonl", episodes)
    auditor.scan(auditor.Options((str(folder / "logs.jsonl"),), str(folder / "audit")))
    return folder / "audit"


def label(path: Path, name: str, flagged: bool | None, **facts: Any) -> None:
    """One label of ann's, drawn from the queue, unless told otherwise."""
    facts = {"reviewer": "ann", "rubric": "concealment", "queued": True} | facts
    labels.append(auditor.Audit.open(path), labels.Label(episode_id=name, flagged=flagged, unclear=flagged is None, **facts))
