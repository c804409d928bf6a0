"""SuperGlobal's card."""

from retrieval_bench.methods.card import MethodCard, figures

_TABLE = "SuperGlobal paper; recalled, not checked against its table"
_THIRD = f"{_TABLE}, Hard as listed by a third party"
_RERANKED = f"{_TABLE}; re-ranker superglobal, 400 candidates"

CARD = MethodCard(
    title="SuperGlobal",
    paper="Shao, Chen, Karpur, Cui, Araujo, Cao: Global Features are All You Need for Image Retrieval and Reranking, "
    "ICCV 2023",
    code="ShihaoShao-GH/SuperGlobal, MIT; training-free, on the weights of sungonce/CVNet",
    implementation="re-implementation; outputs equal the authors' (parity cases superglobal)",
    published=(
        *figures("R50, CVNet weights", _TABLE, medium=(83.9, 90.5), hard=(67.7, 80.3)),
        *figures("R101, CVNet weights", _THIRD, medium=(85.3, 92.1), hard=(72.1, 83.5)),
        *figures("R50, CVNet weights", _RERANKED, medium=(88.8, 92.0), hard=(77.1, 84.4), stage="reranked"),
        *figures("R101, CVNet weights", _RERANKED, medium=(90.9, 93.3), hard=(80.2, 86.7), stage="reranked"),
    ),
)
