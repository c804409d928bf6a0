"""Hold some images of every class out of training."""

from collections.abc import Sequence

import numpy as np
import torch

from retrieval_bench.settings.errors import InputError


def split_per_class(
    labels: Sequence[int], train_share: float, seed: int, *, minimum: int = 2
) -> tuple[list[int], list[int]]:
    """Rows for training and for validation, class by class in ascending label order.

    Of a class with n images the first ``max(1, floor((1 - train_share) * n))`` of a random permutation go to
    validation, the product in float32 (Zy-Zhang/SpCa, `random_select`, order included). There a class of one image
    fails; here classes with fewer than `minimum` images are kept for training whole.

    Args:
        labels: of every image.
        train_share: 0..1; 1 holds nothing out.
        seed: of the permutations.
        minimum: the smallest class that gives validation images; at least 2.

    Returns:
        training rows, validation rows.

    Raises:
        InputError: a share outside 0..1.
    """
    if not 0 <= train_share <= 1:
        raise InputError(f"the share of training images is {train_share}; it must lie in 0..1")
    if train_share == 1:
        return list(range(len(labels))), []
    generator = torch.Generator().manual_seed(seed)
    values = np.asarray(labels)
    training: list[int] = []
    validation: list[int] = []
    for label in np.unique(values):
        rows = np.flatnonzero(values == label)
        order = torch.randperm(len(rows), generator=generator).numpy()
        held_out = 0
        if len(rows) >= max(minimum, 2):
            held_out = max(1, int(np.float32(1 - train_share) * np.float32(len(rows))))
        validation += rows[order[:held_out]].tolist()
        training += rows[order[held_out:]].tolist()
    return training, validation
