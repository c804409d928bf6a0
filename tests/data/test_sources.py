"""The sources are complete and consistent."""

import pytest

from retrieval_bench.data.registry import list_datasets
from retrieval_bench.data.sources import DEFAULT_RELEASE, RELEASES, SOURCES, archives
from retrieval_bench.settings.errors import InputError


def test_every_source_is_a_dataset_with_every_release():
    assert set(SOURCES) <= set(list_datasets())
    assert DEFAULT_RELEASE in RELEASES
    for name, source in SOURCES.items():
        assert set(source.archives) == set(RELEASES)
        assert source.ground_truth.name == f"gnd_{name}.pkl"
        assert len(source.ground_truth.sha256) == 64
        for release in RELEASES:
            for file in (source.ground_truth, *archives(source, release)):
                assert file.about > 0
                assert all(url.startswith(("http://", "https://")) and url.endswith(file.name) for url in file.urls)


def test_the_digests_are_those_of_the_true_files(shared):
    for name, source in SOURCES.items():
        file = shared("data", "revisitop", f"gnd_{name}.pkl")
        assert file.stat().st_size == source.ground_truth.size


def test_an_unknown_release_is_an_input_error():
    with pytest.raises(InputError, match="unknown release 'v2'"):
        archives(SOURCES["roxford5k"], "v2")
