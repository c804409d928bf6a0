"""What every geometric backend does, and how one is found by name."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Literal, get_args

from torch import Tensor

from retrieval_bench.settings.errors import InputError, nearest
from retrieval_bench.settings.registry import Registry

Transform = Literal["affine", "homography"]
"""Six or eight degrees of freedom; a sample of three or four matches determines it."""

BACKENDS = Registry("geometric backend", "retrieval_bench.reranking.geometry")


class Estimator(ABC):
    """Finds the transform that most matches of a pair agree on.

    Args:
        transform: its kind.
        threshold: a match is an inlier where the transformed source point lies less than this many pixels from its
            target point.
        iterations: hypotheses tried for one pair (an upper limit for backends that stop early).
        seed: of the sampling. One pair gives the same inliers whatever is estimated before or beside it.

    Raises:
        InputError: the backend has no such transform, or a value is impossible.
    """

    transforms: ClassVar[tuple[str, ...]] = get_args(Transform)

    def __init__(self, transform: Transform, threshold: float, iterations: int, seed: int):
        if transform not in get_args(Transform):
            raise InputError(nearest(transform, get_args(Transform), noun="transform"))
        if transform not in self.transforms:
            raise InputError(
                f"the {type(self).__name__} backend estimates {' or '.join(self.transforms)}, not {transform}; "
                "choose another backend or transform"
            )
        if not threshold > 0:
            raise InputError(f"the inlier threshold must be above 0 pixels, got {threshold}")
        if iterations < 1:
            raise InputError(f"iterations must be at least 1, got {iterations}")
        self.transform = transform
        self.threshold = float(threshold)
        self.iterations = int(iterations)
        self.seed = int(seed)

    @property
    def sample_size(self) -> int:
        """Matches that determine a transform."""
        return 3 if self.transform == "affine" else 4

    @abstractmethod
    def inliers(self, pairs: Sequence[tuple[Tensor, Tensor]]) -> list[Tensor]:
        """Tell the inliers of each pair of images.

        Args:
            pairs: per pair, matched points ``(M, 2)`` of the source and of the target image, x and y in pixels, the
                most reliable match first.

        Returns:
            Per pair a ``(M,)`` bool mask on the points' device; nothing but False where no transform was found.
        """


def register_backend(name: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Enter an `Estimator` under `name`."""
    return BACKENDS.register(name)


def create_estimator(name: str, options: dict[str, Any], **given: Any) -> Estimator:
    """Build the backend called `name`.

    Raises:
        InputError: unknown name or option, or a transform it does not estimate.
    """
    return BACKENDS.create(name, options, **given)
