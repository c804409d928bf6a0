"""What every registered loss owes, whoever wrote it."""

import pytest
import torch
from torch import Tensor

from retrieval_bench.losses import LOSSES, ClassificationLoss, MetricLoss, list_losses
from retrieval_bench.settings.errors import InputError

DIM, CLASSES = 16, 6

Loss = ClassificationLoss | MetricLoss


def create(name: str) -> Loss:
    torch.manual_seed(0)
    return LOSSES.create(name, {}, dim=DIM, num_classes=CLASSES)


@pytest.fixture(params=list_losses())
def loss(request: pytest.FixtureRequest) -> Loss:
    return create(request.param)


def batch() -> tuple[Tensor, Tensor]:
    """24 descriptors, four of each class, near their class centres."""
    generator = torch.Generator().manual_seed(3)
    labels = torch.arange(24) % CLASSES
    centres = torch.randn(CLASSES, DIM, generator=generator)
    return 3 * centres[labels] + 2 * torch.randn(24, DIM, generator=generator), labels


def test_training_lowers_it(loss: Loss) -> None:
    inputs, labels = batch()
    layer = torch.nn.Linear(DIM, DIM)
    optimiser = torch.optim.Adam([*layer.parameters(), *loss.parameters()], lr=3e-2)
    values = []
    for _ in range(30):
        value = loss(layer(inputs), labels)
        optimiser.zero_grad()
        value.backward()
        optimiser.step()
        values.append(value.item())
    assert values[-1] < 0.6 * values[0]


def test_gradient_reaches_descriptors_and_weights(loss: Loss) -> None:
    descriptors, labels = batch()
    descriptors.requires_grad_()
    value = loss(descriptors, labels)
    assert value.shape == ()
    value.backward()
    assert descriptors.grad.abs().sum() > 0
    for name, parameter in loss.named_parameters():
        assert parameter.grad.abs().sum() > 0, name


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_gradients_are_finite_at_cosines_of_exactly_one(loss: Loss, sign: float) -> None:
    labels = torch.arange(CLASSES).repeat(2)
    descriptors = (sign * torch.eye(CLASSES, DIM).repeat(2, 1)).requires_grad_()
    if isinstance(loss, ClassificationLoss):
        with torch.no_grad():
            loss.weight.copy_(torch.eye(CLASSES, DIM))
    value = loss(descriptors, labels)
    value.backward()
    assert torch.isfinite(value)
    assert torch.isfinite(descriptors.grad).all()
    assert all(torch.isfinite(parameter.grad).all() for parameter in loss.parameters())


def test_zero_descriptors_have_finite_gradients(loss: Loss) -> None:
    descriptors = torch.zeros(8, DIM, requires_grad=True)
    value = loss(descriptors, torch.arange(8) % CLASSES)
    value.backward()
    assert torch.isfinite(value)
    assert torch.isfinite(descriptors.grad).all()


def test_length_of_descriptors_does_not_matter(loss: Loss, request: pytest.FixtureRequest) -> None:
    descriptors, labels = batch()
    other = create(request.node.callspec.params["loss"])
    torch.testing.assert_close(loss(descriptors, labels), other(7 * descriptors, labels))


def test_autocast_changes_nothing(loss: Loss, request: pytest.FixtureRequest) -> None:
    descriptors, labels = batch()
    other = create(request.node.callspec.params["loss"])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value = loss(descriptors, labels)
    assert value.dtype == torch.float32
    torch.testing.assert_close(value, other(descriptors, labels))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_descriptors(loss: Loss, dtype: torch.dtype, request: pytest.FixtureRequest) -> None:
    descriptors, labels = batch()
    other = create(request.node.callspec.params["loss"])
    value = loss(descriptors.to(dtype), labels)
    assert value.dtype == torch.float32
    torch.testing.assert_close(value, other(descriptors, labels), rtol=2e-2, atol=2e-2)


def test_state_dict_round_trip(loss: Loss, request: pytest.FixtureRequest) -> None:
    descriptors, labels = batch()
    loss(descriptors, labels)
    again = create(request.node.callspec.params["loss"])
    again.load_state_dict(loss.state_dict(), strict=True)
    assert torch.equal(again(descriptors, labels), loss(descriptors, labels))


def test_wrong_labels_are_named(loss: Loss) -> None:
    descriptors, labels = batch()
    with pytest.raises(InputError, match="got -1"):
        loss(descriptors, labels - 1)
    with pytest.raises(InputError, match="one per descriptor"):
        loss(descriptors, labels[:3])
    with pytest.raises(InputError, match="integers"):
        loss(descriptors, labels.float())
    with pytest.raises(InputError, match="empty"):
        loss(descriptors[:0], labels[:0])
    if isinstance(loss, ClassificationLoss):
        with pytest.raises(InputError, match=r"0 \.\. 5, got 1 to 6"):
            loss(descriptors, labels + 1)


def test_classification_logits(loss: Loss) -> None:
    if not isinstance(loss, ClassificationLoss):
        pytest.skip("a metric loss has no classes")
    descriptors, labels = batch()
    plain = loss.logits(descriptors)
    assert plain.shape == (len(labels), CLASSES)
    assert plain.abs().max() <= loss.scale * (1 + 1e-6)
    assert loss.weight.shape == (CLASSES, DIM)
    assert loss.weight.abs().max() <= (6 / (CLASSES + DIM)) ** 0.5
    margin = loss.logits(descriptors, labels)
    own = torch.nn.functional.one_hot(labels, CLASSES).bool()
    assert (margin[own] <= plain[own] + 1e-5).all()
