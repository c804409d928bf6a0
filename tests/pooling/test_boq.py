"""BoQ against torch's transformer layers, and its attention against loops."""

import pytest
import torch
from torch import Tensor, nn

from retrieval_bench.pooling import POOLINGS
from retrieval_bench.pooling.boq import BoQ, attention, default_channels
from retrieval_bench.pooling.multihead import MultiHeadAttention
from retrieval_bench.settings.errors import InputError

C, D, Q = 6, 8, 3


def feature_map(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def build(**options: object) -> BoQ:
    torch.manual_seed(0)
    small = {"channels": D, "queries": Q, "rows": 2, "heads": 2}
    head: BoQ = POOLINGS.create("boq", {**small, **options}, in_channels=C).eval()
    for parameter in head.parameters():
        nn.init.normal_(parameter, std=0.4)
    return head


def packed(ours: MultiHeadAttention, prefix: str = "") -> dict[str, Tensor]:
    """Our attention under the names of torch's, which keeps q, k and v as one map."""
    parts = (ours.query, ours.key, ours.value)
    return {
        f"{prefix}in_proj_weight": torch.cat([part.weight for part in parts]),
        f"{prefix}in_proj_bias": torch.cat([part.bias for part in parts]),
        f"{prefix}out_proj.weight": ours.out.weight,
        f"{prefix}out_proj.bias": ours.out.bias,
    }


def torchs_attention(ours: MultiHeadAttention) -> nn.MultiheadAttention:
    made = nn.MultiheadAttention(D, ours.heads, batch_first=True).eval()
    made.load_state_dict(packed(ours))
    return made


@torch.no_grad()
def test_it_equals_torch_s_layers() -> None:
    head, values = build(), feature_map(2, C, 3, 5)
    local = head.norm(nn.functional.conv2d(values, head.reduction.weight, head.reduction.bias, padding=1).flatten(2).mT)
    answers = []
    for bag in head.bags:
        layer = nn.TransformerEncoderLayer(D, 2, 4 * D, dropout=0.0, batch_first=True)
        names = {"linear1": "expand", "linear2": "contract", "norm1": "attention_norm", "norm2": "norm"}
        state = packed(bag.encoder.self_attention, "self_attn.")
        for theirs, ours in names.items():
            module = getattr(bag.encoder, ours)
            state |= {f"{theirs}.{key}": value for key, value in module.state_dict().items()}
        layer.load_state_dict(state)
        # In training mode without dropout: torch's shortcut for inference rounds otherwise.
        local = layer(local)
        queries = bag.queries.expand(2, -1, -1)
        queries = queries + torchs_attention(bag.self_attention)(queries, queries, queries)[0]
        queries = nn.functional.layer_norm(queries, (D,), bag.query_norm.weight, bag.query_norm.bias)
        answer = torchs_attention(bag.cross_attention)(queries, local, local)[0]
        answers.append(nn.functional.layer_norm(answer, (D,), bag.norm.weight, bag.norm.bias))
    combined = torch.zeros(2, D, 2)
    for image in range(2):
        for channel in range(D):
            column = torch.cat([answer[image, :, channel] for answer in answers])
            combined[image, channel] = head.combination.weight @ column + head.combination.bias
    torch.testing.assert_close(head(values), combined.flatten(1), rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_answers_are_attention_query_by_query() -> None:
    bag, local = build().bags[0], feature_map(1, 7, D)
    encoded, answers = bag(local)
    cross = bag.cross_attention
    asking = bag.query_norm(bag.queries + bag.self_attention(bag.queries[None], bag.queries[None])[0])
    for row in range(Q):
        heads = []
        for own in (slice(0, 4), slice(4, 8)):
            q = cross.query(asking[row])[own]
            weights = torch.stack([cross.key(one)[own] @ q / 2 for one in encoded[0]]).softmax(dim=0)
            heads.append(sum(w * cross.value(one)[own] for w, one in zip(weights, encoded[0], strict=True)))
        expected = bag.norm(cross.out(torch.cat(heads)))
        torch.testing.assert_close(answers[0, row], expected, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_only_the_convolution_knows_positions() -> None:
    head, values = build(), feature_map(1, C, 3, 4)
    order = torch.randperm(12, generator=torch.Generator().manual_seed(1))
    shuffled = values.flatten(2)[..., order].unflatten(2, (3, 4))
    assert not torch.allclose(head(values), head(shuffled), atol=1e-3)
    around = torch.zeros_like(head.reduction.weight)
    around[..., 1, 1] = head.reduction.weight[..., 1, 1]
    head.reduction.weight.copy_(around)
    torch.testing.assert_close(head(values), head(shuffled), rtol=1e-4, atol=1e-5)


def test_attention_starts_as_torch_s() -> None:
    torch.manual_seed(0)
    ours, theirs = packed(attention(64, 4)), nn.MultiheadAttention(64, 4).state_dict()
    for key, value in theirs.items():
        assert ours[key].abs().max().item() == pytest.approx(value.abs().max().item(), rel=0.02), key


def test_the_published_sizes() -> None:
    head = POOLINGS.create("boq", {}, in_channels=1024)
    assert head.out_channels == 16384
    assert head.bags[0].cross_attention.heads == 8
    assert POOLINGS.create("boq", {"channels": 384}, in_channels=768).out_channels == 12288


@pytest.mark.parametrize(
    ("in_channels", "heads", "channels"),
    [(2048, None, 512), (320, None, 320), (192, None, 192), (100, None, 64), (20, None, 20), (20, 8, 16), (3, 8, 8)],
)
def test_the_default_width_fits_the_backbone(in_channels: int, heads: int | None, channels: int) -> None:
    assert default_channels(in_channels, heads) == channels


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"heads": 3}, "pooling.heads=3 must divide pooling.channels=8"),
        ({"queries": 0}, "pooling.queries must be at least 1, got 0"),
        ({"bags": 0}, "pooling.bags must be at least 1"),
        ({"heads": 0}, "pooling.heads must be at least 1"),
        ({"channels": 0}, "pooling.channels must be at least 1"),
        ({"dropout": -0.1}, "pooling.dropout must be at least 0"),
        ({"query": 3}, "did you mean 'queries'"),
    ],
)
def test_wrong_options(options: dict[str, object], said: str) -> None:
    with pytest.raises(InputError, match=said):
        build(**options)
