"""Features of batches of one size."""

import torch
from torch import Tensor

from retrieval_bench.methods.base import RetrievalModule
from retrieval_bench.values.features import Features


def filled_features(model: RetrievalModule, images: Tensor, fill: int) -> Features:
    """What the backbone of `model` gives for images, where smaller batches are filled up to `fill` images with repeats.

    The last bits of a convolution may depend on how many images go through together; so they do not depend on which
    images make a batch.
    """
    count = len(images)
    if count < fill:
        images = images[torch.arange(fill, device=images.device) % count]
    features = model.batch_features({"images": images})
    tokens = None if features.tokens is None else features.tokens[:count]
    return Features(tuple(each[:count] for each in features.maps), tokens)
