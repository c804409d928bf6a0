import numpy as np
import pytest
import torch

from retrieval_bench.evaluation.labels import Labels
from retrieval_bench.settings.errors import InputError

ENTRY = {"easy": [4, 2], "hard": [], "junk": np.array([0])}


@pytest.mark.parametrize("truth", [[ENTRY], (ENTRY,), {"gnd": [ENTRY], "imlist": ["a"]}])
def test_forms_of_ground_truth(truth):
    labels = Labels.read(truth, database_size=5)
    assert len(labels) == 1
    assert [rows[0].tolist() for rows in (labels.easy, labels.hard, labels.junk)] == [[4, 2], [], [0]]
    assert {rows[0].dtype for rows in (labels.easy, labels.hard, labels.junk)} == {np.dtype(np.int64)}


def test_tensors_and_a_missing_junk_key():
    labels = Labels.read([{"easy": torch.tensor([1]), "hard": np.array([], dtype=float)}])
    assert labels.easy[0].tolist() == [1]
    assert labels.junk[0].size == labels.hard[0].size == 0


@pytest.mark.parametrize(
    ("truth", "message"),
    [
        ({"imlist": []}, "mapping without 'gnd'"),
        ("gnd.pkl", "must be a list with one entry per query, got str"),
        ([ENTRY, [1, 2]], "query 1 must be a mapping .* got list"),
        ([{"ok": [1], "junk": []}], "'easy' and 'hard' .* got ok, junk"),
        ([{"easy": [0.5], "hard": []}], "easy must be a list of whole numbers .* got float64"),
        ([{"easy": [True], "hard": []}], "got bool"),
        ([{"easy": [[1], [2, 3]], "hard": []}], "easy must be one flat list"),
        ([{"easy": [-1], "hard": []}], "names easy row -1, outside the database"),
        ([{"easy": [0], "hard": [5]}], "names hard row 5, outside the database of 5"),
        ([{"easy": [1, 1], "hard": []}], "names row 1 twice .under easy."),
        ([{"easy": [1], "hard": [2], "junk": [1]}], "names row 1 twice .under easy and junk."),
    ],
)
def test_wrong_ground_truth_is_named_in_one_line(truth, message):
    with pytest.raises(InputError, match=message) as error:
        Labels.read(truth, database_size=5)
    assert "\n" not in str(error.value)
