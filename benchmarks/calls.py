"""The door and the whole judge against a server with 50 ms latency: `python benchmarks/calls.py [CALLS]`.

Ratios in one run: calls a second against the ideal (64 in flight / 0.05 s) and against the bare `openai` client with
the same bodies; CPU seconds a call of this process against the bare client's. Then 100,000 queued episodes: peak memory
against 10,000, and the time to the first call against a run of one episode.
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

import openai
from llm_server import running

from auditor.llm import LLM, endpoint, request_body
from auditor.replies import Replies

FLIGHT, LATENCY = 64, 0.05
AUDITOR = str(Path(sys.executable).with_name("auditor"))
os.environ.setdefault("OPENAI_API_KEY", "benchmark")


def bodies(count: int) -> list[list[dict[str, str]]]:
    """Distinct prompts of about 6 kB."""
    text = '{"m":1,"channel":"action","text":"ls -la; cat notes.txt"}\n' * 100
    return [[{"role": "system", "content": "Judge."}, {"role": "user", "content": f"run {i}\n{text}"}] for i in range(count)]


async def bare(url: str, prompts: list[list[dict[str, str]]]) -> None:
    """What a user would write."""
    to = endpoint("m", base_url=url)
    async with openai.AsyncOpenAI(base_url=url, api_key="x", max_retries=0) as client:
        room = asyncio.Semaphore(FLIGHT)

        async def one(messages: list[dict[str, str]]) -> None:
            async with room:
                done = await client.chat.completions.create(**request_body(to, messages, None))
                assert done.choices[0].message.content

        await asyncio.gather(*map(one, prompts))


async def door(url: str, prompts: list[list[dict[str, str]]]) -> None:
    """The same through the door, replies kept."""
    with tempfile.TemporaryDirectory() as folder:
        replies = Replies.open(Path(folder) / "llm.sqlite")
        to = endpoint("m", base_url=url, concurrency=FLIGHT)
        async with LLM(replies) as llm:
            found = await asyncio.gather(*(llm.ask(to, messages) for messages in prompts))
            assert all(r.status == "ok" for r in found)
        replies.close()


def timed(work, *args) -> tuple[float, float]:
    """Wall and CPU seconds."""
    wall, cpu = time.perf_counter(), time.process_time()
    asyncio.run(work(*args))
    return time.perf_counter() - wall, time.process_time() - cpu


def episodes(path: Path, count: int) -> None:
    """Short canonical episodes, none a candidate."""
    with path.open("w") as out:
        for i in range(count):
            messages = [
                {"role": "user", "content": f"Sum column {i}."},
                {"role": "assistant", "reasoning": "add", "content": f"The sum is {i}."},
            ]
            out.write(json.dumps({"id": f"e{i}", "model": "m", "messages": messages}) + "\n")


def first_call(folder: Path, logs: Path, url: str, server, seconds: float) -> tuple[float, int]:
    """Seconds from start to the first call, and the peak memory (MB) of the process after so many seconds."""
    before = server.counts()["requests"]
    start = time.perf_counter()
    command = [
        AUDITOR,
        "scan",
        str(logs),
        "-o",
        str(folder / f"{logs.stem}-audit"),
        "--judge",
        "m",
        "--base-url",
        url,
        "--judge-on",
        "all",
    ]
    process = subprocess.Popen([*command, "--concurrency", "64"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while server.counts()["requests"] == before and process.poll() is None:
        time.sleep(0.01)
    first = time.perf_counter() - start
    peak = 0
    while process.poll() is None and time.perf_counter() - start < seconds:
        status = Path(f"/proc/{process.pid}/status").read_text()
        peak = max(peak, next((int(line.split()[1]) // 1024 for line in status.splitlines() if line.startswith("VmHWM")), 0))
        time.sleep(0.2)
    process.kill()
    process.wait()
    return first, peak


def main(count: int) -> None:
    """Print the tables."""
    prompts = bodies(count)
    with running(latency=LATENCY) as server:
        asyncio.run(bare(server.url, prompts[:200]))
        plain = min(timed(bare, server.url, prompts) for _ in range(3))
        ours = min(timed(door, server.url, prompts) for _ in range(3))
    ideal = FLIGHT / LATENCY
    print(f"| {count:,} calls, 50 ms, 64 in flight | calls/s | of the ideal | CPU ms a call | CPU of bare openai |")
    print("|---|---:|---:|---:|---:|")
    for name, (wall, cpu) in (("bare `openai` client", plain), ("`LLM.ask`, replies kept", ours)):
        print(f"| {name} | {count / wall:,.0f} | {count / wall / ideal:.0%} | {cpu / count * 1000:.2f} | {cpu / plain[1]:.2f} |")
    with tempfile.TemporaryDirectory() as name, running(latency=LATENCY) as server:
        folder = Path(name)
        told = []
        for size in (1, 10_000, 100_000):
            logs = folder / f"logs{size}.jsonl"
            episodes(logs, size)
            told.append((size, *first_call(folder, logs, server.url, server, 40)))
        print("\n| queued episodes | first call after | of one episode's | peak MB in 40 s |")
        print("|---:|---:|---:|---:|")
        for size, first, peak in told:
            print(f"| {size:,} | {first:.2f} s | {first / told[0][1]:.2f} | {peak} |")
    print(f"\npeak of this process {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024} MB")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 3_000)
