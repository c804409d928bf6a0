"""Every registered method learns, and goes on after an interruption to the last bit; each of its stages does."""

import pytest
import torch
from PIL import Image
from torch.nn.functional import cross_entropy
from torchvision.transforms.functional import pil_to_tensor

import retrieval_bench as rb
from retrieval_bench.methods.registry import METHODS
from retrieval_bench.settings.run import TrainSettings
from retrieval_bench.settings.stages import training_stages

FEW = {"image_size": 32, "batch_size": 12, "warmup_epochs": 0, "crop_scale": (0.6, 1.0), "jitter": 0.0, "flip": 0.0}
SPECIAL = {"senet": {"backbone": {"name": "test_resnet", "output_stride": 8}, "mid_dim": 32}}
"""SENet looks at neighbourhoods: a map of one position has none."""

STAGES = [
    (method, name)
    for method in rb.list_methods()
    for name in training_stages(TrainSettings(), METHODS.get(method).recipes)
]
"""Every stage of the base recipe of every method."""


def stage_recipe(method: str, name: str, **given):
    """A stage of the base recipe, at sizes for a few seconds."""
    settings = TrainSettings(**FEW, **given)
    return training_stages(settings, METHODS.get(method).recipes)[name]


def judged(model, dataset) -> tuple[float, float]:
    """Cross-entropy without a margin, and accuracy, on the training images."""
    images = torch.stack([pil_to_tensor(Image.open(path)) for path in dataset.train.paths])
    labels = torch.tensor(dataset.train.labels)
    with torch.no_grad():
        logits = model.loss.logits(model.embed(model.normalise(model.checked(images))))
    return cross_entropy(logits, labels).item(), (logits.argmax(dim=1) == labels).float().mean().item()


@pytest.mark.parametrize("method", rb.list_methods())
def test_it_learns(method, dataset, build, train, tmp_path):
    """The loss is compared without margins: MadaCos keeps its own where it is, by its scale."""
    recipe = stage_recipe(method, "base", epochs=40, optimiser="adamw", lr=1e-3)
    model = build(method, recipe, **SPECIAL.get(method, {}))
    before, _ = judged(model, dataset)
    train(model, tmp_path)
    after, accuracy = judged(model, dataset)
    assert after < 0.5 * before
    assert accuracy > 0.9


class PowerCutError(Exception):
    """The process ends here."""


@pytest.mark.parametrize(("method", "stage"), STAGES, ids=str)
def test_a_stage_that_was_killed_ends_with_the_weights_it_would_have_had(
    method, stage, build, train, tmp_path, monkeypatch
):
    chosen = stage_recipe(method, stage).model_copy(update={"epochs": 3, "lr": 0.02, "flip": 0.5})
    whole = build(method, chosen)
    expected = train(whole, tmp_path / "whole")

    killed, step, seen = build(method, chosen), None, []
    step = killed.training_step

    def training_step(batch, batch_idx):
        if len(seen) == 3:
            raise PowerCutError
        seen.append(batch_idx)
        return step(batch, batch_idx)

    monkeypatch.setattr(killed, "training_step", training_step)
    with pytest.raises(PowerCutError):
        train(killed, tmp_path / "killed")

    resumed = build(method, chosen)
    trained = train(resumed, tmp_path / "killed")
    assert trained.images == expected.images
    changed = [name for name, value in whole.state_dict().items() if not torch.equal(value, resumed.state_dict()[name])]
    assert changed == []


@pytest.mark.parametrize(("method", "stage"), STAGES, ids=str)
def test_a_stage_moves_what_it_trains_and_nothing_else(method, stage, build, train, tmp_path):
    model = build(method, stage_recipe(method, stage).model_copy(update={"epochs": 2, "lr": 0.02}))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    train(model, tmp_path)
    trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    still = {name for name in trained if torch.equal(before[name], model.state_dict()[name])}
    # A scale whose input is zero, or a bias in front of a normalisation, may stay.
    assert len(still) <= 0.05 * len(trained), still
    frozen = {name for name, parameter in model.named_parameters() if not parameter.requires_grad}
    followers = {name for name in frozen if name.startswith("contrast.")}
    moved = {name for name in frozen - followers if not torch.equal(before[name], model.state_dict()[name])}
    assert moved == set()
