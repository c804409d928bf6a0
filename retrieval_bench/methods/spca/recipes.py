"""How SpCa is trained: its loop is the common recipe; the rates its authors used are not published.

Two things differ from their loop on purpose: it runs in float16 without scaling the loss, and its distributed sampler
never reshuffles. Precision and order are the trainer's here.
"""

from retrieval_bench.settings.recipe import Recipe

RECIPES = {
    "base": Recipe(),
    # Loop, augmentation and decay groups: Zy-Zhang/SpCa spca_train.py and configdataset.py. Its values are not
    # published; these are the ones of the code it descends from, MCC-WH/Token experiment.sh (4 GPUs, batch in total).
    # Token multiplies its rates by the batch of one GPU / 256, SpCa does not; they stand here as SpCa would use them.
    "published": Recipe(
        epochs=30,
        batch_size=128,
        image_size=512,
        optimiser="sgd",
        lr=0.01,
        momentum=0.9,
        nesterov=True,
        weight_decay=1e-4,
        decay="weights",
        schedule="warmup-cosine",
        warmup_epochs=5,
        warmup_lr=1e-4,
        final_lr=0.0,
        crop_scale=(0.2, 1.0),
        crop_ratio=(3 / 4, 4 / 3),
        flip=0.5,
        jitter=0.8,
        jitter_strength=(0.4, 0.4, 0.2, 0.1),
    ),
    # The defaults of spca_train.py's command line, as they stand; a rate of 1e-6 is hardly what trained the paper's.
    "command-line": Recipe(
        epochs=100,
        batch_size=5,
        image_size=1024,
        lr=1e-6,
        weight_decay=1e-6,
        warmup_epochs=0,
        warmup_lr=0.0,
    ),
}
