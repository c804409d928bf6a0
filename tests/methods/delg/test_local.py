"""Both local branches against their formulas."""

import pytest
import torch
import torch.nn.functional as F

from retrieval_bench.methods.delg.local import AutoencoderBranch, NormalisedBranch


@pytest.fixture
def feature_map():
    return torch.rand(3, 12, 4, 5, generator=torch.Generator().manual_seed(0))


LABELS = torch.tensor([0, 1, 3])


def branch(kind):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return (AutoencoderBranch(12, 6, 8, 4) if kind == "autoencoder" else NormalisedBranch(12, 6, 4)).eval()


@pytest.mark.parametrize("kind", ["autoencoder", "normalised"])
def test_descriptors_have_unit_norm_and_scores_are_positive(kind, feature_map):
    maps = branch(kind)(feature_map)
    assert maps.descriptors.shape == (3, 6, 4, 5)
    assert maps.scores.shape == (3, 1, 4, 5)
    torch.testing.assert_close(maps.descriptors.norm(dim=1), torch.ones(3, 4, 5))
    assert (maps.scores > 0).all()
    assert (maps.descriptors < 0).any(), "codes are signed"


def test_the_paper_s_losses(feature_map):
    local = branch("autoencoder")
    losses = local.training_losses(feature_map, LABELS)
    assert set(losses) == {"attention", "reconstruction"}
    rebuilt = F.relu(local.expand(local.reduce(feature_map)))
    torch.testing.assert_close(losses["reconstruction"], ((feature_map - rebuilt) ** 2).mean())
    scores = F.softplus(local.score(F.relu(local.norm(local.hidden(feature_map)))))
    pooled = (scores * rebuilt / rebuilt.norm(dim=1, keepdim=True).clamp(min=1e-12)).flatten(2).mean(dim=2)
    torch.testing.assert_close(losses["attention"], F.cross_entropy(local.classifier(pooled), LABELS))


def test_the_published_constants_of_the_paper_s_branch():
    local = branch("autoencoder")
    assert local.norm.eps == 1e-3
    assert local.norm.momentum == pytest.approx(0.01), "Keras writes 0.99"


def test_delg_pytorch_s_loss(feature_map):
    local = branch("normalised")
    losses = local.training_losses(feature_map, LABELS)
    assert set(losses) == {"attention"}
    hidden = local.norm(local.hidden(feature_map))
    attended = F.softplus(local.score(F.relu(hidden))) * F.normalize(hidden, dim=1)
    expected = F.cross_entropy(local.classifier(attended.flatten(2).mean(dim=2)), LABELS)
    torch.testing.assert_close(losses["attention"], expected)


@pytest.mark.parametrize("kind", ["autoencoder", "normalised"])
def test_no_gradient_leaves_the_branch(kind, feature_map):
    feature_map.requires_grad_()
    local = branch(kind).train()
    sum(local.training_losses(feature_map, LABELS).values()).backward()
    assert feature_map.grad is None
    assert all(parameter.grad is not None for parameter in local.parameters())


def test_the_attention_loss_reaches_the_autoencoder(feature_map):
    local = branch("autoencoder")
    local.training_losses(feature_map, LABELS)["attention"].backward()
    assert local.reduce.weight.grad.any()
    assert local.expand.weight.grad.any()


def test_the_reconstruction_loss_does_not_reach_the_attention(feature_map):
    local = branch("autoencoder")
    local.training_losses(feature_map, LABELS)["reconstruction"].backward()
    assert local.score.weight.grad is None
    assert local.hidden.weight.grad is None
