"""How long the list of `auditor view` takes by HTTP at 100 and at 100,000 episodes: python benchmarks/view.py [EPISODES…]

The audits are written straight as Parquet through the store's schemas: the page reads nothing else for its list.
"""

from __future__ import annotations

import http.client
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from urllib.parse import urlencode

from auditor import store, tables
from auditor.rubric import load_all
from auditor.transcript import Message, Transcript, content_hash
from auditor.verdict import Evidence, Status, Verdict

SHARD = 5_000
RUBRICS = [r.id for r in load_all()]
PAGES = {
    "first page": {},
    "last page": {"page": "99999999"},
    "text, in every task": {"text": "bring suite"},
    "text, in one quote": {"text": "suite 000037 are green"},
    "rubric, model, status": {"rubric": "concealment", "model": "model-3", "status": "flagged"},
}


def make(path: Path, episodes: int) -> None:
    """An audit of so many episodes: every tenth is flagged under a rubric, with two quotes."""
    audit = store.Audit.create(path)
    for start in range(0, episodes, SHARD):
        shard = f"{start:08d}"
        with audit.part(f"episodes/{shard}.parquet") as a, audit.part(f"verdicts/{shard}-1.parquet") as b:
            rows, verdicts = tables.Rows(a, tables.EPISODES), tables.Rows(b, tables.VERDICTS)
            for i in range(start, min(start + SHARD, episodes)):
                t = Transcript(
                    id=f"episode-{i:06d}", model=f"model-{i % 7}", task=f"Bring suite {i % 1000:06d} in order", environment=f"env-{i % 20}",
                    messages=(Message(role="assistant", content="x" * 100),), reasoning_kind="raw",
                )  # fmt: skip
                rows.add(tables.episode_row(t, shard, i, content_hash(t)))
                for n, rubric in enumerate(RUBRICS):
                    verdicts.add(tables.verdict_row(verdict(t.id, i, rubric, flagged=(i + n) % 10 == 0), t.model, shard, i))
            rows.close()
            verdicts.close()
        live = dict.fromkeys(RUBRICS, (f"verdicts/{shard}-1.parquet", "h"))
        audit.commit(
            store.Commit(shard=shard, fingerprint=shard, files=[], units=[], episodes=f"episodes/{shard}.parquet", rubrics=live)
        )
    audit.write_about(store.About(auditor="benchmark", created="", finished="now", inputs=[], rubrics=[], summary={}))
    audit.close()


def verdict(name: str, i: int, rubric: str, *, flagged: bool) -> Verdict:
    quotes = (f"all tests of suite {i:06d} are green", f"the check of {rubric} alone counts") if flagged else ()
    proof = tuple(Evidence(signal="s", message=0, channel="final", start=0, end=len(q), quote=q) for q in quotes)
    told = f"s: fired at message 0 of {name}, twice" if flagged else ""
    return Verdict(
        episode_id=name, rubric=rubric, rubric_hash="h", detector="signals", detector_version=1, tier="candidate", status=Status.OK,
        flagged=flagged, attributes={"weight": i % 9}, evidence=proof, rationale=told,
    )  # fmt: skip


def measure(path: Path) -> tuple[float, dict[str, float]]:
    """Seconds until the address is printed, and of each page the median of five."""
    start = time.perf_counter()
    command = [str(Path(sys.executable).with_name("auditor")), "view", str(path), "--no-browser"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        address = re.search(r"http://(\S+)/(\?token=\S+)", process.stderr.readline())
        ready = time.perf_counter() - start
        con = http.client.HTTPConnection(address[1])
        con.request("GET", f"/{address[2]}")
        answer = con.getresponse()
        answer.read()
        cookie = answer.headers["set-cookie"].partition(";")[0]
        found = {}
        for name, query in PAGES.items():
            times = []
            for _ in range(5):
                begun = time.perf_counter()
                con.request("GET", f"/episodes?{urlencode(query)}", headers={"cookie": cookie})
                answer = con.getresponse()
                body = answer.read()
                times.append(time.perf_counter() - begun)
                assert answer.status == 200, body[-400:]
                assert b"episode-" in body, body[-400:]
            found[name] = sorted(times)[2]
        return ready, found
    finally:
        process.terminate()
        process.wait()


def main() -> None:
    sizes = [int(a) for a in sys.argv[1:]] or [100, 100_000]
    told = {}
    for size in sizes:
        with tempfile.TemporaryDirectory() as folder:
            make(Path(folder) / "audit", size)
            told[size] = measure(Path(folder) / "audit")
    print("| list of episodes, median of 5 | " + " | ".join(f"{size:,} episodes" for size in sizes) + " |")
    print("|---|" + "---:|" * len(sizes))
    print("| start, until the address is printed | " + " | ".join(f"{told[size][0]:.2f} s" for size in sizes) + " |")
    for name in PAGES:
        print(f"| {name} | " + " | ".join(f"{told[size][1][name]:.3f} s" for size in sizes) + " |")


if __name__ == "__main__":
    main()
