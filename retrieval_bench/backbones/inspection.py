"""What a timm architecture is, found out on torch's meta device: nothing is fetched, initialised or computed."""

import inspect
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import timm
import torch
from timm.layers import to_2tuple
from timm.models._features import FeatureGetterNet
from torch import Tensor, nn

from retrieval_bench.backbones.base import OPTIONS_OF_ALL
from retrieval_bench.backbones.sizes import SizeRule, find_rule, fits
from retrieval_bench.settings.errors import InputError, nearest

ANY_SIZE: tuple[dict[str, Any], ...] = (
    {"dynamic_img_size": True, "dynamic_img_pad": True},
    {"strict_img_size": False},
    {},
)
"""How transformers that were trained at one size are asked to take others; timm's families differ, the first that fits
is used."""

BOUNDED_TABLES = {"mvitv2"}
"""timm's families that look relative positions up in tables of the trained size. Shapes do not show it: the look-up
fails on values, on a GPU for the whole process."""


class NormalisedGetter(FeatureGetterNet):
    """timm's extractor of token maps, with the model's final norm on them."""

    def __init__(self, model: nn.Module, out_indices: tuple[int, ...], **_: Any):
        super().__init__(model, out_indices=out_indices, norm=True)


@dataclass(frozen=True)
class Architecture:
    """What `inspect_architecture` found.

    Attributes:
        name: of the timm architecture.
        creation: arguments for ``timm.create_model`` to build the whole model.
        extraction: further ones, for the extractor of its maps.
        channels: of every stage, the first first.
        strides: of every stage.
        rule: the image sizes that it takes; None where that is `trained_size` alone.
        trained_size: height and width that it was made for.
        limited: whether no side may be longer than in `trained_size`.
        final_norm: whether its maps are normalised by its last norm.
        prefix_tokens: class, distillation and register tokens that come with its maps.
        class_token: whether the first of these is a class token.
    """

    name: str
    creation: Mapping[str, Any]
    extraction: Mapping[str, Any]
    channels: tuple[int, ...]
    strides: tuple[int, ...]
    rule: SizeRule | None
    trained_size: tuple[int, int]
    limited: bool
    final_norm: bool
    prefix_tokens: int
    class_token: bool


def inspect_architecture(name: str, options: Mapping[str, Any], *, final_norm: bool | None = None) -> Architecture:
    """Find out what a timm architecture gives.

    Args:
        name: as timm knows it, with or without a pretrained tag.
        options: of the timm model.
        final_norm: whether maps are normalised by the model's last norm; None: where all its stages are blocks of one
            width on one grid of tokens, as in a plain ViT.

    Raises:
        InputError: an option that it does not have, an architecture without feature maps, or a final norm that it has
            not.
    """
    key = (name, repr(sorted(options.items())), final_norm)
    if key not in _FOUND:
        _FOUND[key] = _inspected(name, options, final_norm=final_norm)
    return _FOUND[key]


_FOUND: dict[tuple[str, str, bool | None], Architecture] = {}
"""What was found in this process: looking takes as long as building."""


def _inspected(name: str, options: Mapping[str, Any], *, final_norm: bool | None) -> Architecture:
    config = timm.get_pretrained_cfg(name, allow_unregistered=True)
    height, width = to_2tuple(options.get("img_size", getattr(config, "input_size", (3, 224, 224))[1:]))
    trained = (int(height), int(width))
    body, arguments = _extractor(name, options, fixed=bool(config and config.fixed_input_size))
    extraction: dict[str, Any] = {}
    if final_norm or (final_norm is None and _is_plain(body)):
        with_norm = _with_norm(name, arguments, trained)
        same = with_norm is not None and _channels(with_norm) == _channels(body)
        # The neck of SAM's image tower is part of its norm and changes the channels: only where asked for.
        if with_norm is not None and (same or final_norm):
            body, extraction = with_norm, {"feature_cls": NormalisedGetter}
        elif final_norm:
            raise InputError(
                f"backbone {name!r} has no final norm that could be applied to its maps; leave backbone.final_norm out"
            )
    strides = tuple(int(stage["reduction"]) for stage in body.feature_info.info)

    def takes(height: int, width: int) -> bool:
        shape = _shape(body, height, width)
        return shape is not None and fits(shape, _channels(body), strides[-1], height, width)

    rule = find_rule(takes, strides, trained)
    if rule is None and not takes(*trained):
        rule = SizeRule(strides[-1])
    tokens, class_token = _prefix(body)
    return Architecture(
        name=name,
        creation=arguments,
        extraction=extraction,
        channels=tuple(int(stage["num_chs"]) for stage in body.feature_info.info),
        strides=strides,
        rule=rule,
        trained_size=trained,
        limited=timm.models.is_model_in_modules(name.partition(".")[0], BOUNDED_TABLES),
        final_norm=bool(extraction),
        prefix_tokens=tokens,
        class_token=class_token,
    )


def on_meta(name: str, **arguments: Any) -> Any:
    """A timm model without values, in evaluation mode; the random state of the process stays as it is."""
    with torch.random.fork_rng(devices=[]), torch.device("meta"):
        return timm.create_model(name, **arguments).eval()


def one_line(error: Exception | None) -> str:
    """The first line of a message."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _extractor(name: str, options: Mapping[str, Any], *, fixed: bool) -> tuple[Any, dict[str, Any]]:
    """timm's feature extractor of the last stage, and the arguments that it was made with."""
    refusal: Exception | None = None
    for sizes in ANY_SIZE if fixed else ({},):
        arguments = {**sizes, **options}
        try:
            return on_meta(name, features_only=True, out_indices=(-1,), **arguments), arguments
        except TypeError as error:
            refusal = error
        except (RuntimeError, AttributeError, KeyError, IndexError, AssertionError, ValueError) as error:
            raise InputError(
                f"timm's {name!r} cannot give feature maps with these options ({one_line(error)}); "
                "choose another, such as resnet50"
            ) from error
    unknown = re.search(r"unexpected keyword argument '(\w+)'", str(refusal))
    if unknown is None:
        raise InputError(f"backbone {name!r} refuses its options ({one_line(refusal)})") from refusal
    known = [*OPTIONS_OF_ALL, *_constructor_options(name)]
    raise InputError(nearest(unknown[1], known, noun=f"option of backbone {name!r}")) from refusal


def _constructor_options(name: str) -> list[str]:
    """The options that the model's own constructor names; timm's builders of some families have a few more."""
    parameters = inspect.signature(type(on_meta(name))).parameters.values()
    return [one.name for one in parameters if one.default is not inspect.Parameter.empty]


def _is_plain(body: Any) -> bool:
    stages = body.feature_info.info
    return isinstance(body, FeatureGetterNet) and len({(stage["num_chs"], stage["reduction"]) for stage in stages}) == 1


def _with_norm(name: str, arguments: Mapping[str, Any], size: tuple[int, int]) -> Any:
    """The extractor that normalises, or None where the architecture has no norm for its maps."""
    try:
        body = on_meta(name, features_only=True, out_indices=(-1,), feature_cls=NormalisedGetter, **arguments)
    except (TypeError, AttributeError, AssertionError, RuntimeError, KeyError):
        return None
    # SAM's norm stands in its neck, whose convolutions belong to it.
    norms = (getattr(body.model, place, None) for place in ("norm", "neck"))
    if all(norm is None or isinstance(norm, nn.Identity) for norm in norms):
        return None
    return body if _shape(body, *size) is not None else None


@torch.no_grad()
def _shape(body: Any, height: int, width: int) -> tuple[int, ...] | None:
    """Of the last map of an image of that size, ``(B, C, H, W)``; None where the network does not take it."""
    try:
        last: Tensor = body(torch.empty(1, 3, height, width, device="meta"))[-1]
    # A network that meets a size that it was not made for fails anywhere, with any exception.
    except Exception:
        return None
    return tuple(last.permute(0, 3, 1, 2).shape if is_channels_last(body) else last.shape)


def is_channels_last(body: Any) -> bool:
    """Whether maps come as ``(B, H, W, C)``."""
    return str(getattr(body, "output_fmt", None) or "NCHW").endswith("NHWC")


def _channels(body: Any) -> int:
    return int(body.feature_info.channels()[-1])


def _prefix(body: Any) -> tuple[int, bool]:
    """How many tokens come with the maps, and whether the first is a class token."""
    model = getattr(body, "model", None)
    if not isinstance(body, FeatureGetterNet) or model is None:
        return 0, False
    if "return_prefix_tokens" not in inspect.signature(model.forward_intermediates).parameters:
        return 0, False
    holders = (model, getattr(model, "embeds", None))
    has_class = any(getattr(holder, "cls_token", None) is not None for holder in holders)
    return int(getattr(model, "num_prefix_tokens", 0)), has_class
