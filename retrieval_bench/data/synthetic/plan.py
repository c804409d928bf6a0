"""Which images a build holds: options, roles, tasks and the seed of every random choice."""

import hashlib
import json
from dataclasses import asdict, dataclass, fields
from enum import IntEnum

import numpy as np

from retrieval_bench.settings.errors import InputError

RENDERER_VERSION = "2"
"""Raised with every change that alters a pixel or a label; a new version builds into a new folder."""

DISTRACTORS_PER_TASK = 4


class Role(IntEnum):
    """What a landmark is for. The value enters the seeds, so no two roles share a landmark."""

    TRAIN = 0
    VALIDATION = 1
    TEST = 2
    LOOKALIKE = 3
    DISTRACTOR = 4


class Stream(IntEnum):
    """What a random generator is for."""

    STYLE = 0
    DETAIL = 1
    VIEW = 2
    STOCK = 3
    ORDER = 4


@dataclass(frozen=True)
class Options:
    """What defines a build; together with the renderer's version it names the folder.

    Attributes:
        seed: of everything.
        train_landmarks, train_images_per_landmark: the training classes.
        validation_landmarks, validation_images_per_landmark: classes of their own, in no other split.
        test_landmarks: landmarks with queries.
        queries_per_landmark, database_images_per_landmark: of each test landmark.
        lookalikes, images_per_lookalike: landmarks without queries that share the style of a test landmark.
        distractors: images of one-off buildings and streets.
        image_size: longer side of the largest images in pixels.
    """

    seed: int = 0
    train_landmarks: int = 180
    train_images_per_landmark: int = 12
    validation_landmarks: int = 10
    validation_images_per_landmark: int = 8
    test_landmarks: int = 32
    queries_per_landmark: int = 2
    database_images_per_landmark: int = 20
    lookalikes: int = 10
    images_per_lookalike: int = 8
    distractors: int = 264
    image_size: int = 192

    def __post_init__(self) -> None:
        least = {
            "test_landmarks": 1,
            "queries_per_landmark": 1,
            "database_images_per_landmark": 1,
            "image_size": 64,
        }
        for option in fields(self):
            value = getattr(self, option.name)
            smallest = least.get(option.name, 0)
            if isinstance(value, bool) or not isinstance(value, int) or value < smallest:
                raise InputError(
                    f"dataset 'synthetic': {option.name}={value!r} must be a whole number from {smallest} up"
                )
        if self.lookalikes > self.test_landmarks:
            raise InputError(
                f"dataset 'synthetic': lookalikes={self.lookalikes} must not exceed test_landmarks="
                f"{self.test_landmarks}, each imitates one of them"
            )

    def digest(self) -> str:
        """16 hexadecimal digits that change with any option and with the renderer's version."""
        text = json.dumps({"renderer": RENDERER_VERSION, **asdict(self)}, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Task:
    """One landmark with all its views: the unit of work of a worker."""

    role: Role
    index: int
    views: int


def tasks(options: Options) -> list[Task]:
    """All tasks of a build, in a fixed order."""
    blocks = [
        (Role.TRAIN, options.train_landmarks, options.train_images_per_landmark),
        (Role.VALIDATION, options.validation_landmarks, options.validation_images_per_landmark),
        (Role.TEST, options.test_landmarks, options.queries_per_landmark + options.database_images_per_landmark),
        (Role.LOOKALIKE, options.lookalikes, options.images_per_lookalike),
    ]
    plan = [Task(role, index, views) for role, count, views in blocks if views for index in range(count)]
    for index, first in enumerate(range(0, options.distractors, DISTRACTORS_PER_TASK)):
        plan.append(Task(Role.DISTRACTOR, index, min(DISTRACTORS_PER_TASK, options.distractors - first)))
    return plan


def generator(options: Options, stream: Stream, role: Role | int = 0, *numbers: int) -> np.random.Generator:
    """The generator of one random choice; it depends on its arguments only, never on the order of work."""
    return np.random.default_rng([options.seed, int(stream), int(role), *numbers])


def family(options: Options, role: Role, index: int) -> tuple[Role, int]:
    """The role and number whose style a landmark has; landmarks of one family are look-alikes.

    Of every ten training or test landmarks the first two are a pair. Landmarks of `Role.LOOKALIKE` imitate one test
    landmark each.
    """
    if role is Role.LOOKALIKE:
        role, index = Role.TEST, imitated(options, index)
    if role in (Role.TRAIN, Role.TEST) and _has_twin(index):
        return role, index - index % 2
    return role, index


def imitated(options: Options, index: int) -> int:
    """The test landmark that look-alike `index` imitates; those without a twin come first."""
    return sorted(range(options.test_landmarks), key=_has_twin)[index]


def _has_twin(index: int) -> bool:
    return index % 10 < 2
