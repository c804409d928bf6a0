"""SpCa's card. Its figures are left out: they could not be read from the paper, and the repository prints none."""

from retrieval_bench.methods.card import MethodCard

CARD = MethodCard(
    title="SpCa",
    paper="Zhang, Wang, Zhou, Koniusz: Learning Spatial-context-aware Global Visual Feature Representation for "
    "Instance Image Retrieval, ICCV 2023",
    code="Zy-Zhang/SpCa, no licence file, no weights",
    implementation="re-implementation; with its own parts outputs equal the authors' code (parity cases spca)",
)
