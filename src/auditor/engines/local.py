"""Processes on this machine."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from typing import Any

from auditor.engines import Died, Job, Made


@dataclass(frozen=True)
class Local:
    """`jobs` processes; with one all is done in this process, and so is a first job that is small enough (`here`)."""

    jobs: int = 1
    here: Callable[[Any], bool] = lambda _: False

    def run(self, work: Callable[[Job], Made], jobs: Iterator[Job]) -> Iterator[tuple[Job, Made | Died]]:
        """See `Engine`. When a worker dies, what was running is done again, each job alone, to see which one kills it."""
        if self.jobs <= 1:
            yield from ((job, work(job)) for job in jobs)
            return
        first = next(jobs, None)
        if first is None:
            return
        if self.here(first):
            yield first, work(first)
        else:
            jobs = chain((first,), jobs)
        suspects: list[Job] = []
        while True:
            over = yield from self._pool(work, jobs, suspects)
            for job in suspects:
                yield job, alone(work, job)
            suspects = []
            if over:
                return

    def share(self, _: Callable[..., Any], *__: Any) -> None:
        """See `Engine`."""
        return

    def stop(self) -> None:
        """See `Engine`."""

    def _pool(
        self, work: Callable[[Job], Made], jobs: Iterator[Job], suspects: list[Job]
    ) -> Generator[tuple[Job, Made | Died], None, bool]:
        """Work until no job is left (True) or a worker dies: then `suspects` are what was running (False)."""
        with _workers(self.jobs) as pool:
            flying: dict[Future[Made], Job] = {}
            while True:
                while len(flying) < self.jobs * 2 and (job := next(jobs, None)) is not None:
                    try:
                        flying[_submit(pool, work, job)] = job
                    except BrokenProcessPool:
                        suspects += [*flying.values(), job]
                        return False
                if not flying:
                    return True
                done, _ = wait(flying, return_when=FIRST_COMPLETED)
                broken = False
                for future in done:
                    if isinstance(future.exception(), BrokenProcessPool):
                        broken = True
                        continue
                    yield flying.pop(future), future.result()
                if broken:
                    suspects += flying.values()
                    return False


def alone(work: Callable[[Job], Made], job: Job) -> Made | Died:
    """A job in a process of its own, so that nothing else dies with it."""
    with _workers(1) as pool:
        try:
            return _submit(pool, work, job).result()
        except BrokenProcessPool:
            return Died("the worker was killed (out of memory?)")


def _submit(pool: ProcessPoolExecutor, work: Callable[[Job], Made], job: Job) -> Future[Made]:
    # A worker starts with the signals of its parent: an interrupt while it imports is none of its business.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        return pool.submit(work, job)
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


@contextmanager
def _workers(count: int) -> Iterator[ProcessPoolExecutor]:
    with ProcessPoolExecutor(count, mp_context=multiprocessing.get_context("spawn"), initializer=_begin_work) as pool:
        try:
            yield pool
        except BaseException:
            for process in list((pool._processes or {}).values()):
                process.terminate()
            pool.shutdown(wait=True, cancel_futures=True)
            raise


def _begin_work() -> None:
    """A worker leaves interrupts to its parent, and ends with it: after kill -9 it would wait for work for ever."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None:

        def follow() -> None:
            parent.join()
            os._exit(1)

        threading.Thread(target=follow, daemon=True).start()
