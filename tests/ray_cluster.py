"""A Ray cluster of several nodes on this machine, in a process of its own: `add` and `remove` lines come in, one line answers each.

And what tests of it share.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path


class Apart:
    """The cluster, as a test sees it; its workers keep what they keep in `cache`."""

    def __init__(self, cache: Path) -> None:
        self.cache = cache
        self.process = subprocess.Popen(
            [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
            env={**os.environ, "XDG_CACHE_HOME": str(cache)},
        )  # fmt: skip
        self.address = self.process.stdout.readline().strip()
        assert self.address, "no cluster"

    def tell(self, word: str) -> None:
        print(word, file=self.process.stdin, flush=True)
        assert self.process.stdout.readline().strip().isdecimal()


def rows(path):
    """Everything that an audit holds, in order."""
    from auditor.query import connect, run
    from auditor.store import Audit

    con = connect(Audit.open(path))
    return [
        run(con, f"SELECT * FROM {view} ORDER BY ALL")[1]
        for view in ("(SELECT * EXCLUDE (source) FROM episodes)", "verdicts", "evidence", "answers")
    ]


def commits(output):
    return len(list((output / "commits").glob("*.json"))) if (output / "commits").is_dir() else 0


def until(condition, seconds=120):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.02)


def kill_workers():
    """Kill -9 of every worker that is at work."""
    workers = [p for p in Path("/proc").iterdir() if p.name.isdecimal() and b"ray::on_a_worker" in _command(p)]
    assert workers, "no worker to kill"
    for worker in workers:
        os.kill(int(worker.name), signal.SIGKILL)


def _command(process):
    try:
        return (process / "cmdline").read_bytes()
    except OSError:
        return b""


def main() -> None:
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    print(cluster.address, flush=True)
    nodes = []
    for line in sys.stdin:
        if line.strip() == "add":
            nodes.append(cluster.add_node(num_cpus=1))
        elif line.strip() == "remove":
            cluster.remove_node(nodes.pop(), allow_graceful=False)
        print(len(nodes), flush=True)
    cluster.shutdown()


if __name__ == "__main__":
    main()
