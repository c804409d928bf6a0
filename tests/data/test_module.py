"""The DataModule: its loaders, its splits, and exact resumption under Lightning."""

import warnings

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import ModelCheckpoint

from retrieval_bench.data.module import RetrievalDataModule, default_workers
from retrieval_bench.settings.errors import InputError
from retrieval_bench.settings.protocol import Protocol
from retrieval_bench.settings.recipe import Recipe
from retrieval_bench.values.dataset import ImageList, LabelledImages, RetrievalDataset

RECIPE = Recipe(batch_size=4, image_size=16)
TRAIN = 22


@pytest.fixture
def dataset(tmp_path, save_image):
    paths = [save_image(tmp_path / f"{i}.png", (30, 20 + i % 3), seed=i) for i in range(TRAIN)]
    images = ImageList([path.name for path in paths], paths)
    labels = [i % 2 for i in range(TRAIN)]

    def make(validation=("c", "d"), train=True):
        return RetrievalDataset(
            name="small",
            root=tmp_path,
            queries=ImageList(["q0", "q1"], paths[:2], [(1.0, 1.0, 20.0, 15.0), None]),
            database=images,
            ground_truth=[{"easy": [2], "hard": [], "junk": []}] * 2,
            train=LabelledImages(paths, labels, ["a", "b"]) if train else None,
            validation=LabelledImages(paths[:6], labels[:6], list(validation)) if validation else None,
        )

    return make


def module(dataset, **options):
    return RetrievalDataModule(dataset, RECIPE, Protocol(image_size=24), workers=0, **options)


def rows(loader):
    return [row for batch in loader for row in batch["indices"].tolist()]


def test_classes_of_their_own_validate_retrieval(dataset):
    data = module(dataset())
    assert data.validation_roles == ["classification", "retrieval"]
    assert data.num_classes == 2
    classification, retrieval = data.val_dataloader()
    assert sorted(rows(classification)) == sorted(data.validation_rows)
    assert sorted([*data.train_rows, *data.validation_rows]) == list(range(TRAIN))
    assert len(data.validation_rows) == 2
    assert sorted(rows(data.train_dataloader())) == sorted(data.train_rows)
    labels = {}
    for batch in retrieval:
        labels |= dict(zip(batch["indices"].tolist(), batch["labels"].tolist(), strict=True))
    assert labels == {i: i % 2 for i in range(6)}


def test_training_classes_validate_classification_too(dataset):
    data = module(dataset(validation=("a", "b")))
    assert data.validation_roles == ["classification", "retrieval"]
    assert len(data.train_rows) == TRAIN
    assert rows(data.val_dataloader()[0]) == list(range(6))


def test_a_share_of_0_holds_nothing_out(dataset):
    data = module(dataset(), validation_share=0)
    assert data.validation_roles == ["retrieval"]
    assert len(data.train_rows) == TRAIN
    assert module(dataset(validation=None), validation_share=0).val_dataloader() == []


def test_the_order_of_training_needs_no_file(dataset):
    data = module(dataset())
    for path in data.dataset.train.paths:
        path.unlink()
    assert sorted(row for _, row in data.training_order()) == list(range(len(data.train_rows)))


def test_without_training_images_only_training_is_missing(dataset):
    data = module(dataset(validation=None, train=False))
    assert data.num_classes == 0
    assert data.validation_roles == []
    assert rows(data.query_dataloader()) == [0, 1]
    with pytest.raises(InputError, match="no training images"):
        data.train_dataloader()
    with pytest.raises(InputError, match="no training images"):
        data.training_order()


def test_queries_are_cut_and_the_database_is_whole(dataset):
    queries, database = module(dataset(), batch_size_extract=5).predict_dataloader()
    shapes = {row: tuple(batch["images"].shape[2:]) for batch in queries for row in batch["indices"].tolist()}
    assert shapes == {0: (11, 15), 1: (17, 24)}
    assert sorted(rows(database)) == list(range(TRAIN))
    assert max(len(batch["indices"]) for batch in database) == 5


def test_extraction_of_any_list_with_its_own_settings(dataset):
    data = module(dataset())
    loader = data.extraction_loader(data.dataset.database, Protocol(image_size=10), 3, 1, "skip")
    batches = list(loader)
    assert all(max(batch["images"].shape[2:]) == 10 and len(batch["indices"]) <= 3 for batch in batches)


def test_memory_cache_gives_the_same_batches(dataset):
    plain, cached = module(dataset()), module(dataset(), cache="memory")
    for ours, theirs in zip(plain.train_dataloader(), cached.train_dataloader(), strict=True):
        assert torch.equal(ours["images"], theirs["images"])


def test_a_single_left_over_image_is_dropped(dataset):
    data = RetrievalDataModule(
        dataset(), Recipe(batch_size=7, image_size=16), Protocol(), workers=0, validation_share=0
    )
    assert [len(batch["labels"]) for batch in data.train_dataloader()] == [7, 7, 7]


@pytest.mark.parametrize(
    ("option", "value"), [("validation_share", 1), ("validation_share", -1), ("cache", "disk"), ("on_error", "ignore")]
)
def test_wrong_settings_are_input_errors(dataset, option, value):
    with pytest.raises(InputError, match=option):
        module(dataset(), **{option: value})


def test_default_workers_leave_a_core():
    assert default_workers() in (0, 1, 2)


class Recorder(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(()))
        self.seen = []

    def training_step(self, batch, batch_idx):
        pixels = int(batch["images"].long().sum())
        self.seen.append((self.current_epoch, batch_idx, batch["indices"].tolist(), pixels))
        return self.weight * 1.0

    def validation_step(self, batch, batch_idx, dataloader_idx=0):
        assert batch["images"].dtype == torch.uint8

    def predict_step(self, batch, batch_idx, dataloader_idx=0):
        return batch["indices"]

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.1)


def fit(dataset, callback=None, checkpoint=None, workers=0):
    data = RetrievalDataModule(dataset, RECIPE, Protocol(image_size=24), workers=workers)
    trainer = pl.Trainer(
        max_epochs=3,
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=callback is not None,
        callbacks=[callback] if callback else [],
        num_sanity_val_steps=0,
    )
    recorder = Recorder()
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*not resumable.*")
        trainer.fit(recorder, data, ckpt_path=checkpoint)
    return recorder, trainer, data


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "when",
    [
        {"every_n_train_steps": 2},
        {"every_n_epochs": 1, "save_on_train_epoch_end": True},
        {"every_n_epochs": 1, "save_on_train_epoch_end": False},
    ],
    ids=["steps", "epoch end", "validation end"],
)
def test_a_resumed_run_sees_the_rest_of_the_same_images(dataset, tmp_path, when):
    whole, _, _ = fit(dataset(), ModelCheckpoint(tmp_path / "kept", save_top_k=-1, **when))
    assert [entry[:2] for entry in whole.seen] == [(epoch, batch) for epoch in range(3) for batch in range(5)]
    assert len({str([entry[2] for entry in whole.seen[5 * e : 5 * e + 5]]) for e in range(3)}) == 3
    checkpoints = sorted((tmp_path / "kept").iterdir())
    assert len(checkpoints) >= 3
    for checkpoint in checkpoints:
        done = torch.load(checkpoint, weights_only=True)["global_step"]
        resumed, _, _ = fit(dataset(), checkpoint=checkpoint)
        assert resumed.seen == whole.seen[done:]


@pytest.mark.filterwarnings("ignore")
def test_lightning_fits_and_predicts_with_workers(dataset):
    recorder, trainer, data = fit(dataset(), workers=1)
    assert recorder.seen == fit(dataset())[0].seen
    queries, database = trainer.predict(recorder, data)
    assert sorted(torch.cat(queries).tolist()) == [0, 1]
    assert sorted(torch.cat(database).tolist()) == list(range(TRAIN))


def test_mining_goes_once_over_the_training_images_in_the_order_that_samplers_count(dataset):
    data = module(dataset())
    batches = list(data.mining_dataloader())
    assert [row for batch in batches for row in batch["indices"].tolist()] == list(range(len(data.train_rows)))
    labels = [label for batch in batches for label in batch["labels"].tolist()]
    assert labels == [row % 2 for row in data.train_rows]
    again = torch.cat([batch["images"] for batch in data.mining_dataloader()])
    assert torch.equal(torch.cat([batch["images"] for batch in batches]), again)


def test_what_was_mined_reaches_a_loader_that_is_already_there_and_travels_with_checkpoints(dataset):
    recipe = RECIPE.model_copy(update={"sampler": "hard-tuples", "tuple_size": 4})
    data = RetrievalDataModule(dataset(), recipe, Protocol(image_size=24), workers=0)
    loader = data.train_dataloader()
    before = rows(loader)
    predictions = torch.ones(len(data.train_rows), dtype=torch.long)
    data.remember(predictions=predictions)
    assert loader.sampler.predictions == predictions.tolist()
    assert rows(loader) != before
    resumed = RetrievalDataModule(dataset(), recipe, Protocol(image_size=24), workers=0)
    resumed.load_state_dict(data.state_dict())
    assert rows(resumed.train_dataloader()) == rows(loader)
