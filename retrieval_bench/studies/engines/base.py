"""What an engine is."""

from collections.abc import Sequence
from typing import Protocol

from retrieval_bench.studies.job import Job, Outcome


class Handle(Protocol):
    """A job in an engine's hands."""

    def poll(self) -> Outcome | None:
        """How it ended, None while it has not; never waits."""


class Engine(Protocol):
    """Runs jobs, each in a process of its own."""

    def divide(self, runs: int) -> None:
        """Share what there is among so many runs at a time, from the next job on."""

    def submit(self, job: Job, slot: int) -> Handle:
        """Take a job.

        Args:
            job: to be run.
            slot: from 0, below the number of workers; no two jobs have the same at one time.
        """

    def stop(self, handles: Sequence[Handle]) -> None:
        """End jobs that this engine took, and all that they started."""

    def close(self) -> None:
        """Leave nothing behind."""
