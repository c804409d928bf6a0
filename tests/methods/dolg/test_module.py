"""DOLG's parts, options and protocol."""

import pytest
import torch
from numpy.testing import assert_allclose

import retrieval_bench as rb
from retrieval_bench.settings.errors import InputError

LABELS = torch.tensor([0, 1, 2, 0])


def test_the_published_sizes_and_protocol():
    model = rb.create_model("dolg", backbone="test_resnet")
    assert model.descriptor_dim == 512
    assert model.settings["loss"] == {"name": "curricularface", "margin": 0.15, "scale": 30.0}
    assert model.settings["multi_atrous"] is False
    assert model.pooling.p.requires_grad
    protocol = model.protocol
    assert (protocol.channel_order, protocol.image_size, protocol.exif) == ("bgr", None, "apply")
    assert (protocol.crop_rounding, protocol.scale_resize, protocol.merge) == ("truncate", "size", "mean")
    assert_allclose(protocol.scales, (0.3535, 0.5, 0.7071, 1.0, 1.4142))


@pytest.mark.parametrize("given", [{}, {"multi_atrous": True}, {"fusion": "concatenation"}, {"fusion": "hadamard"}])
def test_one_loss_trains_every_branch(given, build, pictures):
    model = build("dolg", **given).train()
    losses = model.losses(pictures(4, 64, 64), LABELS)
    assert set(losses) == {"loss"}
    losses["loss"].backward()
    for part in ("pooling", "reduction", "local", "projection", "loss"):
        gradients = [parameter.grad for parameter in getattr(model, part).parameters()]
        assert all(gradient is not None and gradient.isfinite().all() for gradient in gradients), part


def test_the_loss_reaches_the_backbone_through_the_local_branch(build, pictures):
    model = build("dolg").train()
    torch.nn.init.zeros_(model.reduction.weight)  # the global vector is its bias, whatever the images
    model.losses(pictures(4, 64, 64), LABELS)["loss"].backward()
    stem = model.backbone.body.conv1[0].weight.grad
    assert stem.any()
    assert stem.isfinite().all()


def test_fusions_describe_differently(build, pictures):
    images = pictures(1, 64, 64)
    found = [build("dolg", fusion=name).describe(images) for name in ("orthogonal", "concatenation")]
    assert not torch.allclose(*found)


def test_a_global_vector_of_zeros_is_described(build, pictures):
    model = build("dolg")
    torch.nn.init.zeros_(model.reduction.weight)
    torch.nn.init.zeros_(model.reduction.bias)
    images = pictures(2, 64, 48)
    assert model.describe(images).isfinite().all()
    model.train().losses(images, LABELS[:2])["loss"].backward()
    assert all(p.grad.isfinite().all() for p in model.parameters() if p.requires_grad)


def test_attention_maps_are_positive_and_of_the_map_s_size(build, pictures):
    attention = build("dolg").attention_maps(pictures(2, 64, 48))
    assert attention.shape == (2, 1, 4, 3)
    assert (attention > 0).all()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"fusion": "orthogonl"}, "fusion='orthogonl'.*did you mean 'orthogonal'"),
        ({"multi_atrous": "perhaps"}, "multi_atrous='perhaps'"),
        ({"multi_atros": True}, "did you mean 'multi_atrous'"),
    ],
    ids=str,
)
def test_options_that_mean_nothing_are_refused(given, said, build):
    with pytest.raises(InputError, match=said):
        build("dolg", **given)


def test_weights_keep_their_fusion(build, save, tmp_path):
    file = save(build("dolg", fusion="concatenation"), tmp_path / "own.ckpt")
    assert rb.create_model("dolg", weights=file).settings["fusion"] == "concatenation"
    with pytest.raises(InputError, match="trained with fusion=concatenation, but fusion=orthogonal"):
        rb.create_model("dolg", weights=file, fusion="orthogonal")
