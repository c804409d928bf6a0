"""SpCa: a global descriptor that knows what surrounds each position (Zhang, Wang, Zhou, Koniusz, ICCV 2023)."""

from collections.abc import Mapping
from typing import Any, Literal

from torch import Tensor, nn

from retrieval_bench.methods.base import RetrievalModule
from retrieval_bench.methods.parts import build_backbone, build_loss, build_pooling, resolve
from retrieval_bench.methods.registry import register_method
from retrieval_bench.methods.spca.card import CARD
from retrieval_bench.methods.spca.checkpoint import FORMATS
from retrieval_bench.methods.spca.recipes import RECIPES
from retrieval_bench.pooling.spca.context import SpatialContext
from retrieval_bench.pooling.spca.fusers import FUSERS
from retrieval_bench.settings.errors import InputError, nearest
from retrieval_bench.settings.protocol import Protocol
from retrieval_bench.values.features import Features

GEM = {"name": "gem", "p": 3.0, "learnable": False}

PROTOCOL = Protocol(
    scales=(1.0, 2**0.5, 2**-0.5),
    scale_resize="scale-factor",
    small_side=36,
    small_target=64,
)
"""Zy-Zhang/SpCa ``extract_vectors`` and ``ImageFromList``. It publishes no test: scales and size are MCC-WH/Token's."""


@register_method("spca")
class Spca(RetrievalModule):
    """SpCa with any of its published fusers.

    Args:
        backbone: part; the last stage is read.
        pooling: part, over the fused map; ``orth`` pools by itself and only takes GeM, over the visual map.
        loss: part, on the descriptor before normalisation.
        dim: D of the descriptor.
        num_classes: C of the training set; None leaves the classifier out.
        fuser: how appearance and context are joined; ``"cro"`` and ``"cat"`` are the published variants.
        codebook_size: K, tokens that positions are assigned to.
        local_dim: in which they are compared with tokens.
        powers: M, over how many ranges the surroundings are described. 1 is the published evaluation configuration
            (``meta.yml``), 3 the default of the published command line; which of them made the paper's figures is not
            known.
        first_power: of the distance encoding: 2 has powers 2 .. M + 1, as the published code runs; 1 has 1 .. M, as an
            older function in the same file.
        heads: of the attention in ``cro`` and ``dec``; no weight tells it.
    """

    card = CARD
    formats = FORMATS
    recipes = RECIPES
    fixed_by_weights = ("backbone", "dim", "fuser", "codebook_size", "local_dim", "powers")

    def __init__(
        self,
        *,
        backbone: Mapping[str, Any] | None = None,
        pooling: Mapping[str, Any] | None = None,
        loss: Mapping[str, Any] | None = None,
        dim: int | None = None,
        num_classes: int | None = None,
        fuser: Literal["cro", "cat", "had", "orth", "dec"] = "cro",
        codebook_size: int = 16,
        local_dim: int = 128,
        powers: int = 1,
        first_power: Literal[1, 2] = 2,
        heads: int = 8,
    ):
        sizes = {"codebook_size": codebook_size, "local_dim": local_dim, "powers": powers, "heads": heads}
        for key, value in sizes.items():
            if value < 1:
                raise InputError(f"spca: {key} must be at least 1, got {value}")
        if fuser not in FUSERS:
            raise InputError(nearest(fuser, FUSERS, noun="fuser of spca"))
        parts = {
            "backbone": resolve(backbone, {"name": "resnet50"}),
            "pooling": resolve(pooling, GEM),
            "loss": resolve(loss, {"name": "arcface", "margin": 0.15, "scale": 32.0}),
        }
        if fuser == "orth" and parts["pooling"]["name"] != "gem":
            raise InputError(
                f"spca's fuser 'orth' is already pooled (GeM of the visual map, mean of what is orthogonal to it), so "
                f"pooling={parts['pooling']['name']} has no map to pool; leave pooling out, or set fuser=cro"
            )
        size = dim or 2048
        super().__init__(
            method="spca",
            settings={**parts, "dim": size, "num_classes": num_classes, "fuser": fuser, **sizes}
            | {"first_power": first_power},
            protocol=PROTOCOL,
        )
        self.backbone = build_backbone(parts["backbone"], 1, parts["pooling"])
        channels = self.backbone.channels[-1]
        kind = FUSERS[fuser]
        if kind.has_attention and channels % heads:
            raise InputError(
                f"spca: heads={heads} does not divide the {channels} channels of {parts['backbone']['name']!r}; "
                "set heads to a divisor, or a fuser without attention: cat, had, orth"
            )
        self.context = SpatialContext(channels, codebook_size, local_dim, powers, first_power)
        self.fuser = kind(channels, self.context.out_channels, heads)
        self.pools_first = fuser == "orth"
        in_channels = channels if self.pools_first else self.fuser.out_channels
        self.pooling = build_pooling(parts["pooling"], in_channels, self.backbone)
        pooled = self.fuser.out_channels if self.pools_first else self.pooling.out_channels
        self.projection = nn.Linear(pooled, size)
        self.loss = build_loss(parts["loss"], size, num_classes)

    def head(self, features: Features) -> Tensor:
        """What the backbone gives for B images -> ``(B, D)``, not normalised."""
        visual = features.maps[-1]
        context = self.context(visual).context
        if self.pools_first:
            return self.projection(self.fuser(self.pooled(visual, features), context))
        return self.projection(self.pooled(self.fuser(visual, context), features))
