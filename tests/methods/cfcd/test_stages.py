"""The second stage mines with the model of the first one, once, and trains on tuples."""

import numpy as np
import pytest
import torch
from PIL import Image

from retrieval_bench.data.module import RetrievalDataModule
from retrieval_bench.settings.errors import InputError
from retrieval_bench.settings.recipe import Recipe
from retrieval_bench.settings.run import RuntimeSettings
from retrieval_bench.training.fit import fit
from retrieval_bench.values.dataset import ImageList, LabelledImages, RetrievalDataset

CLASSES, EACH, SIDE = 4, 5, 32
SECOND = Recipe(
    stage=2, sampler="hard-tuples", tuple_size=4, epochs=1, batch_size=8, image_size=SIDE, lr=0.01, warmup_epochs=0
)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    """Pictures of one colour per class with noise."""
    folder, rng = tmp_path_factory.mktemp("colours"), np.random.default_rng(0)
    paths = []
    for label in range(CLASSES):
        colour = rng.integers(40, 215, 3)
        for number in range(EACH):
            pixels = colour + rng.normal(0, 30, (SIDE, SIDE, 3))
            paths.append(folder / f"{label}_{number}.png")
            Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(paths[-1])
    train = LabelledImages(paths, [row // EACH for row in range(len(paths))], [str(n) for n in range(CLASSES)])
    one = ImageList(["a"], paths[:1])
    return RetrievalDataset("colours", folder, one, one, [{"easy": [0]}], train, None)


@pytest.fixture
def model(build):
    built = build("cfcd", num_classes=CLASSES)
    built.recipe = SECOND
    return built


def loaders(dataset, model, share=0.2):
    return RetrievalDataModule(dataset, model.recipe, model.protocol, workers=0, validation_share=share)


def train(model, data, folder):
    return fit(model, data, folder, RuntimeSettings(accelerator="cpu", workers=0))


def classes(model, dataset):
    """Image by image, of the deterministic views, which are the whole pictures here."""
    found = []
    for path in dataset.train.paths:
        image = torch.from_numpy(np.array(Image.open(path))).permute(2, 0, 1)[None]
        with torch.no_grad():
            cosines = model.loss.cosines(model.embed(model.normalise(model.checked(image))))
        found.append(int(cosines.argmax()))
    return found


def test_predictions_are_those_of_the_model_in_evaluation(model, dataset):
    expected = classes(model, dataset)
    assert len(set(expected)) > 1
    data = loaders(dataset, model, share=0.0)
    model.train()
    found = model.predicted_classes(data.mining_dataloader())
    assert found.tolist() == expected
    assert found.dtype == torch.int64
    assert model.training
    assert all(module.training for module in model.modules())


def test_a_loss_without_classes_predicts_none(build, dataset):
    model = build("cfcd", loss="triplet")
    found = model.predicted_classes(loaders(dataset, model, share=0.0).mining_dataloader())
    assert found.tolist() == [-1] * len(dataset.train)


def test_the_second_stage_mines_trains_and_validates(model, dataset, tmp_path):
    data = loaders(dataset, model)
    before = model.projection.weight.detach().clone()
    trained = train(model, data, tmp_path)
    found = data.mined["predictions"]
    assert found.shape == (len(data.train_rows),)
    assert found.min() >= 0
    row = trained.history[-1]
    assert row["train/matching"] >= 0
    assert row["train/loss"] == pytest.approx(row["train/global"] + 0.05 * row["train/matching"], rel=1e-3)
    assert "validation/global" in row
    assert "validation/matching" not in row
    assert not torch.equal(before, model.projection.weight)


def test_what_is_known_is_not_mined_again(model, dataset, tmp_path, monkeypatch):
    data = loaders(dataset, model)
    known = torch.zeros(len(data.train_rows), dtype=torch.long)
    data.mined["predictions"] = known
    monkeypatch.setattr(data, "mining_dataloader", lambda: pytest.fail("mined again"))
    train(model, data, tmp_path)
    assert data.mined["predictions"] is known


def test_the_first_stage_mines_nothing(model, dataset, tmp_path):
    model.recipe = SECOND.model_copy(update={"stage": 1, "sampler": "shuffle"})
    data = loaders(dataset, model)
    train(model, data, tmp_path)
    assert data.mined == {}


def test_a_second_stage_without_tuples_is_refused(model, dataset, tmp_path):
    model.recipe = SECOND.model_copy(update={"sampler": "shuffle"})
    with pytest.raises(InputError, match=r"not with sampler 'shuffle'; set train\.sampler=hard-tuples"):
        train(model, loaders(dataset, model), tmp_path)
