"""How CVNet is trained: the global network first, then the re-ranking network on its frozen maps.

No training code was published. "Third party": what an unofficial re-implementation (edwardguil/SuperCVNet) gives as the
paper's; "DELG": feymanpriv/DELG, from which CVNet's code descends, standing in for what is not known; "unverified":
recalled, or chosen here. In every batch each image has a partner of its class, which the contrastive loss needs.
"""

from retrieval_bench.methods.recipes import PYCLS
from retrieval_bench.settings.recipe import Recipe

BASE = Recipe(sampler="class-balanced", instances=2, then="rerank")

PUBLISHED = PYCLS.model_copy(  # DELG: the schedule, its warm-up, the decay and the augmentation
    update={
        "then": "published-rerank",
        "sampler": "class-balanced",  # unverified: how the paper draws positives
        "instances": 2,
        "epochs": 25,  # third party
        "batch_size": 144,  # third party
        "image_size": 512,  # unverified
        "lr": 0.005625,  # third party
    }
)

TRIPLETS = {
    "stage": 2,
    "then": None,
    "sampler": "hard-triplets",
    "tuple_size": 3,
    # It rises over the training, as the paper says, to what is unverified. Where all negatives are hard, small training
    # sets teach the re-ranking network to call every pair undecided.
    "hard_share": (0.0, 0.5),
    # Third party, unverified; SGD at the rate of the first stage ends in the same way.
    "lr": 0.0015,
}
"""What makes a recipe one of the second stage."""

RECIPES = {
    "base": BASE,
    # Shorter, since only the re-ranking network learns; unverified.
    "rerank": BASE.model_copy(update={**TRIPLETS, "epochs": 10, "warmup_epochs": 1, "batch_size": 126}),
    "published": PUBLISHED,
    # Batch and epochs are those of the first stage, as the third party has them; unverified.
    "published-rerank": PUBLISHED.model_copy(update=TRIPLETS),
}
