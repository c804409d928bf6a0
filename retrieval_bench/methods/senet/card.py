"""SENet's card."""

from retrieval_bench.methods.card import MethodCard

# No figure of the paper could be checked against its print, so that none stands here.
CARD = MethodCard(
    title="SENet",
    paper="Lee, Lee, Seong, Kim: Revisiting Self-Similarity: Structural Embedding for Image Retrieval, CVPR 2023",
    code="sungonce/SENet (inference only), no licence file",
    implementation="re-implementation; with its own parts outputs equal sungonce/SENet (parity cases senet); its "
    "training is not public",
)
