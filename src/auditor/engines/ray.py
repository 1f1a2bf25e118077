"""Ray: shards as tasks on the workers of a cluster. Ray hands them out; each runs the local worker, unchanged."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from auditor.engines import Died, Job, Made
from auditor.errors import AuditorError, MissingExtra

_RETRIES = 3
_PASSED = ("AWS_", "GOOGLE_", "AZURE_", "FSSPEC_")
"""Variables that workers need too: where object storage is, and the keys to it."""


@dataclass(frozen=True)
class Ray:
    """A cluster by its address (`auto`: the one that runs here); without one, a cluster of this machine."""

    address: str | None = None

    def run(self, work: Callable[[Job], Made], jobs: Iterator[Job]) -> Iterator[tuple[Job, Made | Died]]:
        """See `Engine`. A worker or node that dies costs its shards nothing but time: Ray gives them to others, `_RETRIES` times."""
        ray = self._cluster()
        try:

            def on_a_worker(job: Job) -> Made:
                return work(job)

            task = ray.remote(num_cpus=1, max_retries=_RETRIES)(on_a_worker)
            flying: dict[Any, Job] = {}
            while True:
                # Asked each time: nodes come and go.
                room = 2 * max(1, int(ray.cluster_resources().get("CPU", 1)))
                while len(flying) < room and (job := next(jobs, None)) is not None:
                    flying[task.remote(job)] = job
                if not flying:
                    return
                (done,), _ = ray.wait(list(flying), num_returns=1)
                yield flying.pop(done), _result(ray, done)
        finally:
            ray.shutdown()

    def _cluster(self) -> Any:
        try:
            import ray
        except ImportError:
            raise MissingExtra("--engine ray", "ray") from None
        known = {name: value for name, value in os.environ.items() if name.startswith(_PASSED)}
        try:
            self._reach()
            ray.init(address=self.address, runtime_env={"env_vars": known}, log_to_driver=False, logging_level=logging.ERROR)
        except (OSError, RuntimeError, ValueError) as error:
            told = " ".join(str(error).split())[:160]
            raise AuditorError(
                f"--address {self.address}: no Ray cluster can be used there ({told}); start one: ray start --head"
            ) from None
        return ray

    def _reach(self) -> None:
        """OSError where nothing listens at the address: Ray itself would try for minutes."""
        host, _, port = (self.address or "").removeprefix("ray://").rpartition(":")
        if host and port.isdecimal():
            socket.create_connection((host, int(port)), timeout=10).close()


def _result(ray: Any, done: Any) -> Any:
    """What a task gave, or Died where it killed its worker each time. What the worker itself raised is raised here."""
    errors = ray.exceptions
    try:
        return ray.get(done)
    except errors.RayTaskError as error:
        raise error.cause from None
    except (errors.WorkerCrashedError, errors.OutOfMemoryError, errors.NodeDiedError, errors.ObjectLostError) as error:
        return Died(" ".join(str(error).split())[:160])
