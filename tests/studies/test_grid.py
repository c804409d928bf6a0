"""Which rows a grid has, what they are called and what they set."""

import pytest

from retrieval_bench.settings.errors import InputError
from retrieval_bench.studies.definition import study_of
from retrieval_bench.studies.grid import rows


def rows_of(**parts):
    return rows(study_of({"name": "tried", **parts}))


def test_every_combination_is_a_row_and_the_last_dimension_changes_fastest():
    found = rows_of(grid={"backbone": ["resnet18", "vit_tiny"], "pooling": ["gem", {"name": "gem", "p": 4}]})
    assert [row.title for row in found] == [
        "resnet18, gem",
        "resnet18, gem p=4",
        "vit_tiny, gem",
        "vit_tiny, gem p=4",
    ]
    assert found[3].layers == ({"backbone": {"name": "vit_tiny"}}, {"pooling": {"name": "gem", "p": 4}})


def test_a_value_may_be_several_settings_with_a_name():
    small, large = rows_of(
        grid={"size": [{"name": "small", "model.dim": 128, "pooling": "gem"}, {"name": "large", "model": {"dim": 512}}]}
    )
    assert (small.labels, large.labels) == ({"size": "small"}, {"size": "large"})
    assert small.layers == ({"model": {"dim": 128}}, {"pooling": {"name": "gem"}})
    assert large.layers == ({"model": {"dim": 512}},)


def test_several_settings_of_one_section_with_a_name():
    short, _ = rows_of(grid={"train": [{"name": "short", "epochs": 1, "lr": 0.1}, {"name": "long", "epochs": 9}]})
    assert short.title == "short"
    assert short.layers == ({"train": {"epochs": 1}}, {"train": {"lr": 0.1}})


def test_a_part_of_a_part_keeps_its_name():
    (row,) = rows_of(grid={"loss.batch_attention": [{"name": "batchformer", "heads": 4}]})
    assert row.title == "batchformer heads=4"
    assert row.layers[0]["loss"]["batch_attention"] == {"name": "batchformer", "heads": 4}


def test_values_read_as_they_are_written():
    found = rows_of(grid={"train.flip": [0, 0.5], "model.on": [True, None], "extract.scales": [[1.0, 0.5]]})
    assert [row.title for row in found][:2] == ["0, true, 1.0, 0.5", "0, none, 1.0, 0.5"]


def test_combinations_are_left_out_and_added():
    found = rows_of(
        grid={"method": ["gem", "delg"], "pooling": ["gem", "mac"]},
        exclude=[{"method": "delg", "pooling": ["mac"]}],
        include=[{"pooling": "gem", "train.epochs": 50}, {"name": "plain", "method": "spca"}],
    )
    assert [row.labels for row in found] == [
        {"method": "gem", "pooling": "gem", "row": ""},
        {"method": "gem", "pooling": "mac", "row": ""},
        {"method": "delg", "pooling": "gem", "row": ""},
        {"method": "", "pooling": "gem", "row": "train.epochs"} | {"row": found[3].labels["row"]},
        {"method": "spca", "pooling": "", "row": "plain"},
    ]
    assert found[3].labels["row"] == "train.epochs=50"
    assert found[3].layers == ({"pooling": {"name": "gem"}}, {"train": {"epochs": 50}})


@pytest.mark.parametrize(
    ("parts", "says"),
    [
        ({"grid": {"poolling": ["gem"]}}, "did you mean 'pooling'"),
        ({"grid": {"epochs": [1, 2]}}, "grid: unknown setting 'epochs'; did you mean 'train.epochs'?"),
        ({"grid": {"trian.epochs": [1, 2]}}, "did you mean 'train'"),
        ({"grid": {"FREEZE": ["none", "backbone"]}}, "FREEZE is a variable of make"),
        ({"grid": {"pooling": []}}, "has no values"),
        ({"grid": {"pooling": ["gem", {"name": "gem"}]}}, "holds 'gem' twice"),
        ({"grid": {"pooling": ["gem"]}, "exclude": [{"poolings": "gem"}]}, "did you mean 'pooling'"),
        ({"grid": {"pooling": ["gem"]}, "exclude": [{"pooling": "gme"}]}, "did you mean 'gem'"),
        ({"grid": {"pooling": ["gem"]}, "exclude": [{}]}, "leave out everything"),
        ({"grid": {"pooling": ["gem"]}, "exclude": [{"pooling": "gem"}]}, "leaves no row"),
        ({"include": [{"name": "nothing"}]}, "sets nothing"),
    ],
)
def test_what_is_wrong_is_said(parts, says):
    with pytest.raises(InputError) as refused:
        rows_of(**parts)
    assert says in str(refused.value)
