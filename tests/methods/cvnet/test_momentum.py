"""The momentum branch: who is compared with whom, what moves when, and what a training keeps of it."""

import math
import runpy
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from numpy.testing import assert_allclose
from torch import Tensor, nn
from torch.utils.data import DataLoader

from retrieval_bench.methods.cvnet.key_queue import EMPTY
from retrieval_bench.methods.cvnet.momentum import MomentumContrast, MomentumNetwork
from retrieval_bench.methods.cvnet.training_options import TrainingOptions
from retrieval_bench.settings.errors import InputError
from retrieval_bench.settings.recipe import Recipe

SCRIPT = Path(__file__).with_name("contrast_in_two_processes.py")
LABELS = torch.tensor([0, 1, 2, 0, 1, 2])


def network(seed: int = 0) -> nn.Module:
    """One part with parameters and running statistics."""
    torch.manual_seed(seed)
    parts = nn.Module()
    parts.body = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    return parts


def weights(module: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in module.state_dict().items()}


def test_the_momentum_network_follows_by_the_formula():
    online, slow = network(0), MomentumNetwork(dict(network(1).named_children()))
    before = weights(slow)
    slow.follow(online, 0.9)
    for name, parameter in slow.named_parameters():
        expected = 0.9 * before[name] + 0.1 * online.get_parameter(name)
        assert_allclose(parameter, expected.detach(), rtol=1e-5, atol=1e-7)
        assert not parameter.requires_grad


def test_it_is_a_copy_that_learns_nothing_by_itself():
    online = network()
    slow = MomentumNetwork(dict(online.named_children()))
    with torch.no_grad():
        online.body[0].weight.zero_()
    assert slow.body[0].weight.any()
    slow.copy_from(online)
    assert not slow.body[0].weight.any()


@pytest.mark.parametrize("kind", ["batch", "running"])
def test_the_statistics_of_the_momentum_network(kind, pictures):
    online = network()
    slow = MomentumNetwork(dict(online.named_children()), kind)
    images = 3 + pictures(4, 8, 8)
    for each in (online, slow):
        each.train()
    online.body(images)
    normalised = slow.body(images)
    centred = normalised.mean(dim=(0, 2, 3)).abs().max() < 1e-4
    assert centred == (kind == "batch")
    slow.follow(online, 0.5)
    same = torch.equal(slow.body[1].running_mean, online.body[1].running_mean)
    assert same, "in both kinds, by its own forward or by a copy"
    online.body[1].running_mean.add_(1)
    slow.follow(online, 0.5)
    assert torch.equal(slow.body[1].running_mean, online.body[1].running_mean) == (kind == "running")


def naive(queries: Tensor, keys: list[Tensor], key_labels: list[int], own: list[int], t: float) -> float:
    """The loss by loops over unit vectors, with margin 0.15 and temperature 0.1; `own` is each query's own key."""
    total = 0.0
    for query, label, mine in zip(queries, LABELS.tolist(), own, strict=True):
        cosines = [float(query @ key) for key in keys]
        positives = [i for i, other in enumerate(key_labels) if other == label and i != mine]
        terms = []
        for i in positives:
            bound = math.cos(math.acos(cosines[i]) + 0.15)
            negatives = [cosines[j] for j, other in enumerate(key_labels) if other != label]
            raised = [c if c <= bound else c * (t + c) for c in negatives]
            terms.append(math.log1p(sum(math.exp((c - bound) / 0.1) for c in raised)))
        total += sum(terms) / len(terms) if terms else 0.0
    return total / len(queries)


def branch(**given) -> MomentumContrast:
    options = {"momentum": 0.9, "queue_size": 14, "margin": 0.15, "temperature": 0.1, "batchnorm": "batch"}
    return MomentumContrast({"part": nn.Linear(2, 2)}, 5, **(options | given)).train()


def drawn(seed: int) -> tuple[Tensor, Tensor]:
    values = torch.randn(2, len(LABELS), 5, generator=torch.Generator().manual_seed(seed))
    return values[0], values[1]


def test_three_steps_by_hand():
    """Keys come in first and the oldest leave; no query meets its own key; t moves before it is used."""
    contrast, t = branch(), 0.0
    kept: list[Tensor] = []
    labels: list[int] = []
    for number in range(3):
        embedded, keys = drawn(number)
        found = contrast(embedded, keys, LABELS)
        queries = F.normalize(embedded.double(), dim=1)
        kept = (kept + list(F.normalize(keys.double(), dim=1)))[-14:]
        labels = (labels + LABELS.tolist())[-14:]
        own = list(range(len(kept) - 6, len(kept)))
        means = [
            sum(float(q @ k) for i, k in enumerate(kept) if labels[i] == y and i != mine)
            / sum(labels[i] == y and i != mine for i in range(len(kept)))
            for q, y, mine in zip(queries, LABELS.tolist(), own, strict=True)
        ]
        t = 0.01 * sum(means) / len(means) + 0.99 * t
        assert_allclose(contrast.t.item(), t, rtol=1e-4)
        assert_allclose(found.item(), naive(queries, kept, labels, own, t), rtol=1e-5)
    assert len(contrast.queue) == 14


def test_one_image_of_its_class_has_no_positive():
    """Its own key must not become one."""
    contrast = branch()
    embedded, keys = drawn(0)
    assert contrast(embedded[:3], keys[:3], LABELS[:3]) == 0
    assert contrast.t.item() == 0
    assert contrast(*drawn(1), LABELS) > 0


def test_its_own_key_does_not_matter():
    embedded, keys = drawn(0)
    losses = []
    for own in (keys[0], -keys[0]):
        contrast = branch()
        # Class 3 is the first image's alone, so its key is a negative of all others but of itself.
        labels = torch.tensor([3, 1, 2, 0, 1, 2])
        given = torch.cat([own[None], keys[1:]])
        embedded_once = embedded.clone().requires_grad_()
        contrast(embedded_once, given, labels).backward()
        losses.append(embedded_once.grad)
    assert not losses[0][0].any()
    assert not torch.allclose(losses[0][1:], losses[1][1:])


def test_evaluation_stores_nothing():
    contrast = branch()
    contrast(*drawn(0), LABELS)
    before = weights(contrast)
    contrast.eval()
    first = contrast(*drawn(1), LABELS)
    assert torch.equal(contrast(*drawn(1), LABELS), first)
    assert first > 0
    assert all(torch.equal(before[name], value) for name, value in contrast.state_dict().items())


def test_evaluation_compares_with_the_batch_even_before_any_training():
    assert branch().eval()(*drawn(0), LABELS) > 0


def test_only_the_embedding_gets_a_gradient():
    contrast = branch()
    embedded, keys = (each.requires_grad_() for each in drawn(0))
    contrast(embedded, keys, LABELS).backward()
    assert embedded.grad.any()
    assert keys.grad is None
    assert all(value.grad is None and not value.requires_grad for value in contrast.parameters())


def test_half_precision_is_computed_in_float32():
    embedded, keys = drawn(0)
    exact = branch()(embedded.bfloat16().float(), keys.bfloat16().float(), LABELS)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = branch()(embedded.bfloat16(), keys.bfloat16(), LABELS)
    assert found.dtype == torch.float32
    assert torch.equal(found, exact)


def test_two_losses_before_one_backward():
    """The second step's keys must not overwrite what the first needs."""
    contrast = branch(queue_size=6)
    embedded = [drawn(number)[0].requires_grad_() for number in range(2)]
    (contrast(embedded[0], drawn(0)[1], LABELS) + contrast(embedded[1], drawn(1)[1], LABELS)).backward()
    alone = drawn(0)[0].requires_grad_()
    branch(queue_size=6)(alone, drawn(0)[1], LABELS).backward()
    assert_allclose(embedded[0].grad, alone.grad, rtol=1e-6)


def test_a_batch_larger_than_the_queue():
    with pytest.raises(InputError, match="raise queue_size or lower the batch size"):
        branch(queue_size=5)(*drawn(0), LABELS)


def test_two_processes_are_one_batch(tmp_path):
    """Loss, queue and running mean of halves on two ranks are those of the whole batch in one process."""
    commands = [[sys.executable, str(SCRIPT), str(rank), str(tmp_path / "meeting")] for rank in (0, 1)]
    processes = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for command in commands]
    said = [process.communicate(timeout=120)[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], "\n".join(said)
    ranks = [torch.load(tmp_path / f"rank_{rank}.pt", weights_only=True) for rank in (0, 1)]
    two = SimpleNamespace(**runpy.run_path(str(SCRIPT)))
    whole = two.branch().train()
    losses = [whole(*two.step(number), two.LABELS) for number in range(3)]
    for rank in ranks:
        assert_allclose(rank["t"], whole.t, rtol=1e-5)
        for name, value in whole.queue.state_dict().items():
            assert torch.equal(rank[f"queue.{name}"], value), name
    halves = [rank["losses"][:3] for rank in ranks]
    assert_allclose((halves[0] + halves[1]) / 2, torch.stack(losses), rtol=1e-5)


def test_losses_are_weighted(build, pictures):
    model = build("cvnet", class_weight=0.7, contrast_weight=0.2).train()
    losses = model.losses(pictures(6, 48, 48), LABELS)
    assert set(losses) == {"loss", "classification", "contrast"}
    assert_allclose(losses["loss"].item(), 0.7 * losses["classification"].item() + 0.2 * losses["contrast"].item())
    assert losses["contrast"] > 0


def test_a_weight_of_zero_leaves_the_branch_out(build, pictures):
    model = build("cvnet", contrast_weight=0.0).train()
    assert set(model.losses(pictures(6, 48, 48), LABELS)) == {"loss", "classification"}
    assert not any(name.startswith("contrast.") for name in model.state_dict())


def test_without_classes_there_is_no_branch_either(build):
    assert not any(name.startswith("contrast.") for name in build("cvnet", num_classes=None).state_dict())


def test_the_first_keys_are_the_network_s_own(build, pictures):
    """Whatever was loaded into the network after it was built."""
    model = build("cvnet", momentum_batchnorm="running")
    torch.nn.init.normal_(model.projection.weight, generator=torch.Generator().manual_seed(5))
    images = pictures(6, 48, 48)
    model.losses(images, LABELS)
    assert torch.equal(model.contrast.network.projection.weight, model.projection.weight)
    model.contrast.train()  # the network stays in evaluation, and so gives the same descriptors
    model.losses(images, LABELS)
    assert_allclose(model.contrast.queue.descriptors[:6], model.describe(images, scales=(1.0,)), atol=1e-5)
    torch.nn.init.zeros_(model.projection.weight)
    model.losses(images, LABELS)
    assert model.contrast.network.projection.weight.any(), "only before the first keys"


def test_a_custom_loop_lets_it_follow(build):
    model = build("cvnet", momentum=0.9)
    before = model.contrast.network.projection.weight.clone()
    with torch.no_grad():
        model.projection.weight.add_(1)
    model.follow()
    assert_allclose(model.contrast.network.projection.weight, before + 0.1, rtol=1e-4, atol=1e-6)


class Batches(pl.LightningDataModule):
    """Eight images of four classes, twice, as the package's own data module would name them."""

    def __init__(self, images: Tensor):
        super().__init__()
        self.rows = [
            {"images": image, "labels": torch.tensor(row % 4), "indices": row} for row, image in enumerate(images)
        ]
        self.train_rows = range(len(images))
        self.mined: dict[str, Tensor] = {}

    def train_dataloader(self):
        return DataLoader(self.rows, batch_size=8)


def train(model, folder, epochs=2, accumulate=1, data=None, resume=None):
    trainer = pl.Trainer(
        accelerator="cpu",
        max_epochs=epochs,
        accumulate_grad_batches=accumulate,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=folder,
        callbacks=[pl.callbacks.ModelCheckpoint(folder, every_n_train_steps=1, save_top_k=-1)],
    )
    model.recipe = Recipe(epochs=epochs, batch_size=8, lr=0.1, warmup_epochs=0, schedule="constant", momentum=0.0)
    trainer.fit(model.train(), data, ckpt_path=resume, weights_only=True if resume else None)
    return trainer


@pytest.mark.parametrize("accumulate", [1, 2])
def test_it_follows_once_per_optimiser_step(accumulate, build, pictures, tmp_path, monkeypatch):
    model = build("cvnet", dim=8, num_classes=4, queue_size=64)
    seen = []
    follow = model.contrast.follow
    monkeypatch.setattr(
        model.contrast, "follow", lambda network: seen.append(len(model.contrast.queue)) or follow(network)
    )
    trainer = train(model, tmp_path, accumulate=accumulate, data=Batches(pictures(16, 32, 32)))
    assert trainer.global_step == len(seen) == 4 // accumulate
    # After the step whose keys are in the queue already; never more keys than images.
    assert seen == ([8, 16, 16, 16] if accumulate == 1 else [16, 16])


def test_a_resumed_training_ends_the_same(build, pictures, tmp_path):
    data = Batches(pictures(16, 32, 32))
    whole, resumed = (build("cvnet", dim=8, num_classes=4, queue_size=64, seed=seed) for seed in (0, 9))
    train(whole, tmp_path / "whole", data=data)
    middle = tmp_path / "whole" / "epoch=0-step=2.ckpt"
    train(resumed, tmp_path / "resumed", data=data, resume=middle)
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name


def test_a_checkpoint_holds_the_network_that_has_followed(build, pictures, tmp_path):
    """One step with momentum 0: both are equal in the file, not only one step later."""
    model = build("cvnet", dim=8, num_classes=4, momentum=0.0, queue_size=64)
    train(model, tmp_path, epochs=1, data=Batches(pictures(16, 32, 32)))
    state = torch.load(tmp_path / "epoch=0-step=1.ckpt", weights_only=True)["state_dict"]
    assert torch.equal(state["contrast.network.projection.weight"], state["projection.weight"])
    assert (state["contrast.queue.labels"] != EMPTY).sum() == 8


def test_another_training_starts_with_an_empty_queue(build, pictures, tmp_path):
    data = Batches(pictures(16, 32, 32))
    model = build("cvnet", dim=8, num_classes=4, queue_size=64)
    train(model, tmp_path / "first", data=data)
    t = model.contrast.t.clone()
    train(model, tmp_path / "second", epochs=0, data=data)
    assert len(model.contrast.queue) == 16, "no step, nothing lost"
    train(model, tmp_path / "third", epochs=1, data=data)
    assert int(model.contrast.queue.pushed) == 16
    assert model.contrast.t < 3 * t


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"momentum": 1.5}, "momentum must lie in 0 .. 1, got 1.5"),
        ({"queue_size": 0}, "queue_size must lie from 1 up, got 0"),
        ({"temperature": 0.0}, "temperature must lie from 0.001 up"),
        ({"contrast_margin": -0.1}, "contrast_margin must lie in 0 .. 1.571"),
        ({"contrast_weight": float("nan")}, "contrast_weight must lie from 0 up, got nan"),
        ({"class_weight": 0.0, "contrast_weight": 0.0}, "leaves nothing to train"),
    ],
    ids=str,
)
def test_options_out_of_range(given, said):
    with pytest.raises(InputError, match=said):
        TrainingOptions(**given)
