"""timm's models as feature maps by stage.

timm's ``features_only`` ResNets with default arguments are bit-identical to torchvision's and to pycls's (stride in the
3x3 convolution), on which the published retrieval codes stand.
"""

from typing import Any

import timm
import torch
import torch.nn.functional as F
from timm.layers import to_2tuple
from torch import Tensor

from retrieval_bench.backbones.base import Backbone
from retrieval_bench.settings.errors import InputError, nearest

ANY_SIZE: tuple[dict[str, Any], ...] = (
    {"dynamic_img_size": True, "dynamic_img_pad": True},
    {"strict_img_size": False},
    {},
)
"""How transformers that were trained at one size are asked to take others; timm's families differ, the first that fits
is used."""


class TimmBackbone(Backbone):
    """A timm model without its classifier.

    Args:
        name: a timm architecture, with or without a pretrained tag.
        out_stages: stages counted from the end, rising, such as ``(-2, -1)``.
        pretrained: fetch timm's weights from the hub.
        options: of the timm model.

    Attributes:
        body: timm's module, so that keys are ``body.conv1.weight`` and so on.

    Raises:
        InputError: unknown name, stage or option, a model without feature maps, or a hub that cannot be reached.
    """

    def __init__(self, name: str, out_stages: tuple[int, ...], pretrained: bool = False, **options: Any):
        super().__init__()
        check_name(name)
        self.body, sizes = create_body(name, out_stages, pretrained, options)
        self.channels = tuple(self.body.feature_info.channels())
        self.strides = tuple(self.body.feature_info.reduction())
        self.channels_last = str(getattr(self.body, "output_fmt", None) or "NCHW").endswith("NHWC")
        # timm's Swin takes any size that its patches divide; its plain transformers pad by themselves.
        self.multiple = self.body.feature_info.info[0]["reduction"] if "strict_img_size" in sizes else 1
        self.trained_size = fixed_size(name, options)

    def forward(self, images: Tensor) -> list[Tensor]:
        """``(B, 3, H, W)`` normalised images -> a list of ``(B, C_s, H_s, W_s)``.

        Raises:
            InputError: images of a size that an architecture of fixed size does not take.
        """
        height, width = images.shape[-2:]
        if height % self.multiple or width % self.multiple:
            images = F.pad(images, (0, -width % self.multiple, 0, -height % self.multiple))
        try:
            maps: list[Tensor] = self.body(images)
        except (AssertionError, RuntimeError) as error:
            sized = self.trained_size is not None and (height, width) != self.trained_size
            if not sized or isinstance(error, torch.OutOfMemoryError):
                raise
            raise InputError(
                f"this backbone takes images of {self.trained_size} only ({one_line(error)}), got {(height, width)}"
            ) from error
        return [stage.permute(0, 3, 1, 2) if self.channels_last else stage for stage in maps]


def check_name(name: str) -> None:
    """Raise an `InputError` where timm has no architecture `name`, or no such pretrained tag."""
    architecture, _, tag = name.partition(".")
    if not timm.is_model(architecture) or ":" in name or "/" in name:
        close = nearest(name, timm.list_models(), noun="backbone").partition(" (known")[0]
        raise InputError(f"{close}; see `retrieval-bench list backbones`")
    tagged = timm.list_pretrained(f"{architecture}.*")
    if tag and name not in tagged:
        tags = [known.partition(".")[2] for known in tagged]
        raise InputError(nearest(tag, tags, noun=f"pretrained tag of {architecture}"))


def fixed_size(name: str, options: dict[str, Any]) -> tuple[int, int] | None:
    """The image size of an architecture that timm marks as made for one, else None."""
    config = timm.get_pretrained_cfg(name)
    if config is None or not config.fixed_input_size:
        return None
    height, width = to_2tuple(options.get("img_size", config.input_size[1:]))
    return height, width


def create_body(
    name: str, out_stages: tuple[int, ...], pretrained: bool, options: dict[str, Any]
) -> tuple[Any, dict[str, Any]]:
    """timm's feature extractor for the stages asked for, and the size options of `ANY_SIZE` that it took."""
    attempts = ANY_SIZE if fixed_size(name, options) and "img_size" not in options else ({},)
    refusal: Exception | None = None
    for sizes in attempts:
        wanted = {**sizes, **options}
        try:
            body = timm.create_model(name, features_only=True, out_indices=out_stages, pretrained=pretrained, **wanted)
            return body, sizes
        except TypeError as error:
            refusal = error
        except (IndexError, AssertionError) as error:
            raise InputError(f"backbone {name!r} has no stages {out_stages}; use fewer, such as (-1,)") from error
        except OSError as error:
            raise InputError(
                f"the weights of {name!r} could not be fetched ({type(error).__name__}); "
                "set backbone.pretrained=false, or give a file with backbone.weights=FILE"
            ) from error
        except (RuntimeError, AttributeError, KeyError) as error:
            raise InputError(
                f"timm's {name!r} cannot give feature maps ({one_line(error)}); choose another, such as resnet50"
            ) from error
    raise InputError(f"backbone {name!r} refuses its options ({one_line(refusal)})") from refusal


def one_line(error: Exception | None) -> str:
    """The first line of a message."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
