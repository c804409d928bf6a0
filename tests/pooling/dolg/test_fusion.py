"""Ways to fuse, against pooling after fusing at every position."""

import pytest
import torch

from retrieval_bench.pooling.dolg.fusion import FUSIONS


def at_a_position(name, local, whole):
    if name == "concatenation":
        return torch.cat([whole, local])
    if name == "hadamard":
        return whole * local
    return torch.cat([whole, local - (local @ whole) / (whole @ whole) * whole])


@pytest.mark.parametrize("name", sorted(FUSIONS))
def test_mean_of_what_is_fused_at_every_position(name):
    generator = torch.Generator().manual_seed(0)
    local, whole = torch.randn(2, 5, 3, 4, generator=generator), torch.randn(2, 5, generator=generator)
    expected = torch.stack(
        [
            torch.stack([at_a_position(name, position, vector) for position in image.flatten(1).T]).mean(dim=0)
            for image, vector in zip(local, whole, strict=True)
        ]
    )
    fused = FUSIONS[name].fuse(local, whole)
    assert fused.shape == (2, FUSIONS[name].widths * 5)
    torch.testing.assert_close(fused, expected)
