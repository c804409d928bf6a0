"""Gathering over ranks: identity in one process; in two, MadaCos sees one batch."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from retrieval_bench.losses import LOSSES
from retrieval_bench.losses.gathering import gather_rows, mean_over_ranks

SCRIPT = Path(__file__).with_name("gather_in_two_processes.py")


def test_one_process_gets_its_own_back_without_a_gradient() -> None:
    rows = torch.rand(3, 2, requires_grad=True)
    for result in (gather_rows(rows), mean_over_ranks(rows)):
        assert torch.equal(result, rows)
        assert not result.requires_grad


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where two processes left what MadaCos made of the halves of a batch."""
    folder = tmp_path_factory.mktemp("ranks")
    commands = [[sys.executable, str(SCRIPT), str(rank), str(folder / "meeting")] for rank in (0, 1)]
    processes = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for command in commands]
    said = [process.communicate(timeout=120)[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], "\n".join(said)
    return folder


def test_madacos_of_two_processes_is_that_of_the_whole_batch(folder: Path) -> None:
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(6, (10,), generator=generator)
    for background in ("median-sample", "median", "mean"):
        torch.manual_seed(0)
        loss = LOSSES.create("madacos", {"background": background}, dim=12, num_classes=6)
        descriptors = loss.weight.detach()[labels] + 0.05 * torch.randn(10, 12, generator=generator)
        whole = loss(descriptors, labels).detach()
        ranks = [torch.load(folder / f"{background}_{rank}.pt", weights_only=True) for rank in (0, 1)]
        assert float(loss.last["margin"]) > 0
        for key, value in loss.last.items():
            assert torch.equal(ranks[0][key], ranks[1][key]), key
            torch.testing.assert_close(ranks[0][key], value.detach(), rtol=1e-5, atol=1e-6)
        torch.testing.assert_close((ranks[0]["part"] + ranks[1]["part"]) / 2, whole, rtol=1e-4, atol=1e-5)


def test_adacos_of_two_processes_is_that_of_the_whole_batch(folder: Path) -> None:
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(6, (10,), generator=generator)
    for _ in range(3):  # what the processes drew before
        torch.randn(10, 12, generator=generator)
    torch.manual_seed(0)
    loss = LOSSES.create("adacos", {}, dim=12, num_classes=6)
    start = loss.scale.clone()
    descriptors = loss.weight.detach()[labels] + 0.05 * torch.randn(10, 12, generator=generator)
    whole = loss(descriptors, labels).detach()
    ranks = [torch.load(folder / f"adacos_{rank}.pt", weights_only=True) for rank in (0, 1)]
    assert not torch.equal(loss.scale, start)
    assert torch.equal(ranks[0]["scale"], ranks[1]["scale"])
    torch.testing.assert_close(ranks[0]["scale"], loss.scale)
    torch.testing.assert_close((ranks[0]["part"] + ranks[1]["part"]) / 2, whole)
