"""DOLG's card."""

from retrieval_bench.methods.card import MethodCard, figures

_README = "feymanpriv/DOLG README (2022, released weights, queries cropped)"
_PAPER = "DOLG paper, Table 1 (queries not cropped)"

CARD = MethodCard(
    title="DOLG",
    paper="Yang, He, Fan, Shi, Xue, Li, Ding, Huang: DOLG: Single-Stage Image Retrieval with Deep Orthogonal Fusion of "
    "Local and Global Features, ICCV 2021",
    code="feymanpriv/DOLG (PyTorch), MIT",
    implementation="re-implementation; with its own parts outputs equal feymanpriv/DOLG (parity cases dolg)",
    published=(
        *figures("R50, GLDv2-clean", _README, medium=(81.20, 90.07), hard=(62.55, 79.20)),
        *figures("R101, GLDv2-clean", _README, medium=(82.37, 90.97), hard=(64.93, 81.71)),
        *figures("R50, GLDv2-clean, queries uncropped", _PAPER, medium=(80.50, 89.81), hard=(58.82, 77.70)),
        *figures("R101, GLDv2-clean, queries uncropped", _PAPER, medium=(81.50, 91.02), hard=(61.10, 80.30)),
    ),
)
