"""The batches of one extraction pass, as Lightning's predict loop takes them."""

from collections.abc import Iterator, Sequence
from typing import Any

import torch

from retrieval_bench.data.predict import ExtractionLoader, OnError, Skipped
from retrieval_bench.settings.protocol import Protocol
from retrieval_bench.values.dataset import ImageList

SkippedRow = tuple[int, str]
"""Row of the image list and why it gave no pixels."""


class Feed:
    """Batches of some rows of an image list, for one pass.

    Yields ``{"indices": (B,) int64 rows of the whole list, "images": (B, 3, H, W) uint8 RGB, "skipped": rows that gave
    no pixels since the batch before}``. Leaving out the rows of whole batches that were seen before leaves the other
    batches as they were, so a pass that goes on computes the same values.

    Args:
        images: the whole list.
        rows: which of it to read, ascending.
        protocol: how.
        batch_size: the most images of one batch.
        workers: processes that decode; 0 decodes in this one.
        on_error: "error" or "skip".
        pin_memory: for faster copies to a GPU.

    Attributes:
        undelivered: after a pass, rows that gave no pixels after its last batch.
    """

    def __init__(
        self,
        images: ImageList,
        rows: Sequence[int],
        protocol: Protocol,
        *,
        batch_size: int,
        workers: int,
        on_error: OnError,
        pin_memory: bool = False,
    ):
        self.rows = torch.as_tensor(rows, dtype=torch.int64)
        self.stops = on_error == "error"
        self.undelivered: list[SkippedRow] = []
        chosen = ImageList(
            [images.names[row] for row in rows],
            [images.paths[row] for row in rows],
            [images.boxes[row] for row in rows],
        )
        self._loader: ExtractionLoader | None = ExtractionLoader(
            chosen,
            protocol,
            batch_size=batch_size,
            workers=min(workers, len(rows)),
            on_error=on_error,
            pin_memory=pin_memory,
        )

    def __iter__(self) -> Iterator[dict[str, Any]]:
        # The pass alone holds the loader: its workers end with the pass. Held by Lightning's trainer, which is part of
        # a reference cycle, they would live until a garbage collection, and then take five seconds each to end.
        loader, self._loader = self._loader, None
        if loader is None:
            raise RuntimeError("a feed can be iterated once")
        delivered: set[int] = set()
        batches = iter(loader)
        for batch in batches:
            if self.stops and batch["skipped"]:
                # Only reading goes on, to the loader's error that names every broken file.
                for _ in batches:
                    pass
            skipped = self._of_list(batch["skipped"])
            delivered.update(row for row, _ in skipped)
            yield {"indices": self.rows[batch["indices"]], "images": batch["images"], "skipped": skipped}
        self.undelivered = [entry for entry in self._of_list(loader.skipped) if entry[0] not in delivered]

    def _of_list(self, skipped: Sequence[Skipped]) -> list[SkippedRow]:
        return [(int(self.rows[broken.row]), broken.reason) for broken in skipped]
