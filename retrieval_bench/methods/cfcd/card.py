"""CFCD's card.

The paper's tables could not be checked at their source; what is only quoted from memory is not shown as published.
"""

from retrieval_bench.methods.card import MethodCard

CARD = MethodCard(
    title="CFCD",
    paper="Zhu, Gao, Ke, Qiao, Sun: Coarse-to-Fine: Learning Compact Discriminative Representation for Single-Stage "
    "Image Retrieval, ICCV 2023",
    code="bassyess/CFCD (PyTorch), MIT; its matching loss carries another licence, CC BY-NC-SA 4.0, and was not used",
    implementation="re-implementation of descriptor, MadaCos, matched triplet loss and hard tuples; with its own parts "
    "the first three equal the authors' code (parity cases madacos)",
)
