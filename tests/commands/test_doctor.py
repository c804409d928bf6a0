"""`doctor` reads right with and without a GPU."""

from types import SimpleNamespace

import pytest

from retrieval_bench.commands import doctor

CPU_BUILD = SimpleNamespace()


def gpu_build(count: int) -> SimpleNamespace:
    return SimpleNamespace(StandardGpuResources=object, get_num_gpus=lambda: count)


@pytest.mark.parametrize(
    ("faiss", "gpu", "says"),
    [
        (CPU_BUILD, False, "the CPU; this build cannot use GPUs"),
        (CPU_BUILD, True, "the CPU; this build cannot use GPUs"),
        (gpu_build(0), False, "the CPU; on a machine with a GPU, there"),
        (gpu_build(0), True, "the CPU, though torch sees a GPU"),
        (gpu_build(1), True, "the GPU"),
        (gpu_build(4), True, "a GPU; it sees 4"),
    ],
)
def test_where_faiss_searches(faiss, gpu, says):
    assert doctor.faiss_place(faiss, gpu=gpu) == says


@pytest.mark.parametrize(
    ("installed", "says"),
    [
        ({"faiss-gpu": "1.9"}, {"faiss-gpu": "1.9", "faiss-cpu": "not needed beside faiss-gpu"}),
        ({"faiss-cpu": "1.9"}, {"faiss-cpu": "1.9", "faiss-gpu": "not needed beside faiss-cpu"}),
        ({}, {"faiss-cpu": "not installed", "faiss-gpu": "not installed"}),
    ],
)
def test_one_faiss_is_enough(installed, says, monkeypatch):
    monkeypatch.setattr(doctor, "_version", installed.get)
    assert {name: doctor.shown_version(name) for name in says} == says
