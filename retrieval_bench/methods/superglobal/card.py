"""SuperGlobal's card."""

from retrieval_bench.methods.card import MethodCard

# No figure of the paper could be checked against its print, so that none stands here.
CARD = MethodCard(
    title="SuperGlobal",
    paper="Shao, Chen, Karpur, Cui, Araujo, Cao: Global Features are All You Need for Image Retrieval and Reranking, "
    "ICCV 2023",
    code="ShihaoShao-GH/SuperGlobal, MIT; training-free, on the weights of sungonce/CVNet",
    implementation="re-implementation; with its own parts outputs equal the authors' (parity cases superglobal)",
)
