"""A Ray cluster: that of ``RAY_ADDRESS``, or one on this machine for as long as the study runs.

All nodes need the same files under the same paths. Parts from outside the package come with the settings (`plugins`).
"""

import os
import shutil
import socket
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from retrieval_bench.settings.errors import InputError
from retrieval_bench.studies.engines.base import Handle
from retrieval_bench.studies.interruption import handlers_kept
from retrieval_bench.studies.job import PATIENCE, Job, Outcome, execute
from retrieval_bench.studies.share import cores, thread_variables, threads

STORE = 80 * 2**20
"""Bytes of shared memory for what passes between tasks, little more than Ray's least: jobs and outcomes are small, and
Ray's own choice, a third of the memory, fits into no container's /dev/shm."""

LONGEST = 30
"""Characters of a folder that can hold Ray's sockets, whose paths the system limits to about 100."""


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
        self._folder: Path | None = None
        try:
            # Ray's own handler of SIGTERM ends this process and leaves the runs.
            with handlers_kept():
                self._enter(os.environ.get("RAY_ADDRESS"), workers)
        except BaseException:
            self.close()
            raise
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
        """Leave the cluster; one that this engine started ends, and its files go."""
        self._ray.shutdown()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)

    def _enter(self, address: str | None, workers: int) -> None:
        quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
        if address:
            try:
                _knock(address)
                self._ray.init(address=address, **quiet)
            except (OSError, RuntimeError, ValueError) as error:
                reason = " ".join(str(error).split())
                raise InputError(
                    f"no Ray cluster at RAY_ADDRESS={address} ({reason}); start one, or unset it"
                ) from error
            return
        # Ray reports to its makers unless told otherwise.
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        self._folder = Path(tempfile.mkdtemp(prefix="rb-ray-", dir=_place()))
        self._ray.init(
            address="local",  # and not another's that Ray finds on this machine
            num_cpus=max(cores(), workers),
            object_store_memory=STORE,
            include_dashboard=False,
            _temp_dir=str(self._folder),
            **quiet,
        )


def _knock(address: str) -> None:
    """Ray itself waits minutes for a cluster that is not there."""
    host, _, port = address.rpartition("/")[2].rpartition(":")
    if host and port.isdigit():
        socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()


def _place() -> str:
    wanted = os.environ.get("RAY_TMPDIR") or tempfile.gettempdir()
    return wanted if len(wanted) <= LONGEST or not Path("/tmp").is_dir() else "/tmp"
