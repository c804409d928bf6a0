"""GeM's card."""

from retrieval_bench.methods.card import MethodCard, figures

_README = "filipradenovic/cnnimageretrieval-pytorch README"

CARD = MethodCard(
    title="GeM",
    paper="Radenović, Tolias, Chum: Fine-tuning CNN Image Retrieval with No Human Annotation, TPAMI 2018",
    code="filipradenovic/cnnimageretrieval-pytorch, MIT",
    implementation="re-implementation; with its own parts outputs equal the authors' code (parity cases gem)",
    published=(
        *figures("R50-GeM-w, SfM-120k", _README, medium=(64.7, 76.3), hard=(39.0, 54.9)),
        *figures("R101-GeM-w, SfM-120k", _README, medium=(67.8, 77.6), hard=(41.7, 56.3)),
        *figures("R50-GeM-w, GL18", _README, medium=(63.6, 78.0), hard=(40.9, 57.5)),
        *figures("R101-GeM-w, GL18", _README, medium=(67.3, 80.6), hard=(44.3, 61.5)),
    ),
)
