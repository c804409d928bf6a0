"""Both stages as a run trains them: mining, validation on triplets, and the same end after an interruption."""

import numpy as np
import pytest
import torch
from PIL import Image

from retrieval_bench.data.module import RetrievalDataModule
from retrieval_bench.methods.cvnet.recipes import RECIPES
from retrieval_bench.settings.errors import InputError
from retrieval_bench.settings.run import RuntimeSettings
from retrieval_bench.training.fit import fit
from retrieval_bench.values.dataset import ImageList, LabelledImages, RetrievalDataset

CLASSES, EACH = 4, 6
SMALL = {"epochs": 2, "image_size": 40, "batch_size": 6, "warmup_epochs": 0, "jitter": 0.0}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    """Noise around one colour per class."""
    folder, rng = tmp_path_factory.mktemp("colours"), np.random.default_rng(0)
    paths = []
    for row in range(CLASSES * EACH):
        colour = np.array([[40, 200, 90], [220, 30, 60], [60, 70, 230], [200, 210, 40]][row // EACH])
        pixels = (colour + rng.normal(0, 30, (40, 40, 3))).clip(0, 255).astype(np.uint8)
        paths.append(folder / f"{row}.png")
        Image.fromarray(pixels).save(paths[-1])
    labels = [row // EACH for row in range(len(paths))]
    images = ImageList(["a"], [paths[0]])
    train = LabelledImages(paths, labels, [str(label) for label in range(CLASSES)])
    return RetrievalDataset("colours", folder, images, images, [{"easy": [0]}], train, None)


@pytest.fixture
def run(build, dataset):
    """Train a model in a folder with one of its recipes, made small."""

    def train(folder, name, model=None, seed=0, share=0.4, **given):
        if model is None:
            model = build("cvnet", seed=seed, num_classes=CLASSES, matcher_dim=4, queue_size=64)
        model.recipe = RECIPES[name].model_copy(update={**SMALL, **given})
        data = RetrievalDataModule(dataset, model.recipe, model.protocol, workers=0, validation_share=share)
        trained = fit(model, data, folder, RuntimeSettings(accelerator="cpu", workers=0))
        return model, data, trained

    return train


def test_one_stage_after_the_other(run, tmp_path):
    model, _, first = run(tmp_path / "first", "base")
    assert {"train/contrast", "train/classification", "validation/contrast"} <= set(first.history[-1])
    before = {name: value.clone() for name, value in model.state_dict().items()}
    _, data, second = run(tmp_path / "second", "rerank", model)
    assert {"train/positive", "train/negative", "validation/positive"} <= set(second.history[-1])
    assert data.mined["neighbours"].shape[0] == len(data.train_rows)
    moved = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert moved
    assert all(name.startswith("matcher.") for name in moved)


class PowerCutError(Exception):
    """The process ends here."""


@pytest.mark.parametrize("name", ["base", "rerank"])
def test_an_interrupted_stage_ends_with_the_same_weights(name, run, tmp_path, monkeypatch):
    expected, _, _ = run(tmp_path / "whole", name, share=0.0)
    plain = type(expected).training_step

    def step(self, batch, batch_idx):
        if self.current_epoch == 1 and batch_idx == 1:
            raise PowerCutError
        return plain(self, batch, batch_idx)

    with monkeypatch.context() as patched:
        patched.setattr(type(expected), "training_step", step)
        with pytest.raises(PowerCutError):
            run(tmp_path / "killed", name, share=0.0)
    if name == "rerank":  # what was mined belongs to the weights of the first attempt, and is kept
        monkeypatch.setattr(type(expected), "hard_negatives", lambda *_: pytest.fail("mined again"))
    resumed, _, _ = run(tmp_path / "killed", name, seed=9, share=0.0)
    different = [
        key for key, value in expected.state_dict().items() if not torch.equal(value, resumed.state_dict()[key])
    ]
    assert different == []


def test_the_second_stage_needs_triplets(run, tmp_path):
    with pytest.raises(InputError, match="trains on triplets, not with sampler 'shuffle'"):
        run(tmp_path, "rerank", sampler="shuffle")
