"""A run on stored features is the run with a frozen backbone, to the last bit."""

import numpy as np
import pytest
import torch

from retrieval_bench.weights.reading import read_state

ORDINARY = ("train.stored_features=false", "train.views=centre")

CASES = {
    "gem": ("pooling.learnable=true",),
    "gem, another pooling and loss, moving averages": ("pooling=rmac", "loss=cosface", "train.ema=0.9"),
    "gem, a metric loss on mined batches": ("loss=contrastive", "train.sampler=hard-negatives"),
    "gem, dropout in batch attention": ("loss.batch_attention=batchformer",),
    "gem, MixVPR, batch attention and a ranking loss": (
        "pooling=mixvpr",
        "loss=smoothap",
        "loss.batch_attention=batchformer",
    ),
    "gem, BoQ, batch attention and a ranking loss": (
        "pooling=boq",
        "loss=recallatk",
        "loss.batch_attention=batchformer",
    ),
    "gem, batch attention without weights and a ranking loss": (
        "loss=fastap",
        "loss.batch_attention=batchtransformer",
        "loss.batch_attention.groups=4",
    ),
    "gem on a transformer": ("backbone=test_vit", "pooling=cls"),
    "gem on a transformer, dropout in a pooling": ("backbone=test_vit", "pooling=token"),
    "gem, mixed precision": ("runtime.precision=bf16-mixed",),
    "gem, a pooling that starts from images": ("pooling=netvlad", "pooling.clusters=4", "pooling.cluster_dim=8"),
    "delg": ("rerank=geometric",),
    "cfcd": ("loss=madacos", "loss.alpha=0.04"),
    "cfcd, pixel values of its own": ("backbone.normalisation=method",),
}
FURTHER = {
    "delg, mixed precision": ("runtime.precision=bf16-mixed", "rerank=geometric"),
    "gem, mixed precision and mined batches": (
        "runtime.precision=bf16-mixed",
        "loss=contrastive",
        "train.sampler=hard-negatives",
    ),
    "gem, two stages of the backbone": ("pooling=dolg",),
    "gem, tuples": ("loss=contrastive", "train.sampler=hard-tuples", "train.tuple_size=4"),
    "gem, a whitening learnt from pairs": ("whitening.kind=learned", "extract.scales=[1,0.7]"),
    "dolg": (),
    "delg, a whitening that starts from images": ("pooling=how", "pooling.dim=8"),
    "ultron": (),
    "senet": ("backbone.output_stride=8", "model.mid_dim=32"),
    "spca": ("whitening.kind=pca",),
}


def weights(folder):
    return read_state(folder / "checkpoints" / "final.ckpt")[0]


@pytest.mark.parametrize("case", [*CASES, *(pytest.param(case, marks=pytest.mark.slow) for case in FURTHER)])
def test_stored_features_give_the_ordinary_run(case, bench):
    method, further = case.partition(",")[0].partition(" ")[0], {**CASES, **FURTHER}[case]
    ordinary, first = bench(method, *further, *ORDINARY)
    stored, second = bench(method, *further)
    assert "stored features" not in {cost.name for cost in ordinary.costs}
    assert {"stored features", "feature extraction"} <= {cost.name for cost in stored.costs}
    one, other = weights(first), weights(second)
    assert list(one) == list(other)
    assert [name for name in one if not torch.equal(one[name], other[name])] == []
    assert ordinary.validation == stored.validation
    assert [stage.model_dump() for stage in ordinary.stages] == [stage.model_dump() for stage in stored.stages]
    with np.load(first / "ranking.npz") as a, np.load(second / "ranking.npz") as b:
        for name in a.files:
            np.testing.assert_array_equal(a[name], b[name])


def test_batches_of_other_sizes_differ_by_rounding_alone(bench):
    """Convolutions may sum in another order for another number of images: 22 in training are 9, 9 and 4."""
    given = ("backbone=resnet10t", "train.batch_size=9", "train.image_size=96")
    ordinary, first = bench("gem", *given, *ORDINARY)
    stored, second = bench("gem", *given)
    one, other = weights(first), weights(second)
    worst = max((one[name] - other[name]).abs().max().item() for name in one if one[name].is_floating_point())
    assert worst < 1e-5
    assert ordinary.stages[0].levels["medium"].map == stored.stages[0].levels["medium"].map


def test_the_backbone_stays_and_the_rest_learns(bench, backbone_weights):
    given = read_state(backbone_weights)[0]
    trained = weights(bench("gem", "pooling.learnable=true")[1])
    untrained = weights(bench("gem", "pooling.learnable=true", "train.lr=1e-12", "train.warmup_lr=1e-12")[1])
    body = {name.removeprefix("backbone.body."): value for name, value in trained.items() if "backbone." in name}
    assert len(body) > 10
    assert all(torch.equal(value, given[name]) for name, value in body.items())
    learnt = [name for name in trained if "backbone." not in name and not torch.equal(trained[name], untrained[name])]
    assert {"pooling.p", "projection.weight", "loss.weight"} <= set(learnt)


def test_half_precision_stores_are_half_as_large_and_close(bench):
    whole, first = bench("gem")
    half, second = bench("gem", "train.feature_dtype=float16")
    sizes = [next(cost.value for cost in each.costs if cost.name == "stored features") for each in (whole, half)]
    assert sizes[1] == pytest.approx(sizes[0] / 2, rel=0.1)
    one, other = weights(first), weights(second)
    assert not torch.equal(one["projection.weight"], other["projection.weight"])
    assert torch.allclose(one["projection.weight"], other["projection.weight"], atol=5e-3)
