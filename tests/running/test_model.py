"""The model of a run: its recipe, its resolved settings, and stages of a training as one."""

from pathlib import Path

import pytest
import torch

import retrieval_bench as rb
from retrieval_bench.methods.base import RetrievalModule
from retrieval_bench.pooling import Pooling, register_pooling
from retrieval_bench.running.model import build_model, joined, refuse_wrong_options, resolved, stages_of, trains
from retrieval_bench.settings.errors import InputError
from retrieval_bench.settings.loading import dump, load_settings
from retrieval_bench.settings.recipe import Recipe
from retrieval_bench.settings.registry import forget
from retrieval_bench.settings.run import RunSettings
from retrieval_bench.settings.stages import training_stages
from retrieval_bench.training.fit import Trained
from retrieval_bench.values.dataset import ImageList, LabelledImages, RetrievalDataset


def test_epochs_count_on_over_stages():
    first = Trained([{"epoch": 1, "lr": 0.1}, {"epoch": 2, "lr": 0.05}], 3.0, 20, Path("a"))
    second = Trained([{"epoch": 1, "lr": 0.01}], 2.0, 10, Path("b"))
    whole = joined([first, second])
    assert [row["epoch"] for row in whole.history] == [1, 2, 3]
    assert [row["lr"] for row in whole.history] == [0.1, 0.05, 0.01]
    assert (whole.seconds, whole.images, whole.checkpoint) == (5.0, 30, Path("b"))


TINY = ("backbone=test_resnet", "model.dim=16")


def settings_of(*overrides: str) -> RunSettings:
    return load_settings([*TINY, *overrides])


def built(settings: RunSettings) -> tuple[RetrievalModule, Recipe]:
    images = ImageList(["a"], [Path("a.png")])
    train = LabelledImages([Path("a.png")] * 4, [0, 0, 1, 1], ["one", "two"])
    dataset = RetrievalDataset("drawn", Path(), images, images, [{"easy": [0]}], train, None)
    model = build_model(settings, dataset, training=True)
    return model, model.recipe


@pytest.mark.parametrize(
    ("overrides", "sampler", "instances"),
    [
        ((), "shuffle", 2),
        (("loss=triplet",), "class-balanced", 2),
        (("loss=smoothap",), "class-balanced", 4),
        (("loss=smoothap", "train.instances=3"), "class-balanced", 3),
        (("loss=smoothap", "train.sampler=shuffle"), "shuffle", 4),
        (("loss=smoothap", "train.sampler=hard-negatives", "train.mine_every=3"), "hard-negatives", 4),
        (("method=cvnet", "loss=smoothap"), "class-balanced", 2),
    ],
    ids=str,
)
def test_a_run_takes_the_batches_that_its_loss_is_made_for(overrides, sampler, instances):
    settings = settings_of(*overrides)
    model, recipe = built(settings)
    assert (recipe.sampler, recipe.instances) == (sampler, instances)
    shown = resolved(settings, model).train
    assert (shown.sampler, shown.instances) == (sampler, instances)
    assert training_stages(shown, model.recipes)[shown.recipe].sampler == sampler


def test_every_later_stage_of_its_own_stays():
    settings = settings_of("method=cfcd", "loss=smoothap")
    model, _ = built(settings)
    assert [stage.sampler for stage in stages_of(settings, model).values()] == ["class-balanced", "hard-tuples"]


def test_hard_negatives_do_not_mind_broken_images():
    built(settings_of("loss=smoothap", "train.sampler=hard-negatives", "extract.on_error=skip"))


def test_batch_attention_shows_in_the_resolved_settings():
    settings = settings_of("loss=smoothap", "loss.batch_attention=batchformer", "loss.batch_attention.heads=2")
    model, _ = built(settings)
    assert resolved(settings, model).loss.options["batch_attention"] == {"name": "batchformer", "heads": 2}


BY_HAND = (
    "backbone.normalisation.mean=[0.1, 0.2, 0.3]",
    "backbone.normalisation.std=[0.4, 0.5, 0.6]",
    "backbone.normalisation.channel_order=bgr",
)


def test_pixel_values_are_set_on_the_command_line_and_repeated_from_the_resolved_settings(tmp_path):
    settings = settings_of(*BY_HAND)
    model, _ = built(settings)
    said = (model.protocol.mean, model.protocol.std, model.protocol.channel_order)
    assert said == ((0.1, 0.2, 0.3), (0.4, 0.5, 0.6), "bgr")
    (tmp_path / "config.yaml").write_text(dump(resolved(settings, model)))
    again, _ = built(load_settings(config=tmp_path / "config.yaml"))
    assert again.protocol == model.protocol
    assert again.normalisation_source == model.normalisation_source


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("backbone.normalisation=methot", "did you mean 'method'"),
        ("backbone.normalisation.mean=[0.5, 0.5, 0.5]", r"backbone\.normalisation lacks std, channel_order"),
        ("backbone.normalization=method", "normalization"),
    ],
)
def test_pixel_values_that_cannot_be_are_refused(override, said):
    with pytest.raises(InputError, match=said):
        built(settings_of(override))


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("loss.margin=28.6", "28.6 degrees are"),
        ("pooling.p=-1", "pooling.p"),
        ("pooling=gme", "unknown pooling 'gme'"),
        ("backbone=resnet19", "unknown backbone 'resnet19'"),
        ("model.dims=3", "did you mean 'dim'"),
        ("train.recipe=bse", "unknown recipe 'bse'"),
        ("train.batch_size=0", "train.batch_size=0"),
    ],
)
def test_what_needs_no_data_is_refused_without_any(override, said):
    before = torch.random.get_rng_state()
    with pytest.raises(InputError, match=said):
        refuse_wrong_options(load_settings([override]), training=True)
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize("method", rb.list_methods())
@pytest.mark.parametrize("training", [False, True])
def test_what_is_right_is_not_refused(method, training):
    before = torch.random.get_rng_state()
    refuse_wrong_options(load_settings([f"method={method}", "backbone.pretrained=true"]), training)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_a_part_that_looks_at_its_values_is_left_to_the_true_building():
    @register_pooling("looks")
    class Looks(Pooling):
        def __init__(self, in_channels):
            super().__init__()
            self.out_channels = in_channels if torch.ones(1).item() else 0

        def forward(self, feature_map):
            return feature_map.mean((2, 3))

    try:
        refuse_wrong_options(load_settings(["pooling=looks", "backbone=test_resnet"]), training=True)
    finally:
        forget(__name__)


def test_weights_may_decide_what_the_options_belong_to():
    refuse_wrong_options(load_settings(["weights=own.ckpt", "pooling.of_their_pooling=1"]), training=False)


@pytest.mark.parametrize(("name", "says"), [("folder", True), ("roxford5k", False)])
def test_without_training_images_the_folder_says_where_they_would_stand(name, says):
    one = ImageList(["a"], [Path("a.jpg")], [None])
    dataset = RetrievalDataset(name, Path("images"), one, one, [{"easy": [], "hard": [], "junk": [0]}])
    with pytest.raises(InputError, match=r"has no training images: give .*weights=FILE") as caught:
        trains(load_settings([]), dataset)
    assert ("a table, dataset.csv=FILE, whose column split says train, or" in str(caught.value)) is says
