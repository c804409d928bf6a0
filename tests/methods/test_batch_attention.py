"""Batch attention as an option of any method's loss: settings alone compose it, checkpoints keep it."""

import pytest
import torch

import retrieval_bench as rb
from retrieval_bench.batch_attention import list_batch_attentions
from retrieval_bench.losses import LOSSES
from retrieval_bench.losses.base import MetricLoss
from retrieval_bench.methods.parts import batches_of_loss, build_loss
from retrieval_bench.settings.errors import InputError

LABELS = torch.tensor([0, 1, 2, 0, 1, 2])
METRIC = [name for name in rb.list_losses() if issubclass(LOSSES.get(name), MetricLoss)]


@pytest.mark.parametrize("attention", list_batch_attentions())
@pytest.mark.parametrize("loss", METRIC)
def test_any_metric_loss_trains_with_any_of_them(loss, attention, build, pictures):
    model = build("gem", pooling="spoc", loss={"name": loss, "batch_attention": attention}).train()
    value = model.losses(pictures(6, 32, 32), LABELS)["loss"]
    value.backward()
    assert value.isfinite()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.loss.parameters())
    assert any(p.grad is not None and p.grad.any() for p in model.backbone.parameters())


@pytest.mark.parametrize("pooling", ["mac", "gem", "rmac"])
def test_any_pooling(pooling, build, pictures):
    model = build("gem", pooling=pooling, loss={"name": "smoothap", "batch_attention": "batchformer"}).train()
    model.losses(pictures(6, 48, 48), LABELS)["loss"].backward()
    assert all(p.grad.any() for name, p in model.loss.named_parameters() if "norm2" in name)


@pytest.mark.parametrize("method", ["gem", "delg", "cfcd", "cvnet"])
def test_methods_need_no_edit_and_describe_as_without(method, build, pictures):
    images = pictures(6, 48, 48)
    model = build(method, loss={"batch_attention": {"name": "batchformer", "heads": 2}})
    plain = build(method)
    assert torch.equal(model.describe(images), plain.describe(images))
    assert type(model.loss) is type(plain.loss)
    extra = set(model.state_dict()) - set(plain.state_dict())
    assert extra
    assert all(key.startswith("loss.batch_attention.") for key in extra)
    model.train().losses(images, LABELS)["loss"].backward()
    assert all(p.grad is not None for p in model.loss.batch_attention.parameters())


def test_evaluation_losses_are_those_without(build, pictures):
    images = pictures(6, 32, 32)
    model, plain = build("gem", loss={"batch_attention": "batchformer"}), build("gem")
    assert torch.equal(model.losses(images, LABELS)["loss"], plain.losses(images, LABELS)["loss"])


def test_options_reach_it(build):
    loss = {"name": "triplet", "batch_attention": {"name": "batchformer", "heads": 8, "layers": 2}}
    attention = build("gem", loss=loss).loss.batch_attention
    assert len(attention.layers) == 2
    assert attention.layers[0].self_attn.num_heads == 8


@pytest.mark.parametrize("nothing", [None, "none", {"name": None}])
def test_none(nothing, build):
    model = build("gem", loss={"batch_attention": nothing})
    assert not hasattr(model.loss, "batch_attention")
    assert set(model.state_dict()) == set(build("gem").state_dict())


@pytest.mark.parametrize("num_classes", [3, None])
@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("batchfomer", r"unknown batch attention 'batchfomer'; did you mean 'batchformer'\?"),
        ({"name": "batchformer", "head": 4}, r"option of batch attention 'batchformer' 'head'; did you mean 'heads'"),
        ({"name": "batchformer", "heads": "four"}, "option heads='four' of batch attention 'batchformer' is wrong"),
        ({"heads": 4}, r"loss\.batch_attention\.heads is an option of no batch attention; name one"),
        (4, "must be a name or a mapping"),
    ],
)
def test_wrong_options_are_named(given, said, num_classes, build):
    with pytest.raises(InputError, match=said) as caught:
        build("gem", num_classes=num_classes, loss={"name": "smoothap", "batch_attention": given})
    assert "\n" not in str(caught.value)


def test_a_typo_in_its_own_name(build):
    with pytest.raises(InputError, match=r"option of loss 'smoothap' 'batch_atention'; did you mean 'batch_attention'"):
        build("gem", loss={"name": "smoothap", "batch_atention": "batchformer"})


@pytest.fixture
def trained(build, save, pictures, tmp_path):
    """A model with batch attention whose state has moved, and its checkpoint."""
    model = build("gem", loss={"name": "arcface", "batch_attention": "batchformer"}).train()
    model.losses(pictures(6, 32, 32), LABELS)
    return model, save(model, tmp_path / "own.ckpt")


def test_a_checkpoint_brings_it_back(trained):
    model, path = trained
    loaded = rb.create_model("gem", weights=path)
    assert set(loaded.state_dict()) == set(model.state_dict())
    assert all(torch.equal(value, loaded.state_dict()[key]) for key, value in model.state_dict().items())


def test_a_checkpoint_with_other_classes_starts_it_anew(trained):
    _, path = trained
    loaded = rb.create_model("gem", weights=path, num_classes=5)
    assert loaded.loss.weight.shape[0] == 5
    assert loaded.loss.batch_attention.draws[1] == 0
    assert any(name.startswith("loss.batch_attention.") for name in loaded.unused_weights)


def test_it_may_be_left_out_of_a_checkpoint_that_has_it(trained):
    model, path = trained
    loaded = rb.create_model("gem", weights=path, loss={"batch_attention": None})
    assert not hasattr(loaded.loss, "batch_attention")
    assert torch.equal(loaded.loss.weight, model.loss.weight)
    assert loaded.unused_weights["loss.batch_attention.layers.0.linear1.weight"] == (
        "loss.batch_attention was replaced by none"
    )


def test_it_may_be_added_to_a_checkpoint_without(build, save, tmp_path):
    path = save(build("gem"), tmp_path / "own.ckpt")
    loaded = rb.create_model("gem", weights=path, loss={"batch_attention": "batchformer"})
    assert "loss.batch_attention.layers.0.linear1.weight" in loaded.absent_weights
    assert "loss.weight" not in loaded.absent_weights


def test_another_loss_keeps_nothing_of_it(trained):
    _, path = trained
    loaded = rb.create_model("gem", weights=path, loss="smoothap")
    assert not list(loaded.loss.state_dict())


def test_a_model_without_classes_reads_the_descriptor_alone(build, save, tmp_path):
    path = save(build("gem", num_classes=None, loss={"batch_attention": "batchformer"}), tmp_path / "own.ckpt")
    assert rb.create_model("gem", weights=path).loss is None


def test_batches_of_losses():
    assert batches_of_loss({"name": "arcface"}) == {"sampler": "shuffle"}
    assert batches_of_loss({"name": "triplet"}) == {"sampler": "class-balanced"}
    assert batches_of_loss({"name": "smoothap", "temperature": 1}) == {"sampler": "class-balanced", "instances": 4}


def test_no_loss_without_classes():
    assert build_loss({"name": "smoothap", "batch_attention": "batchformer"}, 8, None) is None
