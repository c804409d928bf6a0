"""How many threads torch uses for one operation."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def one_thread_each() -> Iterator[int]:
    """Let torch run every operation on one thread, and yield how many threads it had for one.

    Verifying a pair is many operations of some 100 microseconds. Shared out among threads, each of them waits for the
    slowest, which costs a hundred times its work where another process holds a core. Pairs are shared out instead.
    """
    threads = torch.get_num_threads()
    if threads > 1:
        torch.set_num_threads(1)
    try:
        yield threads
    finally:
        if threads > 1:
            torch.set_num_threads(threads)
