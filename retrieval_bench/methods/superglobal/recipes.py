"""How the network under SuperGlobal is trained: as CVNet-Global. SuperGlobal itself trains nothing."""

from retrieval_bench.methods.cvnet.recipes import BASE, PUBLISHED

RECIPES = {
    # Their second stage trains CVNet's re-ranking network, which is not there.
    "base": BASE.model_copy(update={"then": None}),
    "published": PUBLISHED.model_copy(update={"then": None}),
}
