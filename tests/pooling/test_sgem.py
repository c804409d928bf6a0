"""Scale-GeM as a pooling: it pools one scale and names the rule for all of them."""

import pytest
import torch

import retrieval_bench as rb
from retrieval_bench.pooling import POOLINGS
from retrieval_bench.pooling.gem import generalised_mean
from retrieval_bench.pooling.rgem import regional_gem
from retrieval_bench.pooling.sgem import ScaleGeM
from retrieval_bench.settings.errors import InputError

MAP = torch.randn(2, 4, 6, 5, generator=torch.Generator().manual_seed(0)).relu()


@pytest.mark.parametrize(
    ("options", "rule"),
    [({}, ("max", None)), ({"ps": float("inf")}, ("max", None)), ({"ps": 10.0}, ("shifted-power", 10.0))],
)
def test_the_rule_over_scales(options, rule):
    head = ScaleGeM(4, **options)
    assert (head.merge, head.merge_exponent) == rule


def test_positions_are_pooled_by_the_inner_head():
    torch.testing.assert_close(ScaleGeM(4)(MAP), generalised_mean(MAP, 4.6, 1e-8))
    torch.testing.assert_close(ScaleGeM(4, then="gem", p=2.0)(MAP), generalised_mean(MAP, 2.0))
    torch.testing.assert_close(ScaleGeM(4, then="rgem")(MAP), generalised_mean(regional_gem(MAP), 4.6, 1e-8))


@pytest.mark.parametrize("ps", [0.0, -1.0, float("nan")])
def test_exponents_that_give_no_mean(ps):
    with pytest.raises(InputError, match=r"pooling\.ps.* must be positive"):
        ScaleGeM(4, ps)


def test_unknown_inner_head():
    with pytest.raises(InputError, match="did you mean 'rgem'"):
        POOLINGS.create("sgem", {"then": "rgme"}, in_channels=4)


@pytest.mark.parametrize(("ps", "rule"), [(None, ("max", None)), (10.0, ("shifted-power", 10.0))])
def test_a_method_merges_its_scales_so(ps, rule):
    model = rb.create_model("gem", backbone="test_resnet", pooling={"name": "sgem", "ps": ps}, dim=8)
    assert (model.protocol.merge, model.protocol.merge_exponent) == rule
