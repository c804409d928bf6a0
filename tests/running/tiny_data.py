"""The embedded dataset so small that a whole run on it takes seconds: 24 training images, 3 queries, 24 of database."""

TINY_DATA = (
    "dataset.train_landmarks=4",
    "dataset.train_images_per_landmark=6",
    "dataset.validation_landmarks=2",
    "dataset.validation_images_per_landmark=3",
    "dataset.test_landmarks=3",
    "dataset.queries_per_landmark=1",
    "dataset.database_images_per_landmark=6",
    "dataset.lookalikes=1",
    "dataset.images_per_lookalike=2",
    "dataset.distractors=4",
)
