import os

import pytest
import torch
from torch import nn

from retrieval_bench.extraction.digest import (
    code_digest,
    image_list_digest,
    key_parts,
    model_digest,
    protocol_digest,
    store_key,
)
from retrieval_bench.settings.protocol import Protocol
from retrieval_bench.values.dataset import ImageList


def key(model, images, **options):
    return store_key(key_parts(model, images, **options))


def test_same_parts_give_the_same_key(images, make_model):
    first = key(make_model(), images)
    assert first == key(make_model(), images)
    assert len(first) == 32
    assert set(first) <= set("0123456789abcdef")


def test_everything_that_moves_descriptors_moves_the_key(images, make_model):
    base = key(make_model(), images)
    shorter = ImageList(images.names[:-1], images.paths[:-1], images.boxes[:-1])
    turned = ImageList(images.names, images.paths, [*images.boxes[:-1], (0.0, 0.0, 9.0, 9.0)])
    other = make_model()
    other.layer.bias.data[3] += 1e-6
    keys = [
        base,
        key(other, images),
        key(make_model(protocol=Protocol(image_size=41)), images),
        key(make_model(option=1), images),
        key(make_model(), images, scales=(1.0, 0.5)),
        key(make_model(), images, dtype="float32"),
        key(make_model(), images, local=True),
        key(make_model(), images, precision="16-mixed"),
        key(make_model(), shorter),
        key(make_model(), turned),
    ]
    assert len(set(keys)) == len(keys)
    assert key(make_model(), images, scales=(1.0,)) == base  # the protocol's own


def test_model_digest_knows_names_types_shapes_and_values():
    def digest(**tensors):
        return model_digest(type("Model", (), {"state_dict": lambda self: tensors})())

    one = torch.arange(6.0)
    different = [
        digest(a=one),
        digest(b=one),
        digest(a=one.reshape(2, 3)),
        digest(a=one.view(torch.int32)),
        digest(a=one.bfloat16()),
        digest(a=torch.tensor(1.0)),
        digest(a=one, b=one),
    ]
    assert len(set(different)) == len(different)
    column = torch.arange(12.0).reshape(3, 4).t()
    assert digest(a=column) == digest(a=column.contiguous())
    assert digest(a=one, b=column) == digest(b=column, a=one)
    image = torch.rand(2, 3, 4, 4)
    assert digest(a=image) == digest(a=image.contiguous(memory_format=torch.channels_last))


def test_changed_or_missing_file_moves_the_list_digest(images):
    before = image_list_digest(images)
    status = images.paths[2].stat()
    os.utime(images.paths[2], ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    touched = image_list_digest(images)
    images.paths[2].unlink()
    assert len({before, touched, image_list_digest(images)}) == 3


def test_protocol_digest_takes_scales_in_place_of_its_own():
    assert protocol_digest(Protocol(), (1, 2)) == protocol_digest(Protocol(scales=(1.0, 2.0)))
    assert protocol_digest(Protocol()) != protocol_digest(Protocol(scales=(1.0, 2.0)))


def test_code_of_a_model_counts(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    digests = set()
    for factor in (1, 2):
        folder = tmp_path / f"variant{factor}"
        folder.mkdir()
        (folder / "my_head.py").write_text(
            f"from torch import nn\nclass Head(nn.Module):\n    def forward(self, x):\n        return {factor} * x\n"
        )
        with monkeypatch.context() as patch:
            patch.syspath_prepend(folder)
            patch.delitem(__import__("sys").modules, "my_head", raising=False)
            import my_head

            digests.add(code_digest(nn.Sequential(my_head.Head())))
            patch.delitem(__import__("sys").modules, "my_head")
    assert len(digests) == 2


@pytest.mark.parametrize("session", ["__main__", "a_notebook"])
def test_code_typed_into_a_session_counts(session):
    digests = set()
    for factor in (1, 2):
        names = {"__name__": session, "nn": nn}
        exec(f"class Head(nn.Module):\n    def forward(self, x):\n        return {factor} * x\n", names)
        digests.add(code_digest(nn.Sequential(names["Head"]())))
    assert len(digests) == 2
