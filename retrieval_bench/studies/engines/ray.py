"""A Ray cluster: that of ``RAY_ADDRESS``, or one on this machine for as long as the study runs.

All nodes need the same files under the same paths. Parts from outside the package come with the settings (`plugins`).
"""

import os
from collections.abc import Sequence
from typing import Any

from retrieval_bench.settings.errors import InputError
from retrieval_bench.studies.engines.base import Handle
from retrieval_bench.studies.job import PATIENCE, Job, Outcome, execute
from retrieval_bench.studies.share import cores, thread_variables, threads


class RayHandle:
    """A task of Ray."""

    def __init__(self, ray: Any, task: Any):
        self._ray = ray
        self.task = task

    def poll(self) -> Outcome | None:
        """Look without waiting; a task that Ray lost is a failed run."""
        done, _ = self._ray.wait([self.task], timeout=0)
        if not done:
            return None
        try:
            return self._ray.get(self.task)
        except self._ray.exceptions.RayError as error:
            return Outcome("failed", f"{type(error).__name__}: {' '.join(str(error).split())[:300]}")


class RayEngine:
    """Tasks of a Ray cluster, each with its part of the CPUs and, where there are GPUs, one of them.

    Args:
        workers: how many at a time.

    Raises:
        InputError: Ray is not installed, or the cluster cannot be reached.
    """

    def __init__(self, workers: int):
        try:
            import ray
        except ImportError as error:
            raise InputError("--engine ray needs Ray: pip install 'retrieval-bench[ray]'") from error
        self._ray = ray
        address = os.environ.get("RAY_ADDRESS")
        quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
        if address:
            try:
                ray.init(address=address, **quiet)
            except ConnectionError as error:
                raise InputError(f"no Ray cluster at RAY_ADDRESS={address}; start one, or unset it") from error
        else:
            ray.init(num_cpus=max(cores(), workers), include_dashboard=False, **quiet)
        found = ray.cluster_resources()
        self._largest = max(int(node["Resources"].get("CPU", 1)) for node in ray.nodes() if node["Alive"])
        self._all = int(found.get("CPU", 1))
        self.divide(workers)
        self._gpus = 1 if found.get("GPU", 0) >= 1 else 0
        self._task = ray.remote(execute)

    def divide(self, runs: int) -> None:
        """Divide the CPUs; a task fits on one node, whatever the cluster has in all."""
        self.cpus = max(1, min(self._largest, self._all // runs))
        self.threads = threads(1, self.cpus)

    def submit(self, job: Job, slot: int) -> RayHandle:
        """Hand a job to the cluster, which chooses the place."""
        chosen = self._task.options(
            num_cpus=self.cpus, num_gpus=self._gpus if job.gpu else 0, max_retries=0, name=job.name
        )
        return RayHandle(self._ray, chosen.remote(job, thread_variables(self.threads)))

    def stop(self, handles: Sequence[Handle]) -> None:
        """Interrupt the tasks, and wait until they have ended their processes."""
        tasks = [handle.task for handle in handles if isinstance(handle, RayHandle)]
        for task in tasks:
            self._ray.cancel(task)
        if tasks:
            self._ray.wait(tasks, num_returns=len(tasks), timeout=2 * PATIENCE)

    def close(self) -> None:
        """Leave the cluster; one that this engine started ends."""
        self._ray.shutdown()
