"""How DOLG is trained: the common recipe, the released code's, and the paper's size and batch."""

from retrieval_bench.methods.recipes import PYCLS
from retrieval_bench.settings.recipe import Recipe

RECIPES = {
    "base": Recipe(),
    # feymanpriv/DOLG, yaml and loader: as DELG-PyTorch, at 224 px.
    "published": PYCLS.model_copy(update={"image_size": 224}),
    # The paper's 512 px and batch 128, as its re-implementers quote them; all else, the rate included, is the yaml's.
    "published-paper": PYCLS.model_copy(update={"batch_size": 128}),
}
