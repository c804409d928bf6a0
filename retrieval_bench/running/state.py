"""What accumulates while a run is under way."""

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console

from retrieval_bench.recording.content import Content
from retrieval_bench.recording.provenance import commit
from retrieval_bench.settings.record import Cost
from retrieval_bench.settings.run import RunSettings


@dataclass
class RunState:
    """Costs, warnings and what the protocol card has to say, collected step by step.

    Attributes:
        settings, folder, console: of the run.
        content: of its files and dataset when it began.
        commit: of the code when it began.
        costs: measured so far.
        warnings: what a reader of the figures has to know.
        whitening: what was learnt on what, for the protocol card.
        reranked: candidates re-ranked per query.
        ground_truth_used: whether ground truth chose them.
    """

    settings: RunSettings
    folder: Path
    console: Console
    content: Content = field(default_factory=Content)
    commit: str = field(default_factory=commit)
    costs: list[Cost] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    whitening: str = "none"
    reranked: int = 0
    ground_truth_used: bool = False

    def cost(self, name: str, value: float, unit: str) -> None:
        """Add a measured cost."""
        self.costs.append(Cost(name=name, value=float(value), unit=unit))

    def discard_if_empty(self) -> None:
        """Remove the run's folder if it holds nothing that a later run could go on from."""
        if not any((self.folder / kept).exists() for kept in ("checkpoints", "stages")):
            shutil.rmtree(self.folder)

    @contextmanager
    def timed(self, name: str, *, per: str, count: int) -> Iterator[None]:
        """Measure a step in seconds, and in milliseconds per one of `count` things."""
        start = time.perf_counter()
        yield
        seconds = time.perf_counter() - start
        self.cost(name, seconds, "s")
        self.cost(f"{name} per {per}", 1000 * seconds / max(1, count), "ms")
