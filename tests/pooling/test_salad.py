"""SALAD: transport against plain Sinkhorn iterations, the head against its formula."""

import pytest
import torch
from torch import Tensor

from retrieval_bench.pooling import POOLINGS
from retrieval_bench.pooling.salad import SALAD, cluster_masses, transport
from retrieval_bench.settings.errors import InputError
from retrieval_bench.values.features import Features

C, T = 6, 8


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def build(**options: object) -> SALAD:
    torch.manual_seed(0)
    small = {"clusters": 3, "channels": 4, "token_dim": 5}
    head: SALAD = POOLINGS.create("salad", {**small, **options}, in_channels=C, token_channels=T)
    return head.eval().double()


def sinkhorn_by_hand(scores: Tensor, dustbin: float, iterations: int) -> Tensor:
    """Rows and columns of exp(scores) scaled in turn, for one image: ``(N, M)`` -> ``(N, M + 1)``."""
    count, clusters = scores.shape
    kernel = torch.cat([scores, torch.full((count, 1), dustbin, dtype=scores.dtype)], dim=1).exp()
    masses = torch.tensor(cluster_masses(count, clusters), dtype=scores.dtype)
    rows = torch.ones(count, dtype=scores.dtype)
    columns = torch.ones(clusters + 1, dtype=scores.dtype)
    for _ in range(iterations):
        for cluster in range(clusters + 1):
            columns[cluster] = masses[cluster] / sum(rows[n] * kernel[n, cluster] for n in range(count))
        for n in range(count):
            rows[n] = 1 / sum(columns[cluster] * kernel[n, cluster] for cluster in range(clusters + 1))
    return rows[:, None] * kernel * columns


@pytest.mark.parametrize("iterations", [1, 3, 10])
@pytest.mark.parametrize("count", [1, 3, 4, 11])
def test_transport_is_sinkhorn_s_algorithm(iterations: int, count: int) -> None:
    scores = draw(2, count, 3)
    plan = transport(scores, torch.tensor(0.7, dtype=torch.float64), iterations)
    for image in range(2):
        torch.testing.assert_close(plan[image], sinkhorn_by_hand(scores[image], 0.7, iterations))


@pytest.mark.parametrize("count", [1, 3, 4, 5, 40])
def test_marginals(count: int) -> None:
    """Positions are exact after any number of iterations, clusters in the limit."""
    scores = draw(2, count, 4)
    dustbin = torch.ones((), dtype=torch.float64)
    for iterations in (1, 3):
        torch.testing.assert_close(transport(scores, dustbin, iterations).sum(dim=2), torch.ones(2, count).double())
    plan = transport(scores, dustbin, 300)
    expected = torch.tensor(cluster_masses(count, 4), dtype=torch.float64).expand(2, -1)
    torch.testing.assert_close(plan.sum(dim=1), expected, rtol=1e-5, atol=1e-6)


def test_masses() -> None:
    assert cluster_masses(10, 3) == [1, 1, 1, 7]
    assert cluster_masses(4, 3) == [1, 1, 1, 1]
    assert cluster_masses(3, 3) == [0.75] * 4
    assert cluster_masses(1, 3) == [0.25] * 4
    assert all(sum(cluster_masses(count, 5)) == pytest.approx(count) for count in range(1, 20))


def test_the_dustbin_takes_what_fits_no_cluster() -> None:
    scores = torch.full((1, 6, 2), 5.0)
    scores[0, 0] = -20
    scores[0, 1:3, 0] = 12
    scores[0, 3:5, 1] = 12
    plan = transport(scores, torch.tensor(1.0), 30)[0]
    assert plan[0, -1] > 0.999
    assert plan[1, 0] > plan[5, 0]


@pytest.mark.parametrize("scale", [1e4, 1e15, 1e30])
def test_large_scores_lose_no_mass(scale: float) -> None:
    scores = (draw(2, 9, 3).float() * scale).requires_grad_()
    plan = transport(scores, torch.tensor(1.0), 3)
    torch.testing.assert_close(plan.sum(dim=2), torch.ones(2, 9))
    plan.square().sum().backward()
    assert scores.grad is not None
    assert scores.grad.isfinite().all()


def test_gradients_equal_finite_differences() -> None:
    scores, dustbin = draw(1, 5, 2).requires_grad_(), torch.tensor(0.5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda s, d: transport(s, d, 3), (scores, dustbin))


def layers(sequence: torch.nn.Sequential, values: Tensor) -> Tensor:
    first, last = sequence[0], sequence[-1]
    hidden = (values @ first.weight.T + first.bias).clamp(min=0)
    return hidden @ last.weight.T + last.bias


@torch.no_grad()
@pytest.mark.parametrize("size", [(3, 4), (1, 2)])
def test_it_equals_the_formula(size: tuple[int, int]) -> None:
    head, values, tokens = build(), draw(2, C, *size), draw(2, 3, T, seed=1)
    found = head(values, tokens)
    assert found.shape == (2, head.out_channels) == (2, 3 * 4 + 5)
    for image in range(2):
        x = values[image].flatten(1).T
        plan = sinkhorn_by_hand(layers(head.scores, x), head.dustbin.item(), 3)
        features = layers(head.features, x)
        clusters = [sum(plan[n, cluster] * features[n] for n in range(len(x))) for cluster in range(3)]
        units = torch.stack([vector / vector.norm() for vector in clusters], dim=1)  # (l, M)
        token = layers(head.token, tokens[image, 0])
        expected = torch.cat([token / token.norm(), units.flatten()])
        torch.testing.assert_close(found[image], expected)
        torch.testing.assert_close(head.assignment(values)[image].flatten(1).T, plan)


@torch.no_grad()
def test_without_the_class_token() -> None:
    whole, head, values = build(), build(token_dim=0), draw(2, C, 3, 4)
    head.load_state_dict({key: value for key, value in whole.state_dict().items() if not key.startswith("token.")})
    assert head.out_channels == 12
    torch.testing.assert_close(head(values), whole(values, draw(2, 1, T))[:, 5:])
    assert head.needed(Features((values,))) == ()


def test_options_decide_what_it_needs() -> None:
    assert SALAD.needs_with({"name": "salad"}) == SALAD.needs_with({"token_dim": 64}) == ("tokens",)
    assert SALAD.needs_with({"token_dim": 0}) == SALAD.needs_with({"token_dim": "0"}) == ()
    tokens = draw(1, 1, T)
    (given,) = build().needed(Features((draw(1, C, 1, 1),), tokens))
    assert given is tokens


def test_it_starts_as_published() -> None:
    head = POOLINGS.create("salad", {}, in_channels=C, token_channels=C)
    assert head.dustbin.item() == 1.0
    assert head.out_channels == 64 * 128 + 256


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"clusters": 0}, "pooling.clusters must be at least 1, got 0"),
        ({"iterations": 0}, "pooling.iterations must be at least 1"),
        ({"token_dim": -1}, "pooling.token_dim must be 0"),
        ({"dropout": 1.5}, "pooling.dropout must be at least 0 and below 1, got 1.5"),
        ({"cluster": 3}, "did you mean 'clusters'"),
    ],
)
def test_wrong_options(options: dict[str, object], said: str) -> None:
    with pytest.raises(InputError, match=said):
        build(**options)


def test_a_backbone_without_tokens_is_told_what_to_do() -> None:
    with pytest.raises(InputError, match=r"pooling\.token_dim=0"):
        POOLINGS.create("salad", {}, in_channels=C, token_channels=None)
    with pytest.raises(InputError, match=r"pooling\.token_dim=0"):
        build()(draw(1, C, 2, 2))
