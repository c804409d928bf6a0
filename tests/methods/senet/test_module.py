"""SENet's parts, options and protocol."""

import pytest
import torch
from numpy.testing import assert_allclose

import retrieval_bench as rb
from retrieval_bench.settings.errors import InputError


def test_the_published_sizes_and_protocol():
    model = rb.create_model("senet", backbone="test_resnet")
    assert model.descriptor_dim == 2048
    assert {key: model.settings[key] for key in ("mid_dim", "unfold_size", "kernel_size")} == {
        "mid_dim": 256,
        "unfold_size": 7,
        "kernel_size": 3,
    }
    assert model.pooling.p.item() == 3
    assert not model.pooling.p.requires_grad
    protocol = model.protocol
    assert (protocol.channel_order, protocol.image_size, protocol.exif) == ("bgr", None, "apply")
    assert (protocol.crop_rounding, protocol.scale_resize, protocol.merge) == ("truncate", "cv2-area", "mean")
    assert_allclose(protocol.scales, (0.7071, 1.0, 1.4142))


def test_losses_by_name(build, pictures):
    assert set(build("senet", mid_dim=8).losses(pictures(2, 64, 64), torch.tensor([0, 1]))) == {"loss"}


def test_sizes_of_the_structure_are_options(build, pictures):
    model = build("senet", mid_dim=8, unfold_size=5, kernel_size=2)
    assert model.structure.reduce.out_channels == 8
    assert len(model.structure.encoder) == 2
    assert model.structure.encoder[0][0].kernel_size == (2, 2)
    assert model.describe(pictures(1, 64, 64)).isfinite().all()


def test_the_structure_matters(build, pictures):
    model, images = build("senet", mid_dim=8), pictures(1, 96, 96)
    before = model.describe(images)
    torch.nn.init.constant_(model.structure.expand.weight, 1.0)
    assert not torch.allclose(model.describe(images), before)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"unfold_size": 4}, "unfold_size must be odd"),
        ({"unfold_size": "seven"}, "unfold_size='seven'"),
        ({"kernel_size": 5}, "kernel_size must be 1, 2 or 3"),
        ({"mid_dims": 8}, "did you mean 'mid_dim'"),
    ],
    ids=str,
)
def test_options_that_mean_nothing_are_refused(given, said, build):
    with pytest.raises(InputError, match=said):
        build("senet", **given)
