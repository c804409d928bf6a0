"""How CFCD is trained, in two stages: the common recipe and the published one, each with its follower.

The second stage mines tuples with the model of the first one and goes on from its weights.
"""

from retrieval_bench.methods.recipes import PYCLS
from retrieval_bench.settings.recipe import Recipe

# bassyess/CFCD configs/resnet50_cfcd_s1_8gpu.yaml: DELG-PyTorch's with another rate, length and batch. Each GPU
# normalised its own 16 images.
_PUBLISHED = PYCLS.model_copy(update={"epochs": 50, "batch_size": 128, "lr": 0.005, "then": "published-matching"})

RECIPES = {
    "base": Recipe(then="matching"),
    # A third of the common recipe's epochs: the published second stage doubles the training, which would favour CFCD
    # over methods that get the common recipe alone. Like there, it starts at the full rate without a warm-up.
    "matching": Recipe(stage=2, sampler="hard-tuples", tuple_size=8, epochs=10, warmup_epochs=0),
    "published": _PUBLISHED,
    # resnet50_cfcd_s2_8gpu.yaml: 16 tuples of 8, the same rates again without warm-up, from the first stage's weights.
    "published-matching": _PUBLISHED.model_copy(
        update={"stage": 2, "sampler": "hard-tuples", "tuple_size": 8, "warmup_epochs": 0, "then": None}
    ),
}
