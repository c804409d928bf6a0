"""GeM's two forms and their protocols."""

import pytest
import torch
from numpy.testing import assert_allclose

from retrieval_bench.settings.errors import InputError


def test_losses_by_name(build, pictures):
    assert set(build("gem").losses(pictures(2, 40, 40), torch.tensor([0, 1]))) == {"loss"}


@pytest.mark.parametrize(
    ("given", "dim", "merge", "scales"),
    [
        ({}, 2048, "mean", (1, 2**0.5, 2**-0.5)),
        ({"variant": "cirtorch"}, 96, "mean", (1, 2**0.5, 2**-0.5)),
        ({"variant": "cirtorch", "projection": "none"}, 96, "power-mean", (1, 2**-0.5, 0.5)),
        ({"variant": "cirtorch", "projection": "none", "pooling": "mac"}, 96, "mean", (1, 2**-0.5, 0.5)),
        ({"variant": "cirtorch", "projection": "none", "merge": "mean"}, 96, "mean", (1, 2**-0.5, 0.5)),
        ({"projection": "none"}, 96, "mean", (1, 2**-0.5, 0.5)),
    ],
    ids=str,
)
def test_sizes_and_protocol_of_each_form(given, dim, merge, scales, build):
    model = build("gem", dim=None, **given)
    assert model.descriptor_dim == dim
    assert model.protocol.merge == merge
    assert_allclose(model.protocol.scales, scales)
    assert model.protocol.scale_resize == "scale-factor"


def test_the_exponent_of_the_merge_is_the_pooling_s(build):
    model = build("gem", dim=None, variant="cirtorch", projection="none", pooling={"name": "gem", "p": 2.5})
    assert model.merge_exponent() == 2.5
    assert build("gem", pooling="mac").merge_exponent() == 1.0
    assert build("gem", pooling="gemmp").merge_exponent() == 1.0


def test_scales_are_merged_with_that_exponent(build, pictures):
    model = build("gem", dim=None, variant="cirtorch", projection="none")
    images = pictures(2, 64, 64)
    parts = [model.describe(images, scales=(scale,)) for scale in (1.0, 0.5)]
    mean = (sum(part**3 for part in parts) / 2) ** (1 / 3)
    expected = mean / mean.norm(dim=1, keepdim=True)
    assert_allclose(model.describe(images, scales=(1.0, 0.5)), expected, rtol=1e-4, atol=1e-6)


def test_cirtorch_normalises_before_the_projection(build, pictures):
    model = build("gem", variant="cirtorch")
    images = model.normalise(pictures(1, 48, 48))
    with torch.no_grad():
        pooled = model.pooling(model.backbone(images)[-1])
        expected = model.projection(pooled / (pooled.norm(dim=1, keepdim=True) + 1e-6))
        assert_allclose(model.embed(images), expected, rtol=1e-5, atol=1e-6)


def test_the_exponent_is_learnt_in_cirtorch_only(build):
    assert build("gem", variant="cirtorch").pooling.p.requires_grad
    assert not build("gem").pooling.p.requires_grad


def test_a_whitening_at_every_position(build, pictures):
    model = build("gem", local_whitening="linear")
    images = model.normalise(pictures(1, 48, 48))
    with torch.no_grad():
        feature_map = model.backbone(images)[-1]
        whitened = torch.einsum("oc,bchw->bohw", model.local_whitening.weight, feature_map)
        whitened = whitened + model.local_whitening.bias.view(1, -1, 1, 1)
        assert_allclose(model.embed(images), model.projection(model.pooling(whitened)), rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"variant": "spcaa"}, "variant='spcaa'"),
        ({"projection": "pca"}, "projection='pca'"),
        ({"local_whitening": "yes"}, "local_whitening='yes'"),
        ({"merge": "median"}, "merge='median'"),
        ({"projection": "none", "dim": 32}, "without a projection has 96 dimensions, not dim=32; leave dim out"),
    ],
    ids=str,
)
def test_options_that_mean_nothing_are_refused(given, said, build):
    with pytest.raises(InputError, match=said):
        build("gem", **given)


def test_no_projection_of_the_pooling_s_own_size_may_be_said(build):
    assert build("gem", projection="none", dim=96).descriptor_dim == 96
