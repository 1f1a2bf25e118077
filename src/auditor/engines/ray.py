"""Ray: shards as tasks on the workers of a cluster. Ray hands them out; each runs the local worker, unchanged."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any
from uuid import uuid4

from auditor.engines import Died, Job, Made
from auditor.errors import AuditorError, MissingExtra

_RETRIES = 3
_WAITING = 100_000
"""Methods of a shared object that may wait at once: calls that wait for room at a server, of all workers."""
_PASSED = ("AWS_", "GOOGLE_", "AZURE_", "FSSPEC_")
"""Variables that workers need too: where object storage is, and the keys to it."""


class Ray:
    """A cluster by its address (`auto`: the one that runs here); without one, a cluster of this machine."""

    def __init__(self, address: str | None = None) -> None:
        self.address = address
        self._ray: Any = None
        self._actors: list[Any] = []

    def run(self, work: Callable[[Job], Made], jobs: Iterator[Job]) -> Iterator[tuple[Job, Made | Died]]:
        """See `Engine`. A worker or node that dies costs its shards nothing but time: Ray gives them to others, `_RETRIES` times."""
        ray = self._cluster()

        def on_a_worker(job: Job, work: Callable[[Job], Made], known: dict[str, str]) -> Made:
            os.environ.update(known)
            return work(job)

        task = ray.remote(num_cpus=1, max_retries=_RETRIES)(on_a_worker)
        # As arguments: Ray writes what a runtime environment holds into its logs, and these hold keys.
        given = ray.put(work), ray.put({name: value for name, value in os.environ.items() if name.startswith(_PASSED)})
        flying: dict[Any, Job] = {}
        while True:
            # Asked each time: nodes come and go.
            room = 2 * max(1, int(ray.cluster_resources().get("CPU", 1)))
            while len(flying) < room and (job := next(jobs, None)) is not None:
                flying[task.remote(job, *given)] = job
            if not flying:
                return
            (done,), _ = ray.wait(list(flying), num_returns=1)
            yield flying.pop(done), _result(ray, done)

    def share(self, kind: Callable[..., Any], *given: Any) -> Named:
        """See `Engine`. A named actor on this node, or on the one that a client is connected to: it ends with the driver."""
        ray = self._cluster()
        name = f"auditor-{uuid4().hex}"
        here = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        actor = ray.remote(num_cpus=0, max_concurrency=_WAITING)(kind)
        self._actors.append(actor.options(name=name, scheduling_strategy=here).remote(*given))
        return Named(name)

    def stop(self) -> None:
        """See `Engine`."""
        if self._ray is not None:
            self._actors.clear()
            self._ray.shutdown()
            self._ray = None

    def _cluster(self) -> Any:
        if self._ray is not None:
            return self._ray
        try:
            import ray
            import ray.util.scheduling_strategies
        except ImportError:
            raise MissingExtra("--engine ray", "ray") from None
        try:
            self._reach()
            # Not None: that would look for a cluster that was here once, for minutes.
            address = self.address or os.environ.get("RAY_ADDRESS") or "local"
            ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
        except (OSError, RuntimeError, ValueError) as error:
            told = " ".join(str(error).split())[:160]
            raise AuditorError(
                f"--address {self.address}: no Ray cluster can be used there ({told}); start one: ray start --head"
            ) from None
        self._ray = ray
        return ray

    def _reach(self) -> None:
        """OSError where nothing listens at the address: Ray itself would try for minutes."""
        host, _, port = (self.address or "").removeprefix("ray://").rpartition(":")
        if host and port.isdecimal():
            socket.create_connection((host, int(port)), timeout=10).close()


@dataclass(frozen=True)
class Named:
    """A shared object, wherever it is asked from: its methods are awaited."""

    name: str

    def __getattr__(self, method: str) -> Callable[..., Awaitable[Any]]:
        """A method of the object."""
        if method.startswith("_"):
            raise AttributeError(method)

        async def ask(*given: Any) -> Any:
            import ray

            try:
                return await getattr(_actor(self.name), method).remote(*given)
            except (ray.exceptions.RayActorError, ValueError) as error:
                told = " ".join(str(error).split())[:160]
                raise AuditorError(f"what the workers share is gone ({told}); run the same command again") from None

        return ask


@cache
def _actor(name: str) -> Any:
    import ray

    return ray.get_actor(name)


def _result(ray: Any, done: Any) -> Any:
    """What a task gave, or Died where it killed its worker each time. What the worker itself raised is raised here."""
    errors = ray.exceptions
    try:
        return ray.get(done)
    except errors.RayTaskError as error:
        raise error.cause from None
    except (errors.WorkerCrashedError, errors.OutOfMemoryError, errors.NodeDiedError, errors.ObjectLostError) as error:
        return Died(" ".join(str(error).split())[:160])
