"""BatchFormer: torch's own encoder layer over the batch, two streams, dropout that can be resumed."""

import pytest
import torch
from torch import nn

from retrieval_bench.batch_attention.batchformer import BatchFormer
from retrieval_bench.settings.errors import InputError

X = torch.randn(6, 8, generator=torch.Generator().manual_seed(0))
LABELS = torch.tensor([0, 0, 1, 1, 2, 2])


def create(**options: object) -> BatchFormer:
    torch.manual_seed(0)
    return BatchFormer(8, **options)


def test_it_is_torch_s_layer_with_the_batch_as_its_sequence() -> None:
    attention = create(dropout=0.0)
    layer = nn.TransformerEncoderLayer(8, 4, 8, 0.0)
    layer.load_state_dict(attention.layers[0].state_dict())
    torch.testing.assert_close(attention.attended(X), layer(X[:, None])[:, 0], rtol=0, atol=0)


def test_written_out() -> None:
    """Post-norm self-attention over rows, ReLU feed-forward, in float64."""
    attention = create(dropout=0.0, heads=2).double()
    x = X.double()
    layer = attention.layers[0]
    q, k, v = (x @ layer.self_attn.in_proj_weight.T + layer.self_attn.in_proj_bias).chunk(3, dim=1)
    heads = []
    for part in (slice(0, 4), slice(4, 8)):
        weights = (q[:, part] @ k[:, part].T / 2).softmax(dim=1)
        heads.append(weights @ v[:, part])
    y = layer.norm1(x + layer.self_attn.out_proj(torch.cat(heads, dim=1)))
    expected = layer.norm2(y + layer.linear2(layer.linear1(y).relu()))
    torch.testing.assert_close(attention.attended(x), expected)


def test_both_streams_with_the_labels_twice() -> None:
    attention = create()
    rows, labels = attention(X, LABELS)
    assert rows.shape == (12, 8)
    assert torch.equal(rows[:6], X)
    assert labels.tolist() == [0, 0, 1, 1, 2, 2] * 2


def test_the_published_shape() -> None:
    attention = BatchFormer(2048)
    assert len(attention.layers) == 1
    weights = sum(parameter.numel() for parameter in attention.parameters() if parameter.ndim == 2)
    assert weights == 6 * 2048**2
    assert attention.layers[0].self_attn.num_heads == 4
    assert attention.layers[0].dropout.p == attention.layers[0].self_attn.dropout == 0.5
    keys = {name.removeprefix("layers.0.") for name, _ in attention.named_parameters()}
    assert keys == {name for name, _ in nn.TransformerEncoderLayer(8, 4, 8).named_parameters()}


def test_a_permuted_batch_gives_permuted_rows() -> None:
    attention = create(dropout=0.0)
    order = torch.tensor([3, 0, 5, 1, 4, 2])
    torch.testing.assert_close(attention.attended(X[order]), attention.attended(X)[order])


def test_gradients_flow_between_images() -> None:
    attention = create()
    x = X.clone().requires_grad_()
    (attention.attended(x)[0] * torch.arange(8.0)).sum().backward()
    assert (x.grad[1:].abs().sum(dim=1) > 0).all()


def test_dropout_comes_from_its_own_state() -> None:
    first, second = create(), create()
    before = torch.random.get_rng_state()
    drawn = [first.attended(X) for _ in range(3)]
    assert torch.equal(torch.random.get_rng_state(), before)
    assert not torch.equal(drawn[0], drawn[1])
    torch.manual_seed(99)
    assert torch.equal(second.attended(X), drawn[0])
    third = BatchFormer(8)
    third.load_state_dict(second.state_dict())
    assert torch.equal(third.attended(X), drawn[1])
    torch.manual_seed(5)
    assert not torch.equal(BatchFormer(8).draws, first.draws)


def test_evaluation_draws_nothing() -> None:
    attention = create().eval()
    assert torch.equal(attention.attended(X), attention.attended(X))
    assert attention.draws[1] == 0


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"heads": 3}, r"heads=3 does not divide the 8 dimensions of the descriptor; take one of 1, 2, 4, 8"),
        ({"layers": 0}, "layers must be at least 1"),
        ({"hidden": 0}, "hidden must be at least 1"),
        ({"dropout": 1.0}, "dropout must lie in 0"),
    ],
)
def test_options_that_make_no_sense(options: dict, said: str) -> None:
    with pytest.raises(InputError, match=said) as caught:
        BatchFormer(8, **options)
    assert "\n" not in str(caught.value)
