"""Ground-truth pickles are read without running anything, and checked."""

import pickle

import numpy as np
import pytest

from retrieval_bench.data import ground_truth
from retrieval_bench.data.ground_truth import read_ground_truth
from retrieval_bench.data.sources import SOURCES
from retrieval_bench.settings.errors import InputError


def tree():
    entry = {"bbx": [1.5, 2, 30, 40], "easy": [0, 2], "hard": [], "junk": [1]}
    return {"gnd": [entry, dict(entry)], "imlist": ["a_1", "b_2", "c_3"], "qimlist": ["q_1", "q_2"]}


def write(path, content, protocol=3):
    path.write_bytes(pickle.dumps(content, protocol=protocol))
    return path


def test_the_plain_format(tmp_path):
    truth = read_ground_truth(write(tmp_path / "g.pkl", tree()))
    assert truth.queries == ["q_1", "q_2"]
    assert truth.database == ["a_1", "b_2", "c_3"]
    assert truth.boxes == [(1.5, 2.0, 30.0, 40.0)] * 2
    assert truth.entries[0] == {"bbx": [1.5, 2.0, 30.0, 40.0], "easy": [0, 2], "hard": [], "junk": [1]}


@pytest.mark.parametrize("protocol", range(2, 6))
def test_a_copy_with_arrays_reads_the_same(tmp_path, protocol):
    content = tree()
    for entry in content["gnd"]:
        entry |= {level: np.array(entry[level], dtype=np.int64) for level in ("easy", "hard", "junk")}
        entry["bbx"] = np.array(entry["bbx"])
    content["imlist"] = np.array(content["imlist"])
    content["gnd"][1]["junk"] = [np.int64(1)]
    copy = read_ground_truth(write(tmp_path / "copy.pkl", content, protocol))
    plain = read_ground_truth(write(tmp_path / "plain.pkl", tree()))
    assert (copy.queries, copy.database, copy.boxes, copy.entries) == (
        plain.queries,
        plain.database,
        plain.boxes,
        plain.entries,
    )
    assert all(type(row) is int for entry in copy.entries for row in entry["easy"] + entry["junk"])
    assert copy.sha256 != plain.sha256


class Attack:
    def __init__(self, function, *arguments):
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


def test_code_is_refused_and_never_runs(tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("here")
    for attack in (Attack(victim.unlink), Attack(eval, "1/0"), Attack(np.fromfile, str(victim))):
        content = tree() | {"extra": attack}
        with pytest.raises(InputError, match=r"g\.pkl asks to load .*do not trust it"):
            read_ground_truth(write(tmp_path / "g.pkl", content))
    mixed = tree() | {"array": np.zeros(3), "extra": Attack(exec, "")}
    with pytest.raises(InputError, match="asks to load"):
        read_ground_truth(write(tmp_path / "g.pkl", mixed))
    assert victim.exists()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda t: t.pop("imlist"), "imlist"),
        (lambda t: t["gnd"].pop(), "1 entries for 2 queries"),
        (lambda t: t["gnd"][0].pop("junk"), "junk"),
        (lambda t: t["gnd"][0].update(easy=[3]), "row 3 as easy of 3"),
        (lambda t: t["gnd"][0].update(hard=[-1]), "row -1"),
        (lambda t: t["gnd"][0].update(hard=[0.5]), "not whole"),
        (lambda t: t["gnd"][0].update(hard=[0]), "twice"),
        (lambda t: t["gnd"][0].update(easy=[2, 2]), "twice"),
        (lambda t: t["gnd"][0].update(bbx=[5, 5, 5, 9]), "box"),
        (lambda t: t["gnd"][0].update(bbx=[1, 2, 3]), "box"),
        (lambda t: t["gnd"][0].update(bbx=[0, 0, float("nan"), 3]), "box"),
        (lambda t: t["imlist"].append("../../etc/passwd"), "not an image name"),
        (lambda t: t["qimlist"].__setitem__(0, ""), "not an image name"),
    ],
)
def test_another_form_is_an_error_that_says_what(tmp_path, change, says):
    content = tree()
    change(content)
    with pytest.raises(InputError) as caught:
        read_ground_truth(write(tmp_path / "g.pkl", content))
    assert says in str(caught.value)
    assert str(tmp_path / "g.pkl") in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"<html>404</html>", pickle.dumps(tree())[:-20], pickle.dumps([1, 2])])
def test_what_is_no_ground_truth_is_an_error(tmp_path, content):
    (tmp_path / "g.pkl").write_bytes(content)
    with pytest.raises(InputError, match=r"g\.pkl is not"):
        read_ground_truth(tmp_path / "g.pkl")


def test_missing_and_oversized_files(tmp_path, monkeypatch):
    with pytest.raises(InputError, match="does not exist"):
        read_ground_truth(tmp_path / "g.pkl")
    monkeypatch.setattr(ground_truth, "LARGEST", 10)
    with pytest.raises(InputError, match="too many"):
        read_ground_truth(write(tmp_path / "g.pkl", tree()))


@pytest.mark.parametrize(
    ("name", "totals", "empty_easy"),
    [("roxford5k", (3029, 2497, 1356), [11, 66]), ("rparis6k", (6874, 10350, 7153), [])],
)
def test_the_true_files(shared, name, totals, empty_easy):
    truth = read_ground_truth(shared("data", "revisitop", f"gnd_{name}.pkl"))
    source = SOURCES[name]
    assert truth.sha256 == source.ground_truth.sha256
    assert (len(truth.queries), len(truth.database)) == (source.queries, source.database)
    assert tuple(sum(len(e[level]) for e in truth.entries) for level in ("easy", "hard", "junk")) == totals
    assert [row for row, entry in enumerate(truth.entries) if not entry["easy"]] == empty_easy
