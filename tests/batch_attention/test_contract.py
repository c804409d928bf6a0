"""What every registered batch attention owes, whoever wrote it."""

import copy

import pytest
import torch

from retrieval_bench.batch_attention import BATCH_ATTENTIONS, BatchAttention, attach, list_batch_attentions
from retrieval_bench.losses import LOSSES, list_losses

DIM, CLASSES = 16, 6
LABELS = torch.arange(12) % CLASSES
DESCRIPTORS = torch.randn(12, DIM, generator=torch.Generator().manual_seed(0))


def create(name: str) -> BatchAttention:
    torch.manual_seed(0)
    return BATCH_ATTENTIONS.create(name, {}, dim=DIM)


@pytest.fixture(params=list_batch_attentions())
def name(request: pytest.FixtureRequest) -> str:
    return request.param


def joined(name: str, loss: str) -> torch.nn.Module:
    torch.manual_seed(0)
    made = LOSSES.create(loss, {}, dim=DIM, num_classes=CLASSES)
    attach(made, create(name))
    return made


def test_there_are_both() -> None:
    assert {"batchformer", "batchtransformer"} <= set(list_batch_attentions())


def test_rows_and_labels_belong_together_and_the_batch_comes_first(name: str) -> None:
    rows, labels = create(name)(DESCRIPTORS, LABELS)
    assert rows.shape == (len(labels), DIM)
    assert torch.equal(rows[:12], DESCRIPTORS)
    assert torch.equal(labels[:12], LABELS)
    assert torch.isfinite(rows).all()


@pytest.mark.parametrize("count", [1, 2])
def test_tiny_batches(name: str, count: int) -> None:
    rows, labels = create(name)(DESCRIPTORS[:count], LABELS[:count])
    assert torch.isfinite(rows).all()
    assert len(rows) == len(labels)


@pytest.mark.parametrize("loss", list_losses())
def test_a_loss_sees_what_it_makes_of_a_training_batch(name: str, loss: str) -> None:
    made = joined(name, loss)
    plain = LOSSES.create(loss, {}, dim=DIM, num_classes=CLASSES)
    plain.load_state_dict({key: value for key, value in made.state_dict().items() if "batch_attention" not in key})
    rows, labels = copy.deepcopy(made.batch_attention)(DESCRIPTORS, LABELS)
    torch.testing.assert_close(made(DESCRIPTORS, LABELS), plain(rows, labels))


@pytest.mark.parametrize("loss", list_losses())
def test_evaluation_is_as_without_it(name: str, loss: str) -> None:
    made = joined(name, loss).eval()
    torch.manual_seed(0)
    plain = LOSSES.create(loss, {}, dim=DIM, num_classes=CLASSES).eval()
    assert torch.equal(made(DESCRIPTORS, LABELS), plain(DESCRIPTORS, LABELS))
    assert type(made) is LOSSES.get(loss)


@pytest.mark.parametrize("loss", ["arcface", "smoothap"])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_gradients_under_autocast(name: str, loss: str, dtype: torch.dtype) -> None:
    gradients = []
    for on in (True, False):
        made = joined(name, loss)
        descriptors = DESCRIPTORS.to(dtype).requires_grad_()
        with torch.autocast("cpu", dtype=dtype, enabled=on):
            value = made(descriptors, LABELS)
        assert value.dtype == torch.float32
        value.backward()
        gradients.append([descriptors.grad, *(parameter.grad for parameter in made.parameters())])
    for one, two in zip(*gradients, strict=True):
        assert torch.isfinite(one).all()
        torch.testing.assert_close(one, two)


@pytest.mark.parametrize("loss", ["arcface", "smoothap"])
def test_a_copy_has_its_own(name: str, loss: str) -> None:
    made = joined(name, loss)
    copied = copy.deepcopy(made)
    assert torch.equal(made(DESCRIPTORS, LABELS), copied(DESCRIPTORS, LABELS))
    assert copied.batch_attention is not made.batch_attention


def test_state_dict_round_trip(name: str) -> None:
    first = create(name)
    first(DESCRIPTORS, LABELS)
    torch.manual_seed(5)
    second = BATCH_ATTENTIONS.create(name, {}, dim=DIM)
    second.load_state_dict(first.state_dict(), strict=True)
    assert torch.equal(first(DESCRIPTORS, LABELS)[0], second(DESCRIPTORS, LABELS)[0])
