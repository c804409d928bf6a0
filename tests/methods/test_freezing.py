"""A frozen backbone: no gradients, no optimiser state, no moving statistics; for every method."""

import pytest
import torch

import retrieval_bench as rb
from retrieval_bench.methods.freezing import freeze
from retrieval_bench.methods.optimisation import parameter_groups
from retrieval_bench.settings.errors import InputError
from retrieval_bench.settings.recipe import Recipe

FROZEN = Recipe(freeze="backbone")
SPECIAL = {"senet": {"backbone": {"name": "test_resnet", "output_stride": 8}, "mid_dim": 32}}


def build(method, **options):
    return rb.create_model(method, **{"backbone": "test_resnet", "dim": 8, "num_classes": 3, **options})


@pytest.mark.parametrize("method", rb.list_methods())
def test_every_method_trains_above_a_backbone_that_stays(method):
    model = build(method, **SPECIAL.get(method, {}))
    model.recipe = FROZEN
    model.configure_model()
    model.train()
    before = {name: value.clone() for name, value in model.backbone.state_dict().items()}
    learning = {id(p) for group in parameter_groups(model, FROZEN) for p in group["params"]}
    assert learning
    assert not learning & {id(p) for p in model.backbone.parameters()}
    assert not any(module.training for module in model.backbone.modules())
    assert model.training
    images = torch.rand(4, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    model.losses(images, torch.tensor([0, 1, 2, 0]))["loss"].backward()
    assert all(p.grad is None for p in model.backbone.parameters())
    assert any(p.grad is not None and p.grad.abs().max() > 0 for p in model.parameters())
    assert all(torch.equal(value, before[name]) for name, value in model.backbone.state_dict().items())


def test_without_freezing_everything_learns():
    model = build("gem")
    model.configure_model()
    assert all(p.requires_grad for p in model.backbone.parameters())
    assert model.train().backbone.training


def test_nothing_to_learn_is_refused():
    model = build("gem", projection="none", dim=None, pooling="mac", loss="contrastive")
    with pytest.raises(InputError, match="nothing to learn"):
        freeze(model, FROZEN)


def test_a_model_without_a_backbone_is_refused():
    with pytest.raises(InputError, match="no part called backbone"):
        freeze(torch.nn.Linear(2, 2), FROZEN)
