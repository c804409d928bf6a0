"""Processes of this machine, each with its part of the cores and a GPU of its own."""

from collections.abc import Sequence

from retrieval_bench.studies.engines.base import Handle
from retrieval_bench.studies.job import Job, Running
from retrieval_bench.studies.share import cores, device_variable, devices, thread_variables, threads


class LocalEngine:
    """Subprocesses.

    Args:
        workers: how many at a time.
    """

    def __init__(self, workers: int):
        self._devices: list[str] | None = None
        self.divide(workers)

    def divide(self, runs: int) -> None:
        """Divide the cores."""
        self.threads = threads(runs, cores())

    def submit(self, job: Job, slot: int) -> Running:
        """Start a job."""
        if job.gpu and self._devices is None:
            self._devices = devices()
        device = device_variable(slot, self._devices or []) if job.gpu else {}
        return Running(job, {**thread_variables(self.threads), **device})

    def stop(self, handles: Sequence[Handle]) -> None:
        """End all at once: the patience with one is the patience with all."""
        running = [handle for handle in handles if isinstance(handle, Running)]
        for one in running:
            one.ask_to_stop()
        for one in running:
            one.stop()

    def close(self) -> None:
        """Nothing is left."""
