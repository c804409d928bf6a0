"""The study file: what is refused, and how."""

from pathlib import Path

import pytest

from retrieval_bench.settings.errors import InputError
from retrieval_bench.studies.definition import Study, read_study, study_of


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"gird": {"pooling": ["gem"]}}, "unknown part of a study 'gird'; did you mean 'grid'"),
        ({}, "has no runs"),
        ({"grid": {"pooling": "gem"}}, "grid.pooling='gem' is wrong"),
        ({"grid": {"pooling": ["gem"]}, "seeds": [0, 0]}, "different whole numbers"),
        ({"grid": {"pooling": ["gem"]}, "seeds": [-1]}, "different whole numbers"),
        ({"grid": {"pooling": ["gem"]}, "seeds": []}, "seeds="),
        ({"grid": {"seed": [0, 1]}}, "grid must not hold seed; write seeds: [0, 1, 2]"),
        ({"grid": {"pooling": ["gem"]}, "settings": {"runs": "r"}}, "settings must not hold runs"),
        ({"include": [{"plugins": ["p.py"]}]}, "include must not hold plugins"),
        ({"grid": {"pooling": ["gem"]}, "name": "a/b"}, "name='a/b' is wrong"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(values, says):
    with pytest.raises(InputError) as refused:
        study_of({"name": "tried", **values}, source="tried.yaml")
    assert says in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_file_gives_the_name(tmp_path):
    (tmp_path / "poolings.yaml").write_text("grid:\n  pooling: [gem, mac]\n  train.lr: [1e-3]\n")
    study = read_study(tmp_path / "poolings.yaml")
    assert isinstance(study, Study)
    assert (study.name, study.seeds, study.grid["train.lr"]) == ("poolings", [0], [0.001])
    with pytest.raises(InputError, match="no study file at nowhere"):
        read_study(Path("nowhere.yaml"))
