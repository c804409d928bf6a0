"""The feature stores of a run: found, or made."""

import json
import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from retrieval_bench.data.predict import OnError, ProtocolImages
from retrieval_bench.data.resizing import Size
from retrieval_bench.data.training import LabelledViews
from retrieval_bench.extraction.digest import image_list_digest, store_key
from retrieval_bench.extraction.feed import Feed
from retrieval_bench.extraction.finishing import remove_all
from retrieval_bench.extraction.lock import alone_in
from retrieval_bench.extraction.predicting import effective_precision, on_gpu, run_predict
from retrieval_bench.extraction.progress import progress_bar
from retrieval_bench.frozen.feeding import ViewFeed
from retrieval_bench.frozen.key import asked, backbone_parts, reading_digest, view_digest
from retrieval_bench.frozen.room import estimated_bytes, readable, require_room
from retrieval_bench.frozen.shard import shard_name, written_shards
from retrieval_bench.frozen.store import FORMAT, FeatureStore
from retrieval_bench.frozen.writing import SHARD_BYTES, FeatureReader, ShardWriter
from retrieval_bench.methods.base import RetrievalModule
from retrieval_bench.settings.errors import InputError
from retrieval_bench.settings.recipe import Recipe
from retrieval_bench.settings.whole_file import write_text
from retrieval_bench.values.dataset import ImageList, LabelledImages


@dataclass(frozen=True)
class Wanted:
    """A store that a run needs.

    Attributes:
        title: what its progress bar is called.
        names: of its rows.
        key_parts: what it is made from, but for the maps it holds.
        scales: of the image pyramid; None: images go through as they are.
        sizes: of the images at scale 1, found when asked for.
        feed: the batches of some rows, for one pass.
        precision: of the pass, as Lightning calls it.
        fill: see `FeatureReader`.
    """

    title: str
    names: Sequence[str]
    key_parts: dict[str, str]
    scales: tuple[float, ...] | None
    sizes: Callable[[], Iterable[Size]]
    feed: Callable[[Sequence[int]], Any]
    precision: str
    fill: int = 1


class FeatureSource:
    """Opens the stores of a model's backbone, or fills them.

    A store lies in ``folder/<key>/``; beside it, ``<key>.partial`` is what a killed run left, where the next one goes
    on. A process that finds another one at work on the same store waits for it.

    Args:
        model: whose backbone is frozen.
        folder: where stores are kept.
        dtype: "float32", or "float16"; see `form.packed`.
        batch_size: the most images that pass through the backbone together.
        workers: processes that decode.
        on_error: the fate of an image that gives no pixels.
        accelerator: of the pass, as in `extract_to_store`.
        precision: of a training, as Lightning calls it; what is described goes through as in `extract_to_store`.
        console: where it is told how much disk is needed; None: nowhere.
        shard_bytes: a killed run loses at most about so much.

    Attributes:
        made: stores that this object filled, by key.
    """

    def __init__(
        self,
        model: RetrievalModule,
        folder: Path,
        *,
        dtype: str = "float32",
        batch_size: int = 16,
        workers: int = 0,
        on_error: OnError = "error",
        accelerator: str = "auto",
        precision: str | None = None,
        console: Console | None = None,
        shard_bytes: int = SHARD_BYTES,
    ):
        self.model = model
        self.folder = folder
        self.dtype = dtype
        self.batch_size = batch_size
        self.workers = workers
        self.on_error: OnError = on_error
        self.accelerator = accelerator
        self.of_training = precision or "32-true"
        self.of_description = effective_precision(precision, accelerator)
        self.console = console
        self.shard_bytes = shard_bytes
        self.made: set[str] = set()
        self._parts = backbone_parts(model, dtype)

    def images(self, images: ImageList, scales: Sequence[float], title: str, *, training: bool = False) -> Wanted:
        """Whole images, read as the model's protocol says, at some scales.

        Args:
            images: what is read.
            scales: of the image pyramid.
            title: as in `Wanted`.
            training: whether they are described within a training, for its validation.
        """
        protocol = self.model.protocol
        precision = self.of_training if training else self.of_description

        def feed(rows: Sequence[int]) -> Feed:
            return Feed(
                images,
                rows,
                protocol,
                batch_size=self.batch_size,
                workers=self.workers,
                on_error=self.on_error,
                pin_memory=on_gpu(self.accelerator),
            )

        def sizes() -> Iterable[Size]:
            read = ProtocolImages(images, protocol)
            for row in range(len(images)):
                try:
                    yield read.size(row)
                except InputError:  # told by the pass itself
                    continue

        parts = {
            "images": image_list_digest(images),
            "reading": reading_digest(protocol, scales),
            "precision": precision,
        }
        return Wanted(title, images.names, self._parts | parts, tuple(scales), sizes, feed, precision)

    def views(self, labelled: LabelledImages, size: int, title: str, batch_size: int | None = None) -> Wanted:
        """Centre views of labelled images, `size` pixels square.

        Args:
            labelled: the images.
            size: of the views.
            title: as in `Wanted`.
            batch_size: images that pass through the backbone together, as they would in training; None: as others.
        """
        together = batch_size or self.batch_size
        protocol = self.model.protocol
        names = [f"{row:07d}" for row in range(len(labelled))]
        parts = {
            "images": image_list_digest(ImageList(names, list(labelled.paths))),
            "reading": view_digest(protocol, size),
            "precision": self.of_training,
        }
        views = LabelledViews(
            labelled, range(len(labelled)), Recipe(image_size=size), "validation", seed=0, exif=protocol.exif
        )

        def feed(rows: Sequence[int]) -> ViewFeed:
            return ViewFeed(views, rows, batch_size=together, workers=self.workers, on_error=self.on_error)

        sizes = [(size, size)] * len(labelled)
        names = [str(path) for path in labelled.paths]
        return Wanted(title, names, self._parts | parts, None, lambda: sizes, feed, self.of_training, together)

    def open(self, *wanted: Wanted) -> list[FeatureStore]:
        """The stores asked for; those that are not there are made.

        Raises:
            InputError: the disk has not enough room for all of them, images give no pixels, or features are not finite.
        """
        missing = [one for one in wanted if self._found(one) is None]
        if missing:
            needed = sum(estimated_bytes(self.model, one.sizes(), one.scales or (1.0,), self.dtype) for one in missing)
            free = require_room(self.folder, needed - sum(self._written(one) for one in missing))
            if self.console is not None:
                images = sum(len(one.names) for one in missing)
                self.console.print(
                    f"store the features of {images} images in {self.folder}: about {readable(needed)}, "
                    f"{readable(free)} free",
                    highlight=False,
                    markup=False,
                    soft_wrap=True,
                )
        for one in missing:
            self._make(one)
        return [self._checked(one) for one in wanted]

    def _checked(self, wanted: Wanted) -> FeatureStore:
        store = self._found(wanted)
        assert store is not None
        if store.skipped and self.on_error == "error":
            listed = "; ".join(f"{wanted.names[row]} ({reason})" for row, reason in store.skipped)
            raise InputError(f"images give no pixels: {listed}. Mend them, or set extract.on_error=skip")
        return store

    def _found(self, wanted: Wanted) -> FeatureStore | None:
        """A store that holds what the model reads, or more."""
        reads = asked(self.model)
        for held in reads.or_more():
            folder = self.folder / store_key({**wanted.key_parts, "maps": str(held)})
            try:
                return FeatureStore(folder, stages=reads.stages, tokens=reads.tokens)
            except InputError:
                continue
        return None

    def _place(self, wanted: Wanted) -> tuple[str, Path, Path]:
        key = store_key({**wanted.key_parts, "maps": str(asked(self.model))})
        return key, self.folder / key, self.folder / f"{key}.partial"

    def _written(self, wanted: Wanted) -> int:
        return sum(file.stat().st_size for file in self._place(wanted)[2].glob("*.safetensors"))

    def _make(self, wanted: Wanted) -> None:
        key, place, unfinished = self._place(wanted)
        with alone_in(unfinished), torch.random.fork_rng(devices=[]):  # a run draws the same, store or none
            if self._found(wanted) is not None:  # another process made it meanwhile
                remove_all(unfinished)
                return
            shards = written_shards(unfinished)
            done = {row for shard in shards for batch in shard.batches for row in batch.rows}
            done |= {row for shard in shards for row, _ in shard.skipped}
            rest = [row for row in range(len(wanted.names)) if row not in done]
            shown = bool(rest) and not (self.console is not None and self.console.quiet)
            with progress_bar(len(wanted.names), len(done), wanted.title, shown) as advance:
                writer = ShardWriter(
                    unfinished,
                    wanted.names,
                    len(shards),
                    dtype=self.dtype,
                    advance=advance,
                    shard_bytes=self.shard_bytes,
                )
                if rest:
                    feed = wanted.feed(rest)
                    reader = FeatureReader(self.model, wanted.scales, wanted.fill).eval()
                    run_predict(
                        reader,
                        feed,
                        [writer],
                        scales=None,
                        local=False,
                        accelerator=self.accelerator,
                        precision=wanted.precision,
                    )
                    writer.write(feed.undelivered)
                    advance(len(feed.undelivered))
            self._finish(key, wanted, unfinished, writer.number)
            shutil.rmtree(place, ignore_errors=True)  # a damaged one
            unfinished.replace(place)
        self.made.add(key)

    def _finish(self, key: str, wanted: Wanted, unfinished: Path, shards: int) -> None:
        paths = [unfinished / shard_name(number) for number in range(shards)]
        content = {
            "format": FORMAT,
            "key": key,
            "key_parts": {**wanted.key_parts, "maps": str(asked(self.model))},
            "count": len(wanted.names),
            "shards": [{"file": path.name, "bytes": path.stat().st_size} for path in paths],
        }
        write_text(unfinished / "manifest.json", json.dumps(content, indent=1) + "\n")
