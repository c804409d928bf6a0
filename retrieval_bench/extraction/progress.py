"""The progress bar of an extraction."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text(f"{speed:.1f} images/s" if speed else "- images/s")


@contextmanager
def progress_bar(total: int, done: int, title: str, shown: bool) -> Iterator[Callable[[int], None]]:
    """Show images done, images per second and time left on stderr while the block runs.

    Args:
        total: images there are.
        done: of those, finished before.
        title: what the bar is called.
        shown: False shows nothing.

    Yields:
        a function that counts more images as done.
    """
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), _Rate(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), disable=not shown) as progress:
        task = progress.add_task(title, total=total, completed=done)
        yield lambda count: progress.advance(task, count)
