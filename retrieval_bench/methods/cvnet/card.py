"""CVNet's card."""

from retrieval_bench.methods.card import MethodCard, figures

_TABLE = "CVNet paper; recalled, not checked against its table"
_RERANKED = f"{_TABLE}; ground truth chose the 400 candidates"

CARD = MethodCard(
    title="CVNet",
    paper="Lee, Seong, Lee, Kim: Correlation Verification for Image Retrieval, CVPR 2022",
    code="sungonce/CVNet (inference only), no licence file",
    implementation="re-implementation; outputs equal the authors' (parity cases cvnet_global, cvnet_rerank); training "
    "follows the paper without code to compare with",
    published=(
        *figures("R50, GLDv2-clean", _TABLE, medium=(81.0, 88.8), hard=(62.1, 76.5)),
        *figures("R101, GLDv2-clean", _TABLE, medium=(80.2, 90.3), hard=(63.1, 79.1)),
        *figures("R50, GLDv2-clean", _RERANKED, medium=(87.9, 90.5), hard=(75.6, 80.2), stage="reranked"),
        *figures("R101, GLDv2-clean", _RERANKED, medium=(87.2, 91.2), hard=(75.9, 81.1), stage="reranked"),
    ),
)
