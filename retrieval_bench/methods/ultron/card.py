"""ULTRON's card."""

from retrieval_bench.methods.card import MethodCard

CARD = MethodCard(
    title="ULTRON",
    paper="Kweon, Park: ULTRON: Unifying Local Transformer and Convolution for Large-scale Image Retrieval, ACCV 2024",
    code="none published, and no weights",
    implementation="re-implementation from partial information (abstract and secondary descriptions; what they leave "
    "open is assumed), not comparable to the published numbers",
)
