"""The bars show what they are told."""

import io

from rich.console import Console

from retrieval_bench.data.progress import download_bars


def test_a_bar_per_file():
    console = Console(file=io.StringIO(), force_terminal=True, width=100)
    with download_bars(console) as report:
        tell = report("images.tgz")
        tell(5_000_000, None)
        tell(10_000_000, 10_000_000)
    shown = console.file.getvalue()
    assert "images.tgz" in shown
    assert "10.0/10.0 MB" in shown
