"""How the runs of a study ended, one line each, in the study's folder."""

import json
from datetime import UTC, datetime
from pathlib import Path

from pydantic import BaseModel, ValidationError

from retrieval_bench.studies.job import Job, Outcome


class Entry(BaseModel):
    """One run that ended, or failed to.

    Attributes:
        digest, name: of the run.
        state: "done" or "failed".
        reason: why it failed.
        seconds: that it took.
        engine: what ran it.
        workers: how many ran at a time; times measured beside others are longer.
        when: ISO 8601, UTC.
    """

    digest: str
    name: str
    state: str
    reason: str = ""
    seconds: float = 0.0
    engine: str = "local"
    workers: int = 1
    when: str = ""


class Journal:
    """The entries of a study; the last one on a run counts.

    Args:
        file: JSON lines; made when the first is written.
    """

    def __init__(self, file: Path):
        self.file = file

    def write(self, job: Job, outcome: Outcome, engine: str, workers: int) -> Entry:
        """Add how a run ended."""
        entry = Entry(
            digest=job.digest,
            name=job.name,
            state=outcome.state,
            reason=outcome.reason,
            seconds=round(outcome.seconds, 2),
            engine=engine,
            workers=workers,
            when=datetime.now(UTC).isoformat(timespec="seconds"),
        )
        self.file.parent.mkdir(parents=True, exist_ok=True)
        with self.file.open("a", encoding="utf-8") as file:
            file.write(entry.model_dump_json() + "\n")
        return entry

    def latest(self) -> dict[str, Entry]:
        """The last entry of every run, by digest. A line that was cut off by a crash is left out."""
        entries = {}
        for line in self.file.read_text(encoding="utf-8").splitlines() if self.file.is_file() else ():
            try:
                entry = Entry.model_validate(json.loads(line))
            except (json.JSONDecodeError, ValidationError):
                continue
            entries[entry.digest] = entry
        return entries
