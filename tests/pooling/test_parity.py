"""Poolings against cirtorch's own numbers."""

from pathlib import Path

import pytest
import torch
from parity_case import load

from retrieval_bench.pooling.gem import GeM, generalised_mean
from retrieval_bench.pooling.gemmp import GeMPerChannel
from retrieval_bench.pooling.mac import MAC
from retrieval_bench.pooling.normalise import l2_normalise
from retrieval_bench.pooling.regional import RegionalGeM
from retrieval_bench.pooling.rmac import RMAC
from retrieval_bench.pooling.spoc import SPoC

CASE = load(Path(__file__).parents[1] / "parity" / "gem" / "poolings")
C = CASE.settings["channels"]
STATE = {key: torch.from_numpy(value) for key, value in CASE.state_dict.items()}
MAPS = {name.removeprefix("pool/"): torch.from_numpy(value) for name, value in CASE.inputs.items()}


def regional(base: str, *, whiten: bool) -> RegionalGeM:
    pooling = RegionalGeM(C, base=base, whiten=whiten)  # type: ignore[arg-type]
    if whiten:
        pooling.load_state_dict(
            {"whiten.weight": STATE["regional.whiten.weight"], "whiten.bias": STATE["regional.whiten.bias"]},
            strict=False,
        )
    return pooling


def per_channel() -> GeMPerChannel:
    pooling = GeMPerChannel(C)
    pooling.load_state_dict({"p": STATE["gemmp.p"]})
    return pooling


HEADS = {
    "mac": MAC(C),
    "spoc": SPoC(C),
    "gem_p3": GeM(C),
    "gem_p2.37": GeM(C, p=2.37),
    "gemmp": per_channel(),
    "rmac_L3": RMAC(C),
    "rmac_L2": RMAC(C, levels=2),
    "regional_mac": regional("mac", whiten=False),
    "regional_gem_p3_whiten": regional("gem", whiten=True),
}


@torch.no_grad()
@pytest.mark.parametrize("name", MAPS)
@pytest.mark.parametrize("head", HEADS)
def test_head_equals_cirtorch(head: str, name: str) -> None:
    expected = torch.from_numpy(CASE.outputs[f"{head}.{name}"])
    torch.testing.assert_close(HEADS[head](MAPS[name]), expected, **CASE.tolerance)


@torch.no_grad()
@pytest.mark.parametrize("name", MAPS)
def test_regions_equal_cirtorch_one_by_one(name: str) -> None:
    expected = torch.from_numpy(CASE.outputs[f"regions_gem_p3_whiten.{name}"])
    torch.testing.assert_close(HEADS["regional_gem_p3_whiten"].regions(MAPS[name]), expected, **CASE.tolerance)


@pytest.mark.parametrize("name", MAPS)
def test_l2_normalisation_equals_cirtorch(name: str) -> None:
    expected = torch.from_numpy(CASE.outputs[f"l2n_gem_p3.{name}"])
    torch.testing.assert_close(l2_normalise(generalised_mean(MAPS[name], 3.0)), expected, **CASE.tolerance)
