"""sungonce/CVNet checkpoints as SuperGlobal takes them: the global network, and nothing else."""

from collections.abc import Mapping, Sequence
from typing import Any

from retrieval_bench.methods.checkpoints import CheckpointFormat, State, Translation, take
from retrieval_bench.methods.cvnet.checkpoint import PREFIXES, global_network, recognises

_MATCHER = "CVNet's re-ranking network; SuperGlobal re-ranks by global descriptors"
_IDLE = "defined by the published code, but never used"

UNUSED: Mapping[str, str] = {"conv2ds.": _MATCHER, "cv_learner.": _MATCHER} | {
    f"{prefix}{part}.": _IDLE for prefix in PREFIXES for part in ("seb1", "seb2", "sefc", "pool")
}
"""Prefix of published tensors -> why they are not needed."""


def translate(state: State, extra: Mapping[str, Any]) -> Translation:
    """Tensors and what they fix: depth, dimension, classes."""
    found = global_network(state)
    rest, unused = dict(found.rest), dict(found.unused)
    for prefix, reason in UNUSED.items():
        unused |= take(rest, prefix, reason)
    return Translation(found.state | rest, found.settings, unused, optional=found.optional)


FORMATS: Sequence[CheckpointFormat] = (CheckpointFormat("sungonce/CVNet", recognises, translate),)
