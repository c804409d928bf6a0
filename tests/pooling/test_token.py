"""Token against its authors' numbers, and against its formulas one by one."""

import math
from pathlib import Path

import pytest
import torch
from parity_case import ParityCase, load
from published_file import raw_images, tensors
from torch import Tensor

import retrieval_bench as rb
from retrieval_bench.pooling import POOLINGS
from retrieval_bench.pooling.token import TokenPooling, drop_path, soft_assignment
from retrieval_bench.settings.errors import InputError

CASES = Path(__file__).parents[1] / "parity" / "token"
NAMES = {
    "query": "queries",
    "token_norm.0.": "token_map.",
    "token_norm.1.": "token_norm.",
    "conv.0.": "reduction.",
    "conv.1.": "reduction_norm.",
    "proj.0.": "projection.",
    "proj.1.": "projection_norm.",
    "encoder.": "local_blocks.",
    "decoder.": "refinements.",
}
INSIDE = {
    ".self_attn.": ".self_attention.",
    ".cross_attn.": ".cross_attention.",
    ".attn.": ".self_attention.",
    ".q.": ".query.",
    ".k.": ".key.",
    ".v.": ".value.",
    ".proj.": ".out.",
    ".bn.": ".norm.",
    ".bn1.": ".cross_norm.",
    ".bn2.": ".self_norm.",
    ".mlp.fc1.": ".expand.",
    ".mlp.fc2.": ".contract.",
    ".mlp.": ".linear.",
}
RESNET = {"block1.0.": "conv1.", "block1.1.": "bn1.", **{f"block{i}.": f"layer{i - 1}." for i in range(2, 6)}}


def renamed(key: str, first: dict[str, str], inside: dict[str, str] | None = None) -> str:
    start = next(old for old in first if key.startswith(old))
    key = first[start] + key.removeprefix(start)
    for old, new in (inside or {}).items():
        if not key.startswith(("reduction", "projection", "token")):
            key = key.replace(old, new)
    return key


def head_state(case: ParityCase, prefix: str = "") -> dict[str, Tensor]:
    """The authors' head under our names and in our shapes."""
    state = {
        renamed(key.removeprefix(prefix), NAMES, INSIDE): value
        for key, value in tensors(case.state_dict).items()
        if key.startswith(prefix)
    }
    state["queries"] = state["queries"][0]
    state["reduction.weight"] = state["reduction.weight"][..., 0, 0]
    return state


def build(channels: int = 16, **options: object) -> TokenPooling:
    """A small head whose every weight matters."""
    torch.manual_seed(0)
    head: TokenPooling = POOLINGS.create("token", {"channels": channels, "heads": 4, **options}, in_channels=12).eval()
    for parameter in head.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return head


def feature_map(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@torch.no_grad()
def test_the_head_equals_the_authors() -> None:
    case = load(CASES / "head")
    head = POOLINGS.create("token", {}, in_channels=2048).eval()
    head.load_state_dict(head_state(case), strict=True)
    values = torch.from_numpy(case.inputs["token/feature_map"]).abs()
    local = head.local_features(values)
    found = {
        "local_features_slice": local[..., :8],
        "attention": head.attention(values).flatten(2),
        "tokens_before_refinement_slice": head.gathered(local)[..., :64],
        "projected": head(values),
        "descriptor": torch.nn.functional.normalize(head(values), dim=1),
    }
    assert found.keys() == case.outputs.keys()
    for name, value in found.items():
        torch.testing.assert_close(value, torch.from_numpy(case.outputs[name]), **case.tolerance)


@torch.no_grad()
def test_a_whole_model_equals_the_authors() -> None:
    case = load(CASES / "full_r101")
    model = rb.create_model("gem", backbone="resnet101", pooling="token", variant="cirtorch", projection="none")
    prefix = "backbone."
    state = {
        f"backbone.body.{renamed(key.removeprefix(prefix), RESNET)}": value
        for key, value in tensors(case.state_dict).items()
        if key.startswith(prefix)
    }
    state |= {f"pooling.{key}": value for key, value in head_state(case, "tr.").items()}
    model.load_state_dict(state, strict=True)
    images = raw_images(case.inputs["token_full/image"], (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    for output, scales in (("single_scale", (1.0,)), ("multi_scale", tuple(case.settings["scales"]))):
        expected = torch.from_numpy(case.outputs[output])
        torch.testing.assert_close(model.describe(images, scales), expected, **case.tolerance)


def by_hand_attention(weights: dict[str, Tensor], asking: Tensor, context: Tensor, heads: int) -> Tensor:
    """Query by query and head by head."""
    q, k, v = (
        values @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]
        for name, values in (("query", asking), ("key", context), ("value", context))
    )
    size = q.shape[1] // heads
    out = torch.zeros_like(q)
    for row in range(len(q)):
        for head in range(heads):
            own = slice(head * size, (head + 1) * size)
            scores = torch.stack([q[row, own] @ k[other, own] / math.sqrt(size) for other in range(len(k))])
            out[row, own] = sum(w * v[other, own] for other, w in enumerate(scores.softmax(dim=0)))
    return out @ weights["out.weight"].T + weights["out.bias"]


@torch.no_grad()
def test_refinement_asks_positions_then_thinks_then_asks_tokens() -> None:
    block = build(refinements=1).refinements[0]
    tokens, local = feature_map(1, 4, 16), feature_map(1, 7, 16, seed=1)
    weights = {name: dict(getattr(block, name).named_parameters()) for name in ("cross_attention", "self_attention")}
    q = tokens[0]
    q = q + by_hand_attention(weights["cross_attention"], block.cross_norm(q), local[0], 4)
    hidden = q @ block.expand.weight.T + block.expand.bias
    hidden = 0.5 * hidden * (1 + torch.erf(hidden / math.sqrt(2)))
    q = q + hidden @ block.contract.weight.T + block.contract.bias
    normed = block.self_norm(q)
    q = q + by_hand_attention(weights["self_attention"], normed, normed, 4)
    torch.testing.assert_close(block(tokens, local)[0], q, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_positions_see_each_other_before_they_are_normalised() -> None:
    block = build().local_blocks[0]
    block.norm.running_mean.normal_()
    block.norm.running_var.uniform_(0.5, 2)
    local = feature_map(1, 6, 16)
    weights = dict(block.self_attention.named_parameters())
    x = local[0] + by_hand_attention(weights, local[0], local[0], 4)
    norm = block.norm
    y = (x - norm.running_mean) / (norm.running_var + norm.eps).sqrt() * norm.weight + norm.bias
    expected = x + y @ block.linear.weight.T + block.linear.bias
    torch.testing.assert_close(block(local)[0], expected, rtol=1e-4, atol=1e-5)


def test_each_position_spreads_its_mass_over_the_tokens() -> None:
    queries, local = feature_map(4, 8), feature_map(2, 5, 8, seed=1)
    shares = soft_assignment(queries, local)
    assert shares.shape == (2, 4, 5)
    for image in range(2):
        for position in range(5):
            scores = torch.stack([query @ local[image, position] for query in queries])
            torch.testing.assert_close(shares[image, :, position], scores.softmax(dim=0))


@torch.no_grad()
def test_tokens_are_sums_not_means() -> None:
    head, local = build(), feature_map(2, 5, 16)
    shares = soft_assignment(head.queries, local)
    sums = torch.stack([sum(shares[:, :, n, None] * local[:, None, n] for n in range(5))])[0]
    torch.testing.assert_close(head.gathered(local), head.token_norm(head.token_map(sums)))


@torch.no_grad()
def test_a_new_head_s_attention_adds_nothing() -> None:
    torch.manual_seed(0)
    head = TokenPooling(32).eval()
    attentions = [head.local_blocks[0].self_attention]
    attentions += [block.cross_attention for block in head.refinements]
    attentions += [block.self_attention for block in head.refinements]
    for attention in attentions:
        assert not attention.out.weight.any()
        assert attention.query.weight.std().item() == pytest.approx(0.02, rel=0.1)
        assert not attention(feature_map(1, 3, 32), feature_map(1, 5, 32)).any()


@pytest.mark.parametrize(
    ("in_channels", "heads", "width"), [(2048, 8, 1024), (512, 8, 512), (20, 8, 16), (3, 8, 8), (96, 4, 96)]
)
def test_the_default_width_fits_the_backbone(in_channels: int, heads: int, width: int) -> None:
    assert POOLINGS.create("token", {"heads": heads, "tokens": 1}, in_channels=in_channels).out_channels == width


def test_dropped_branches_keep_the_mean() -> None:
    torch.manual_seed(0)
    dropped = drop_path(torch.ones(4000, 2, 3), 0.25)
    torch.testing.assert_close(dropped.unique(), torch.tensor([0.0, 1 / 0.75]))
    assert (dropped == dropped[:, :1, :1]).all()
    assert dropped.mean().item() == pytest.approx(1.0, abs=0.05)
    assert drop_path(dropped, 0) is dropped


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"heads": 3, "channels": 16}, r"pooling\.heads=3 must divide pooling\.channels=16"),
        ({"tokens": 0}, r"pooling\.tokens must be at least 1, got 0"),
        ({"heads": 0}, r"pooling\.heads must be at least 1"),
        ({"channels": 0}, r"pooling\.channels must be at least 1"),
        ({"refinements": 0}, r"pooling\.refinements must be at least 1"),
        ({"dropout": 1.0}, r"pooling\.dropout must be at least 0 and below 1, got 1.0"),
        ({"dropuot": 0.1}, "did you mean 'dropout'"),
    ],
)
def test_wrong_options(options: dict[str, object], said: str) -> None:
    with pytest.raises(InputError, match=said):
        POOLINGS.create("token", options, in_channels=16)
