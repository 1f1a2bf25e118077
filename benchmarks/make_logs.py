"""Make canonical JSON Lines of any size from the sample transcripts: `python benchmarks/make_logs.py 500 /tmp/logs.jsonl [SEED]`.

Messages of all samples are mixed by a seeded generator into episodes of about 50 kB, so that no two are alike; files of
other seeds hold other episodes of other ids.
"""

from __future__ import annotations

import random
import sys
from pathlib import Path

import orjson

import auditor
from auditor.transcript import Transcript

SAMPLES = Path(__file__).resolve().parents[1] / "transcripts"


def turns() -> list[list[dict[str, object]]]:
    """All samples cut into groups of messages that belong together: a turn and its tool results."""
    found: list[list[dict[str, object]]] = []
    for item in auditor.read_transcripts(str(SAMPLES)):
        if not isinstance(item, Transcript):
            continue
        for m in item.messages:
            line = m.model_dump(mode="json", exclude_defaults=True)
            if m.role == "tool" and found:
                found[-1].append(line)
            else:
                found.append([line])
    return found


SEED = 20261120


def main(megabytes: float, target: str, seed: int = SEED, pool: list[list[dict[str, object]]] | None = None) -> None:
    """Write the file. `pool` is what `turns` gives, for those who write many."""
    rng = random.Random(seed)  # a seeded mix, no secret
    pool = pool or turns()
    name = "bench" if seed == SEED else f"bench-{seed}"
    left = megabytes * 1_000_000
    number = 0
    with open(target, "wb") as file:
        while left > 0:
            messages: list[dict[str, object]] = []
            size = 0
            while size < 50_000:
                group = rng.choice(pool)
                messages += group
                size += sum(len(str(m.get("content", ""))) + len(str(m.get("tool_calls", ""))) for m in group)
            model = rng.choice(["heron-2-large", "magpie-4", "dunlin-mini"])
            line = (
                orjson.dumps(
                    {
                        "id": f"{name}-{number}",
                        "model": model,
                        "task": f"task-{number % 400}",
                        "environment": "bench",
                        "messages": messages,
                    }
                )
                + b"\n"
            )
            file.write(line)
            left -= len(line)
            number += 1


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], int(sys.argv[3]) if len(sys.argv) > 3 else SEED)
