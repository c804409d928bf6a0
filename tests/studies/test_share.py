"""Parts of the machine."""

from retrieval_bench.studies.share import device_variable, devices, thread_variables, threads


def test_workers_share_the_cores(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert [threads(workers, 8) for workers in (1, 2, 3, 8, 20)] == [8, 4, 2, 1, 1]
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert [threads(workers, 8) for workers in (1, 2, 4)] == [3, 3, 2]
    assert thread_variables(2)["OMP_NUM_THREADS"] == "2"


def test_each_worker_has_a_device_of_its_own(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4, 7")
    assert devices() == ["4", "7"]
    assert [device_variable(slot, ["4", "7"])["CUDA_VISIBLE_DEVICES"] for slot in range(3)] == ["4", "7", "4"]
    assert device_variable(0, []) == {}


def test_hidden_devices_stay_hidden(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert devices() == []
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    assert devices() == []
