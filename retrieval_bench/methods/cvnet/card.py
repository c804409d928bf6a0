"""CVNet's card."""

from retrieval_bench.methods.card import MethodCard

# No figure of the paper could be checked against its print, so that none stands here.
CARD = MethodCard(
    title="CVNet",
    paper="Lee, Seong, Lee, Kim: Correlation Verification for Image Retrieval, CVPR 2022",
    code="sungonce/CVNet (inference only), no licence file",
    implementation="re-implementation; with its own parts outputs equal the authors' (parity cases cvnet_global, "
    "cvnet_rerank); training follows the paper without code to compare with",
)
