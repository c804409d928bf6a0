"""The card says how figures were made, and the digest holds what they were made against."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import retrieval_bench as rb
from retrieval_bench.recording.card import ground_truth_digest, protocol_card
from retrieval_bench.settings.card import COMPARABLE, ProtocolCard
from retrieval_bench.settings.run import RunSettings
from retrieval_bench.values.dataset import ImageList


def test_the_digest_is_stable(make_dataset):
    """A recorded value: another one would make all stored records incomparable."""
    found = ground_truth_digest(make_dataset())
    assert found == ground_truth_digest(make_dataset())
    assert found == "030a86776c527563425c2d17c81043ffbfbceb1006da302f6401d3dd837bea3e"


def test_it_does_not_depend_on_order_within_a_list_or_on_absent_ones(make_dataset):
    other = [{"easy": [1, 0], "hard": [5], "junk": [7], "bbx": [1, 2, 30, 40]}, {}, {"easy": [3], "junk": [2]}]
    assert ground_truth_digest(make_dataset(ground_truth=other)) == ground_truth_digest(make_dataset())


def test_it_does_not_depend_on_where_the_files_are(make_dataset):
    dataset = make_dataset()
    names = list(dataset.database.names)
    moved = ImageList(names, [Path("elsewhere") / f"{name}.png" for name in names])
    other = replace(dataset, database=moved, root=Path("elsewhere"), facts={}, query_groups=(), name="renamed")
    assert ground_truth_digest(other) == ground_truth_digest(dataset)


def renamed(images: ImageList) -> ImageList:
    return ImageList(["other", *images.names[1:]], images.paths, images.boxes)


def swapped(images: ImageList) -> ImageList:
    order = [1, 0, *range(2, len(images))]
    return ImageList([images.names[row] for row in order], [images.paths[row] for row in order], images.boxes)


@pytest.mark.parametrize(
    "change",
    [
        lambda d: replace(d, queries=renamed(d.queries)),
        lambda d: replace(d, database=renamed(d.database)),
        lambda d: replace(d, database=swapped(d.database)),
        lambda d: replace(d, queries=ImageList(d.queries.names, d.queries.paths, [(1.0, 2.0, 30.0, 41.0), None, None])),
        lambda d: replace(d, queries=ImageList(d.queries.names, d.queries.paths)),
        lambda d: replace(d, ground_truth=[{**d.ground_truth[0], "easy": [0]}, *d.ground_truth[1:]]),
        lambda d: replace(d, ground_truth=[{"easy": [0, 1, 5], "hard": [], "junk": [7]}, *d.ground_truth[1:]]),
        lambda d: replace(d, ground_truth=[{**d.ground_truth[0], "junk": []}, *d.ground_truth[1:]]),
    ],
    ids=["query name", "image name", "image order", "box", "no boxes", "a positive", "a level", "junk"],
)
def test_it_depends_on_all_that_moves_a_figure(make_dataset, change):
    dataset = make_dataset()
    assert ground_truth_digest(change(dataset)) != ground_truth_digest(dataset)


@pytest.fixture
def model():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return rb.create_model("gem", backbone="test_resnet", dim=16)


def card(model, dataset, ranked=8, **given) -> ProtocolCard:
    settings = RunSettings(**given.pop("settings", {}))
    return protocol_card(settings, dataset, model, ranked=ranked, warnings=given.pop("warnings", []), **given)


def test_what_the_card_says(model, make_dataset):
    dataset = make_dataset()
    made = card(model, dataset, reranking="geometric (top_k=3)", reranked=3, warnings=["untrained"])
    assert (made.dataset, made.images, made.dataset_facts) == ("small", "drawn, seed 0", {"licence": "none"})
    assert (made.queries, made.database) == (3, 8)
    assert made.ground_truth_digest == ground_truth_digest(dataset)
    assert made.protocol == model.protocol
    assert made.query_crop == "1 of 3 queries cut to their boxes, rounded to whole pixels"
    assert made.search == "exact inner product (torch)"
    assert made.truncated_at is None
    assert (made.reranking, made.reranked, made.ground_truth_in_candidates) == ("geometric (top_k=3)", 3, False)
    assert (made.train_set, made.weights) == ("nothing: random initialisation", "random initialisation")
    assert re.fullmatch("[0-9a-f]{64}", made.weights_digest)
    assert made.implementation == f"{model.card.implementation}; here with backbone test_resnet"
    assert made.warnings == ["untrained"]
    assert ProtocolCard.model_validate_json(made.model_dump_json()) == made


def test_it_says_whose_pixel_values_it_has(model, make_dataset):
    assert card(model, make_dataset()).normalisation == "method gem"
    values = {"mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5], "channel_order": "bgr"}
    other = rb.create_model("gem", backbone={"name": "test_resnet", "normalisation": values}, dim=16)
    made = card(other, make_dataset())
    assert made.normalisation == "backbone.normalisation, set by hand"
    assert (made.protocol.mean, made.protocol.channel_order) == ((0.5, 0.5, 0.5), "bgr")


def test_the_card_of_an_older_record_has_the_methods(model, make_dataset):
    made = card(model, make_dataset()).model_dump(exclude={"normalisation"})
    assert ProtocolCard.model_validate(made).normalisation == "the method"


def test_queries_without_boxes_and_a_short_ranking(model, make_dataset):
    dataset = make_dataset()
    whole = replace(dataset, queries=ImageList(dataset.queries.names, dataset.queries.paths))
    made = card(model, whole, ranked=5)
    assert made.query_crop == "none"
    assert made.truncated_at == 5


def test_images_without_a_release_go_by_their_folder(model, make_dataset):
    assert card(model, make_dataset(facts={})).images == "small"


def test_other_weights_have_another_digest(model, make_dataset):
    first = card(model, make_dataset())
    assert card(model, make_dataset()).weights_digest == first.weights_digest
    with torch.no_grad():
        model.projection.bias[0] += 1
    assert card(model, make_dataset()).weights_digest != first.weights_digest


def test_weights_from_a_file_are_named_once(model, make_dataset, tmp_path):
    content = {"state_dict": model.state_dict()}
    model.on_save_checkpoint(content)
    torch.save(content, tmp_path / "own.ckpt")
    loaded = rb.create_model("gem", weights=tmp_path / "own.ckpt")
    made = card(loaded, make_dataset(), settings={"weights": tmp_path / "own.ckpt"})
    assert made.weights.count("own.ckpt") == 1
    assert str(tmp_path) not in made.model_dump_json()


def test_weights_that_were_trained_further_say_both(model, make_dataset, tmp_path):
    model.weights_source = "trained in this run"
    made = card(model, make_dataset(), settings={"weights": tmp_path / "start.pth"})
    assert made.weights == "start.pth, trained in this run"


def test_fields_that_make_figures_comparable_exist():
    assert set(COMPARABLE) <= set(ProtocolCard.model_fields)
