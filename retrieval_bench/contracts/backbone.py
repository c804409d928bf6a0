"""What every backbone owes."""

from typing import Any

import torch
from torch import Tensor

from retrieval_bench.backbones import BACKBONES, Backbone, create_backbone
from retrieval_bench.contracts.contract import Contract, Part
from retrieval_bench.contracts.expectations import (
    Broken,
    require,
    require_close,
    require_equal,
    require_finite,
    require_refusal,
    require_shape,
)
from retrieval_bench.contracts.exporting import require_same_compiled, require_same_exported
from retrieval_bench.contracts.options import require_docstring, require_options
from retrieval_bench.contracts.placement import as_on_a_device
from retrieval_bench.contracts.process_state import process_state_kept
from retrieval_bench.contracts.registration import require_registered
from retrieval_bench.settings.kinds import KINDS
from retrieval_bench.settings.normalisation import Normalisation

SIZES = ((64, 64), (33, 47), (96, 40), (2, 3), (1, 1))


def find(name: str) -> Any:
    """The registered class of a name, or the adapter for one of timm's."""
    if name in BACKBONES.names():
        return BACKBONES.get(name)
    return type(create_backbone(name))


def build(part: Part, seed: int = 0, stages: tuple[int, ...] = (-2, -1)) -> Backbone:
    """A backbone without trained weights, in eval mode."""
    torch.manual_seed(seed)
    return create_backbone(part.name, out_stages=stages, **part.options).eval()


def images(height: int, width: int, batch: int = 2) -> Tensor:
    """Seeded images, about normalised."""
    return torch.randn(batch, 3, height, width, generator=torch.Generator().manual_seed(0))


def maps_of(backbone: Backbone, given: Tensor, of: str) -> list[Tensor]:
    """The maps of images, if they are such."""
    found = backbone(given)
    require(isinstance(found, list | tuple), f"forward gave a {type(found).__name__} for {of}, not a list of maps")
    wanted = len(backbone.channels)
    require(len(found) == wanted, f"forward gave {len(found)} maps for {of}, but channels has {wanted} entries")
    return list(found)


def builds(part: Part) -> None:
    """It is a Backbone with a docstring that says `channels` and `strides` of each stage asked for."""
    backbone = build(part)
    require(
        isinstance(backbone, Backbone), f"{part.name} is a {type(backbone).__name__}, not a Backbone; inherit from it"
    )
    require_docstring(find(part.name), part.name)
    for noun in ("channels", "strides"):
        values = getattr(backbone, noun, None)
        require(
            isinstance(values, tuple) and len(values) == 2 and all(isinstance(one, int) and one > 0 for one in values),
            f"{noun} is {values!r} for out_stages=(-2, -1); the constructor sets it to two whole numbers",
        )
    require(
        backbone.normalisation is None or isinstance(backbone.normalisation, Normalisation),
        f"normalisation is {backbone.normalisation!r}; it is a Normalisation, or None where any images will do",
    )


def options(part: Part) -> None:
    """Options are typed, defaults fit, and unknown ones are refused."""
    if part.name in BACKBONES.names():
        require_options(BACKBONES, part.name, KINDS["backbone"].given)
    require_refusal(lambda: create_backbone(part.name, no_such=1), "an unknown option", says=["no_such"])


@torch.no_grad()
def any_size(part: Part) -> None:
    """Square, oblong, odd and tiny images become finite maps of the channels and strides that it says."""
    backbone = build(part)
    for height, width in SIZES:
        of = f"images of {height} x {width}"
        for found, channels, stride in zip(
            maps_of(backbone, images(height, width), of), backbone.channels, backbone.strides, strict=True
        ):
            require(
                found.ndim == 4 and found.shape[:2] == (2, channels),
                f"{of} gave a map {tuple(found.shape)}; channels says (2, {channels}, H, W)",
            )
            for side, size in zip(found.shape[2:], (height, width), strict=True):
                near = side >= 1 and abs(side * stride - size) < 2 * stride
                require(near, f"{of} gave a map {tuple(found.shape)}, which is not near a stride of {stride}")
            require_finite(found, f"the map of {of}")
            require(found.dtype == torch.float32, f"{of} in float32 gave a map in {found.dtype}")


@torch.no_grad()
def stages(part: Part) -> None:
    """Each choice of stages gives the same maps; a stage that it has not is refused."""
    both, last = build(part), build(part, stages=(-1,))
    require(
        (last.channels, last.strides) == (both.channels[-1:], both.strides[-1:]),
        f"out_stages=(-1,) says channels {last.channels}, strides {last.strides}; (-2, -1) says {both.channels}, "
        f"{both.strides}",
    )
    own, state = last.state_dict(), both.state_dict()
    if own.keys() == state.keys():
        last.load_state_dict(state)
        given = images(64, 48)
        require_close(last(given)[-1], both(given)[-1], "the last map of out_stages=(-1,) and of (-2, -1)")
    require_refusal(lambda: create_backbone(part.name, out_stages=(-99,), **part.options), "out_stages=(-99,)")


@torch.no_grad()
def features(part: Part) -> str:
    """`features` gives the maps of `forward`, and tokens (B, T, token_channels) where it says that it has some."""
    backbone = build(part)
    given = images(64, 48)
    found = backbone.features(given)
    for one, other in zip(found.maps, backbone(given), strict=True):
        require_close(one, other, "maps of features and of forward")
    channels = backbone.token_channels
    if channels is None:
        require(found.tokens is None, "features gives tokens, but token_channels is None")
        return "no tokens"
    if found.tokens is None:
        raise Broken(f"token_channels is {channels}, but features gives no tokens")
    count = found.tokens.shape[1] if found.tokens.ndim == 3 else 1
    require_shape(found.tokens, (2, max(count, 1), channels), "the tokens of 2 images")
    require_finite(found.tokens, "the tokens")
    return f"{count} tokens"


@torch.no_grad()
def batch_independence(part: Part) -> None:
    """Images have the same maps alone and together."""
    backbone = build(part)
    given = images(48, 64, batch=3)
    for one, other in zip(backbone(given), backbone(given[1:2]), strict=True):
        require_close(one[1:2], other, "maps in a batch of 3 and alone", atol=1e-5, rtol=1e-4)


@torch.no_grad()
def same_twice(part: Part) -> None:
    """The same images give the same maps in evaluation mode, whatever came before, and are left as they were."""
    backbone = build(part)
    given = images(48, 64)
    first = backbone(given)
    require_equal(given, images(48, 64), "images after and before (work on a copy)")
    for one, other in zip(backbone(given), first, strict=True):
        require_equal(one, other, "maps of the second and of the first pass (no dropout or state in evaluation)")
    with process_state_kept():
        backbone(given)
    for one, other in zip(backbone(given.flip(0, 3)), build(part)(given.flip(0, 3)), strict=True):
        require_equal(one, other, "maps after other images of that size and the first of a new one")


@torch.no_grad()
def whole_image(part: Part) -> None:
    """Every part and every colour of an image can change the last map."""
    backbone = build(part)
    given = images(64, 64, batch=1)
    cells = torch.eye(16).view(16, 1, 4, 4).expand(-1, 3, -1, -1).repeat_interleave(16, 2).repeat_interleave(16, 3)
    colours = torch.eye(3)[..., None, None].expand(-1, -1, 64, 64)
    # The last image is as it was.
    masks = torch.cat([cells, colours, torch.zeros(1, 3, 64, 64)])
    last = backbone(given + masks * (1 + given))[-1]
    change = (last[:-1] - last[-1]).abs().flatten(1).amax(dim=1) / last[-1].abs().amax()
    for what, moved in (("cells of 16 x 16 pixels", change[:16]), ("colours", change[16:])):
        idle = int((moved <= 1e-6).sum())
        require(not idle, f"{idle} of {len(moved)} {what} of an image of 64 x 64 change nothing in the last map")


def gradients(part: Part) -> str | None:
    """A loss on the last map sends finite gradients to all its trainable weights."""
    backbone = build(part, stages=(-1,)).train()
    backbone(images(64, 64))[-1].square().mean().backward()
    trainable = {name: value for name, value in backbone.named_parameters() if value.requires_grad}
    slopes = {name: value.grad for name, value in trainable.items() if value.grad is not None}
    require(bool(slopes), "no gradient reaches a weight; is something detached?")
    for name, slope in slopes.items():
        require_finite(slope, f"the gradient of {name}")
    idle = [name for name in trainable if name not in slopes]
    said = f"no gradient of the last map reaches {', '.join(idle[:6])}{' ...' if len(idle) > 6 else ''}"
    if part.name not in BACKBONES.names():
        return said if idle else None
    require(not idle, f"{said}; is something detached? call requires_grad_(False) on what is not meant to be trained")
    return None


@torch.no_grad()
def autocast(part: Part) -> None:
    """Under autocast to bfloat16 maps are finite."""
    backbone = build(part)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = backbone(images(64, 48))
    for one in found:
        require_finite(one, "a map under autocast to bfloat16")


@torch.no_grad()
def memory_layout(part: Part) -> None:
    """Images in channels_last give the same maps."""
    backbone = build(part)
    given = images(64, 48)
    for one, other in zip(backbone(given.to(memory_format=torch.channels_last)), backbone(given), strict=True):
        require_close(one, other, "maps of images in channels_last and contiguous", atol=1e-5, rtol=1e-4)


@torch.no_grad()
def state_dict(part: Part) -> None:
    """All that it holds is registered, and a new one that loads the state_dict of a used one gives equal maps."""
    backbone = build(part)
    require_registered(backbone)
    backbone.train()
    backbone(images(64, 64))
    backbone.eval()
    again = build(part, seed=1)
    again.load_state_dict(backbone.state_dict(), strict=True)
    given = images(48, 64)
    for one, other in zip(again(given), backbone(given), strict=True):
        require_equal(one, other, "maps after and before a state_dict round trip (state belongs in register_buffer)")


@torch.no_grad()
def devices(part: Part) -> None:
    """Tensors that it makes lie where its images do, in training and in evaluation."""
    for training in (True, False):
        backbone = build(part).train(training)
        given = images(64, 48)
        with as_on_a_device():
            backbone(given)


def exported(part: Part) -> None:
    """`torch.export` captures it and gives the maps of eager mode."""
    require_same_exported(Last(build(part)), (images(64, 64),))


def compiled(part: Part) -> None:
    """`torch.compile` captures it, without generating code, and gives values and gradients of eager mode."""
    require_same_compiled(Last(build(part)), (images(64, 64),), "eager")


def inductor(part: Part) -> None:
    """`torch.compile` with generated code gives values and gradients of eager mode."""
    require_same_compiled(Last(build(part)), (images(64, 64),), "inductor")


class Last(torch.nn.Module):
    """The last map of a backbone."""

    def __init__(self, backbone: Backbone):
        super().__init__()
        self.backbone = backbone

    def forward(self, given: Tensor) -> Tensor:
        """``(B, 3, H, W)`` -> ``(B, C, h, w)``."""
        last: Tensor = self.backbone(given)[-1]
        return last


CONTRACT = Contract(
    find=find,
    build=build,
    checks=(
        builds,
        options,
        any_size,
        stages,
        features,
        whole_image,
        batch_independence,
        same_twice,
        gradients,
        autocast,
        memory_layout,
        devices,
        state_dict,
    ),
    slow=(exported, compiled, inductor),
)
