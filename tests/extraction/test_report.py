from retrieval_bench.extraction.report import ExtractionReport


def test_rates_count_described_images_and_sizes_all():
    report = ExtractionReport(
        n_images=10, seconds=4.0, forward_images=3, bytes_global=1000, bytes_local=20000, skipped=2
    )
    assert report.images_per_second == 2.0
    assert report.global_bytes_per_image == 100
    assert report.local_bytes_per_image == 2000


def test_unknown_time_gives_no_rate():
    assert ExtractionReport(5, 0.0, 0, 1, 0, 0).images_per_second == 0.0
