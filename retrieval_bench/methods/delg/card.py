"""DELG's card."""

from retrieval_bench.methods.card import MethodCard, figures

_TABLE = "DELG paper, as reproduced in the DOLG repository's table"

CARD = MethodCard(
    title="DELG",
    paper="Cao, Araujo, Sim: Unifying Deep Local and Global Features for Image Search, ECCV 2020",
    code="tensorflow/models research/delf, Apache-2.0; feymanpriv/DELG (PyTorch), no licence file",
    implementation="re-implementation; with its own parts outputs equal the authors' heads and feymanpriv/DELG (parity "
    "cases delg)",
    published=(
        *figures("R50, GLDv2-clean", _TABLE, medium=(73.6, 85.7), hard=(51.0, 71.5)),
        *figures("R101, GLDv2-clean", _TABLE, medium=(76.3, 86.6), hard=(55.6, 72.4)),
        *figures("R50, GLDv2-clean", _TABLE, medium=(78.3, 85.7), hard=(57.9, 71.0), stage="reranked"),
        *figures("R101, GLDv2-clean", _TABLE, medium=(81.2, 87.2), hard=(64.0, 72.8), stage="reranked"),
    ),
)
