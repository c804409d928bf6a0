"""What every method owes: descriptors first, then training and checkpoints (`method_training`)."""

import inspect
from functools import partial
from unittest import SkipTest

import torch
from torch import Tensor

from retrieval_bench.contracts.contract import Contract, Part
from retrieval_bench.contracts.expectations import (
    require,
    require_close,
    require_equal,
    require_finite,
    require_refusal,
    require_shape,
)
from retrieval_bench.contracts.method_training import CHECKS
from retrieval_bench.contracts.options import require_docstring, require_options
from retrieval_bench.contracts.tiny_method import build, pictures, takes
from retrieval_bench.methods.base import RetrievalModule
from retrieval_bench.methods.registry import METHODS
from retrieval_bench.settings.kinds import KINDS

SIZES = ((33, 47), (64, 64), (1, 1), (8, 500), (500, 8), (2, 3))


def wrong_images_of() -> dict[str, tuple[Tensor, tuple[str, ...]]]:
    """Images of a wrong shape, kind or range, and what the error has to say of them."""
    small = (1, 3, 32, 32)
    return {
        "an image without a batch": (torch.zeros(3, 32, 32), ("(3, 32, 32)",)),
        "a grey image": (torch.zeros(1, 1, 32, 32), ("(1, 1, 32, 32)",)),
        "an image with channels last": (torch.zeros(1, 32, 32, 3), ("(1, 32, 32, 3)",)),
        "no image": (torch.zeros(0, 3, 32, 32), ("(0, 3, 32, 32)",)),
        "an image without pixels": (torch.zeros(1, 3, 0, 32), ("(1, 3, 0, 32)",)),
        "floats up to 255": (torch.full(small, 255.0), ("from 255 to 255", "divide by 255")),
        "normalised values": (torch.full(small, -2.1), ("from -2.1 to -2.1",)),
        "NaN": (torch.full(small, float("nan")), ("nan",)),
        "infinity": (torch.full(small, float("inf")), ("inf",)),
        "int64": (torch.zeros(small, dtype=torch.int64), ("got int64",)),
        "bool": (torch.zeros(small, dtype=torch.bool), ("got bool",)),
    }


def builds(part: Part) -> None:
    """It is a RetrievalModule with a docstring, built in eval mode, that refuses to describe in training mode."""
    found = METHODS.get(part.name)
    require(
        inspect.isclass(found) and issubclass(found, RetrievalModule), f"{part.name} is no RetrievalModule; inherit it"
    )
    require_docstring(found, part.name)
    model = build(part)
    require(not model.training, "it is not in eval mode when it is built")
    model.train()
    require_refusal(
        lambda: model.describe(pictures(2, 32, 32)),
        "describing in training mode",
        says=["training mode", "call .eval()"],
    )


def options(part: Part) -> None:
    """Options are typed, defaults fit, and unknown ones are refused with the nearest name."""
    require_options(METHODS, part.name, KINDS["method"].given)


def unit_norm_at_any_size(part: Part) -> None:
    """Images from 1 x 1 to 500 x 8 become float32 descriptors of unit norm, without a graph."""
    model = build(part)
    for size in SIZES:
        described = model.describe(pictures(2, *size))
        of = f"of 2 images of {size[0]} x {size[1]}"
        require_shape(described, (2, model.descriptor_dim), f"the descriptors {of}")
        require(described.dtype == torch.float32, f"the descriptors {of} are {described.dtype}, not float32")
        require(not described.requires_grad, f"the descriptors {of} keep a graph for gradients")
        require_close(described.norm(dim=1), torch.ones(2), f"norms of the descriptors {of} and 1", atol=1e-5, rtol=0)


def uniform_images(part: Part) -> None:
    """Black and white images have finite descriptors."""
    for value in (0.0, 1.0):
        described = build(part).describe(torch.full((1, 3, 40, 30), value))
        require_finite(described, f"the descriptor of an image with all values {value:g}")


def dimension(part: Part) -> None:
    """`dim` is the length of descriptors."""
    if not takes(part, "dim"):
        raise SkipTest("its constructor has no dim")
    require_shape(build(part, dim=24).describe(pictures(1, 32, 32)), (1, 24), "the descriptor with dim=24")


def uint8_equals_float(part: Part) -> None:
    """uint8 images and the same divided by 255 have the same descriptors."""
    model = build(part)
    raw = (255 * pictures(2, 40, 36)).to(torch.uint8)
    require_close(model.describe(raw), model.describe(raw.float() / 255), "descriptors of uint8 and of float images")


def batch_independence(part: Part) -> None:
    """Images have the same descriptors alone and together."""
    model = build(part)
    images = pictures(3, 40, 36)
    alone = torch.cat([model.describe(image[None]) for image in images])
    require_close(model.describe(images), alone, "descriptors in a batch of 3 and alone", atol=1e-5, rtol=1e-4)


def images_differ(part: Part) -> None:
    """Different images have different descriptors."""
    first, second = build(part).describe(pictures(2, 40, 36))
    require(not torch.allclose(first, second), "two different images have the same descriptor")


def same_twice(part: Part) -> None:
    """The same seed and images give the same descriptors, and the images are left as they were."""
    images = pictures(2, 40, 36)
    first = build(part).describe(images)
    require_equal(images, pictures(2, 40, 36), "images after and before they were described (work on a copy)")
    require_equal(build(part).describe(images), first, "descriptors of a second model from the same seed and the first")


def published_scales(part: Part) -> None:
    """Without `scales` it takes those of its protocol, and other scales change the descriptor."""
    model, images = build(part), pictures(1, 64, 48)
    usual = model.describe(images)
    require_equal(
        usual, model.describe(images, scales=model.protocol.scales), "descriptors at no scales and the protocol's"
    )
    require(not torch.allclose(usual, model.describe(images, scales=(0.5,))), "scales=(0.5,) changes nothing")


def wrong_images(part: Part) -> None:
    """Images of a wrong shape, kind or range are refused in one line that says what they are."""
    model = build(part)
    for what, (images, says) in wrong_images_of().items():
        require_refusal(partial(model.describe, images), what, says=says)


def overshoot(part: Part) -> None:
    """Values a little outside [0, 1], as resampling leaves them, are taken."""
    images = pictures(1, 32, 32)
    images[0, 0, 0, 0], images[0, 0, 0, 1] = -0.05, 1.05
    require_finite(build(part).describe(images), "the descriptor of an image with values from -0.05 to 1.05")


def wrong_scales(part: Part) -> None:
    """Scales that make no image are refused."""
    model = build(part)
    for scales in ((0.0,), (1.0, -0.5), ()):
        require_refusal(
            partial(model.describe, pictures(1, 32, 32), scales=scales),
            f"scales={scales}",
            says=["scale"],
        )


def predicting(part: Part) -> None:
    """`predict_step` describes, at its own scales where they are set, and adds nothing that was not asked for."""
    model, images = build(part), pictures(2, 48, 40)
    found = model.predict_step({"images": images, "indices": torch.tensor([4, 7])})
    require(found["indices"].tolist() == [4, 7], f"indices [4, 7] came back as {found['indices'].tolist()}")
    require_equal(found["descriptors"], model.describe(images), "descriptors of predict_step and of describe")
    require("local_features" not in found, "predict_step gives local features that nobody asked for")
    model.extraction_scales = (0.5,)
    found = model.predict_step({"images": images, "indices": torch.arange(2)})
    expected = model.describe(images, scales=(0.5,))
    require_equal(found["descriptors"], expected, "descriptors of predict_step and of describe at scale 0.5")


def local_features(part: Part) -> None:
    """Local features are inside the image, of unit norm, best first; a method that has none says so."""
    model, images = build(part), pictures(2, 64, 48)
    if not model.has_local_features:
        says = [f"'{part.name}' has no local features; delg"]
        require_refusal(lambda: model.local_features(images), "asking for local features", says=says)
        return
    found = model.local_features(images)
    require(len(found) == 2, f"2 images gave {len(found)} sets of local features")
    for features in found:
        require(len(features) > 0, "an image of noise has no local features")
        require(bool((features.scores.diff() <= 0).all()), "the scores of local features are not best first")
        norms = features.descriptors.norm(dim=1)
        require_close(norms, torch.ones(len(features)), "norms of local descriptors and 1", atol=1e-5, rtol=0)
        inside = (features.keypoints >= 0) & (
            features.keypoints <= torch.tensor([48, 64]) + 16 / features.scales[:, None]
        )
        require(bool(inside.all()), "keypoints lie outside the image; they are x, y in input pixels")


CONTRACT = Contract(
    find=METHODS.get,
    build=build,
    checks=(
        builds,
        options,
        unit_norm_at_any_size,
        uniform_images,
        dimension,
        uint8_equals_float,
        batch_independence,
        images_differ,
        same_twice,
        published_scales,
        wrong_images,
        overshoot,
        wrong_scales,
        predicting,
        local_features,
        *CHECKS,
    ),
)
