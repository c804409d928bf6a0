"""How SENet is trained: the common recipe, and a working assumption, since its authors published none.

The assumption is the recipe that is told of CVNet-Global, by the same first author on the same code base, with the
classification loss alone. Nothing of it is confirmed for SENet but the training set, GLDv2-clean.
"""

from retrieval_bench.methods.recipes import PYCLS
from retrieval_bench.settings.recipe import Recipe

RECIPES = {
    "base": Recipe(),
    # CVNet-Global as a re-implementer lists it: SGD, 25 epochs, batch 144, rate 0.005625. Its 512 px are unverified.
    # Schedule, warm-up, decay and augmentation are those of feymanpriv/DELG, from which its code descends.
    "published": PYCLS.model_copy(update={"epochs": 25, "batch_size": 144, "lr": 0.005625}),
}
