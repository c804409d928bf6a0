"""Recipes that several methods share."""

from retrieval_bench.settings.recipe import Recipe

PYCLS = Recipe(
    epochs=100,
    batch_size=64,
    image_size=512,
    lr=0.01,
    momentum=0.9,
    nesterov=True,
    weight_decay=1e-4,
    decay="all",
    schedule="epoch-cosine",
    warmup_epochs=5,
    crop_scale=(0.08, 1.0),
    crop_ratio=(3 / 4, 4 / 3),
    flip=0.5,
    jitter=0.0,
    lighting=0.1,
)
"""feymanpriv/DELG ``configs/resnet_delg_8gpu.yaml`` and its README, from which DOLG and CFCD descend, and CVNet by its
authors' word: 512 px, batch 64 over 8 GPUs, Nesterov SGD with decay on all parameters, a cosine per epoch after five
epochs of warm-up, Inception crops, flips and PCA lighting. Its crops have a uniform aspect ratio, ours a log-uniform
one."""
