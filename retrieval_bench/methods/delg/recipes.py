"""How DELG is trained: the common recipe, and the two published ones."""

from retrieval_bench.methods.recipes import PYCLS
from retrieval_bench.settings.recipe import Recipe

RECIPES = {
    "base": Recipe(),
    "published": PYCLS,
    # tensorflow/models research/delf train.py: clipped SGD, rate falling linearly to 0. Length: paper, about 25 epochs.
    "published-tf": Recipe(
        epochs=25,
        batch_size=256,
        image_size=321,
        nesterov=False,
        weight_decay=0.0,
        schedule="linear",
        warmup_epochs=0,
        clip_norm=10.0,
        crop_scale=(0.08, 1.0),
        flip=0.0,
        jitter=0.0,
    ),
}
