"""Images to descriptors in a method's published protocol: into a store on disk, or into memory."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor

from retrieval_bench.data.predict import OnError, Skipped, broken_images
from retrieval_bench.extraction.describing import DescribingModel
from retrieval_bench.extraction.digest import key_parts, store_key
from retrieval_bench.extraction.feed import Feed, SkippedRow
from retrieval_bench.extraction.finishing import finish_store, is_written, publish, remove_all
from retrieval_bench.extraction.lock import alone_in
from retrieval_bench.extraction.parts import Finished, read_finished
from retrieval_bench.extraction.predicting import effective_precision, on_gpu, require_finite, run_predict
from retrieval_bench.extraction.progress import progress_bar
from retrieval_bench.extraction.store import DTYPES, DescriptorStore
from retrieval_bench.extraction.writing import PartWriter
from retrieval_bench.settings.errors import InputError, nearest
from retrieval_bench.values.dataset import Box, ImageList

PART_IMAGES = 512


class StoredFeatures(NamedTuple):
    """Features of an image list, computed before.

    Attributes:
        key: of what made them.
        feed: gives the batches of some rows, with ``pyramid`` and ``fed``, height and width, in place of ``images``.
    """

    key: str
    feed: Callable[[Sequence[int]], Any]


def extract_to_store(
    model: DescribingModel,
    images: ImageList,
    folder: str | Path,
    *,
    batch_size: int = 8,
    workers: int = 0,
    scales: Sequence[float] | None = None,
    local: bool = False,
    on_error: OnError = "error",
    dtype: str = "float16",
    accelerator: str = "auto",
    precision: str | None = None,
    progress: bool = True,
    title: str = "extracting",
    part_images: int = PART_IMAGES,
    stored: StoredFeatures | None = None,
) -> DescriptorStore:
    """Describe every image of a list, or open the store of an earlier run that had the same key.

    The store lies in ``folder/<key>`` (see `digest.key_parts`). A killed run leaves ``folder/<key>.partial``; the next
    one goes on there and, with the same batch and part size, ends with the same bytes. A process that finds another one
    at work on the same key waits for it and opens what it made.

    Args:
        model: a method, such as `create_model` returns.
        images: what to describe; row i of the store belongs to entry i.
        folder: where stores are kept.
        batch_size: the most images of one batch; images of one batch have one shape.
        workers: processes that decode images; 0 decodes in this one.
        scales: image pyramid of the global descriptor in place of the protocol's.
        local: store local features too.
        on_error: "error" names every image that gives no pixels; "skip" leaves them out: their rows are NaN and
            `DescriptorStore.skipped` lists them.
        dtype: "float16" or "float32", of everything stored but keypoints, scores and scales.
        accelerator: as in `pytorch_lightning.Trainer`; one device is used.
        precision: None or "32-true", "16-mixed", "bf16-mixed" on a GPU; elsewhere always float32.
        progress: show a progress bar on stderr.
        title: what the bar is called.
        part_images: a killed run loses at most about so many images.
        stored: features of the same images in place of their pixels.

    Raises:
        InputError: broken images, an empty list, descriptors that are not finite, a method without local features, or
            an unknown `dtype`, `on_error` or `precision`.
    """
    _check(model, images, scales, local, on_error, dtype)
    used_precision = effective_precision(precision, accelerator)
    made_from = key_parts(model, images, scales=scales, dtype=dtype, local=local, precision=used_precision)
    if stored is not None:
        made_from["features"] = stored.key
    key = store_key(made_from)
    place, unfinished = Path(folder) / key, Path(folder) / f"{key}.partial"
    if _opens(place):
        return _opened(place, images, on_error)
    with alone_in(unfinished):
        if _opens(place):  # another process made it meanwhile
            remove_all(unfinished)
            return _opened(place, images, on_error)
        if is_written(unfinished):
            publish(unfinished, place)
            return _opened(place, images, on_error)
        finished = read_finished(unfinished, local=local)
        _refuse(images, finished.skipped, on_error)
        done = {*finished.rows, *(row for row, _ in finished.skipped)}
        rest = [row for row in range(len(images)) if row not in done]
        with progress_bar(len(images), len(done), title, progress and bool(rest)) as advance:
            writer = PartWriter(
                unfinished,
                images,
                model.protocol,
                finished,
                dtype=DTYPES[dtype],
                local=local,
                part_images=part_images,
                advance=advance,
            )
            if rest:
                feed: Any = (
                    stored.feed(rest)
                    if stored is not None
                    else Feed(
                        images,
                        rest,
                        model.protocol,
                        batch_size=batch_size,
                        workers=workers,
                        on_error=on_error,
                        pin_memory=on_gpu(accelerator),
                    )
                )
                run_predict(
                    model, feed, [writer], scales=scales, local=local, accelerator=accelerator, precision=used_precision
                )
                writer.write()
                finished.skipped += feed.undelivered
                advance(len(feed.undelivered))
        _some_described(images, finished)
        finish_store(
            unfinished,
            images.names,
            finished,
            key=key,
            key_parts=made_from,
            protocol=model.protocol,
            scales=tuple(scales or model.protocol.scales),
            dtype=dtype,
            local=local,
        )
        publish(unfinished, place)
    return _opened(place, images, on_error).with_forward_images(writer.described)


def extract(
    model: DescribingModel,
    files: Sequence[str | Path],
    boxes: Any = None,
    scales: Sequence[float] | None = None,
    *,
    batch_size: int = 8,
    workers: int = 0,
) -> Tensor:
    """Describe image files in the model's published protocol, on the device the model is on.

    Reading, cropping and resizing are those of the method's authors, kernel for kernel.

    Args:
        model: a method, such as `create_model` returns.
        files: image files; one may occur more than once.
        boxes: ``(N, 4)`` x0, y0, x1, y1 in pixels, or a list with a box or None for each file; None crops nothing.
        scales: image pyramid in place of the protocol's.
        batch_size: the most images of one batch; images of one batch have one shape.
        workers: processes that decode images; 0 decodes in this one.

    Returns:
        ``(N, D)`` float32 on the CPU, in the order of `files`.

    Raises:
        InputError: files that give no pixels (all are named), boxes that do not fit, descriptors that are not finite.
    """
    if isinstance(files, str | Path):
        raise InputError(f"files must be a list of paths, got the single path {str(files)!r}; put it into a list")
    paths = [Path(file) for file in files]
    # A file may come twice, names may not.
    images = ImageList([f"{path} (file {row})" for row, path in enumerate(paths)], paths, _boxes(boxes, len(paths)))
    _check(model, images, scales, False, "error", "float32")
    device = cast(pl.LightningModule, model).device
    feed = Feed(images, range(len(images)), model.protocol, batch_size=batch_size, workers=workers, on_error="error")
    collector = _Collector(images.names)
    run_predict(
        model,
        feed,
        [collector],
        scales=scales,
        local=False,
        accelerator=device.type,
        devices=1 if device.type == "cpu" else [device.index or 0],
    )
    rows = torch.cat(collector.rows)
    result = torch.empty(len(images), collector.descriptors[0].shape[1])
    result[rows] = torch.cat(collector.descriptors)
    return result


class _Collector(pl.Callback):
    def __init__(self, names: Sequence[str]):
        self.names = names
        self.rows: list[Tensor] = []
        self.descriptors: list[Tensor] = []

    def on_predict_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, *_: Any) -> None:
        rows, descriptors = outputs["indices"].cpu(), outputs["descriptors"].float().cpu()
        require_finite(rows, descriptors, self.names)
        self.rows.append(rows)
        self.descriptors.append(descriptors)


def _check(
    model: DescribingModel, images: ImageList, scales: Sequence[float] | None, local: bool, on_error: str, dtype: str
) -> None:
    if not len(images):
        raise InputError("the image list to extract is empty; give at least one image")
    if scales is not None and (not len(scales) or min(scales) <= 0):
        raise InputError(f"scales must be positive numbers, at least one, got {tuple(scales)}")
    if local and not model.has_local_features:
        raise InputError(f"method {model.method!r} has no local features; delg and delf have")
    if on_error not in ("error", "skip"):
        raise InputError(nearest(str(on_error), ["error", "skip"], noun="value of on_error"))
    if dtype not in DTYPES:
        raise InputError(nearest(str(dtype), DTYPES, noun="descriptor dtype"))


def _boxes(boxes: Any, count: int) -> list[Box | None]:
    if boxes is None:
        return [None] * count
    if len(boxes) != count:
        raise InputError(f"{len(boxes)} boxes for {count} files; give one box or None for each file")
    result: list[Box | None] = []
    for row, box in enumerate(boxes):
        if box is None:
            result.append(None)
            continue
        values = np.asarray(box, dtype=np.float64)
        if values.shape != (4,):
            raise InputError(f"box {row} has shape {values.shape}; a box is x0, y0, x1, y1 in pixels")
        x0, y0, x1, y1 = values.tolist()
        result.append((x0, y0, x1, y1))
    return result


def _opens(place: Path) -> bool:
    try:
        DescriptorStore(place)
    except InputError:
        return False
    return True


def _opened(place: Path, images: ImageList, on_error: str) -> DescriptorStore:
    store = DescriptorStore(place)
    _refuse(images, [(image.row, image.reason) for image in store.skipped], on_error)
    return store


def _refuse(images: ImageList, skipped: Sequence[SkippedRow], on_error: str) -> None:
    """An earlier run may have skipped images of the same list; where that is an error it stays one."""
    if skipped and on_error == "error":
        raise broken_images(
            [Skipped(row, images.names[row], Path(images.paths[row]), reason) for row, reason in skipped]
        )


def _some_described(images: ImageList, finished: Finished) -> None:
    if not finished.rows:
        row, reason = finished.skipped[0]
        raise InputError(f"none of the {len(images)} images gives pixels, such as {images.paths[row]} ({reason})")
