"""The floor: parse the lines with orjson and run the same patterns, as one RE2 Set a channel, over the same strings. One core."""

from __future__ import annotations

import sys

import orjson
import re2

from auditor.rubric import load_all


def sets() -> dict[str, object]:
    """Channel → one compiled Set of its patterns."""
    patterns: dict[str, set[str]] = {}
    for rubric in load_all():
        for signal in rubric.signals:
            for clause in (signal.first, signal.then, *signal.unless):
                for channel in clause.channels if clause is not None else ():
                    patterns.setdefault(channel, set()).update(clause.any)
    made: dict[str, object] = {}
    for channel, found in patterns.items():
        options = re2.Options()
        options.max_mem = 64 << 20
        made[channel] = re2.Set.SearchSet(options)
        for pattern in sorted(found):
            made[channel].Add(f"(?im){pattern}")
        made[channel].Compile()
    return made


def main(path: str) -> None:
    """Run it."""
    found = sets()
    empty = re2.Set.SearchSet()
    empty.Add("x")
    empty.Compile()
    hits = 0
    with open(path, "rb") as file:
        for line in file:
            for m in orjson.loads(line)["messages"]:
                role, content = m["role"], m.get("content")
                if content:
                    channel = "observation" if role == "tool" else "say" if role == "assistant" else "task"
                    hits += len(found[channel].Match(content) or ())
                if m.get("reasoning"):
                    hits += len(found["reasoning"].Match(m["reasoning"]) or ())
                for call in m.get("tool_calls", ()):
                    for value in call["arguments"].values():
                        if isinstance(value, str):
                            hits += len(found["action"].Match(value) or ())
                            hits += len(found["edit"].Match(value) or ())
    print(hits)


if __name__ == "__main__":
    main(sys.argv[1])
