"""Rates as ratios in one run, and peak memory: `python benchmarks/run.py [MEGABYTES] [LARGE_MEGABYTES]`.

Whole processes are timed, start-up and the printed tables included, each three times in turn; the best counts.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
AUDITOR = str(Path(sys.executable).with_name("auditor"))


def timed(command: list[str]) -> tuple[float, int]:
    """Seconds of a command, and the peak memory in MB of its largest process."""
    start = time.perf_counter()
    wrapped = ["/usr/bin/env", sys.executable, "-c", PEAK, *command]
    done = subprocess.run(wrapped, check=True, capture_output=True, text=True)
    return time.perf_counter() - start, int(done.stdout.split()[-1]) // 1024


PEAK = (
    "import resource, subprocess, sys; subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL);"
    "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
)


def scan(path: str, jobs: int) -> tuple[float, int]:
    """A fresh scan."""
    audit = tempfile.mkdtemp()
    try:
        return timed([AUDITOR, "scan", path, "-o", audit, "--jobs", str(jobs), "--format", "json"])
    finally:
        shutil.rmtree(audit)


def main(megabytes: int, large: int) -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "logs.jsonl")
        subprocess.run([sys.executable, str(HERE / "make_logs.py"), str(megabytes), path], check=True)
        floor = [timed([sys.executable, str(HERE / "floor.py"), path]) for _ in range(3)]
        one = [scan(path, 1) for _ in range(3)]
        two = [scan(path, 2) for _ in range(3)]
        best = {name: min(t for t, _ in runs) for name, runs in (("floor", floor), ("one", one), ("two", two))}
        print(f"| {megabytes} MB of canonical JSON Lines | MB/s | ratio | peak MB a process |")
        print("|---|---:|---:|---:|")
        print(
            f"| floor: orjson + one RE2 Set a channel, one core | {megabytes / best['floor']:.0f} | 1.00 of the floor | {max(m for _, m in floor)} |"
        )
        print(
            f"| `auditor scan --jobs 1`, store included | {megabytes / best['one']:.0f} | {best['floor'] / best['one']:.2f} of the floor | {max(m for _, m in one)} |"
        )
        print(
            f"| `auditor scan --jobs 2` | {megabytes / best['two']:.0f} | {best['one'] / best['two']:.2f} of one job | {max(m for _, m in two)} |"
        )
        if large:
            os.unlink(path)
            subprocess.run([sys.executable, str(HERE / "make_logs.py"), str(large), path], check=True)
            seconds, peak = scan(path, 2)
            print(
                f"| `auditor scan --jobs 2` on {large} MB | {large / seconds:.0f} | {peak / max(m for _, m in two):.2f} of the memory | {peak} |"
            )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 500, int(sys.argv[2]) if len(sys.argv) > 2 else 0)
