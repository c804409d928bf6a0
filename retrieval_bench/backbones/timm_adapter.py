"""timm's models as feature maps by stage.

timm's ``features_only`` ResNets with default arguments are bit-identical to torchvision's and to pycls's (stride in the
3x3 convolution), on which the published retrieval codes stand.
"""

from typing import Any, Literal

import timm
from torch import Tensor

from retrieval_bench.backbones.base import Backbone, MissingFeaturesError
from retrieval_bench.backbones.expected import of_config, of_model
from retrieval_bench.backbones.hub import hub_model, on_hub
from retrieval_bench.backbones.inspection import Architecture, inspect_architecture, is_channels_last
from retrieval_bench.backbones.pretrained import create_body
from retrieval_bench.settings.errors import OF_YOUR_OWN, InputError, nearest
from retrieval_bench.settings.normalisation import Normalisation
from retrieval_bench.values.features import Features

WITH_TOKENS = "vit_tiny_patch16_224, deit_small_patch16_224, vit_small_patch14_dinov2 or vit_small_patch16_dinov3"

Asked = Literal["maps", "maps and tokens"]


class TimmBackbone(Backbone):
    """A timm model without its classifier.

    Images of any size are taken, with position embeddings interpolated; where an architecture asks for sizes of some
    kind, zeros are added at the bottom and on the right. A few are made for one size (``trained_size``).

    Args:
        name: a timm architecture, with or without a pretrained tag, or ``hf_hub:owner/model``.
        out_stages: stages counted from the end, rising, such as ``(-2, -1)``; the stages of a plain ViT are its blocks.
        pretrained: fetch weights from the hub; None: for names on the hub.
        final_norm: whether the model's last norm is applied to every map and to the tokens, as DINOv2's own
            ``get_intermediate_layers`` does, so that the last map is what the model's own head would pool. None: for
            plain transformers, whose raw block outputs nobody uses; maps of CNNs and of hierarchical transformers are
            left as detectors read them. Models that norm after their own pooling (``fc_norm``) have none.
        give: whether `features` gives class and register tokens beside the maps.
        options: of the timm model.

    Attributes:
        body: timm's module, so that keys are ``body.conv1.weight`` and so on.
        architecture: what was found out about it.
        named: the name that was asked for.
        hub_config: what the hub says of the weights, of names that are there; else None.

    Raises:
        InputError: unknown name, stage or option, a model without what is asked for, or a hub that cannot be reached.
    """

    def __init__(
        self,
        name: str,
        out_stages: tuple[int, ...],
        pretrained: bool | None = None,
        final_norm: bool | None = None,
        give: Asked = "maps",
        **options: Any,
    ):
        super().__init__()
        source, repository = name, ""
        self.hub_config: dict[str, Any] | None = None
        if on_hub(name):
            found = hub_model(name)
            self.hub_config = found.config
            name, options, repository = found.architecture, {**found.options, **options}, source.partition(":")[2]
        else:
            check_name(name)
        self.architecture = inspect_architecture(name, options, final_norm=final_norm)
        check_stages(source, self.architecture, out_stages)
        if give == "maps and tokens":
            check_tokens(source, self.architecture)
        fetched = pretrained or (pretrained is None and bool(repository))
        self.body = create_body(source, self.architecture, out_stages, repository, fetched=fetched)
        self.named = source
        if fetched:
            self.normalisation = self.expected()
        self.channels = tuple(self.body.feature_info.channels())
        self.strides = tuple(self.body.feature_info.reduction())
        self.channels_last = is_channels_last(self.body)
        self.token_channels = self.channels[-1] if give == "maps and tokens" else None
        if repository:
            self.portable = {"name": name, **options}

    def forward(self, images: Tensor) -> list[Tensor]:
        """``(B, 3, H, W)`` normalised images -> a list of ``(B, C_s, H_s, W_s)``.

        Raises:
            InputError: images of a size that an architecture of fixed size does not take.
        """
        maps: list[Tensor] = self.body(self.sized(images))
        return self.shaped(maps, images)

    def features(self, images: Tensor) -> Features:
        """As `forward`, with the tokens where they were asked for, from the same pass."""
        if self.token_channels is None:
            return Features(tuple(self(images)))
        pairs = self.body.model.forward_intermediates(
            self.sized(images),
            indices=self.body.out_indices,
            return_prefix_tokens=True,
            norm=self.body.norm,
            output_fmt=self.body.output_fmt,
            intermediates_only=True,
        )
        return Features(tuple(self.shaped([pair[0] for pair in pairs], images)), pairs[-1][1])

    def expected(self, *, from_file: bool = False) -> Normalisation:
        """What weights of this name expect of pixel values; of weights from a file, as far as the name tells."""
        if self.hub_config is not None:
            return of_config(self.hub_config, f"config.json of {self.named}")
        return of_model(self.named, self.body.pretrained_cfg, from_file=from_file)

    def sized(self, images: Tensor) -> Tensor:
        """Images of a size that the architecture takes: padded, or refused."""
        height, width = images.shape[-2:]
        own, rule = self.architecture.trained_size, self.architecture.rule
        here = f"backbone {self.architecture.name!r} takes images"
        if rule is None and (height, width) != own:
            raise InputError(
                f"{here} of {own[0]} x {own[1]} only, got {height} x {width}; give images of that size, build it for "
                "theirs with backbone.img_size=[H, W] where it has that option, or choose one for any size, such as "
                "resnet50, swin_tiny_patch4_window7_224 or vit_small_patch16_224"
            )
        if self.architecture.limited and (height > own[0] or width > own[1]):
            raise InputError(
                f"{here} up to {own[0]} x {own[1]}, got {height} x {width}; shrink them, or build it for larger ones "
                "with backbone.img_size=[H, W]"
            )
        return images if rule is None else rule.pad(images)

    def shaped(self, maps: list[Tensor], images: Tensor) -> list[Tensor]:
        """Maps as ``(B, C, H, W)``, without positions that stand for padding alone."""
        if self.channels_last:
            maps = [stage.permute(0, 3, 1, 2) for stage in maps]
        rule = self.architecture.rule
        if rule is None:
            return maps
        height, width = images.shape[-2:]
        return [rule.cut(stage, stride, height, width) for stage, stride in zip(maps, self.strides, strict=True)]


def check_name(name: str) -> None:
    """Raise an `InputError` where timm has no architecture `name`, or no such pretrained tag."""
    architecture, _, tag = name.partition(".")
    if not timm.is_model(architecture) or ":" in name or "/" in name:
        close = nearest(name, timm.list_models(), noun="backbone").partition(" (known")[0]
        pattern = f" --filter '*{name}*'" if timm.list_models(f"*{name}*") else ""
        raise InputError(
            f"{close}; see `retrieval-bench list backbones{pattern}`, or give hf_hub:owner/model; {OF_YOUR_OWN}"
        )
    tagged = timm.list_pretrained(f"{architecture}.*")
    if tag and name not in tagged:
        tags = [known.partition(".")[2] for known in tagged]
        raise InputError(nearest(tag, tags, noun=f"pretrained tag of {architecture}"))


def check_stages(name: str, architecture: Architecture, out_stages: tuple[int, ...]) -> None:
    """Raise an `InputError` where the architecture has fewer stages than asked for."""
    count = len(architecture.strides)
    if -min(out_stages) > count:
        raise MissingFeaturesError(missing_stages(name, count, out_stages))


def missing_stages(name: str, count: int, out_stages: tuple[int, ...]) -> str:
    """What to say where a backbone has no stage so far from the end."""
    has = "one stage" if count == 1 else f"{count} stages"
    reason = "an earlier stage was asked for" if count == 1 else f"there is no stage {min(out_stages)}"
    return f"backbone {name!r} has {has}, so {reason} in vain; choose another, such as resnet50 or convnext_tiny"


def check_tokens(name: str, architecture: Architecture) -> None:
    """Raise an `InputError` where no class token comes with the maps."""
    if not architecture.prefix_tokens:
        raise MissingFeaturesError(
            f"backbone {name!r} has no class or register tokens; choose one that has, such as {WITH_TOKENS}"
        )
    if not architecture.class_token:
        raise MissingFeaturesError(
            f"backbone {name!r} has register tokens, but no class token; choose another, such as {WITH_TOKENS}"
        )
