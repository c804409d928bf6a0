"""How GeM is trained: the common recipe, and cirtorch's optimiser.

cirtorch trains on mined tuples of SfM-120k at native aspect; here its optimiser, rates and frozen batch statistics
apply to labelled batches. Use it with ``loss=contrastive`` or ``loss=triplet``.
"""

from retrieval_bench.settings.recipe import Recipe

RECIPES = {
    "base": Recipe(),
    # cirtorch README, "TPAMI" ResNet-101-GeM: contrastive, Adam 5e-7, 362 px, rate * exp(-0.01) per epoch.
    "published": Recipe(
        epochs=100,
        batch_size=35,
        image_size=362,
        optimiser="adam",
        lr=5e-7,
        weight_decay=1e-6,
        decay="all",
        pooling_lr_factor=10.0,
        schedule="exponential",
        gamma=0.990049834,
        warmup_epochs=0,
        freeze_batchnorm=True,
        crop_scale=(1.0, 1.0),
        flip=0.0,
        jitter=0.0,
    ),
}
