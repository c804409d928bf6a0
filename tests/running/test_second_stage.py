"""What re-rankers are given: rows that rankings can name, and maps computed when they are asked for."""

from types import SimpleNamespace

import torch
from PIL import Image

from retrieval_bench.running.second_stage import Described, FeatureMaps, inputs
from retrieval_bench.settings.protocol import Protocol
from retrieval_bench.values.dataset import ImageList


def test_skipped_rows_of_the_database_keep_the_others_in_place():
    known = torch.tensor([[1.0, 0], [0, 1], [0.6, 0.8]])
    described = Described(None, None, [0], [0, 2, 3], torch.ones(1, 2), known)
    dataset = SimpleNamespace(database=range(5))
    asked, database = inputs("descriptors", described, dataset, None)
    assert torch.equal(asked, torch.ones(1, 2))
    assert database.tolist() == [[1, 0], [0, 0], [0, 1], known[2].tolist(), [0, 0]]


def test_whole_databases_are_handed_over_as_they_are():
    known = torch.eye(3)
    described = Described(None, None, [0], [0, 1, 2], known[:1], known)
    assert inputs("descriptors", described, SimpleNamespace(database=range(3)), None)[1] is known


def test_feature_maps_are_computed_on_access_from_the_cropped_image(tmp_path):
    path = tmp_path / "a.png"
    Image.new("RGB", (40, 30), (255, 0, 0)).save(path)
    seen = []

    def feature_maps(images):
        seen.append(tuple(images.shape))
        return images.float().mean(dim=1, keepdim=True)

    model = SimpleNamespace(protocol=Protocol(), feature_maps=feature_maps)
    maps = FeatureMaps(model, ImageList(["a", "b"], [path, path], [None, (10, 5, 30, 25)]))
    assert len(maps) == 2
    assert seen == []
    assert len(maps[1:]) == 1
    assert maps[1:][0].shape == maps[1].shape == (1, 20, 20)
    assert maps[1].unique().tolist() == [85.0]
    assert seen == [(1, 3, 20, 20)] * 3
