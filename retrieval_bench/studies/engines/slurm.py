"""Jobs of a SLURM cluster, through submitit.

All nodes need the same files under the same paths, this Python environment among them. `slurm:` in the study file holds
the parameters of a job as submitit names them (``slurm_partition``, ``timeout_min``, ``gpus_per_node``, ``mem_gb``).
"""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from retrieval_bench.settings.errors import InputError
from retrieval_bench.studies.engines.base import Handle
from retrieval_bench.studies.job import Job, Outcome, execute
from retrieval_bench.studies.share import cores, thread_variables, threads

DEFAULTS = {"timeout_min": 24 * 60, "cpus_per_task": 4}


class SlurmHandle:
    """A job of submitit."""

    def __init__(self, job: Any):
        self.job = job

    def poll(self) -> Outcome | None:
        """Look without waiting; a job that SLURM lost or that ran past its time is a failed run."""
        if not self.job.done():
            return None
        error = self.job.exception()
        if error is not None:
            lines = str(error).strip().splitlines() or ["no message"]
            return Outcome("failed", f"{type(error).__name__}: job {self.job.job_id}: {lines[0]}")
        return self.job.result()


class SlurmEngine:
    """Jobs of a queue.

    Args:
        workers: how many stand in the queue or run at a time.
        folder: where submitit keeps its files; every node must see it.
        parameters: of a job. ``cluster: local`` runs them as processes of this machine, to try a study out.

    Raises:
        InputError: submitit is not installed, there is no SLURM here, or it does not know a parameter.
    """

    def __init__(self, workers: int, folder: Path, parameters: Mapping[str, Any]):
        try:
            import submitit
        except ImportError as error:
            raise InputError("--engine slurm needs submitit: pip install 'retrieval-bench[slurm]'") from error
        chosen = {**DEFAULTS, **parameters}
        cluster = str(chosen.pop("cluster", "slurm"))
        if cluster == "slurm" and shutil.which("srun") is None:
            raise InputError(
                "no srun on this machine: start the study on a login node of the cluster, or write "
                "slurm: {cluster: local} in the study file to try it here"
            )
        try:
            self._executor = submitit.AutoExecutor(folder=folder / "%j", cluster=cluster)
            self._executor.update_parameters(name="retrieval-bench", stderr_to_stdout=True, **chosen)
        except (NameError, TypeError, ValueError) as error:
            raise InputError(f"slurm: {' '.join(str(error).split())}") from error
        self._asked = int(chosen["cpus_per_task"]) if cluster == "slurm" else None
        self.divide(workers)

    def divide(self, runs: int) -> None:
        """Divide the cores of this machine; a job of the queue has what its parameters say."""
        self.threads = threads(runs, cores()) if self._asked is None else self._asked

    def submit(self, job: Job, slot: int) -> SlurmHandle:
        """Put a job into the queue."""
        return SlurmHandle(self._executor.submit(execute, job, thread_variables(self.threads)))

    def stop(self, handles: Sequence[Handle]) -> None:
        """Take jobs out of the queue, running ones too."""
        for handle in handles:
            if isinstance(handle, SlurmHandle):
                handle.job.cancel()

    def close(self) -> None:
        """Nothing is left."""
