"""How a run is called."""

import pytest
import torch

import retrieval_bench as rb
from retrieval_bench.methods.swapping import swapped_parts
from retrieval_bench.running.finish import run_title
from retrieval_bench.settings.run import RunSettings


def title(weights=None, **given) -> str:
    settings = RunSettings.model_validate({"backbone": {"name": "test_resnet"}, "model": {"dim": 16}, **given})
    parts = {kind: getattr(settings, kind).given() for kind in ("backbone", "pooling", "loss")}
    model = rb.create_model("gem", **parts, **settings.model, weights=weights)
    return run_title(model, swapped_parts(model), settings)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({}, ""),
        ({"loss": {"margin": 0.1, "scale": 16}}, ""),
        ({"pooling": {"name": "gem"}}, ", pooling gem"),
        ({"pooling": {"p": 4}}, ", pooling gem (p=4)"),
        ({"pooling": {"name": "gemp", "p": 5.5}}, ", pooling gemp (p=5.5)"),
        ({"loss": {"name": "arcface", "margin": 0.3}}, ", loss arcface (margin=0.3)"),
        (
            {"loss": {"name": "smoothap", "batch_attention": {"name": "batchformer", "heads": 2}}},
            ", loss smoothap, batch attention batchformer (heads=2)",
        ),
    ],
    ids=str,
)
def test_titles_say_what_is_not_the_methods_own(given, says):
    assert title(**given) == f"GeM test_resnet{says}"


def test_an_exponent_that_was_learnt_is_in_no_title(tmp_path):
    model = rb.create_model("gem", backbone="test_resnet", pooling={"learnable": True}, dim=16)
    with torch.no_grad():
        model.pooling.p += 0.25
    content = {"state_dict": model.state_dict()}
    model.on_save_checkpoint(content)
    torch.save(content, tmp_path / "own.ckpt")
    assert title(tmp_path / "own.ckpt", backbone={}) == "GeM test_resnet, pooling gem (learnable=true)"
