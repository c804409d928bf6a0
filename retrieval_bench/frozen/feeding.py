"""The batches of images that fill a store, and those of features that come out of one."""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch.utils.data import DataLoader

from retrieval_bench.data.predict import OnError
from retrieval_bench.data.training import LabelledViews
from retrieval_bench.extraction.feed import SkippedRow
from retrieval_bench.frozen.store import FeatureStore
from retrieval_bench.settings.errors import InputError


class ViewFeed:
    """Centre views of labelled images, for one pass.

    Yields ``{"indices": (B,) int64 rows, "images": (B, 3, S, S) uint8 RGB, "skipped": rows that gave no pixels}``.

    Args:
        views: of all rows.
        rows: which of them to read.
        batch_size, workers: as in `DataLoader`.
        on_error: a broken file ends the pass ("error") or is left out ("skip").

    Attributes:
        undelivered: after a pass, rows without pixels that no batch told.
    """

    def __init__(
        self, views: LabelledViews, rows: Sequence[int], *, batch_size: int, workers: int, on_error: OnError
    ) -> None:
        self.on_error = on_error
        self.undelivered: list[SkippedRow] = []
        self._rows = list(rows)
        self._batches: DataLoader[Any] = DataLoader(
            views,
            batch_size=batch_size,
            sampler=[(0, row) for row in rows],
            num_workers=min(workers, len(self._rows)),
            collate_fn=list,
        )

    def __iter__(self) -> Iterator[dict[str, Any]]:
        start = 0
        for items in self._batches:
            rows = self._rows[start : start + len(items)]
            start += len(items)
            self.undelivered += [(row, item["error"]) for row, item in zip(rows, items, strict=True) if "error" in item]
            if self.undelivered and self.on_error == "error":
                listed = "; ".join(reason for _, reason in self.undelivered)
                raise InputError(f"broken training images: {listed}. Mend them, or set extract.on_error=skip")
            images = [item["image"] for item in items if "error" not in item]
            if images:
                skipped, self.undelivered = self.undelivered, []
                whole = [row for row, item in zip(rows, items, strict=True) if "error" not in item]
                yield {"indices": torch.tensor(whole), "images": torch.stack(images), "skipped": skipped}


class StoredFeed:
    """Pyramids of stored features in the batches in which they were computed, for one pass or several.

    Yields ``{"indices": (B,) int64 rows, "pyramid": as RetrievalModule.pyramid gives it, "fed": height and width of the
    images at scale 1, "skipped": []}``, with ``"labels"`` where there are labels.

    Args:
        store: what to read.
        rows: which of it; None: all.
        labels: of all rows.
        rank, world: of this process; it gets every world-th batch.

    Attributes:
        undelivered: rows without pixels.
    """

    def __init__(
        self,
        store: FeatureStore,
        rows: Sequence[int] | None = None,
        *,
        labels: Sequence[int] | None = None,
        rank: int = 0,
        world: int = 1,
    ):
        wanted = set(range(len(store)) if rows is None else rows)
        chosen = [(batch, [row for row in entry.rows if row in wanted]) for batch, entry in enumerate(store.batches)]
        self.store = store
        self.labels = None if labels is None else torch.as_tensor(list(labels), dtype=torch.int64)
        self.undelivered = [(row, reason) for row, reason in store.skipped if row in wanted]
        self._batches = [(batch, kept) for batch, kept in chosen if kept][rank::world]
        # A loader draws from the global generator once a pass, as that of images does: what is random above the
        # backbone, such as dropout, then draws the same numbers.
        self._loader: DataLoader[Any] = DataLoader(self._batches, batch_size=None, collate_fn=self._read)  # type: ignore[arg-type]

    def __len__(self) -> int:
        return len(self._batches)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        # As a generator: Lightning asks for an iterator once more, to see whether there is one, and must draw nothing.
        yield from self._loader

    def _read(self, chosen: tuple[int, list[int]]) -> dict[str, Any]:
        batch, rows = chosen
        entry = self.store.batches[batch]
        pyramid = self.store.pyramid(batch, None if rows == entry.rows else rows)
        found = {"indices": torch.tensor(rows), "pyramid": pyramid, "fed": entry.fed, "skipped": []}
        return found if self.labels is None else {**found, "labels": self.labels[torch.tensor(rows)]}
