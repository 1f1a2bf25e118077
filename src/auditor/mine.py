"""Candidates for new signals: words that set apart what judges or people found and no signal caught from what they cleared.

A term (a word, or two in a row) counts once an episode and channel, so that one long transcript does not decide. What comes out are
ideas, with counts, for a person to make a pattern of; `auditor rubrics diff` then says what it would change.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import NamedTuple

import duckdb
import re2

from auditor.errors import QueryError
from auditor.plan import scan_options
from auditor.prevalence import SPEAKS, WHOSE
from auditor.query import run
from auditor.sources import Sources
from auditor.stats.log_odds import informative
from auditor.store import Audit
from auditor.text import fold
from auditor.transcript import Channel, Transcript, pieces

CHANNELS = (Channel.SAY, Channel.REASONING, Channel.FINAL, Channel.ACTION)
MOST = 2000
"""Episodes read of each group; of more, a random sample (by hash)."""
_CHARACTERS = 50_000
"""Read of one message and channel."""
_WORD = re2.compile(r"[a-z][a-z0-9_']+")
_LEAST = 2
"""A term of one positive alone is that episode's, not a pattern."""


class Term(NamedTuple):
    """A term in one channel: in how many of the missed positives and of the negatives that have the channel it is, and z."""

    rubric: str
    channel: str
    term: str
    positives: int
    of_positives: int
    negatives: int
    of_negatives: int
    z: float


class Groups(NamedTuple):
    """Of one rubric the episodes that were found and missed by signals, and those that were cleared: how many, and how many were read."""

    rubric: str
    positives: int
    negatives: int
    read: int


def mine(audit: Audit, con: duckdb.DuckDBPyConnection, rubric: str, n: int = 30) -> tuple[Groups, list[Term]]:
    """The `n` terms with the largest z, positives over negatives, channels apart. QueryError where one of the groups is empty."""
    groups = _groups(con, rubric)
    for kind, said in ((True, "found that no signal caught"), (False, "cleared")):
        if not groups[kind]:
            raise QueryError(
                f"{rubric}: judges and reviewers have nothing {said}, so that there is nothing to compare; judge more episodes"
            )
    terms: dict[tuple[Channel, bool], Counter[str]] = defaultdict(Counter)
    episodes: Counter[tuple[Channel, bool]] = Counter()
    read = 0
    wanted = {name: kind for kind, names in groups.items() for name in names[:MOST]}
    for kind, transcript in _transcripts(audit, con, wanted):
        read += 1
        for channel, found in _terms(transcript).items():
            terms[channel, kind].update(found)
            episodes[channel, kind] += 1
    told = [
        Term(rubric, c.value, o.word, o.first, episodes[c, True], o.second, episodes[c, False], o.z)
        for c in CHANNELS
        for o in informative(terms[c, True], terms[c, False])
        if o.first >= _LEAST and o.z > 0
    ]
    told.sort(key=lambda t: (-t.z, t.channel, t.term))
    return Groups(rubric, len(groups[True]), len(groups[False]), read), told[:n]


def _groups(con: duckdb.DuckDBPyConnection, rubric: str) -> dict[bool, list[str]]:
    """Ids of the missed positives (True) and of the negatives, on the word that speaks, in a random order."""
    _, rows = run(
        con,
        "WITH spoken AS (SELECT episode_id, flagged FROM verdicts WHERE rubric = ? AND tier <> 'candidate' AND status = 'ok' AND flagged IS NOT NULL"
        f" AND view = 'all' AND {WHOSE} QUALIFY row_number() OVER (PARTITION BY episode_id ORDER BY {SPEAKS}) = 1),"
        " caught AS (SELECT episode_id FROM verdicts WHERE rubric = ? AND tier = 'candidate' AND flagged)"
        " SELECT flagged, episode_id FROM spoken WHERE NOT (flagged AND episode_id IN (FROM caught)) ORDER BY sha256(episode_id)",
        [rubric, rubric],
    )
    return {kind: [name for flagged, name in rows if flagged is kind] for kind in (True, False)}


def _transcripts(audit: Audit, con: duckdb.DuckDBPyConnection, wanted: Mapping[str, bool]) -> Iterator[tuple[bool, Transcript]]:
    """(group, transcript) of the episodes named, those left out whose source is gone."""
    sources = Sources(audit, scan_options(audit, audit.where))
    _, rows = run(
        con,
        "SELECT shard, row, episode_id, content_hash FROM _rows WHERE episode_id IN (SELECT unnest(?::VARCHAR[]))",
        [list(wanted)],
    )
    by_shard: dict[str, dict[int, tuple[str, str]]] = defaultdict(dict)
    for shard, row, name, content in rows:
        by_shard[shard][row] = (name, content)
    for shard, here in by_shard.items():
        for row, transcript in sources.read(audit.load(shard), {row: content for row, (_, content) in here.items()}):
            yield wanted[here[row][0]], transcript


def _terms(transcript: Transcript) -> dict[Channel, set[str]]:
    """Words and pairs of words of each channel that the episode has."""
    found: dict[Channel, set[str]] = {}
    for _, channel, text in pieces(transcript):
        if channel in CHANNELS:
            here = found.setdefault(channel, set())
            for line in fold(text[:_CHARACTERS]).text.lower().splitlines():
                words = _WORD.findall(line)
                here.update(words)
                here.update(f"{a} {b}" for a, b in pairwise(words))
    return found
