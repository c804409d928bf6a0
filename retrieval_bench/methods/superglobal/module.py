"""SuperGlobal: a trained CVNet-Global with other pooling and rectifiers, nothing of it learnt.

Shao et al., "Global Features are All You Need for Image Retrieval and Reranking", ICCV 2023, sec. 3. One scale is
described by: backbone with ReLUP, Regional-GeM, GeM+, L2, linear layer; scales are merged by Scale-GeM. With everything
switched off it still differs from CVNet-Global, as the authors' code does: by the L2 before the linear layer, by ReLUP
inside the first stage (`relup_inner`), and by how images are resized and scales are merged.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Literal

from torch import Tensor

from retrieval_bench.backbones.relup import Places, apply_relup, plain_relu
from retrieval_bench.methods.cvnet.global_network import PARTS, CvnetGlobal
from retrieval_bench.methods.cvnet.training_options import TrainingOptions
from retrieval_bench.methods.merging import unit
from retrieval_bench.methods.parts import resolve
from retrieval_bench.methods.protocols import pycls_protocol
from retrieval_bench.methods.registry import register_method
from retrieval_bench.methods.superglobal.card import CARD
from retrieval_bench.methods.superglobal.checkpoint import FORMATS
from retrieval_bench.methods.superglobal.recipes import RECIPES
from retrieval_bench.pooling.gemp import GeMPlus
from retrieval_bench.pooling.rgem import regional_gem
from retrieval_bench.settings.errors import InputError
from retrieval_bench.settings.protocol import Protocol
from retrieval_bench.values.features import Features

SCALES = (0.7071, 1.0, 1.4142)

FLOOR = 0.014
"""Of ReLUP."""


@register_method("superglobal")
class SuperGlobal(CvnetGlobal):
    """Training-free: it describes images with the weights of CVNet-Global, published ones or ours.

    To train it is to train the CVNet-Global under it: in training mode, and in losses always, the modules are off and
    the pooling is that of the part.

    Args:
        backbone: part; ReLUP needs residual blocks with ReLUs, see `apply_relup`.
        pooling: part, the one that is trained.
        loss: part, on the descriptor.
        dim: D of the descriptor, 2048 if not given.
        num_classes: C of the training set; None leaves out what only training needs.
        class_weight, contrast_weight, contrast_margin, temperature, momentum, momentum_batchnorm, queue_size: of
            training, see `TrainingOptions`.
        gemp: GeM+ (exponent 4.6) in place of the trained GeM. Any other pooling stays in its place.
        rgem: Regional-GeM (exponent 2.5, 5 x 5) before the pooling, unless that is ``rgem`` itself.
        sgem: Scale-GeM over scales; without it, the mean of descriptors before normalisation.
        sgem_p: its exponent; None is infinite, the maximum of unit descriptors.
        relup: ReLUP at the outputs of all blocks but the last stage's; its floor is 0.014, or `relup` of the backbone.
        relup_inner: the inner rectifiers of the first stage have ReLUP ``"always"``, as through a slip in the authors'
            code, or ``"follow"`` `relup`.
        antialias: of the image pyramid. The authors' code leaves it to the release of torchvision: none up to 0.16,
            which its date suggests.
    """

    card = CARD
    formats = FORMATS
    recipes = RECIPES
    loads_from = ("cvnet",)

    def __init__(
        self,
        *,
        backbone: Mapping[str, Any] | None = None,
        pooling: Mapping[str, Any] | None = None,
        loss: Mapping[str, Any] | None = None,
        dim: int | None = None,
        num_classes: int | None = None,
        class_weight: float = TrainingOptions.class_weight,
        contrast_weight: float = TrainingOptions.contrast_weight,
        contrast_margin: float = TrainingOptions.contrast_margin,
        temperature: float = TrainingOptions.temperature,
        momentum: float = TrainingOptions.momentum,
        momentum_batchnorm: Literal["batch", "running"] = TrainingOptions.momentum_batchnorm,
        queue_size: int = TrainingOptions.queue_size,
        gemp: bool = True,
        rgem: bool = True,
        sgem: bool = True,
        sgem_p: float | None = None,
        relup: bool = True,
        relup_inner: Literal["always", "follow"] = "always",
        antialias: bool = False,
    ):
        trained = resolve(pooling, PARTS["pooling"])
        regional = trained["name"] == "rgem" or (trained["name"] == "sgem" and trained.get("then") == "rgem")
        modules = {
            "gemp": gemp and trained["name"] == "gem",
            "rgem": rgem and not regional,
            "sgem": sgem,
            "sgem_p": sgem_p,
            "relup": relup,
            "relup_inner": relup_inner,
            "antialias": antialias,
        }
        super().__init__(
            method="superglobal",
            backbone=backbone,
            pooling=pooling,
            loss=loss,
            dim=dim,
            num_classes=num_classes,
            training=TrainingOptions(
                class_weight=class_weight,
                contrast_weight=contrast_weight,
                contrast_margin=contrast_margin,
                temperature=temperature,
                momentum=momentum,
                momentum_batchnorm=momentum_batchnorm,
                queue_size=queue_size,
            ),
            options=modules,
            protocol=_protocol(modules),
        )
        self.gem_plus = GeMPlus(self.backbone.channels[-1]) if modules["gemp"] else None
        self._as_trained = False
        places: Places | None = "published" if relup else "inner" if relup_inner == "always" else None
        floor = self.settings["backbone"].get("relup")
        if places is not None:
            try:
                apply_relup(self.backbone, FLOOR if floor is None else floor, places)
            except InputError as error:
                raise InputError(f"superglobal: {error} (set model.relup=false model.relup_inner=follow)") from error

    def head(self, features: Features) -> Tensor:
        """What the backbone gives for B images -> ``(B, D)``: W unit(pooled) + b; plain in training mode."""
        if self.training or self._as_trained:
            return super().head(features)
        feature_map = features.maps[-1]
        if self.settings["rgem"]:
            feature_map = regional_gem(feature_map)
        pooled = self.pooled(feature_map, features) if self.gem_plus is None else self.gem_plus(feature_map)
        embedded: Tensor = self.projection(unit(pooled).to(pooled.dtype))
        return embedded

    def training_losses(self, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Those of CVNet-Global, in evaluation too: its classifier was trained on descriptors without modules."""
        with self.as_trained():
            return super().training_losses(images, labels)

    @contextmanager
    def as_trained(self) -> Iterator[None]:
        """Leave ReLUP, Regional-GeM, GeM+ and the L2 before the projection out meanwhile: one scale of CVNet-Global."""
        before, self._as_trained = self._as_trained, True
        try:
            with plain_relu(self):
                yield
        finally:
            self._as_trained = before


def _protocol(modules: Mapping[str, Any]) -> Protocol:
    """How images are resized to scales and scales are merged.

    Raises:
        InputError: an exponent that is impossible, or without Scale-GeM.
    """
    exponent = modules["sgem_p"]
    if exponent is not None and not 0 < exponent < float("inf"):
        raise InputError(f"superglobal: sgem_p must be positive, or null for an infinite exponent, got {exponent}")
    if exponent is not None and not modules["sgem"]:
        raise InputError(f"superglobal: sgem_p={exponent} needs sgem=true; leave one of them out")
    merge = "raw-mean" if not modules["sgem"] else "max" if exponent is None else "shifted-power"
    protocol = pycls_protocol(SCALES, "truncate-antialias" if modules["antialias"] else "truncate")
    return protocol.model_copy(update={"merge": merge, "merge_exponent": exponent})
