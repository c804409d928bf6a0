"""How ULTRON is trained: the common recipe, and what is told of the published one, in two phases.

Nothing of the published recipe is verified: it comes from secondary descriptions, which disagree on how long the first
phase is. Colour jitter and crop are told of without values; the common recipe's stand in, as they do for what is not
told: the decay of the first phase, the start of its warm-up and its rate after it, which stays.
"""

from retrieval_bench.settings.recipe import Recipe

RECIPES = {
    "base": Recipe(),
    # Secondary descriptions, unverified: GLDv2-clean, 512 px, batch 128 over 4 GPUs, 10 epochs of AdamW, 5 of warm-up.
    "published": Recipe(
        then="published-sgd",
        epochs=10,
        batch_size=128,
        image_size=512,
        optimiser="adamw",
        lr=1e-3,
        schedule="warmup-cosine",
        warmup_epochs=5,
        final_lr=1e-3,
    ),
    # Secondary descriptions, unverified: 30 epochs of SGD after that, a cosine from 1e-2 to 1e-6.
    "published-sgd": Recipe(
        stage=2,
        epochs=30,
        batch_size=128,
        image_size=512,
        optimiser="sgd",
        lr=1e-2,
        momentum=0.9,
        nesterov=False,
        weight_decay=1e-4,
        schedule="warmup-cosine",
        warmup_epochs=0,
        final_lr=1e-6,
    ),
}
