"""Hard negatives from the model as it is: mined when the recipe says, the same after an interruption."""

import pytest
import torch

from retrieval_bench.data.module import RetrievalDataModule
from retrieval_bench.settings.errors import InputError
from retrieval_bench.training import mining
from retrieval_bench.training.mining import nearest_of_other_classes
from retrieval_bench.values.dataset import LabelledImages, RetrievalDataset

LOSS = {"name": "smoothap", "batch_attention": "batchformer"}
HARD = {"sampler": "hard-negatives", "instances": 2, "epochs": 4, "mine_every": 2, "lr": 0.02}


class PowerCutError(Exception):
    """The process ends here."""


@pytest.fixture
def module(dataset, build, recipe):
    """A model, and the DataModule that it would train on."""
    model = build("gem", recipe(**HARD), loss=LOSS)
    return model, RetrievalDataModule(dataset, model.recipe, model.protocol, workers=0, validation_share=0.0)


@pytest.mark.parametrize("training", [True, False])
def test_neighbours_are_the_nearest_of_other_classes(module, dataset, training):
    model, data = module
    model.train(training)
    found = nearest_of_other_classes(model, data.mining_dataloader())
    assert model.training == training
    images = torch.cat([batch["images"] for batch in data.mining_dataloader()])
    described = model.eval().describe(images, scales=(1.0,))
    similarity, labels = described @ described.T, torch.tensor(dataset.train.labels)
    similarity[labels[:, None] == labels] = -2
    assert torch.equal(found, similarity.topk(found.shape[1], dim=1).indices)


def test_it_mines_every_so_many_epochs_with_the_weights_of_then(dataset, build, recipe, train, tmp_path, monkeypatch):
    mined, known = [], []
    original = mining.nearest_of_other_classes

    def spied(model, loader):
        mined.append((model.current_epoch, original(model, loader)))
        return mined[-1][1]

    monkeypatch.setattr(mining, "nearest_of_other_classes", spied)
    model = build("gem", recipe(**HARD), loss=LOSS)
    step = model.training_step

    def training_step(batch, batch_idx):
        if batch_idx == 0:
            known.append(model.trainer.datamodule._sampler.neighbours)
        return step(batch, batch_idx)

    monkeypatch.setattr(model, "training_step", training_step)
    train(model, tmp_path)
    assert [epoch for epoch, _ in mined] == [0, 2]
    assert not torch.equal(mined[0][1], mined[1][1])
    assert [torch.equal(each, mined[epoch // 2][1]) for epoch, each in enumerate(known)] == [True] * 4


def test_first_batches_hold_hard_negatives(dataset, build, recipe, train, tmp_path, monkeypatch):
    model = build("gem", recipe(**{**HARD, "epochs": 1}), loss=LOSS)
    step, batches = model.training_step, []

    def training_step(batch, batch_idx):
        batches.append(batch["indices"].tolist())
        return step(batch, batch_idx)

    monkeypatch.setattr(model, "training_step", training_step)
    train(model, tmp_path)
    neighbours = torch.load(tmp_path / "checkpoints" / "last.ckpt", weights_only=True)["RetrievalDataModule"]["mined"]
    for batch in batches:
        assert batch[2] in neighbours["neighbours"][batch[0]].tolist()


@pytest.mark.parametrize(("mine_every", "killed_at"), [(1, 7), (2, 6), (2, 10), (3, 3)])
def test_an_interruption_changes_no_bit(mine_every, killed_at, build, recipe, train, tmp_path, monkeypatch):
    chosen = recipe(**{**HARD, "mine_every": mine_every, "flip": 0.5})
    whole = build("gem", chosen, loss=LOSS)
    expected = train(whole, tmp_path / "whole")

    killed, seen = build("gem", chosen, loss=LOSS), []
    step = killed.training_step

    def training_step(batch, batch_idx):
        if len(seen) == killed_at:
            raise PowerCutError
        seen.append(batch_idx)
        return step(batch, batch_idx)

    monkeypatch.setattr(killed, "training_step", training_step)
    with pytest.raises(PowerCutError):
        train(killed, tmp_path / "killed")
    resumed = build("gem", chosen, seed=99, loss=LOSS)
    assert train(resumed, tmp_path / "killed").images == expected.images
    changed = [name for name, value in whole.state_dict().items() if not torch.equal(value, resumed.state_dict()[name])]
    assert changed == []


def test_other_samplers_mine_nothing(build, recipe, train, tmp_path, monkeypatch):
    monkeypatch.setattr(mining, "nearest_of_other_classes", lambda *_: pytest.fail("mined"))
    train(build("gem", recipe(sampler="class-balanced", epochs=1), loss="smoothap"), tmp_path)


def test_one_class_has_no_negatives(dataset, build, recipe, train, tmp_path):
    images = LabelledImages(list(dataset.train.paths)[:6], [0] * 6, ["stripes"])
    alone = RetrievalDataset("alone", tmp_path, dataset.queries, dataset.database, dataset.ground_truth, images, None)
    with pytest.raises(InputError, match="at least two classes"):
        train(build("gem", recipe(**{**HARD, "batch_size": 2}), loss="triplet", num_classes=1), tmp_path, data=alone)
